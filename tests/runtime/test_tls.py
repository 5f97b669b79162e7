"""TLS streams: every byte, once, in order, and an end that can be told from a cut."""

import gc
import random
import socket
import ssl
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

import pytest

import runtime
from runtime import (
    BrokenError,
    BusyError,
    ClosedError,
    Stream,
    TaskCancelled,
    TaskGroup,
    TlsError,
    TlsStream,
    TruncatedError,
    join_all,
    move_on_after,
    now,
    spawn,
    timeout,
)
from runtime.sealed_stream import CHUNK
from runtime.sealing import RECORD
from runtime.testing import VirtualClock

from .harness import Runner, raw_pair, receive, reset, turns
from .tls_harness import (
    NAME,
    VERSIONS,
    Peer,
    client_context,
    server_context,
    stream_and_peer,
    tls_ends,
    tls_pair,
)

VERSION = pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)


async def echo(stream: Stream, limit: int) -> None:
    while data := await stream.recv(limit):
        await stream.send_all(data)
    stream.send_eof()


@VERSION
@pytest.mark.parametrize(
    ("size", "chunk", "limit"),
    [
        (1, 1, 1),
        (300, 1, 7),
        (5000, 4999, 1),
        (RECORD + 1, RECORD + 1, 65536),
        (100_000, 777, 4096),
        (1 << 20, 1 << 20, 16384),
        (1 << 20, 300_000, 262_144),
    ],
)
def test_an_echo_returns_every_byte_in_any_chunking(
    run: Runner, version: ssl.TLSVersion, size: int, chunk: int, limit: int
) -> None:
    data = random.Random(size).randbytes(size)

    async def main() -> bytes:
        client, server = await tls_pair(version)
        async with client, server, TaskGroup() as group:
            group.spawn(echo(server, limit))

            async def send() -> None:
                for start in range(0, size, chunk):
                    await client.send_all(data[start : start + chunk])
                client.send_eof()

            group.spawn(send())
            got = await receive(client, size)
            assert await client.recv(1) == b""
            assert await client.recv(1) == b""
        return got

    assert run(main) == data


@VERSION
@pytest.mark.parametrize("piece", [4 << 20, 50_000])
def test_both_directions_at_once_with_small_buffers(
    run: Runner, version: ssl.TLSVersion, piece: int
) -> None:
    data = random.Random(1).randbytes(4 << 20)

    async def main() -> list[bytes]:
        ends = one, other = raw_pair("unix")  # TCP waits 200 ms for each window this small
        for sock in ends:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        client = TlsStream(one, client_context(version), server_hostname=NAME)
        server = TlsStream(other, server_context(version), server_side=True)
        async with client, server:

            async def send(stream: Stream) -> None:
                for start in range(0, len(data), piece):
                    await stream.send_all(data[start : start + piece])
                stream.send_eof()

            async def take(stream: Stream) -> bytes:
                got = await receive(stream, len(data))
                assert await stream.recv(1) == b""
                return got

            # The first use makes the handshake: here four tasks at once.
            results = await join_all(send(client), send(server), take(client), take(server))
            return [result for result in results if result is not None]

    assert run(main) == [data, data]


@VERSION
def test_records_in_whatever_segments_they_come(run: Runner, version: ssl.TLSVersion) -> None:
    """Cut at every byte, with the stream polled and found dry in between."""

    async def main() -> list[bytes]:
        stream, peer, wire = await stream_and_peer(version)
        async with stream, wire:
            got = []
            length = len(peer.seal(b"")) or 64
            peer.outgoing.read()
            for cut in range(1, min(length, 64)):
                sealed = peer.seal(b"one") + peer.seal(b"two")
                reader = spawn(receive(stream, 6))
                await turns(2)
                await wire.send_all(sealed[:cut])
                await turns(2)
                await wire.send_all(sealed[cut:])
                with timeout(5):
                    got.append(await reader)
            await wire.send_all(peer.close_notify())
            assert await stream.recv(1) == b""
            return got

    assert set(run(main)) == {b"onetwo"}


@pytest.mark.parametrize("limit", [1, 3, 4096])
def test_several_records_in_one_segment_need_no_further_edge(run: Runner, limit: int) -> None:
    """The classic lost wake-up: OpenSSL holds the rest, and the socket has nothing more to tell."""

    async def main() -> bytes:
        stream, peer, wire = await stream_and_peer()
        async with stream, wire:
            await wire.send_all(b"".join(peer.seal(b"%03d" % n) for n in range(300)))
            await turns(3)
            got = b""
            with timeout(5):
                while len(got) < 900:
                    got += await stream.recv(limit)
            return got

    assert run(main) == b"".join(b"%03d" % n for n in range(300))


