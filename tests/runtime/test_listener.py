"""Listeners: what goes wrong with accept(2) must not stop the next connection from coming."""

import errno
import socket
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, cast

import pytest

import runtime
from runtime import (
    BusyError,
    ClosedError,
    Listener,
    Stream,
    listen,
    listen_unix,
    serve,
    spawn,
    timeout,
)
from runtime.listener import ACCEPT_FULL, ACCEPT_NEXT, BACKLOG
from runtime.testing import FaultyListener

from .harness import PATIENCE, Runner, dial, receive, turns


def test_accept_gives_the_connections_in_order(run: Runner) -> None:
    async def main() -> list[bytes]:
        async with listen("127.0.0.1", 0) as listener:
            clients = [dial(listener) for _ in range(5)]
            got = []
            for n, client in enumerate(clients):
                client.sendall(b"%d" % n)
                async with await listener.accept() as stream:
                    got.append(await stream.recv(10))
                    assert stream.peer_address == client.getsockname()
                client.close()
            return got

    assert run(main) == [b"0", b"1", b"2", b"3", b"4"]


def test_accept_waits_for_a_connection(run: Runner) -> None:
    async def main() -> bytes:
        async with listen("127.0.0.1", 0) as listener:
            assert listener.accept_nowait() is None
            accepting = spawn(cast(Awaitable[Stream], listener.accept()))
            await turns(3)
            assert not accepting.done
            with dial(listener) as client:
                client.sendall(b"hello")
                async with await accepting as stream:
                    return await stream.recv(10)

    assert run(main) == b"hello"


def test_waiting_and_then_accepting_without_waiting(run: Runner) -> None:
    async def main() -> int:
        async with listen("127.0.0.1", 0) as listener:
            waiting = spawn(cast(Awaitable[None], listener.wait()))
            await turns(3)
            clients = [dial(listener) for _ in range(3)]
            await waiting
            count = 0
            while (stream := listener.accept_nowait()) is not None:
                stream.close()
                count += 1
            for client in clients:
                client.close()
            return count

    assert run(main) == 3


@pytest.mark.parametrize("code", sorted(ACCEPT_NEXT), ids=lambda code: errno.errorcode[code])
def test_a_connection_that_died_in_the_backlog_is_passed_over(run: Runner, code: int) -> None:
    async def main() -> bytes:
        async with FaultyListener(code, code) as listener:
            with dial(listener) as client:
                client.sendall(b"alive")
                async with await listener.accept() as stream:
                    return await stream.recv(10)

    assert run(main) == b"alive"


@pytest.mark.parametrize(
    "code",
    [*sorted(ACCEPT_FULL), errno.EBADF, errno.EINVAL],
    ids=lambda code: errno.errorcode[code],
)
def test_other_faults_of_accept_are_told(run: Runner, code: int) -> None:
    async def main() -> int:
        async with FaultyListener(code) as listener:
            with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno is looked at below
                await listener.accept()
            assert caught.value.errno == code
            return listener.calls

    assert run(main) == 1


def test_the_errors_are_sorted_as_other_runtimes_do() -> None:
    full = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
    assert full | {errno.ENOSPC} == ACCEPT_FULL
    assert errno.ECONNABORTED in ACCEPT_NEXT
    assert errno.EPERM in ACCEPT_NEXT
    assert not ACCEPT_NEXT & ACCEPT_FULL
    assert errno.EBADF not in ACCEPT_NEXT | ACCEPT_FULL


def test_a_connection_that_cannot_be_taken_over_is_closed(run: Runner) -> None:
    """What was accepted and then not registered must not stay open without an owner."""

    async def main() -> None:
        async with listen("127.0.0.1", 0) as listener:
            reactor = runtime.task.current_executor().reactor
            real = reactor.register

            def refuse(source: Any) -> None:
                raise OSError(errno.ENOSPC, "no space for one more watch")

            reactor.register = refuse  # type: ignore[method-assign]
            with dial(listener) as client:
                with pytest.raises(OSError, match="one more watch"):
                    await listener.accept()
                reactor.register = real  # type: ignore[method-assign]
                try:
                    end = client.recv(1)
                except ConnectionResetError:
                    end = b""
                assert end == b""

    run(main)


def test_a_second_accept_is_refused_and_the_first_undisturbed(run: Runner) -> None:
    async def main() -> None:
        async with listen("127.0.0.1", 0) as listener:
            accepting = spawn(cast(Awaitable[Stream], listener.accept()))
            await turns(2)
            with pytest.raises(BusyError):
                await listener.accept()
            with pytest.raises(BusyError):
                await listener.wait()
            with dial(listener), timeout(PATIENCE):
                (await accepting).close()

    run(main)


