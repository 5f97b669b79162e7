"""Docker as its users have it: the commands `docker` and `docker compose`, and what they say.

A stack is the repository's own compose file under a project name that nobody else has, so that it
can be found and removed whole, and never touches one that somebody works with.
"""

import contextlib
import functools
import hashlib
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loadtest.results.figures import LoadResult, Progress, decode

REPOSITORY = Path(__file__).parent.parent.parent
# Of this directory alone: two checkouts may be tested at once, and each is to test its own.
TAG = f"docker-test-{hashlib.sha256(str(REPOSITORY).encode()).hexdigest()[:8]}"
SERVER, LOADTEST = f"c10k-server:{TAG}", f"c10k-loadtest:{TAG}"
ENGINES = ("runtime", "threads", "uvloop", "uvloop-protocol", "asyncio")
# For whatever has to come to pass in a container, on a machine that has other work.
PATIENCE = 120.0

# Sends a signal to the one child of a container's init process, which is the server. (What
# `docker exec` starts is no child of it.)
SIGNAL_THE_SERVER = """
import os, sys
children = open("/proc/1/task/1/children").read().split()
for child in children:
    os.kill(int(child), int(sys.argv[1]))
"""


@functools.cache
def compose_command() -> list[str] | None:
    """Compose 2 is a plugin of docker, Compose 1.29 a program of its own; None without either."""
    if shutil.which("docker") and call(["docker", "compose", "version"]).returncode == 0:
        return ["docker", "compose"]
    return ["docker-compose"] if shutil.which("docker-compose") else None


@functools.cache
def what_is_missing() -> str | None:
    """Why nothing can be run here; None if it can."""
    if shutil.which("docker") is None:
        return "there is no docker command; on Debian: apt-get install docker.io"
    if call(["docker", "info"]).returncode != 0:
        return "no Docker engine answers (DOCKER_HOST, or permission to use its socket)"
    if compose_command() is None:
        return "there is no Compose; on Debian: apt-get install docker-compose"
    return None


def call(
    command: list[str], timeout: float = 60.0, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        cwd=REPOSITORY,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
    )


def docker(*arguments: str, timeout: float = PATIENCE) -> subprocess.CompletedProcess[str]:
    """A command that may fail."""
    return call(["docker", *arguments], timeout)


def docker_says(*arguments: str, timeout: float = PATIENCE) -> str:
    """What a command that must not fail prints."""
    done = docker(*arguments, timeout=timeout)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def inspect(container: str) -> dict[str, Any]:
    (facts,) = json.loads(docker_says("inspect", container))
    assert isinstance(facts, dict)
    return facts


