"""Datagrams: whole, with their address, never cut in silence; an error leaves the endpoint good."""

import errno
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

import runtime
from runtime import (
    BusyError,
    CancelScope,
    ClosedError,
    UdpEndpoint,
    getaddrinfo,
    move_on_after,
    spawn,
    timeout,
    udp_endpoint,
)
from runtime.executor import BUDGET
from runtime.testing import VirtualClock

from .harness import Runner, turns

HOST = "127.0.0.1"


@asynccontextmanager
async def client_and_server() -> AsyncIterator[tuple[UdpEndpoint, UdpEndpoint]]:
    """One that talks to the other alone, and the other, which talks to anybody."""
    async with (
        await udp_endpoint((HOST, 0)) as server,
        await udp_endpoint(remote_address=server.address) as client,
    ):
        yield client, server


def datagram_pair() -> tuple[UdpEndpoint, UdpEndpoint]:
    """Unix datagram sockets: there the kernel's "no room now" is easily had."""
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    return UdpEndpoint(one), UdpEndpoint(other)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_datagrams_come_whole_with_their_address(run: Runner, host: str) -> None:
    async def main() -> None:
        async with (
            await udp_endpoint((host, 0)) as one,
            await udp_endpoint((host, 0)) as other,
        ):
            for data in (b"first", b"second", bytes(60_000)):
                await one.send_to(data, other.address)
            for data in (b"first", b"second", bytes(60_000)):
                assert await other.recv_from() == (data, one.address)
            assert one.remote_address is None

    run(main)


def test_an_endpoint_with_a_remote_address_sends_and_receives_without_one(run: Runner) -> None:
    async def main() -> None:
        async with client_and_server() as (client, server):
            assert client.remote_address == server.address
            await client.send(memoryview(b"ping"))
            data, address = await server.recv_from(10)
            assert (data, address) == (b"ping", client.address)
            await server.send_to(bytearray(b"pong"), address)
            assert await client.recv() == b"pong"

    run(main)


def test_with_a_remote_address_datagrams_from_elsewhere_do_not_come(run: Runner) -> None:
    async def main() -> bytes:
        async with client_and_server() as (client, server), await udp_endpoint((HOST, 0)) as third:
            await third.send_to(b"spoofed", client.address)
            await server.send_to(b"right", client.address)
            return await client.recv()

    assert run(main) == b"right"


def test_both_addresses_and_a_name(run: Runner) -> None:
    async def main() -> tuple[str, str]:
        async with await udp_endpoint(("127.0.0.1", 0)) as server:
            port = server.address[1]
            async with await udp_endpoint(("127.0.0.7", 0), ("localhost", port)) as client:
                await client.send(b"x")
                _, address = await server.recv_from()
                return address[0], client.remote_address[0]

    assert run(main) == ("127.0.0.7", "127.0.0.1")


def test_a_receiver_waits_for_a_datagram(run: Runner) -> None:
    async def main() -> bytes:
        async with client_and_server() as (client, server):
            reader = spawn(server.recv())
            await turns(3)
            assert not reader.done
            for _ in range(3):
                reader.wake()
                await turns(1)
            assert not reader.done
            await client.send(b"late")
            with timeout(5):
                return await reader

    assert run(main) == b"late"


def test_every_datagram_of_a_burst_is_received_though_there_was_one_event(run: Runner) -> None:
    async def main() -> list[bytes]:
        async with client_and_server() as (client, server):
            reader = spawn(server.recv())
            await turns(3)
            for n in range(5):
                await client.send(b"%d" % n)
            with timeout(5):
                return [await reader, *[await server.recv() for _ in range(4)]]

    assert run(main) == [b"0", b"1", b"2", b"3", b"4"]


def test_an_empty_datagram_is_data_and_no_end(run: Runner) -> None:
    async def main() -> list[bytes]:
        async with client_and_server() as (client, server):
            for data in (b"", b"after", b""):
                await client.send(data)
            got = [await server.recv() for _ in range(3)]
            await server.send_to(b"", client.address)
            return [*got, await client.recv(1)]

    assert run(main) == [b"", b"after", b"", b""]


