"""Connecting: it ends in a stream or in an error, and never in a descriptor left open."""

import errno
import os
import socket
from pathlib import Path
from typing import Any

import pytest

import runtime
from runtime import BrokenError, connect, connect_unix, move_on_after, spawn, timeout

from .harness import Runner, receive, turns

Address = tuple[int, Any]


def resolve_to(monkeypatch: pytest.MonkeyPatch, *found: Address) -> None:
    """Names now have these addresses (family and address)."""

    def getaddrinfo(host: str, port: int, *_: Any, flags: int = 0, **__: Any) -> list[Any]:
        if flags & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "not a number")
        return [(family, socket.SOCK_STREAM, 0, "", address) for family, address in found]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


def closed_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


async def exchange(listener: runtime.Listener, stream: runtime.Stream) -> bytes:
    async with stream, await listener.accept() as accepted:
        await stream.send_all(b"hello")
        return await receive(accepted, 5)


def test_connecting_by_address(run: Runner) -> None:
    async def main() -> bytes:
        async with runtime.listen("127.0.0.1", 0) as listener:
            return await exchange(listener, await connect(*listener.address))

    assert run(main) == b"hello"


def test_connecting_by_name(run: Runner) -> None:
    async def main() -> bytes:
        async with runtime.listen("127.0.0.1", 0) as listener:
            return await exchange(listener, await connect("localhost", listener.address[1]))

    assert run(main) == b"hello"


def test_connections_have_nagles_delay_off_on_both_sides(run: Runner) -> None:
    async def main() -> list[int]:
        async with runtime.listen("127.0.0.1", 0) as listener:
            stream = await connect(*listener.address)
            async with stream, await listener.accept() as accepted:
                return [
                    side.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
                    for side in (stream, accepted)
                ]

    assert all(run(main))


def test_a_refused_connection_is_an_error_with_errno(run: Runner) -> None:
    port = closed_port()

    async def main() -> None:
        with pytest.raises(OSError, match="refused") as caught, timeout(5):
            await connect("127.0.0.1", port)
        assert caught.value.errno == errno.ECONNREFUSED

    run(main)


def test_a_name_that_does_not_resolve_is_an_os_error(run: Runner) -> None:
    async def main() -> None:
        with pytest.raises(OSError):  # noqa: PT011 - the resolver words it
            await connect("name.invalid", 80)

    run(main)


def test_each_address_of_a_name_is_tried_and_each_failure_told(
    run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    ports = [closed_port() for _ in range(3)]
    resolve_to(monkeypatch, *[(socket.AF_INET, ("127.0.0.1", port)) for port in ports])

    async def main() -> None:
        with pytest.raises(ConnectionRefusedError) as caught, timeout(5):
            await connect("several", 1)
        assert len(caught.value.__notes__) >= 1
        story = str(caught.value) + "".join(caught.value.__notes__)
        assert str(ports[2]) in str(caught.value)
        assert str(ports[1]) in story

    run(main)


def test_the_second_address_is_taken_if_the_first_fails(
    run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> bytes:
        async with runtime.listen("127.0.0.1", 0) as listener:
            refusing = (socket.AF_INET, ("127.0.0.1", closed_port()))
            resolve_to(monkeypatch, refusing, (socket.AF_INET, listener.address))
            return await exchange(listener, await connect("several", 1))

    assert run(main) == b"hello"


def test_an_address_family_that_the_kernel_lacks_is_passed_over(
    run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with ::1 where IPv6 is switched off."""

    async def main() -> bytes:
        async with runtime.listen("127.0.0.1", 0) as listener:
            resolve_to(monkeypatch, (12_345, ("nowhere", 1)), (socket.AF_INET, listener.address))
            return await exchange(listener, await connect("both", 1))

    assert run(main) == b"hello"


def full_listener() -> tuple[socket.socket, list[socket.socket]]:
    """A listening socket whose backlog is full: a connect to it gets no answer."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=0)
    clients = []
    for _ in range(4):
        client = socket.socket()
        client.setblocking(False)
        client.connect_ex(listening.getsockname())
        clients.append(client)
    return listening, clients


def test_a_cancelled_connect_closes_its_descriptor(run: Runner) -> None:
    listening, clients = full_listener()

    async def main() -> bool:
        before = set(os.listdir("/proc/self/fd"))
        with move_on_after(0.02) as scope:
            await connect(*listening.getsockname())
        assert set(os.listdir("/proc/self/fd")) == before
        return scope.cancelled_caught

    try:
        assert run(main)
    finally:
        for sock in (listening, *clients):
            sock.close()


def test_a_spurious_wake_up_is_no_connection(run: Runner) -> None:
    listening, clients = full_listener()

    async def main() -> bool:
        connecting = spawn(connect(*listening.getsockname()))
        for _ in range(3):
            await turns(1)
            connecting.wake()
        await turns(2)
        waits = not connecting.done
        connecting.cancel()
        await turns(2)
        return waits

    try:
        assert run(main)
    finally:
        for sock in (listening, *clients):
            sock.close()


def test_connecting_to_a_unix_socket(run: Runner, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")

    async def main() -> bytes:
        async with runtime.listen_unix(path) as listener:
            return await exchange(listener, await connect_unix(path))

    assert run(main) == b"hello"


def test_a_unix_socket_nobody_listens_on_is_an_error(run: Runner, tmp_path: Path) -> None:
    async def main() -> None:
        with pytest.raises(FileNotFoundError):
            await connect_unix(str(tmp_path / "nothing"))
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(str(tmp_path / "deaf"))
            with pytest.raises(ConnectionRefusedError):
                await connect_unix(str(tmp_path / "deaf"))

    run(main)


def test_a_unix_socket_with_a_full_backlog_gives_no_stream_that_is_not_connected(
    run: Runner, tmp_path: Path
) -> None:
    """connect(2) says EAGAIN there, and the socket then polls as writable all the same."""
    path = str(tmp_path / "socket")
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(path)
    listening.listen(0)

    async def main() -> list[str]:
        seen = []
        for _ in range(4):
            try:
                with timeout(0.02):
                    stream = await connect_unix(path)
            except (OSError, TimeoutError):
                seen.append("refused or waited")
            else:
                async with stream:
                    try:
                        await stream.send_all(b"x")
                    except BrokenError:
                        seen.append("not connected")
                    else:
                        seen.append("connected")
        return seen

    with listening:
        seen = run(main)
    assert "not connected" not in seen
    assert "connected" in seen


def test_many_connects_at_once(run: Runner) -> None:
    async def main() -> int:
        async with runtime.listen("127.0.0.1", 0) as listener:

            async def one(n: int) -> bool:
                stream = await connect(*listener.address)
                async with stream:
                    message = b"%04d" % n
                    await stream.send_all(message)
                    return await receive(stream, 4) == message

            async def echo(stream: runtime.Stream) -> None:
                await stream.send_all(await stream.recv(100))

            server = spawn(runtime.serve(listener, echo))
            results = await runtime.join_all(one(n) for n in range(100))
            listener.close()
            await server
            return sum(results)

    assert run(main) == 100


def test_a_connect_that_fails_leaves_the_loop_as_it_was(run: Runner) -> None:
    port = closed_port()

    async def main() -> int:
        for _ in range(20):
            with pytest.raises(ConnectionRefusedError):
                await connect("127.0.0.1", port)
        await turns(3)
        selector = runtime.task.current_executor().reactor.selector
        return len(selector.get_map())

    assert run(main) == 1  # the pipe
