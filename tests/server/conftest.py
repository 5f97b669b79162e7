"""Fixtures: a server shared by a module's tests for each engine, and servers of a test's own."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.server.harness import MODES, Authority, ServerProcess

Start = Callable[..., ServerProcess]


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    """Each engine in turn."""
    return str(request.param)


@pytest.fixture(scope="module", params=MODES)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    """Each engine in turn, in a process that the module's tests share."""
    process = ServerProcess(tmp_path_factory.mktemp("server"), request.param)
    yield process
    process.stop()
    assert "aborted=0" in process.log()  # no connection outlived its client


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Who has signed the certificate of the servers that speak TLS."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def start(mode: str, tmp_path: Path) -> Iterator[Start]:
    """Starts a server of the test's own, with arguments, on each engine in turn."""
    started: list[ServerProcess] = []

    def start_server(*arguments: str, authority: Authority | None = None) -> ServerProcess:
        process = ServerProcess(tmp_path, mode, *arguments, authority=authority)
        started.append(process)
        return process

    yield start_server
    for process in started:
        process.stop()