def test_a_datagram_that_does_not_fit_is_an_error_and_the_next_one_comes(run: Runner) -> None:
    async def main() -> None:
        async with client_and_server() as (client, server):
            for data in (b"12345", b"123456", b"12345"):
                await client.send(data)
            assert await server.recv(5) == b"12345"
            port = client.address[1]
            with pytest.raises(
                OSError, match=rf"from \('127.0.0.1', {port}\) was longer than 5 bytes and is lost"
            ) as caught:
                await server.recv(5)
            assert caught.value.errno == errno.EMSGSIZE
            assert await server.recv(5) == b"12345"

    run(main)


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_below_1_is_refused(run: Runner, limit: int) -> None:
    async def main() -> bytes:
        async with client_and_server() as (client, server):
            await client.send(b"x")
            with pytest.raises(ValueError, match="give 1 or more"):
                await server.recv_from(limit)
            return await server.recv()

    assert run(main) == b"x"


def test_a_datagram_that_is_too_long_is_the_kernels_error(run: Runner) -> None:
    async def main() -> None:
        async with client_and_server() as (client, server):
            with pytest.raises(OSError, match="too long") as caught:
                await client.send(bytes(70_000))
            assert caught.value.errno == errno.EMSGSIZE
            with pytest.raises(OSError, match="too long"):
                await server.send_to(bytes(70_000), client.address)

    run(main)


@pytest.mark.parametrize("by", ["a receive under way", "a receive", "a send"])
def test_a_refusal_is_told_once_and_the_endpoint_is_good_afterwards(run: Runner, by: str) -> None:
    async def main() -> bytes:
        async with await udp_endpoint((HOST, 0)) as gone:
            address = gone.address
        async with await udp_endpoint(remote_address=address) as client:

            async def refused() -> None:
                operation = client.send(b"again") if by == "a send" else client.recv()
                text = rf"nobody receives on \('{HOST}', {address[1]}\)"
                with pytest.raises(ConnectionRefusedError, match=text), timeout(5):
                    await operation

            if by == "a receive under way":
                telling = spawn(refused())
                await turns(3)
                await client.send(b"anybody there?")
                await telling
            else:
                await client.send(b"anybody there?")
                await refused()
            async with await udp_endpoint(address) as back:
                await client.send(b"hello")
                assert await back.recv() == b"hello"
                await back.send_to(b"welcome", client.address)
                with timeout(5):
                    return await client.recv()

    assert run(main) == b"welcome"


def test_a_refusal_that_nobody_waits_for_is_no_busy_loop(run: Runner) -> None:
    async def main() -> None:
        async with await udp_endpoint((HOST, 0)) as gone:
            address = gone.address
        async with await udp_endpoint(remote_address=address) as client:
            await client.send(b"anybody there?")
            await runtime.sleep(0.02)

    run(main)
    assert run.polls < 15


def test_a_send_waits_while_the_kernel_has_no_room(run: Runner) -> None:
    async def main() -> int:
        one, other = datagram_pair()
        async with one, other:
            count = 0
            with move_on_after(5):
                while True:
                    await one.send(bytes(1000))
                    count += 1
            waiting = spawn(one.send(b"last"))
            await turns(3)
            assert not waiting.done
            for _ in range(count):
                assert await other.recv() == bytes(1000)
            assert await other.recv() == b"last"
            await waiting
            return count

    assert run(main, clock=VirtualClock()) > 1
    assert run.polls < 200


class FullOnce(socket.socket):
    """A socket for which the kernel has no room at the first try."""

    tried = 0

    def sendto(self, *arguments: Any) -> int:
        self.tried += 1
        if self.tried == 1:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        return super().sendto(*arguments)