@VERSION
def test_the_end_that_comes_with_the_last_bytes_is_not_lost(
    run: Runner, version: ssl.TLSVersion
) -> None:
    async def main() -> list[bytes]:
        stream, peer, wire = await stream_and_peer(version)
        async with stream:
            await wire.send_all(peer.seal(b"the last") + peer.close_notify() + b"no longer TLS")
            wire.close()
            with timeout(5):
                return [await stream.recv(100) for _ in range(3)]

    assert run(main) == [b"the last", b"", b""]


@VERSION
@pytest.mark.parametrize("when", ["nothing", "data", "part of a record"])
def test_an_end_without_close_notify_is_a_cut(
    run: Runner, version: ssl.TLSVersion, when: str
) -> None:
    async def main() -> None:
        stream, peer, wire = await stream_and_peer(version)
        async with stream:
            if when != "nothing":
                await wire.send_all(peer.seal(b"data"))
            if when == "part of a record":
                await wire.send_all(peer.seal(b"more")[:-1])
            wire.close()
            with timeout(5):
                if when != "nothing":
                    assert await stream.recv(100) == b"data"
                for _ in range(2):
                    with pytest.raises(TruncatedError, match="without a close_notify"):
                        await stream.recv(100)

    run(main)


def test_an_end_without_close_notify_can_be_allowed(run: Runner) -> None:
    async def main() -> list[bytes]:
        stream, peer, wire = await stream_and_peer(allow_truncation=True)
        async with stream:
            await wire.send_all(peer.seal(b"data"))
            wire.close()
            with timeout(5):
                return [await stream.recv(100) for _ in range(3)]

    assert run(main) == [b"data", b"", b""]


def test_the_other_half_goes_on_after_a_cut(run: Runner) -> None:
    """A peer may end TCP's half without a word and still read."""

    async def main() -> bytes:
        stream, peer, wire = await stream_and_peer()
        async with stream, wire:
            wire.send_eof()
            with pytest.raises(TruncatedError):
                await stream.recv(1)
            await stream.send_all(b"anyway")
            peer.hear(await wire.recv(100))
            return peer.open()

    assert run(main) == b"anyway"


@VERSION
def test_send_eof_ends_one_half(run: Runner, version: ssl.TLSVersion) -> None:
    """With data on its way when it is called, which OpenSSL would take for a fault."""

    async def main() -> list[bytes]:
        client, server = await tls_pair(version)
        async with client, server:
            await server.send_all(b"on its way, ")
            await turns(2)
            client.send_eof()
            client.send_eof()
            assert await server.recv(10) == b""
            await server.send_all(b"and after, ")
            got = [await receive(client, 23)]
            for data in b"x", b"":
                with pytest.raises(ClosedError):
                    await client.send_all(data)
            await server.send_all(b"and last")
            server.send_eof()
            got.append(await receive(client, 100))
            return got

    assert run(main) == [b"on its way, and after, ", b"and last"]


def test_close_says_so_to_the_peer(run: Runner) -> None:
    async def main() -> bytes:
        client, server = await tls_pair()
        async with server:
            await client.send_all(b"bye")
            client.close()
            client.close()
            return await server.recv(10) + await server.recv(10)

    assert run(main) == b"bye"


@VERSION
def test_a_client_that_only_sends_does_not_reset(run: Runner, version: ssl.TLSVersion) -> None:
    """A TLS 1.3 server sends tickets; unread in the kernel they would turn a close into a reset."""

    async def main() -> tuple[bytes, bytes]:
        client, server = await tls_pair(version)
        async with server:
            await client.send_all(b"bye")
            client.close()
            got = await server.recv(10) + await server.recv(10)
            return got, server.socket.recv(10)

    assert run(main) == (b"bye", b"")


def test_close_under_a_sender_is_a_cut_for_the_peer(run: Runner) -> None:
    """Half of the data and then a regular end would be a lie."""

    async def main() -> None:
        client, server = await tls_pair()
        async with server:
            sender = spawn(client.send_all(bytes(16 << 20)))
            await turns(3)
            assert not sender.done
            client.close()
            with pytest.raises(ClosedError):
                await sender
            with pytest.raises(TruncatedError), timeout(5):
                await receive(server, 16 << 20)

    run(main)