def test_an_accept_that_gave_way_does_not_push_out_another(run: Runner) -> None:
    async def main() -> list[str]:
        async with listen("127.0.0.1", 0) as listener:

            async def accept() -> str:
                try:
                    with timeout(1):
                        (await listener.accept()).close()
                except (BusyError, TimeoutError) as error:
                    return type(error).__name__
                return "accepted"

            runtime.task.current_executor().budget = -1
            tasks = [spawn(accept()), spawn(accept())]
            await turns(4)
            with dial(listener), dial(listener):
                return sorted([await task for task in tasks])

    assert run(main) == ["BusyError", "accepted"]


def test_closing_lets_go_of_an_accept_that_waits(run: Runner) -> None:
    async def main() -> None:
        listener = listen("127.0.0.1", 0)
        accepting = spawn(cast(Awaitable[Stream], listener.accept()))
        await turns(2)
        listener.close()
        listener.close()
        with pytest.raises(ClosedError), timeout(PATIENCE):
            await accepting

    run(main)


def test_nothing_can_be_done_with_a_closed_listener(run: Runner) -> None:
    async def main() -> None:
        listener = listen("127.0.0.1", 0)
        listener.close()
        with pytest.raises(ClosedError):
            listener.accept_nowait()
        with pytest.raises(ClosedError), timeout(1):
            await listener.accept()
        # Waiting would register a number that is somebody else's by now.
        one, other = socket.socketpair()
        with one, other, pytest.raises(ClosedError), timeout(1):
            await listener.wait()
        assert "fd=-1" in repr(listener)

    run(main)


def test_a_flood_of_connections_does_not_starve_the_others(run: Runner) -> None:
    """accept never has to wait here, so it must give way by itself."""
    clients: list[socket.socket] = []

    async def main() -> int:
        most = count = 0
        async with listen("127.0.0.1", 0) as listener:
            clients.extend(dial(listener) for _ in range(300))

            async def other() -> None:
                nonlocal most, count
                while True:
                    most, count = max(most, count), 0
                    await runtime.yield_now()

            spawn(other())
            for _ in range(300):
                (await listener.accept()).close()
                count += 1
        return most

    try:
        assert 100 <= run(main) <= 130
    finally:
        for client in clients:
            client.close()


def test_port_0_is_a_port_of_the_kernels_choice(run: Runner) -> None:
    async def main() -> tuple[int, int]:
        async with listen("127.0.0.1", 0) as one, listen("127.0.0.1", 0) as two:
            return one.address[1], two.address[1]

    one, two = run(main)
    assert 0 < one != two > 0


def test_a_port_in_use_is_an_error_that_leaves_nothing_open(run: Runner) -> None:
    async def main() -> None:
        async with listen("127.0.0.1", 0) as listener:
            with pytest.raises(OSError, match="in use"):
                listen(*listener.address)

    run(main)


def test_two_listeners_share_a_port_if_both_say_so(run: Runner) -> None:
    async def main() -> bool:
        async with (
            listen("127.0.0.1", 0, reuse_port=True) as one,
            listen("127.0.0.1", one.address[1], reuse_port=True) as two,
        ):
            return bool(one.address == two.address)

    assert run(main)


def test_a_unix_listener_echoes_and_leaves_its_path_to_the_caller(
    run: Runner, tmp_path: Path
) -> None:
    path = tmp_path / "socket"

    async def echo(stream: Stream) -> None:
        while data := await stream.recv(100):
            await stream.send_all(data)

    async def main() -> bytes:
        async with listen_unix(str(path)) as listener:
            assert listener.address == str(path)
            with pytest.raises(OSError, match="in use"):
                listen_unix(str(path))
            server = spawn(serve(listener, echo))
            async with await runtime.connect_unix(str(path)) as stream:
                await stream.send_all(b"hello")
                got = await receive(stream, 5)
            listener.close()
            await server
            return got

    assert run(main) == b"hello"
    assert path.exists()


def test_an_accept_that_fails_for_ever_is_told_and_does_not_hang_the_loop(run: Runner) -> None:
    """Such an errno may be no connection's fault: of a socket of another kind, say."""

    async def main() -> None:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("127.0.0.1", 0))
        async with Listener(sock) as listener:
            with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno is looked at below
                await listener.accept()
            assert caught.value.errno == errno.EOPNOTSUPP

    run(main)


def test_as_many_dead_connections_as_a_backlog_holds_are_passed_over(run: Runner) -> None:
    async def main() -> bytes:
        async with FaultyListener(*[errno.ECONNABORTED] * BACKLOG) as listener:
            with dial(listener) as client:
                client.sendall(b"alive")
                async with await listener.accept() as stream:
                    return await stream.recv(10)

    assert run(main) == b"alive"


def test_the_address_of_a_closed_listener_is_a_closed_error(run: Runner) -> None:
    async def main() -> None:
        listener = listen("127.0.0.1", 0)
        listener.close()
        with pytest.raises(ClosedError):
            _ = listener.address

    run(main)


def test_no_host_is_every_ipv4_address(run: Runner) -> None:
    async def main() -> str:
        async with listen(None, 0) as listener:
            return str(listener.address[0])

    assert run(main) == "0.0.0.0"