def test_a_send_to_an_address_waits_for_room_too(run: Runner) -> None:
    async def main() -> bytes:
        sock = FullOnce(socket.AF_INET, socket.SOCK_DGRAM)
        async with UdpEndpoint(sock) as client, await udp_endpoint((HOST, 0)) as server:
            with timeout(5):
                await client.send_to(b"in the end", server.address)
                return await server.recv()

    assert run(main) == b"in the end"


@pytest.mark.parametrize("host", ["localhost", "", "::1", "<broadcast>"])
def test_a_name_to_send_to_is_refused_because_looking_it_up_would_block(
    run: Runner, host: str
) -> None:
    async def main() -> None:
        async with await udp_endpoint((HOST, 0)) as endpoint:
            with pytest.raises(ValueError, match="is no numeric address"):
                await endpoint.send_to(b"x", (host, 7))

    run(main)


def test_an_address_with_a_zone_is_numeric(run: Runner) -> None:
    """As datagrams from link-local addresses have it; the zone's number stands beside it."""

    async def main() -> bytes:
        async with await udp_endpoint(("::1", 0)) as one, await udp_endpoint(("::1", 0)) as other:
            await one.send_to(b"x", ("::1%lo", *other.address[1:]))
            return await other.recv()

    assert run(main) == b"x"


def test_a_zone_whose_number_does_not_stand_beside_it_is_refused_and_not_forgotten(
    run: Runner,
) -> None:
    async def main() -> None:
        async with await udp_endpoint(("::1", 0)) as endpoint:
            for address in ("fe80::1%lo", 9), ("fe80::1%lo", 9, 0):
                with pytest.raises(ValueError, match="zone 'lo'"):
                    await endpoint.send_to(b"x", address)

    run(main)


def test_sending_without_any_address_is_the_kernels_error(run: Runner) -> None:
    async def main() -> None:
        async with await udp_endpoint((HOST, 0)) as endpoint:
            with pytest.raises(OSError, match="Destination address required"):
                await endpoint.send(b"x")

    run(main)


def test_one_receiver_and_one_sender_at_a_time(run: Runner) -> None:
    async def main() -> None:
        one, other = datagram_pair()
        async with one, other:
            reader = spawn(one.recv())
            await turns(2)
            with pytest.raises(BusyError, match="one reader"):
                await one.recv()
            with pytest.raises(BusyError, match="one reader"):
                await one.recv_from()
            await other.send(b"x")
            assert await reader == b"x"
            with move_on_after(5):
                while True:
                    await one.send(bytes(1000))
            writer = spawn(one.send(b"y"))
            await turns(2)
            with pytest.raises(BusyError, match="one writer"):
                await one.send(b"z")
            writer.cancel()

    run(main, clock=VirtualClock())


def test_closing_lets_go_of_a_waiting_receiver_and_sender(run: Runner) -> None:
    async def main() -> None:
        one, other = datagram_pair()
        async with other:

            async def refused(operation: Any) -> str:
                with pytest.raises(ClosedError, match="closed on this side"), timeout(5):
                    await operation
                return "closed"

            with move_on_after(1):
                while True:
                    await one.send(bytes(1000))
            tasks = [spawn(refused(one.recv())), spawn(refused(one.send(b"x")))]
            await turns(3)
            one.close()
            one.close()
            assert await runtime.join_all(tasks) == ["closed", "closed"]

    run(main, clock=VirtualClock())


def test_nothing_can_be_done_with_a_closed_endpoint(run: Runner) -> None:
    async def main() -> None:
        async with await udp_endpoint((HOST, 0)) as endpoint:
            assert "fd=-1" not in repr(endpoint)
        assert "fd=-1" in repr(endpoint)
        assert endpoint.remote_address is None
        for operation in (
            endpoint.recv(),
            endpoint.recv_from(),
            endpoint.send(b"x"),
            endpoint.send_to(b"x", (HOST, 7)),
        ):
            with pytest.raises(ClosedError):
                await operation

    run(main)