@pytest.mark.parametrize("eof", [False, True])
def test_close_after_a_send_that_was_cut_is_a_cut_too(run: Runner, eof: bool) -> None:
    """Unless the sender says by itself that it was all."""

    async def main() -> None:
        client, server = await tls_pair()
        async with server:
            with move_on_after(1):
                await client.send_all(bytes(16 << 20))
            reader = spawn(receive(server, 16 << 20))
            while client._sealing.unsent:
                client._flush()
                await turns(1)
            if eof:
                client.send_eof()
            client.close()
            with timeout(5):
                if eof:
                    assert 0 < len(await reader) < 16 << 20
                else:
                    with pytest.raises(TruncatedError):
                        await reader

    run(main, clock=VirtualClock(patience=0.02))


def test_close_with_no_room_does_not_wait(run: Runner) -> None:
    async def main() -> None:
        client, server = await tls_pair()
        with move_on_after(1):
            await client.send_all(bytes(16 << 20))
        client.close()
        with pytest.raises(TruncatedError):
            await receive(server, 16 << 20)
        server.close()

    run(main, clock=VirtualClock())


def test_a_damaged_record_is_a_tls_error_after_the_bytes_before_it(run: Runner) -> None:
    async def main() -> None:
        stream, peer, wire = await stream_and_peer()
        async with stream, wire:
            good, damaged = peer.seal(b"good"), bytearray(peer.seal(b"damaged"))
            damaged[-1] ^= 1
            await wire.send_all(good + bytes(damaged))
            assert await stream.recv(100) == b"good"
            for _ in range(2):
                with pytest.raises(TlsError, match="bad record mac"):
                    await stream.recv(100)
            with pytest.raises(TlsError, match="bad record mac"):
                await stream.send_all(b"x")
            peer.hear(await wire.recv(1000))
            with pytest.raises(ssl.SSLError, match="alert bad record mac"):
                peer.tls.read(10)

    run(main)


def test_a_reset_is_a_broken_error(run: Runner) -> None:
    async def main() -> None:
        stream, _, wire = await stream_and_peer()
        async with stream:
            reader = spawn(cast(Any, stream.recv(10)))
            await turns(2)
            reset(wire.detach())
            with pytest.raises(BrokenError, match="reset by peer"), timeout(5):
                await reader
            with pytest.raises(BrokenError):
                await stream.send_all(b"x")
            assert stream.peer_address is None

    run(main)


def test_a_reset_ends_a_waiting_writer(run: Runner) -> None:
    async def main() -> None:
        stream, _, wire = await stream_and_peer()
        async with stream:
            writer = spawn(stream.send_all(bytes(16 << 20)))
            await turns(3)
            assert not writer.done
            reset(wire.detach())
            with pytest.raises(BrokenError), timeout(5):
                await writer

    run(main)


def test_a_send_eof_that_meets_a_reset_is_a_broken_error(run: Runner) -> None:
    async def main() -> None:
        stream, _, wire = await stream_and_peer()
        async with stream:
            reset(wire.detach())
            with pytest.raises(BrokenError):
                stream.send_eof()

    run(main)


def test_one_reader_and_one_writer_at_a_time(run: Runner) -> None:
    async def main() -> None:
        client, server = await tls_pair()
        async with client, server:
            reader = spawn(cast(Any, client.recv(10)))
            writer = spawn(client.send_all(bytes(4 << 20)))
            await turns(3)
            with pytest.raises(BusyError, match="one reader"):
                await client.recv(1)
            with pytest.raises(BusyError, match="one reader"):
                await client.recv_into(bytearray(1))
            with pytest.raises(BusyError, match="one writer"):
                await client.send_all(b"x")
            with pytest.raises(BusyError, match="one writer"):
                client.send_eof()
            await server.send_all(b"hello")
            assert await reader == b"hello"
            assert len(await receive(server, 4 << 20)) == 4 << 20
            await writer

    run(main)


def test_nothing_can_be_done_with_a_closed_stream(run: Runner) -> None:
    async def main() -> None:
        client, server = await tls_pair()
        await server.send_all(b"unread")
        assert await client.recv(1) == b"u"
        client.close()
        for operation in (
            client.recv(1),
            client.recv_into(bytearray(1)),
            client.send_all(b"x"),
            client.send_all(b""),
            client.send_all(bytes(CHUNK + 1)),
        ):
            with pytest.raises(ClosedError):
                await operation
        with pytest.raises(ClosedError):
            client.send_eof()
        assert client.peer_address is None
        assert repr(client) == "<TlsStream fd=-1>"
        server.close()

    run(main)


