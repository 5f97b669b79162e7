"""What the project is named after: ten thousand connections at the same time, and every byte."""

import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.harness import ServerProcess, eventually

CONNECTIONS = 10_000


@pytest.fixture
def runtime_server(tmp_path: Path) -> Iterator[ServerProcess]:
    process = ServerProcess(tmp_path, "runtime")
    yield process
    process.stop()


def test_the_runtime_engine_holds_ten_thousand_connections_and_echoes_on_every_one(
    runtime_server: ServerProcess,
) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert hard >= CONNECTIONS + 100, f"this needs a hard limit of {CONNECTIONS + 100} open files"
    port = runtime_server.port("echo")
    with subprocess.Popen(
        [sys.executable, "-m", "tests.server.ten_thousand_clients", str(port), str(CONNECTIONS)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as clients:
        try:
            assert clients.stdin is not None
            assert clients.stdout is not None
            counted = json.loads(clients.stdout.readline())
            held_by_the_server = runtime_server.fds() - runtime_server.idle_fds
            clients.stdin.write("\n")
            clients.stdin.flush()
            assert clients.wait(30) == 0
        finally:
            clients.kill()
    assert counted == {"held": CONNECTIONS, "verified": CONNECTIONS}
    assert held_by_the_server == CONNECTIONS
    assert eventually(runtime_server.is_idle)
