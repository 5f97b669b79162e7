"""Who ends its side still gets everything back, and then the end: directly and through others.

Real programs rely on it (``nc -N``, ``socat``, a proxy that passes an end of stream on), and it is
lost easily: by a server that closes when it has read the end, with the last answer still to send.
"""

import contextlib
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.conftest import Start
from tests.server.harness import TIMEOUT, eventually
from tests.torture.client import Client
from tests.torture.conftest import Figures, Scale
from tests.torture.payload import payload

pytestmark = pytest.mark.item(6)

SIZE = 16 << 20


def program(name: str) -> str:
    """Where a program is; without it the test is skipped, and says what is missing."""
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin")
    if found is None:
        pytest.skip(f"needs {name}, which is not installed")
    return found


def not_whole(port: int, count: int) -> int:
    """How many of so many clients did not get all of it back."""
    with Client("halves", port=port, count=count, size=SIZE) as halves:
        counted = halves.hear(30 + count)
    assert counted["tried"] == count
    return count - int(counted["whole"])


def test_everything_comes_back_and_then_the_end(
    start: Start, scale: Scale, figure: Figures
) -> None:
    server = start()
    figure("16 MiB and FIN: not all back", not_whole(server.port("echo"), scale(2, 1000)))
    assert eventually(server.is_idle)


def test_everything_comes_back_to_socat(
    start: Start, scale: Scale, figure: Figures, tmp_path: Path
) -> None:
    socat = program("socat")
    server = start()
    sent = tmp_path / "sent"
    sent.write_bytes(payload(1, 0, SIZE))
    missed = 0
    for _ in range(scale(1, 20)):
        with sent.open("rb") as stdin:
            done = subprocess.run(
                [socat, "-t", "30", "-", f"TCP:127.0.0.1:{server.port('echo')}"],
                stdin=stdin,
                capture_output=True,
                timeout=60,
                check=False,
            )
        assert done.stderr == b""
        missed += done.stdout != sent.read_bytes()
    figure("16 MiB and FIN through socat: not all back", missed)
    assert eventually(server.is_idle)


def test_everything_comes_back_through_haproxy(
    start: Start, scale: Scale, figure: Figures, tmp_path: Path
) -> None:
    haproxy = program("haproxy")
    server = start()
    with proxied(haproxy, server.port("echo"), tmp_path) as port:
        missed = not_whole(port, scale(1, 100))
    figure("16 MiB and FIN through HAProxy: not all back", missed)
    assert eventually(server.is_idle)


@contextlib.contextmanager
def proxied(haproxy: str, port: int, directory: Path) -> Iterator[int]:
    """The port of an HAProxy that passes TCP on to a port, both directions apart."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        config = directory / "haproxy.cfg"
        config.write_text(
            "global\n"
            "  maxconn 200\n"
            # With epoll or poll, HAProxy 2.6 takes a short read beside a hang-up for the end of the
            # stream, and drops what stood behind it: 22 of 400 of these before any echo server.
            "  noepoll\n"
            "  nopoll\n"
            "defaults\n"
            "  mode tcp\n"
            "  timeout connect 5s\n"
            "  timeout client 30s\n"
            "  timeout server 30s\n"
            "listen echo\n"
            f"  bind fd@{listener.fileno()}\n"
            f"  server c10k 127.0.0.1:{port}\n"
        )
        # HAProxy takes the socket over, so the port is ours from the beginning.
        run = [haproxy, "-db", "-f", str(config)]
        checked = subprocess.run(
            [*run, "-c"],
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
            pass_fds=[listener.fileno()],
        )
        assert checked.returncode == 0, checked.stderr
        log = directory / "haproxy.log"
        with log.open("wb") as out:
            process = subprocess.Popen(run, stdout=out, stderr=out, pass_fds=[listener.fileno()])
        try:
            yield int(listener.getsockname()[1])
            assert process.poll() is None, log.read_text()
        finally:
            process.terminate()
            process.wait(TIMEOUT)