def test_a_stream_that_is_closed_after_its_end_is_closed(run: Runner) -> None:
    async def main() -> None:
        client, server = await tls_pair()
        server.close()
        assert await client.recv(1) == b""
        client.close()
        with pytest.raises(ClosedError):
            await client.recv(1)

    run(main)


def test_closing_lets_go_of_a_waiting_reader(run: Runner) -> None:
    async def main() -> None:
        client, server = await tls_pair()
        async with server:
            readers = [spawn(cast(Any, client.recv(10)))]
            await turns(2)
            client.close()
            with pytest.raises(ClosedError), timeout(5):
                await readers[0]

    run(main)


def test_a_closed_stream_in_the_middle_of_its_handshake(run: Runner) -> None:
    async def main() -> None:
        client, server = tls_ends()
        async with server:
            task = spawn(client.handshake())
            await turns(2)
            client.close()
            with pytest.raises(ClosedError), timeout(5):
                await task

    run(main)


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_below_1_is_refused_at_once(run: Runner, limit: int) -> None:
    async def main() -> None:
        client, server = await tls_pair()
        async with client, server:
            with pytest.raises(ValueError, match="cannot receive no bytes"):
                await client.recv(limit)
            with pytest.raises(ValueError, match="cannot receive no bytes"):
                await client.recv_into(bytearray(0))

    run(main)


@pytest.mark.parametrize("thing", ["text", 5, None])
def test_what_is_not_bytes_is_refused(run: Runner, thing: object) -> None:
    async def main() -> bytes:
        client, server = await tls_pair()
        async with client, server:
            with pytest.raises(TypeError):
                await client.send_all(cast(bytes, thing))
            await client.send_all(b"still good")
            return await server.recv(100)

    assert run(main) == b"still good"


def test_every_kind_of_buffer(run: Runner) -> None:
    async def main() -> tuple[bytes, bytes]:
        client, server = await tls_pair()
        async with client, server:
            wide = memoryview(struct.pack("4I", 1, 2, 3, 4)).cast("I")
            await client.send_all(bytearray(b"one"))
            await client.send_all(b"")
            await client.send_all(memoryview(b"two"))
            await client.send_all(wide)
            room = bytearray(9)
            got = b""
            while len(got) < 22:
                got += room[: await server.recv_into(room)]
            return got, wide.tobytes()

    got, wide = run(main)
    assert got == b"onetwo" + wide


def test_memory_that_cannot_be_written_to_loses_no_byte(run: Runner) -> None:
    async def main() -> bytes:
        client, server = await tls_pair()
        async with client, server:
            await server.send_all(b"kept")
            with pytest.raises(TypeError):
                await client.recv_into(memoryview(bytes(10)))
            with timeout(5):
                return await client.recv(10)

    assert run(main) == b"kept"


@pytest.mark.parametrize("family", ["tcp", "unix"])
@pytest.mark.parametrize("end", [TlsStream.send_eof, TlsStream.close])
def test_an_end_that_finds_no_room_is_no_truncation(
    run: Runner, family: str, end: Callable[[TlsStream], None]
) -> None:
    """The last byte fitted in just so; nobody waits for room for the close_notify."""

    async def main() -> None:
        client, server = await tls_pair(None, family)
        async with client, server:
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            count = 0
            sealing = client._sealing
            while not sealing.unsent:
                count += 1
                sealing.unsent = sealing.seal(b"x") or b""
                client._offer()
            end(client)
            with timeout(5):
                assert await receive(server, count + 1) == b"x" * count

    run(main)


def test_a_cancelled_receive_loses_no_byte(run: Runner) -> None:
    data = bytes(range(256)) * 2

    async def main() -> bytes:
        client, server = await tls_pair()
        async with client, server:
            got = bytearray()
            for n in range(len(data)):
                reader = spawn(cast(Any, client.recv(1)))
                if n % 3:
                    await turns(n % 3)
                spawn(server.send_all(data[n : n + 1]))
                if n % 2:
                    await turns(1)
                reader.cancel()
                try:
                    got += await reader
                except TaskCancelled:
                    with timeout(5):
                        got += await client.recv(1)
            return bytes(got)

    assert run(main) == data