def wait_until(condition: Callable[[], bool], what: Callable[[], str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what()
        time.sleep(0.2)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


@dataclass(frozen=True)
class Load:
    """What a Locust in the stack's network found, by its own figures."""

    result: LoadResult
    most_held: int
    output: str


@dataclass
class Stack:
    """The compose file under a project name of its own."""

    project: str
    settings: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.web_port, self.master_port = free_port(), free_port()
        self.settings = {
            "STACK_TAG": TAG,
            "STACK_WEB_PORT": str(self.web_port),
            "STACK_MASTER_WEB_PORT": str(self.master_port),
            # Whatever somebody has set for themselves in .env.
            "STACK_NOFILE": "20000",
            "STACK_QUEUE_SYSCTL": "net.core.somaxconn=4096",
            "STACK_SERVER_MEMORY": "1g",
            "STACK_LOAD_MEMORY": "4g",
            "COMPOSE_PROFILES": "",
            **self.settings,
        }

    def compose(
        self, *arguments: str, timeout: float = 600.0, **settings: str
    ) -> subprocess.CompletedProcess[str]:
        command = compose_command()
        assert command is not None
        env = {**self.settings, **settings}
        return call([*command, "--project-name", self.project, *arguments], timeout, env)

    def must(self, *arguments: str, timeout: float = 600.0, **settings: str) -> str:
        done = self.compose(*arguments, timeout=timeout, **settings)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def up(self, *services: str) -> None:
        self.must("up", "--detach", "--no-build", *services)

    def containers(self, service: str) -> list[str]:
        label = "label=com.docker.compose"
        filters = [f"{label}.project={self.project}", f"{label}.service={service}"]
        flat = [word for text in filters for word in ("--filter", text)]
        return docker_says("ps", "--all", "--quiet", *flat).split()

    def container(self, service: str) -> str:
        (found,) = self.containers(service)
        return found

    def health(self, service: str) -> str:
        state = inspect(self.container(service))["State"]
        return str(state["Health"]["Status"] if state["Running"] else state["Status"])

    def wait_for_health(self, service: str, wanted: str) -> None:
        wait_until(
            lambda: self.health(service) == wanted,
            lambda: json.dumps(inspect(self.container(service))["State"], indent=1),
        )

    def wait_for_restart(self, service: str, restarts: int) -> None:
        container = self.container(service)
        wait_until(
            lambda: bool(inspect(container)["RestartCount"] > restarts),
            lambda: json.dumps(inspect(container)["State"], indent=1),
        )

    def wait_for_users(self, port: int, users: int) -> None:
        """Until a web UI has that many, none of whom has failed."""

        def all_in() -> bool:
            stats = json.loads(ask(port, "/stats/requests"))
            assert stats["errors"] == [], stats["errors"]
            return bool(stats["user_count"] == users and stats["total_rps"] > 0)

        wait_until(all_in, lambda: ask(port, "/stats/requests"))

    def wait_for_connections(self, service: str, connections: int) -> None:
        """By the server's own count."""
        wait_until(
            lambda: f"c10k_connections_current {connections}.0" in self.metrics(service),
            lambda: self.metrics(service),
        )

    def metrics(self, service: str) -> str:
        script = "import urllib.request as web; "
        script += "print(web.urlopen('http://127.0.0.1:7009/metrics', timeout=10).read().decode())"
        return docker_says("exec", self.container(service), "python", "-c", script)

    def address(self, service: str) -> str:
        (network,) = inspect(self.container(service))["NetworkSettings"]["Networks"].values()
        return str(network["IPAddress"])

    def workers(self) -> int:
        """How many the master has; none before it answers."""
        try:
            return len(json.loads(ask(self.master_port, "/stats/requests")).get("workers", []))
        except OSError:
            return 0

    def signal_server(self, service: str, number: int) -> None:
        script = ["python", "-c", SIGNAL_THE_SERVER, str(number)]
        docker_says("exec", self.container(service), *script)

    def load(self, engine: str, connections: int, hold: float, pacing: float = 10.0) -> Load:
        """Hold connections on an engine, from within the network, and hear what came of it."""
        done = self.compose(
            *("run", "--rm", "-T", "--no-deps", "locust", "--headless", "--only-summary"),
            *("--host", f"tcp://{engine}:7007", "--users", str(connections)),
            *("--spawn-rate", "500", "--pacing", f"{pacing:g}", "--hold", f"{hold:g}"),
            *("--exit-code-on-error", "0", "--figures", "/dev/stdout", "EchoUser"),
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr
        records = [decode(line) for line in done.stdout.splitlines() if line.startswith("{")]
        (result,) = [record for record in records if isinstance(record, LoadResult)]
        held = [record.held for record in records if isinstance(record, Progress)]
        return Load(result, max(held), done.stderr)

    def remains(self) -> list[str]:
        """Everything of this project that the engine still has."""
        project = f"label=com.docker.compose.project={self.project}"
        found: list[str] = []
        for kind, flags in (
            ("container", ["--all"]),
            ("network", []),
            ("volume", []),
        ):
            listed = docker_says(kind, "ls", "--quiet", *flags, "--filter", project)
            found += [f"{kind} {name}" for name in listed.split()]
        return found

    def down(self) -> None:
        self.must(
            "down",
            "--volumes",
            "--remove-orphans",
            "--timeout",
            "20",
            COMPOSE_PROFILES="engines,distributed,compare",
        )

    def destroy(self) -> None:
        """Whatever is left, without asking Compose."""
        for thing in self.remains():
            kind, name = thing.split()
            force = ["--force", "--volumes"] if kind == "container" else []
            docker(kind, "rm", *force, name)


@contextlib.contextmanager
def stack(name: str) -> Iterator[Stack]:
    """A stack that is gone afterwards, whatever happened; what cannot be removed is a failure."""
    made = Stack(f"c10k-test-{name}-{os.getpid()}")
    try:
        yield made
    finally:
        try:
            made.down()
        finally:
            made.destroy()
            assert made.remains() == []


def ask(port: int, path: str) -> str:
    """A page of a web UI on the loopback."""
    return _fetch(port, path, None)


def post(port: int, path: str, **form: str | int) -> str:
    return _fetch(port, path, urllib.parse.urlencode(form).encode())


def _fetch(port: int, path: str, data: bytes | None) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", data, timeout=30) as answer:
        text: bytes = answer.read()
        return text.decode()
