"""Unix sockets: paths, abstract names, backlogs that are full, and files that were left behind."""

import errno
import os
import socket
from importlib import import_module
from itertools import pairwise
from math import inf
from pathlib import Path

import pytest

import runtime
from runtime import Stream, connect_unix, listen_unix, now, spawn, timeout
from runtime.testing import VirtualClock

from .harness import Runner, receive, turns

module = import_module("runtime.connect")


async def exchange(listener: runtime.Listener, stream: Stream) -> bytes:
    async with stream, await listener.accept() as accepted:
        await stream.send_all(b"hello")
        return await receive(accepted, 5)


@pytest.mark.parametrize("kind", [str, os.fsencode, Path])
def test_connecting_to_a_path(run: Runner, tmp_path: Path, kind: type) -> None:
    path = kind(tmp_path / "socket")

    async def main() -> bytes:
        async with listen_unix(path) as listener:
            return await exchange(listener, await connect_unix(path))

    assert run(main) == b"hello"


def test_an_abstract_name_leaves_no_file_and_is_free_again(run: Runner) -> None:
    name = f"\0c10k-test-{os.getpid()}"

    async def main() -> list[bytes]:
        got = []
        for _ in range(2):
            async with listen_unix(name) as listener:
                assert listener.address == os.fsencode(name)
                got.append(await exchange(listener, await connect_unix(name.encode())))
        with pytest.raises(ConnectionRefusedError):
            await connect_unix(name)
        return got

    assert run(main) == [b"hello", b"hello"]


@pytest.mark.parametrize("name", ["\0name", b"\0name"])
def test_an_abstract_name_where_there_are_none_is_refused(
    run: Runner, monkeypatch: pytest.MonkeyPatch, name: str | bytes
) -> None:
    monkeypatch.setattr("sys.platform", "darwin")

    async def main() -> None:
        with pytest.raises(ValueError, match="which only Linux has"):
            listen_unix(name)
        with pytest.raises(ValueError, match="which only Linux has"):
            await connect_unix(name)

    selector = run.selector_class()
    with selector:
        runtime.run(main(), selector=selector)


def test_an_empty_path_is_refused(run: Runner) -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match="cannot be empty"):
            listen_unix("")
        with pytest.raises(ValueError, match="cannot be empty"):
            await connect_unix(b"")

    run(main)


def test_a_path_that_is_too_long_is_refused(run: Runner, tmp_path: Path) -> None:
    path = tmp_path / ("x" * 200)

    async def main() -> None:
        with pytest.raises(OSError, match="too long"):
            listen_unix(path)
        with pytest.raises(OSError, match="too long"):
            await connect_unix(path)

    run(main)


def test_a_path_nobody_listens_on_is_an_error_that_names_it(run: Runner, tmp_path: Path) -> None:
    async def main() -> None:
        with pytest.raises(FileNotFoundError, match=r"Unix socket '.*/nothing': No such file"):
            await connect_unix(tmp_path / "nothing")
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(str(tmp_path / "deaf"))
            with pytest.raises(ConnectionRefusedError, match=r"/deaf': Connection refused"):
                await connect_unix(tmp_path / "deaf")

    run(main)


def test_a_socket_file_that_was_left_behind_is_an_error_with_the_remedy(
    run: Runner, tmp_path: Path
) -> None:
    path = tmp_path / "socket"

    async def main() -> None:
        listen_unix(path).close()
        with pytest.raises(OSError, match=r"/socket' is in use, or left behind.*remove") as caught:
            listen_unix(path)
        assert caught.value.errno == errno.EADDRINUSE
        path.unlink()
        listen_unix(path).close()
        with pytest.raises(FileNotFoundError):
            listen_unix(tmp_path / "no directory" / "socket")

    run(main)


@pytest.fixture
def full(tmp_path: Path) -> socket.socket:
    """A listening socket with room for one connection."""
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(tmp_path / "full"))
    sock.listen(0)
    return sock


def test_a_backlog_that_is_full_is_waited_for(run: Runner, full: socket.socket) -> None:
    """connect(2) says EAGAIN there, and the socket then polls as writable all the same."""

    async def main() -> bytes:
        with full:
            async with await connect_unix(full.getsockname()):
                waiting = spawn(connect_unix(full.getsockname()))
                await turns(3)
                assert not waiting.done
                full.accept()[0].close()
                async with await waiting as stream:
                    accepted, _ = full.accept()
                    with accepted:
                        await stream.send_all(b"hello")
                        return accepted.recv(10)

    assert run(main, clock=VirtualClock()) == b"hello"


def test_a_backlog_that_stays_full_is_a_timeout_and_no_busy_loop(
    run: Runner, full: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    dialled: list[float] = []
    dial = module._dial

    async def count(target: object) -> Stream:
        dialled.append(now())
        stream: Stream = await dial(target)
        return stream

    monkeypatch.setattr(module, "_dial", count)

    async def main() -> float:
        with full:
            async with await connect_unix(full.getsockname()):
                with pytest.raises(
                    TimeoutError, match=r"/full': its backlog was full for 2 seconds"
                ):
                    await connect_unix(full.getsockname(), timeout=2)
        return now()

    assert run(main, clock=VirtualClock()) == 2
    waits = [after - before for before, after in pairwise(dialled[1:])]
    assert waits[:4] == pytest.approx([0.001, 0.002, 0.004, 0.008])
    assert max(waits) == pytest.approx(0.1)
    assert len(dialled) < 40


def test_waiting_for_a_backlog_can_be_without_limit_and_cancelled(
    run: Runner, full: socket.socket
) -> None:
    async def main() -> bool:
        with full:
            async with await connect_unix(full.getsockname()):
                with pytest.raises(TimeoutError, match="not done within"), timeout(300):
                    await connect_unix(full.getsockname(), timeout=inf)
                with pytest.raises(TimeoutError, match=r"for 60.0 seconds"):
                    await connect_unix(full.getsockname())
                return now() == 360

    assert run(main, clock=VirtualClock())
