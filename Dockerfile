# Two images from one file:
#
#   docker build --target server   -t c10k-server .      the server and its five engines, nothing else
#   docker build --target loadtest -t c10k-loadtest .    the server, Locust, the comparison, the doctor
#
# The root file system is meant to be mounted read-only, so nothing can be compiled at run time and
# kept: all bytecode is written here. That is worth a line because the official Python image has
# none for the standard library, and the health check starts an interpreter every few seconds.
#
# Only what the classic builder and BuildKit both know is used.

ARG PYTHON_IMAGE=python:3.11-slim-bookworm

# ---- Virtual environments, made where there is pip, and used where there is none.

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
# In the environment it holds for the tools that build a package as well.
ENV PIP_CONSTRAINT=/src/constraints.txt
WORKDIR /src
COPY pyproject.toml constraints.txt ./
# Libraries first, in a layer that a change to our own code does not touch.
RUN python3 -m venv --without-pip /opt/c10k \
    && python3 -c 'import tomllib; extras = tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]; [open(f"{name}.txt", "w").write("\n".join(extras[name])) for name in ("admin", "uvloop", "loadtest")]' \
    && python3 -m pip --python /opt/c10k/bin/python install --quiet -r admin.txt -r uvloop.txt

FROM build AS build-server
COPY README.md ./
COPY runtime runtime
COPY server server
# The second command it would install belongs to the package that is left out.
RUN python3 -m pip --python /opt/c10k/bin/python install --quiet --no-deps . \
    && rm /opt/c10k/bin/c10k-loadtest

# ---- What both images stand on: Python without installers, and a user who owns nothing.

FROM ${PYTHON_IMAGE} AS base
RUN find / -xdev -depth \( -path '*/bin/pip*' -o -path '*/bin/wheel' -o -path '*/ensurepip' \
        -o -path '*-packages/pip' -o -path '*-packages/pip-*' \
        -o -path '*-packages/setuptools*' -o -path '*-packages/pkg_resources' \
        -o -path '*-packages/_distutils_hack' -o -path '*-packages/distutils-precedence.pth' \
        -o -path '*-packages/wheel' -o -path '*-packages/wheel-*' \) -exec rm -rf {} + \
    && groupadd --gid 10001 c10k \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent \
        --shell /usr/sbin/nologin c10k
ENV PATH=/opt/c10k/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PYTHONSAFEPATH=1
STOPSIGNAL SIGTERM

# ---- The server alone.

FROM base AS server
COPY --from=build-server /opt/c10k /opt/c10k
WORKDIR /c10k
# Every module that a server or a health check imports, from the standard library as well.
RUN PYTHONDONTWRITEBYTECODE= python -c 'import server.__main__, server.health, server.workers.supervisor, server.admin.pages, encodings.idna, ssl; from server import config, engines; [engines.load(mode) for mode in config.MODES]'
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="c10k-server" \
      org.opencontainers.image.description="An echo and sleep server for 10,000 connections on a runtime from scratch in pure Python, beside threads, uvloop and asyncio" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# In a container "every address" is the container's own. Flags after the image's name override these.
ENV C10K_ECHO=0.0.0.0:7007 \
    C10K_SLEEP=0.0.0.0:7008 \
    C10K_ADMIN=0.0.0.0:7009 \
    C10K_LOG_FORMAT=json
USER 10001:10001
EXPOSE 7007 7008 7009
# An echo that comes back, not just an open port.
HEALTHCHECK --interval=10s --timeout=6s --start-period=10s --retries=3 \
    CMD ["python", "-m", "server.health"]
ENTRYPOINT ["c10k-server"]

# ---- Server, Locust, comparison and doctor.

FROM build AS build-loadtest
# The limit in C and the client of the closed loops come ready: a compiler in the image would be 200 MB.
RUN apt-get update -q \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends gcc libc6-dev
RUN python3 -m pip --python /opt/c10k/bin/python install --quiet -r loadtest.txt
COPY README.md ./
COPY runtime runtime
COPY server server
COPY loadtest loadtest
RUN python3 -m pip --python /opt/c10k/bin/python install --quiet --no-deps . \
    && cd /opt/c10k/lib/python3*/site-packages/loadtest/closed_loop \
    && gcc -O2 -o limit limit.c && gcc -O2 -o drive drive.c

FROM base AS loadtest
# The closed loops ask with redis-benchmark.
RUN apt-get update -q \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends redis-tools \
    && apt-get clean && rm -rf /var/lib/apt/lists/* /var/cache/*/* /var/log/*
COPY --from=build-loadtest /opt/c10k /opt/c10k
WORKDIR /c10k
# `locust -f loadtest/locustfile.py` works here as it does in the sources.
RUN ln -s "$(python -c 'import loadtest; print(loadtest.__path__[0])')" loadtest \
    && PYTHONDONTWRITEBYTECODE= locust -f loadtest/locustfile.py --list >/dev/null \
    && PYTHONDONTWRITEBYTECODE= c10k-loadtest --help >/dev/null
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="c10k-loadtest" \
      org.opencontainers.image.description="Locust over raw TCP, and a comparison of runtime, threads, uvloop and asyncio at 10,000 connections" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# A comparison names in its report what it measured, and resumes only with the same.
ENV SOURCE_REVISION=${REVISION}
USER 10001:10001
EXPOSE 8089
ENTRYPOINT ["c10k-loadtest"]
CMD ["--help"]

# ---- What `docker build .` makes. The classic builder makes every stage above its target, so the
# small image could not stand last itself.

FROM server
