"""Fixtures: real servers, known by their command line as the load tests know them; a browser."""

import os
import subprocess
import sys
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
