"""Connecting: it ends in a stream or in an error, and never in a descriptor left open."""

import errno
import os
import socket
import threading
from enum import IntEnum
from importlib import import_module
from typing import Any, cast

import pytest

import runtime
from runtime import (
    TaskCancelled,
    connect,
    getaddrinfo,
    listen,
    move_on_after,
    sleep,
    spawn,
    timeout,
)
from runtime.testing.leaks import open_descriptors

from .harness import PATIENCE, Runner, receive, turns

module = import_module("runtime.connect")

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
    port = closed_port()
    hosts = ["127.0.0.1", "127.0.0.2", "127.0.0.3"]
    resolve_to(monkeypatch, *[(socket.AF_INET, (host, port)) for host in hosts])

    async def main() -> None:
        with pytest.raises(ConnectionRefusedError) as caught, timeout(5):
            await connect("several", port)
        assert f"several port {port}" in str(caught.value)
        for host in hosts:
            assert f"{host}: Connection refused" in str(caught.value)

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


def test_cancelling_two_attempts_under_way_closes_both(
    run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    (one, some), (other, more) = full_listener(), full_listener()
    addresses = [(socket.AF_INET, sock.getsockname()) for sock in (one, other)]
    resolve_to(monkeypatch, *addresses)
    monkeypatch.setattr(module, "ATTEMPT_DELAY", 0.001)

    async def main() -> int:
        before = open_descriptors()
        connecting = spawn(connect("several", 1))
        while len(open_descriptors()) < len(before) + 2:
            await sleep(0.001)
        connecting.cancel()
        with pytest.raises(TaskCancelled):
            await connecting
        return len(open_descriptors()) - len(before)

    try:
        assert run(main) <= 0  # the threads of the lookup have no descriptors
    finally:
        for sock in (one, other, *some, *more):
            sock.close()


def test_cancelling_the_lookup_leaves_nothing(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    def getaddrinfo(*_: Any, flags: int = 0) -> list[Any]:
        if flags & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "not a number")
        release.wait(PATIENCE)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    async def main() -> None:
        with pytest.raises(
            TimeoutError,
            match=r"cannot connect to slow port 7 within 0.005 seconds: still looking the name up",
        ):
            await connect("slow", 7, timeout=0.005)

    run(main)
    release.set()


class SlowSocket(socket.socket):
    """Says that the connect is under way, as over a real network, and how it ended later on."""

    end = 0

    def connect(self, address: Any) -> None:
        if self.connect_ex(address) not in (0, errno.EINPROGRESS, errno.ECONNREFUSED):
            raise AssertionError("unexpected")
        raise BlockingIOError(errno.EINPROGRESS, "Operation now in progress")

    def getsockopt(self, level: int, option: int, *rest: Any) -> Any:
        if option == socket.SO_ERROR:
            return self.end
        return super().getsockopt(level, option, *rest)


@pytest.mark.parametrize("end", [0, errno.ECONNREFUSED, errno.ETIMEDOUT, errno.EHOSTUNREACH])
def test_a_connect_that_is_under_way_ends_as_so_error_says(
    run: Runner, monkeypatch: pytest.MonkeyPatch, end: int
) -> None:
    monkeypatch.setattr(socket, "socket", SlowSocket)
    monkeypatch.setattr(SlowSocket, "end", end)

    async def main() -> None:
        async with runtime.listen("127.0.0.1", 0) as listener:
            if not end:
                assert await exchange(listener, await connect(*listener.address)) == b"hello"
                return
            with pytest.raises(OSError, match=os.strerror(end)) as caught, timeout(5):
                await connect(*listener.address)
            assert caught.value.errno == end

    run(main)


def test_no_descriptor_for_a_connect_is_told_with_its_errno(
    run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_socket(*_: Any) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    async def main() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(socket, "socket", no_socket)
            with pytest.raises(OSError, match="Too many open files") as caught:
                await connect("127.0.0.1", 80)
        assert caught.value.errno == errno.EMFILE

    run(main)


@pytest.mark.parametrize(("host", "local"), [("127.0.0.1", "127.0.0.5"), ("::1", "::1")])
def test_a_connection_comes_from_the_local_address(run: Runner, host: str, local: str) -> None:
    async def main() -> str:
        async with runtime.listen(host, 0) as listener:
            port = listener.address[1]
            stream = await connect(host, port, local_address=local)
            async with stream, await listener.accept() as accepted:
                return str(accepted.peer_address[0])

    assert run(main) == local


def test_with_a_local_address_only_its_family_is_looked_up(
    run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    real = socket.getaddrinfo

    def getaddrinfo(host: str, port: int, family: int, *_: int, flags: int) -> Any:
        asked.append(family)
        return real("127.0.0.1", port, type=socket.SOCK_STREAM)

    async def main() -> None:
        async with runtime.listen("127.0.0.1", 0) as listener:
            monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
            (await connect("name", listener.address[1], local_address="127.0.0.1")).close()

    run(main)
    assert asked == [socket.AF_UNSPEC, socket.AF_INET]


def test_a_local_address_of_another_machine_is_an_error(run: Runner) -> None:
    async def main() -> None:
        with pytest.raises(OSError, match="Cannot assign") as caught:
            await connect("127.0.0.1", 80, local_address="203.0.113.1")
        assert caught.value.errno == errno.EADDRNOTAVAIL
        with pytest.raises(socket.gaierror, match="'localhost'"):
            await connect("127.0.0.1", 80, local_address="localhost")

    run(main)


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


class Port(IntEnum):
    """Ports with names; getaddrinfo takes them for no integers."""

    NOWHERE = 1


def test_a_port_may_be_any_integer_and_nothing_else(run: Runner) -> None:
    async def main() -> None:
        for host in "127.0.0.1", "localhost":
            with pytest.raises(ConnectionRefusedError):
                await connect(host, Port.NOWHERE)
            for port in "80", 80.0, None, b"80":
                with pytest.raises(TypeError, match="integer"):
                    await connect(host, cast(Any, port))
        with pytest.raises(TypeError, match="integer"):
            listen("127.0.0.1", cast(Any, 80.0))
        with pytest.raises(TypeError, match="integer"):
            await getaddrinfo("127.0.0.1", cast(Any, 80.0))

    run(main)