def test_a_cancelled_receive_loses_no_datagram(run: Runner) -> None:
    async def main() -> bytes:
        async with client_and_server() as (client, server):
            reader = spawn(server.recv())
            await turns(2)
            await client.send(b"data")
            reader.cancel()
            with pytest.raises(runtime.TaskCancelled):
                await reader
            runtime.task.current_executor().budget = -1
            with CancelScope() as scope:
                scope.cancel()
                await server.recv()
            assert scope.cancelled_caught
            with timeout(5):
                return await server.recv()

    assert run(main) == b"data"


@pytest.mark.parametrize("operation", ["recv_from", "send", "send_to"])
def test_an_operation_that_never_waits_gives_way_in_time(run: Runner, operation: str) -> None:
    async def main() -> list[int]:
        count = 0
        runs: list[int] = []

        async def other() -> None:
            nonlocal count
            while True:
                runs.append(count)
                count = 0
                await runtime.yield_now()

        async with client_and_server() as (client, server):
            spawn(other())
            for _ in range(BUDGET * 4):
                if operation == "recv_from":
                    client.socket.send(b"x")
                    await server.recv_from()
                elif operation == "send":
                    await client.send(b"x")
                else:
                    await server.send_to(b"x", client.address)
                count += 1
        return runs

    runs = run(main)
    assert BUDGET // 2 <= max(runs) <= BUDGET + 2
    assert len(runs) <= 8


def test_an_endpoint_without_any_address_is_refused(run: Runner) -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match="needs a local_address"):
            await udp_endpoint()

    run(main)


def test_an_address_in_use_is_an_error_that_names_it(run: Runner) -> None:
    async def main() -> None:
        async with await udp_endpoint((HOST, 0)) as endpoint:
            port = endpoint.address[1]
            with pytest.raises(OSError, match=f"receive on {HOST} port {port}: .*in use") as caught:
                await udp_endpoint((HOST, port))
            assert caught.value.errno == errno.EADDRINUSE
            with pytest.raises(OSError, match=f"receive on {HOST} port {port}: .*in use") as caught:
                await udp_endpoint((HOST, port), (HOST, 7))
            assert caught.value.errno == errno.EADDRINUSE

    run(main)


def test_two_endpoints_share_a_port_if_both_say_so(run: Runner) -> None:
    async def main() -> bool:
        async with (
            await udp_endpoint((HOST, 0), reuse_port=True) as one,
            await udp_endpoint(one.address, reuse_port=True) as two,
        ):
            return bool(one.address == two.address)

    assert run(main)


def test_the_addresses_of_a_remote_name_are_tried_in_turn(
    run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first is of a family that the kernel does not have."""
    good: list[Any] = []

    def resolve(*_: Any, **__: Any) -> list[Any]:
        bad = (12_345, socket.SOCK_DGRAM, 0, "", ("nowhere", 1))
        return [bad, *good]

    async def main() -> None:
        async with await udp_endpoint((HOST, 0)) as server:
            good.append((socket.AF_INET, socket.SOCK_DGRAM, 0, "", server.address))
            monkeypatch.setattr(socket, "getaddrinfo", resolve)
            (await udp_endpoint(remote_address=("name", 1))).close()
            good.clear()
            with pytest.raises(OSError, match="cannot connect to name port 1: nowhere: Address f"):
                await udp_endpoint(remote_address=("name", 1))

    run(main)


def test_an_endpoint_that_outlives_the_run_closes_as_ever(run: Runner) -> None:
    async def main() -> UdpEndpoint:
        return await udp_endpoint((HOST, 0))

    endpoint = run(main)
    run.left_registered.clear()  # on purpose, here
    endpoint.close()
    assert endpoint.socket.fileno() == -1


def test_the_address_of_a_name_is_one_to_send_to(run: Runner) -> None:
    """What the error for a name says to do."""

    async def main() -> bytes:
        async with await udp_endpoint((HOST, 0)) as endpoint:
            found = await getaddrinfo(
                "localhost", endpoint.address[1], family=socket.AF_INET, type=socket.SOCK_DGRAM
            )
            await endpoint.send_to(b"to myself", found[0][-1])
            return await endpoint.recv()

    assert run(main) == b"to myself"
