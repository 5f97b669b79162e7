# Two commands do everything on a fresh machine that has python3 (3.11 or later) and make:
#   make compare     sets up, then 10,000 connections on runtime, threads and uvloop
#   make test        sets up, then lint, types and the test suite

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

# Compose 2 is a plugin of docker, Compose 1.29 a program of its own.
COMPOSE = $(shell if docker compose version >/dev/null 2>&1; then echo docker compose; else echo docker-compose; fi)

.PHONY: docker-build docker-up docker-down docker-compare docker-test
.PHONY: help setup compare compare-full extremes test check bench bench-echo bench-runtime bench-tls bench-watching doctor torture soak clean

help:
	@echo "make compare   compare the engines at 10,000 connections (a few minutes); ARGS='--help' for options"
	@echo "make compare-full   all engines and the limit in C at 100, 1,000, 10,000 and as many as fit, 5 rounds,"
	@echo "               closed loops, and then extremes: about an hour; ARGS=--resume goes on with"
	@echo "               an interrupted one"
	@echo "make extremes  100,000 connections at the same time in many processes, and threads until the kernel"
	@echo "               refuses one: about six minutes, alone on the machine; ARGS=crowd, ARGS=threads, ARGS=--help"
	@echo "make test      lint, types and tests (a few minutes)"
	@echo "make check     lint and types alone"
	@echo "make torture   the torture tests at full size, and their table (an hour, alone on the machine); ARGS"
	@echo "make soak      mixed load at 10,000 connections for MINUTES=60, and whether anything grows"
	@echo "make bench     the next four, and a million sleepers and timers"
	@echo "make bench-echo     CPU per echo and memory per connection, closed loop (needs redis-benchmark); ARGS"
	@echo "make bench-runtime  a spawn, a turn, a timeout ... beside asyncio, uvloop and Trio; ARGS"
	@echo "make bench-tls      the same two figures over TLS, beside uvloop and asyncio (needs redis-benchmark); ARGS"
	@echo "make bench-watching what the watchdog and the statistics cost (needs redis-benchmark); ARGS"
	@echo "make doctor    what this machine can hold: fds, ports, backlog, threads"
	@echo "make docker-up      runtime and Locust's web UI in containers: http://127.0.0.1:8089; PROFILES=engines"
	@echo "make docker-down    remove them"
	@echo "make docker-compare the comparison in a container, its report in ./results; ARGS='--help' for options"
	@echo "make docker-build   the two images alone"
	@echo "make docker-test    images and compose file against a real engine (some minutes)"
	@echo "make setup     the virtual environment alone, in $(VENV)"
	@echo "make clean     remove it, and every cache"

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "c10k needs Python 3.11 or later; name one: make PYTHON=python3.12 ..." >&2; exit 2; }
	@$(PYTHON) -m venv $(VENV) || \
	    { echo "python3 cannot make virtual environments here; on Debian: apt-get install python3-venv" >&2; exit 2; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
	    --editable '.[uvloop,loadtest,admin,test]'
	@touch $@

compare: $(READY)
	$(BIN)/python -m loadtest compare $(ARGS)

# What does not count is in the report as well, so a status of 1 does not end it.
compare-full: $(READY)
	@status=0; set -x; \
	$(BIN)/python -m loadtest compare --modes all --connections 100,1000,10000,max --repeats 5 \
	    --scenarios hold,echo,bulk-64k,bulk-16m,churn --duration 8 --spawn-rate 1500 --out results/full $(ARGS) \
	    || status=$$?; \
	test $$status -le 1 || exit $$status; \
	$(BIN)/python -m loadtest extremes --out results/full || status=$$?; \
	test $$status -le 1 || exit $$status; \
	$(BIN)/python -m loadtest report results/full || exit $$?; \
	exit $$status

extremes: $(READY)
	$(BIN)/python -m loadtest extremes $(ARGS)

doctor: $(READY)
	$(BIN)/python -m loadtest doctor $(ARGS)

bench: $(READY)
	$(if $(ARGS),$(error give ARGS to the parts: each has its own))
	$(BIN)/python -m loadtest bench
	$(BIN)/python -m benchmarks
	$(BIN)/python -m benchmarks million_sleepers million_timers \
	    --engines runtime,asyncio,uvloop --rounds 1
	$(BIN)/python -m benchmarks.tls
	$(BIN)/python -m benchmarks.watching

bench-echo: $(READY)
	$(BIN)/python -m loadtest bench $(ARGS)

bench-runtime: $(READY)
	$(BIN)/python -m benchmarks $(ARGS)

bench-tls: $(READY)
	$(BIN)/python -m benchmarks.tls $(ARGS)

bench-watching: $(READY)
	$(BIN)/python -m benchmarks.watching $(ARGS)

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Most tests wait for something, so two processes do not double the time but nearly halve it.
test: check
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal $(ARGS)

torture: $(READY)
	$(BIN)/python -m pytest tests/torture --full --timeout 900 $(ARGS)

MINUTES ?= 60

soak: $(READY)
	$(BIN)/python -m pytest tests/torture/test_soak.py --full --minutes $(MINUTES) --timeout 0 \
	    --table results/soak.md $(ARGS)

# The report of a comparison names what it measured, and there is no git in an image.
docker-build:
	revision=$$(git rev-parse --short=12 HEAD 2>/dev/null) && { git diff --quiet HEAD || \
	    revision=$$revision+changes-$$(git diff HEAD | sha256sum | cut -c1-8); }; \
	STACK_REVISION=$${revision:-unknown} $(COMPOSE) build runtime locust

docker-up: docker-build
	COMPOSE_PROFILES=$(PROFILES) $(COMPOSE) up --detach
	@echo
	@echo "Locust: http://127.0.0.1:$${STACK_WEB_PORT:-8089}    logs: $(COMPOSE) logs -f    end: make docker-down"

docker-down:
	COMPOSE_PROFILES=engines,distributed,compare $(COMPOSE) down

# As the user who runs this, so that the report is theirs.
docker-compare: docker-build
	mkdir -p $${STACK_RESULTS:-results}
	$(COMPOSE) run --rm --user "$$(id -u):$$(id -g)" compare $(ARGS)

docker-test: $(READY)
	$(BIN)/python -m pytest tests/docker --engine --timeout 900 $(ARGS)

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis results
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
