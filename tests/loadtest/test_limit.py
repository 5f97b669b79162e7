"""The limit in C: a true echo server, and no reason to fail where it cannot be built."""

import contextlib
import io
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from loadtest.client.addresses import Target
from loadtest.closed_loop.compiled import CannotCompile, compile_c
from loadtest.closed_loop.limit import LIMIT, binary, build, buildable
from loadtest.runs.engine_process import running_engine
from loadtest.runs.progress import Reporter
from loadtest.runs.run_files import RunFiles
from tests.loadtest.harness import PATIENCE

MIB = 1 << 20
needs_compiler = pytest.mark.skipif(
    not any(shutil.which(name) for name in ("cc", "gcc", "clang")), reason="needs a C compiler"
)


class Plan:
    """As much of a plan as starting needs."""

    server_command = ("false",)

    def __init__(self, out: Path) -> None:
        self.out = out


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "raw").mkdir()
    return tmp_path


@pytest.fixture
def limit(out: Path) -> Iterator[Target]:
    """It runs, started as `compare` starts it, and ends with status 0."""
    build(out)
    with running_engine(Plan(out), LIMIT, RunFiles.below(out, LIMIT), frozenset({0})) as engine:
        yield engine.echo
        assert engine.stop() == 0


def connect(target: Target) -> socket.socket:
    return socket.create_connection((target.host, target.port), timeout=PATIENCE)


def receive_all(sock: socket.socket) -> bytes:
    data = bytearray()
    while chunk := sock.recv(MIB):
        data += chunk
    return bytes(data)


@needs_compiler
def test_every_byte_comes_back_also_after_a_half_close(limit: Target) -> None:
    payload = bytes(range(251)) * 65_537
    with connect(limit) as sock:

        def send() -> None:
            sock.sendall(payload)
            sock.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        assert receive_all(sock) == payload
        sender.join()


@needs_compiler
def test_one_that_does_not_read_holds_up_nobody_and_loses_nothing(limit: Target) -> None:
    with connect(limit) as stuck, connect(limit) as other:
        stuck.setblocking(False)
        sent = 0
        with contextlib.suppress(BlockingIOError):
            while sent < 64 * MIB:
                sent += stuck.send(b"x" * 65_536)
        other.sendall(b"hello")
        assert other.recv(5) == b"hello"
        stuck.settimeout(PATIENCE)
        stuck.shutdown(socket.SHUT_WR)
        assert len(receive_all(stuck)) == sent


@needs_compiler
def test_resets_leave_nothing_behind(limit: Target) -> None:
    for _ in range(100):
        with connect(limit) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            sock.sendall(b"x" * 1000)
    with connect(limit) as sock:
        sock.sendall(b"hello")
        assert sock.recv(5) == b"hello"


@needs_compiler
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(out: Path, number: int) -> None:
    build(out)
    with subprocess.Popen([binary(out)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"listening echo 127.0.0.1:")
        process.send_signal(number)
        assert process.wait(PATIENCE) == 0


class TestWithoutIt:
    def test_no_compiler_is_a_note_and_the_others_go_on(
        self, out: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PATH", str(out))
        monkeypatch.delenv("CC", raising=False)
        said = io.StringIO()
        modes = buildable(("runtime", LIMIT), out, Reporter(Console(file=said)))
        assert modes == ("runtime",)
        assert "c-epoll is left out: there is no C compiler; on Debian:" in said.getvalue()

    def test_where_nobody_asks_for_it_nothing_is_built(self, out: Path) -> None:
        said = io.StringIO()
        assert buildable(("runtime",), out, Reporter(Console(file=said))) == ("runtime",)
        assert not binary(out).exists()
        assert said.getvalue() == ""

    @pytest.mark.parametrize(
        ("compiler", "complaint"),
        [
            ("false", "false fails: it does not say why"),
            ("/nowhere/cc", "/nowhere/cc does not run"),
        ],
    )
    def test_a_compiler_that_does_not_work_is_named(
        self, out: Path, monkeypatch: pytest.MonkeyPatch, compiler: str, complaint: str
    ) -> None:
        monkeypatch.setenv("CC", compiler)
        with pytest.raises(CannotCompile, match=complaint):
            build(out)


def test_what_is_compiled_already_needs_no_compiler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in the container image, which has none."""
    monkeypatch.setenv("CC", "false")
    source = tmp_path / "limit.c"
    source.write_text("no C\n")
    ready = tmp_path / "limit"
    ready.write_text("#!/bin/sh\nexit 7\n")
    ready.chmod(0o755)
    compile_c(source, tmp_path / "made")
    assert subprocess.run([tmp_path / "made"], check=False).returncode == 7
