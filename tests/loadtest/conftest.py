"""Fixtures: real servers, known by their command line as the load tests know them; a browser."""

import fcntl
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.loadtest.browser import Browser, missing, running_browser
from tests.loadtest.harness import PATIENCE, REPOSITORY


@dataclass(frozen=True)
class Server:
    """The ports of a running server, and its process; no admin port is 0."""

    echo: int
    sleep: int
    pid: int
    admin: int


@contextmanager
def running_server(mode: str, directory: Path, *arguments: str) -> Iterator[Server]:
    command = [sys.executable, "-m", "server", "--mode", mode, *arguments]
    command += ["--echo", "127.0.0.1:0", "--sleep", "127.0.0.1:0"]
    services = {"echo", "sleep", *({"admin"} if "--admin" in arguments else ())}
    out = directory / f"{mode}.out"
    with out.open("wb") as stdout, (directory / f"{mode}.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=REPOSITORY, env=os.environ, stdout=stdout, stderr=log
        )
    try:
        yield _server(process, out, services)
    finally:
        process.terminate()
        assert process.wait(PATIENCE) == 0


def _server(process: subprocess.Popen[bytes], out: Path, services: set[str]) -> Server:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        lines = [line.split() for line in out.read_text().splitlines()]
        ports = {line[1]: int(line[2].rpartition(":")[2]) for line in lines if len(line) == 3}
        if ports.keys() >= services:
            return Server(ports["echo"], ports["sleep"], process.pid, ports.get("admin", 0))
        time.sleep(0.02)
    raise AssertionError("the server did not start")


# The kernel counts overflows of listen queues for all together, and a run beside which one was
# counted is void: tests that overflow one wait for tests of runs, and the other way round.
_LISTEN_QUEUES = Path(tempfile.gettempdir(), "c10k-tests-listen-queues.lock")


@contextmanager
def _locked(kind: int) -> Iterator[None]:
    with _LISTEN_QUEUES.open("a") as file:
        fcntl.flock(file, kind)  # the test's own timeout bounds it
        yield


@pytest.fixture(scope="module")
def nobody_overflows() -> Iterator[None]:
    with _locked(fcntl.LOCK_SH):
        yield


@pytest.fixture
def overflows_alone() -> Iterator[None]:
    with _locked(fcntl.LOCK_EX):
        yield


@pytest.fixture(scope="module")
def asyncio_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server("asyncio", tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture(scope="module")
def runtime_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server("runtime", tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for all tests of a module: it takes seconds to start."""
    if reason := missing():
        pytest.skip(reason)
    with running_browser() as browser:
        yield browser