@VERSION
def test_after_a_cancelled_send_the_stream_is_good(run: Runner, version: ssl.TLSVersion) -> None:
    """A record that was cut in two is completed before anything else is sent."""

    async def main() -> tuple[bytes, bytes]:
        client, server = await tls_pair(version)
        async with client, server:
            for n in range(3):
                with move_on_after(1) as scope:
                    await client.send_all(b"%d" % n * (8 << 20))
                assert scope.cancelled_caught
            sender = spawn(client.send_all(b"end"))
            got = b""
            while not got.endswith(b"end"):
                got += await server.recv(1 << 20)
            await sender
            return got[:-3].strip(b"0").strip(b"1").strip(b"2"), got[:1]

    assert run(main, clock=VirtualClock()) == (b"", b"0")


def test_a_cancelled_send_can_be_followed_by_an_end(run: Runner) -> None:
    """Nobody sends any more, so what is unsent goes when the reader waits."""

    async def main() -> int:
        client, server = await tls_pair()
        async with client, server:
            with move_on_after(1):
                await client.send_all(bytes(8 << 20))
            client.send_eof()
            reader = spawn(cast(Any, client.recv(10)))
            count = 0
            with timeout(5):
                while data := await server.recv(1 << 20):
                    count += len(data)
                await server.send_all(b"all of it")
                assert await reader == b"all of it"
            return count

    assert run(main, clock=VirtualClock(patience=0.05)) > 0
    assert run.polls < 2000


@pytest.mark.parametrize("stage", range(1, 12))
def test_a_cancelled_handshake_can_be_taken_up_again(run: Runner, stage: int) -> None:
    async def main() -> bytes:
        client, server = tls_ends()
        async with client, server:
            tasks = [spawn(client.handshake()), spawn(server.handshake())]
            await turns(stage)
            for task in tasks:
                task.cancel()
            await turns(3)
            with timeout(5):
                await join_all(client.handshake(), server.handshake())
                await client.send_all(b"well")
                return await server.recv(10)

    assert run(main, clock=VirtualClock(patience=0.05)) == b"well"


def test_a_cancelled_first_reader_leaves_the_handshake_to_the_next(run: Runner) -> None:
    async def main() -> bytes:
        client, server = tls_ends()
        async with client, server:
            first = spawn(cast(Any, server.recv(10)))
            await turns(2)
            second = spawn(server.send_all(b"from the second"))
            await turns(2)
            first.cancel()
            with timeout(5):
                got = await client.recv(100)
                await second
            return got

    assert run(main, clock=VirtualClock(patience=0.05)) == b"from the second"


def test_a_peer_that_never_reads_makes_the_sender_wait(run: Runner) -> None:
    async def main() -> tuple[bool, float]:
        client, server = await tls_pair()
        async with client, server:
            with move_on_after(60) as scope:
                await client.send_all(bytes(32 << 20))
            return scope.cancelled_caught, now()

    assert run(main, clock=VirtualClock()) == (True, 60.0)
    assert run.polls < 200


def test_an_idle_stream_costs_no_polls(run: Runner) -> None:
    async def main() -> None:
        client, server = await tls_pair()
        async with client, server:
            with move_on_after(60):
                await client.recv(1)

    run(main, clock=VirtualClock())
    assert run.polls < 40


def test_a_flood_leaves_the_others_their_turn(run: Runner) -> None:
    """It has come already, in the smallest records there are: no read has to wait."""
    count = 20_000

    async def main() -> int:
        stream, peer, wire = await stream_and_peer()
        async with stream, wire:
            wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
            stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            await wire.send_all(b"".join(peer.seal(b"x") for _ in range(count)))
            await turns(3)
            ran = 0

            async def other() -> None:
                nonlocal ran
                while True:
                    ran += 1
                    await runtime.yield_now()

            spawn(other())
            assert len(await receive(stream, count)) == count
            return ran

    assert run(main) >= 3


