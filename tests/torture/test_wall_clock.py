"""The wall clock jumps, by a day or by thirty years, and nothing moves but the log's timestamps.

libfaketime sets the clock of the server alone, by a file that it reads at each look. The monotonic
clock it leaves as it is, as the kernel does when somebody sets the time.
"""

import ast
import contextlib
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import runtime
import server
from tests.server.conftest import Start
from tests.server.harness import receive, receive_line
from tests.torture.conftest import Figures, Scale

pytestmark = pytest.mark.item(21)

LIBRARY = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))), None)

JUMPS = ("+1d", "-1d", "+30y", "-3600", "-10y", "+0.5")

WALL_CLOCK = {"time", "time_ns", "localtime", "gmtime", "ctime", "asctime", "strftime"}


def readers_of_the_wall_clock() -> Iterator[tuple[str, str]]:
    """The files of the runtime and the server that name one of its functions, and which."""
    for package in (runtime, server):
        for root in package.__path__:
            for file in sorted(Path(root).rglob("*.py")):
                for node in ast.walk(ast.parse(file.read_bytes())):
                    for name in wall_clock_names(node):
                        yield file.name, name


def wall_clock_names(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Attribute(value=ast.Name(id="time"), attr=name) if name in WALL_CLOCK:
            yield name
        case ast.ImportFrom(module="time", names=names):
            yield from (each.name for each in names if each.name in WALL_CLOCK)
        case ast.ImportFrom(module="datetime"):
            yield "datetime"
        case ast.Import(names=names):
            yield from (each.name for each in names if each.name == "datetime")


def test_nothing_but_the_log_names_the_wall_clock() -> None:
    # Nor does the log read it: what it formats is when the event was, as logging has noted.
    assert set(readers_of_the_wall_clock()) <= {
        ("log_format.py", "gmtime"),
        ("log_format.py", "strftime"),
    }


class WallClock:
    """The wall clock of the servers that are started from now on."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.jump("+0")

    def jump(self, offset: str) -> None:
        """Have it differ so much from the real one; a suffix of ``d`` or ``y`` is the unit."""
        new = self._file.with_suffix(".new")
        new.write_text(offset)
        os.replace(new, self._file)


@pytest.fixture
def wall_clock(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> WallClock:
    if LIBRARY is None:
        pytest.skip("needs libfaketime")
    file = tmp_path / "offset"
    monkeypatch.setenv("LD_PRELOAD", str(LIBRARY))
    monkeypatch.setenv("FAKETIME_TIMESTAMP_FILE", str(file))
    monkeypatch.setenv("FAKETIME_NO_CACHE", "1")
    monkeypatch.setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1")
    return WallClock(file)


def test_jumps_of_the_wall_clock_end_and_delay_nothing(
    wall_clock: WallClock, start: Start, scale: Scale, figure: Figures
) -> None:
    server = start("--line-timeout", "60")
    early, late = 0, 0.0
    with contextlib.ExitStack() as stack:
        echo, sleep, in_line, idle = (
            stack.enter_context(server.connect(name)) for name in ("echo", "sleep", "sleep", "echo")
        )
        in_line.sendall(b"0.0")
        for _ in range(scale(1, 25)):
            for offset in JUMPS:
                asked = time.monotonic()
                sleep.sendall(b"0.05\n")
                ask(echo)  # now the sleep has begun, too
                wall_clock.jump(offset)
                ask(echo)
                assert receive_line(sleep) == b"0.05\n"
                took = time.monotonic() - asked
                early += took < 0.045  # libuv counts in whole milliseconds
                late = max(late, took - 0.05)
        wall_clock.jump("+30y")
        in_line.sendall(b"\n")
        assert receive_line(in_line) == b"0.0\n"
        ask(idle)
    figure("sleeps that ended early", early)
    figure("sleeps that ended late by, at most", late * 1000)
    server.stop()
    year = time.gmtime().tm_year
    assert server.log().splitlines()[-1].startswith(f"{year + 30}-")  # the clock was set indeed


def ask(sock: socket.socket) -> None:
    sock.sendall(b"ping")
    assert receive(sock, 4) == b"ping"