class CountingSocket:
    """A socket, and how often it was read and written."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.reads = self.writes = 0

    def recv(self, limit: int) -> bytes:
        self.reads += 1
        return self._sock.recv(limit)

    def send(self, data: Any) -> int:
        self.writes += 1
        return self._sock.send(data)


def test_an_echo_costs_one_read_and_one_write(run: Runner) -> None:
    async def main() -> tuple[int, int]:
        client, server = await tls_pair()
        async with client, server:
            counting = CountingSocket(server.socket)
            server._input = server._output = cast(socket.socket, counting)
            echoing = spawn(echo(server, 65536))
            await turns(3)
            counting.reads = counting.writes = 0
            for _ in range(50):
                await client.send_all(b"hello")
                assert await client.recv(100) == b"hello"
            client.send_eof()
            counted = counting.reads, counting.writes
            await echoing
            return counted

    assert run(main) == (50, 50)


def test_one_sender_of_much_leaves_the_others_their_turn(run: Runner) -> None:
    async def main() -> int:
        client, server = await tls_pair()
        for stream in client, server:
            stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
            stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        async with client, server:
            ran = 0

            async def other() -> None:
                nonlocal ran
                while True:
                    ran += 1
                    await runtime.yield_now()

            task = spawn(other())
            reader = spawn(receive(server, 1 << 20))
            await turns(2)
            before = ran
            await client.send_all(bytes(1 << 20))
            task.cancel()
            await reader
            return ran - before

    assert run(main) >= 4


def test_no_second_sender_slips_in_where_the_first_gives_way(run: Runner) -> None:
    async def main() -> bytes:
        client, server = await tls_pair()
        async with client, server:
            reader = spawn(receive(server, 4 << 20))
            sender = spawn(client.send_all(bytes(4 << 20)))
            refused = 0
            while not sender.done:
                await turns(1)
                try:
                    client.send_eof() if sender.done else await client.send_all(b"!")
                except BusyError:
                    refused += 1
                else:
                    break
            assert refused
            return await reader

    assert not run(main).strip(b"\0")


def test_streams_over_unix_sockets(run: Runner) -> None:
    async def main() -> bytes:
        client, server = await tls_pair(family="unix")
        async with client, server:
            await client.send_all(b"hello")
            return await server.recv(100)

    assert run(main) == b"hello"


def test_a_tls_stream_cannot_be_wrapped_again(run: Runner) -> None:
    async def main() -> bytes:
        client, server = await tls_pair()
        async with client, server:
            with pytest.raises(TypeError, match="TLS inside of TLS"):
                TlsStream(client, client_context(), server_hostname=NAME)
            await client.send_all(b"still good")
            return await server.recv(100)

    assert run(main) == b"still good"


async def _served() -> None:
    client, server = await tls_pair()
    async with client, server:
        await client.send_all(b"x" * 100_000)
        await receive(server, 100_000)
        client.send_eof()
        await server.recv(1)


async def _refused() -> None:
    one, other = raw_pair()
    client = TlsStream(one, client_context(), server_hostname="wrong.example")
    server = TlsStream(other, server_context(), server_side=True)
    async with client, server:
        with suppress(ExceptionGroup):
            async with TaskGroup() as group:
                group.spawn(client.handshake())
                group.spawn(server.recv(1))


async def _broken() -> None:
    stream, peer, wire = await stream_and_peer()
    async with stream, wire:
        damaged = bytearray(peer.seal(b"damaged"))
        damaged[-1] ^= 1
        await wire.send_all(damaged)
        for _ in range(2):
            with suppress(TlsError):
                await stream.recv(10)


async def _late() -> None:
    client, server = tls_ends()
    async with client, server:
        with suppress(runtime.HandshakeError):
            await server.handshake()


@pytest.mark.parametrize("scenario", [_served, _refused, _broken, _late])
def test_nothing_is_left_for_the_collector(anything_left: None, scenario: Any) -> None:
    left: list[str] = []

    async def main() -> None:
        await scenario()
        await turns(4)
        gc.collect()
        gc.disable()
        try:
            await scenario()
            await turns(4)
            gc.set_debug(gc.DEBUG_SAVEALL)
            gc.collect()
            gc.set_debug(0)
            left.extend(f"{type(thing).__name__} {thing!r:.100}" for thing in gc.garbage)
            gc.garbage.clear()
        finally:
            gc.enable()

    runtime.run(main(), clock=VirtualClock(patience=0.01))
    assert left == []


def test_a_peer_is_a_peer() -> None:
    """The harness itself: the two ends of it understand each other."""
    client, server = Peer(client_context(), NAME), Peer(server_context())
    for _ in range(3):
        server.hear(client.shake_hands())
        client.hear(server.shake_hands())
    server.hear(client.seal(b"hello"))
    assert server.open() == b"hello"
