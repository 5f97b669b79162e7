"""A reader that has to send, a writer that has to read, and who takes over when one is cancelled.

A handshake in mid-connection comes at no moment that a test can choose, so here the sealing is
told to be in one: it seals nothing until so many chunks have been opened.
"""

import socket
import ssl
from typing import Any, cast

import pytest

from runtime import (
    BrokenError,
    BusyError,
    ClosedError,
    TaskCancelled,
    TlsError,
    TlsStream,
    TruncatedError,
    move_on_after,
    spawn,
    timeout,
)
from runtime.sealed_stream import CHUNK
from runtime.sealing import Sealing
from runtime.stream import Buffer
from runtime.testing import VirtualClock

from .harness import Runner, receive, turns
from .tls_harness import tls_pair


class InHandshake(Sealing):
    """Seals nothing before `left` chunks have been opened."""

    __slots__ = ()
    left = 0

    def seal(self, data: Buffer) -> bytes | None:
        return super().seal(data) if InHandshake.left <= 0 else None

    def open(self, sealed: bytes) -> bytes:
        InHandshake.left -= 1
        return super().open(sealed)


async def pair_in_handshake(chunks: int) -> tuple[TlsStream, TlsStream]:
    client, server = await tls_pair(ssl.TLSVersion.TLSv1_2)
    InHandshake.left = chunks
    cast(Any, client._sealing).__class__ = InHandshake
    return client, server


async def one_chunk(stream: TlsStream, data: bytes) -> None:
    """Send it so that it is a chunk of its own to the peer."""
    await stream.send_all(data)
    await turns(4)


def test_a_stalled_writer_goes_on_when_the_reader_has_read(run: Runner) -> None:
    async def main() -> tuple[bytes, bytes]:
        client, server = await pair_in_handshake(2)
        async with client, server:
            reader = spawn(receive(client, 6))
            await turns(2)
            writer = spawn(client.send_all(b"at last"))
            await turns(2)
            await one_chunk(server, b"one")
            assert not writer.done
            await one_chunk(server, b"two")
            with timeout(5):
                await writer
                return await reader, await server.recv(100)

    assert run(main) == (b"onetwo", b"at last")


def test_a_stalled_writer_reads_if_nobody_does_and_keeps_what_it_reads(run: Runner) -> None:
    async def main() -> tuple[bytes, bytes]:
        client, server = await pair_in_handshake(2)
        async with client, server:
            writer = spawn(client.send_all(b"at last"))
            await turns(2)
            await one_chunk(server, b"one")
            assert not writer.done
            await one_chunk(server, b"two")
            with timeout(5):
                await writer
                return await receive(client, 6), await server.recv(100)

    assert run(main) == (b"onetwo", b"at last")


def test_a_reader_may_come_while_a_stalled_writer_reads(run: Runner) -> None:
    async def main() -> list[bytes]:
        client, server = await pair_in_handshake(3)
        async with client, server:
            writer = spawn(client.send_all(b"at last"))
            await turns(2)
            reader = spawn(cast(Any, client.recv(100)))
            await turns(2)
            with pytest.raises(BusyError, match="one reader"):
                await client.recv(1)
            await one_chunk(server, b"one")
            got = [await reader]  # after which the writer has to read again
            await turns(2)
            for words in b"two", b"three":
                await one_chunk(server, words)
            with timeout(5):
                await writer
                return [*got, await receive(client, 8), await server.recv(100)]

    assert run(main) == [b"one", b"twothree", b"at last"]


@pytest.mark.parametrize("first", ["reader", "writer"])
def test_a_writer_takes_over_from_a_reader_that_is_cancelled(run: Runner, first: str) -> None:
    async def main() -> tuple[bytes, bytes]:
        client, server = await pair_in_handshake(1)
        async with client, server:
            if first == "reader":
                reader = spawn(cast(Any, client.recv(100)))
                await turns(2)
            writer = spawn(client.send_all(b"at last"))
            await turns(2)
            if first == "writer":
                reader = spawn(cast(Any, client.recv(100)))
                await turns(2)
            reader.cancel()
            with pytest.raises(TaskCancelled):
                await reader
            await one_chunk(server, b"one")
            with timeout(5):
                await writer
                return await client.recv(100), await server.recv(100)

    assert run(main) == (b"one", b"at last")


def test_while_a_writer_is_stalled_no_other_may_write(run: Runner) -> None:
    async def main() -> None:
        client, server = await pair_in_handshake(1)
        async with client, server:
            writer = spawn(client.send_all(b"at last"))
            await turns(2)
            with pytest.raises(BusyError, match="one writer"):
                await client.send_all(b"x")
            with pytest.raises(BusyError, match="one writer"):
                client.send_eof()
            writer.cancel()
            with pytest.raises(TaskCancelled):
                await writer
            await one_chunk(server, b"one")
            assert await client.recv(10) == b"one"
            await client.send_all(b"now")
            assert await server.recv(10) == b"now"

    run(main)


def test_a_stalled_writer_keeps_a_bounded_amount(run: Runner) -> None:
    """Until a reader comes; the rest stays with the peer."""
    size = 1 << 20

    async def main() -> None:
        client, server = await pair_in_handshake(1 << 30)
        async with client, server:
            writer = spawn(client.send_all(b"at last"))
            sender = spawn(server.send_all(bytes(size)))
            with move_on_after(1):
                await sender
            await turns(50)
            assert CHUNK <= len(client._opened) <= 3 * CHUNK
            polls = run.polls
            await turns(10)
            assert polls == run.polls
            reader = spawn(receive(client, size))
            with timeout(5):
                assert await reader == bytes(size)
            assert not writer.done
            InHandshake.left = 0
            await one_chunk(server, b"one")
            with timeout(5):
                await writer
                assert await server.recv(100) == b"at last"

    run(main, clock=VirtualClock(patience=0.01))


def test_a_stalled_writer_reads_on_when_what_it_kept_was_taken(run: Runner) -> None:
    async def main() -> bytes:
        client, server = await pair_in_handshake(1 << 30)
        async with client, server:
            writer = spawn(client.send_all(b"at last"))
            sender = spawn(server.send_all(bytes(1 << 20)))
            with move_on_after(1):
                await sender
            await turns(50)
            assert len(client._opened) >= CHUNK
            InHandshake.left = 1
            await receive(client, len(client._opened))
            with timeout(5):
                await writer
                return await server.recv(100)

    assert run(main, clock=VirtualClock(patience=0.01)) == b"at last"


def test_a_stalled_writer_hears_that_the_peer_is_gone(run: Runner) -> None:
    async def main() -> None:
        client, server = await pair_in_handshake(1 << 30)
        async with client, server:
            writer = spawn(client.send_all(b"at last"))
            await turns(2)
            server.socket.shutdown(socket.SHUT_RDWR)
            with pytest.raises(TruncatedError), timeout(5):
                await writer

    run(main)


def test_a_stalled_writer_hears_of_a_polite_end(run: Runner) -> None:
    async def main() -> None:
        client, server = await pair_in_handshake(1 << 30)
        async with client:
            writer = spawn(client.send_all(b"at last"))
            await turns(2)
            server.close()
            with pytest.raises(BrokenError, match="the peer left"), timeout(5):
                await writer

    run(main)


def test_closing_lets_go_of_a_stalled_writer(run: Runner) -> None:
    async def main() -> None:
        client, server = await pair_in_handshake(1)
        async with server:
            writer = spawn(client.send_all(b"at last"))
            await turns(2)
            client.close()
            with pytest.raises(ClosedError), timeout(5):
                await writer

    run(main)


def test_closing_lets_go_of_a_stalled_writer_that_can_keep_no_more(run: Runner) -> None:
    async def main() -> None:
        client, server = await pair_in_handshake(1 << 30)
        async with server:
            writer = spawn(client.send_all(b"at last"))
            sender = spawn(server.send_all(bytes(1 << 20)))
            while len(client._opened) < CHUNK:
                await turns(1)
            await turns(5)
            sender.cancel()
            client.close()
            with pytest.raises(ClosedError), timeout(5):
                await writer

    run(main)


def test_closing_lets_go_of_a_stalled_writer_that_a_reader_reads_for(run: Runner) -> None:
    async def main() -> None:
        client, server = await pair_in_handshake(1)
        async with server:
            reader = spawn(cast(Any, client.recv(1)))
            await turns(2)
            writer = spawn(client.send_all(b"at last"))
            await turns(2)
            client.close()
            for task in reader, writer:
                with pytest.raises(ClosedError), timeout(5):
                    await task

    run(main)
    run.errors.clear()  # both failed in one turn, while one of them was awaited


def test_a_reader_sends_what_a_cancelled_writer_left(run: Runner) -> None:
    """Part of a record is with the kernel; nobody writes any more, and the rest must follow."""

    async def main() -> tuple[int, bytes]:
        client, server = await tls_pair()
        async with client, server:
            reader = spawn(cast(Any, client.recv(100)))
            await turns(2)
            with move_on_after(1):
                await client.send_all(bytes(16 << 20))
            assert client._sealing.unsent
            with pytest.raises(BusyError, match="one reader"):
                await client.recv(1)
            count = 0
            with move_on_after(1):
                while True:
                    count += len(await server.recv(1 << 20))
            assert not client._sealing.unsent
            assert client.writer is None
            await server.send_all(b"thanks")
            with timeout(5):
                return count, await reader

    count, got = run(main, clock=VirtualClock(patience=0.02))
    assert count % CHUNK == 0  # whole pieces
    assert got == b"thanks"
    assert run.polls < 3000


def test_a_new_writer_goes_behind_what_a_reader_waits_to_send(run: Runner) -> None:
    async def main() -> bytes:
        client, server = await tls_pair()
        async with client, server:
            reader = spawn(cast(Any, client.recv(100)))
            await turns(2)
            with move_on_after(1):
                await client.send_all(b"a" * (16 << 20))
            await turns(2)
            assert client.writer is client.reader is not None
            writer = spawn(client.send_all(b"the end"))
            await turns(2)
            got = b""
            with timeout(5):
                while not got.endswith(b"the end"):
                    got += await server.recv(1 << 20)
                await writer
                await server.send_all(b"thanks")
                assert await reader == b"thanks"
            return got.lstrip(b"a")

    assert run(main, clock=VirtualClock(patience=0.02)) == b"the end"


def test_a_second_writer_that_is_cancelled_leaves_it_to_the_reader_again(run: Runner) -> None:
    async def main() -> bytes:
        client, server = await tls_pair()
        async with client, server:
            reader = spawn(cast(Any, client.recv(100)))
            await turns(2)
            for _ in range(2):
                with move_on_after(1):
                    await client.send_all(b"a" * (16 << 20))
                await turns(2)
            with move_on_after(1):
                while True:
                    await server.recv(1 << 20)
            assert not client._sealing.unsent
            await server.send_all(b"thanks")
            with timeout(5):
                got: bytes = await reader
                return got

    assert run(main, clock=VirtualClock(patience=0.02)) == b"thanks"


def test_a_writer_that_is_cancelled_where_it_gives_way_leaves_it_to_the_reader(run: Runner) -> None:
    async def main() -> bytes:
        client, server = await tls_pair()
        async with client, server:
            reader = spawn(cast(Any, client.recv(100)))
            await turns(2)
            writer = spawn(client.send_all(bytes(2 * CHUNK)))

            async def answer() -> None:
                client._sealing.unsent = client._sealing.seal(b"answer") or b""

            spawn(answer())
            assert client.reader is not None
            client.reader.wake()
            await turns(1)
            assert client.writer is writer  # it gives way, and the reader relies on it
            assert client._sealing.unsent
            writer.cancel()
            with timeout(5):
                got = await receive(server, CHUNK + 6)
            await server.send_all(b"thanks")
            assert await reader == b"thanks"
            return got.lstrip(bytes(1))

    assert run(main) == b"answer"


class Answering(Sealing):
    """Has an answer to whatever comes, as to a key update."""

    __slots__ = ()

    def open(self, sealed: bytes) -> bytes:
        self.unsent += bytes(10_000)
        return super().open(sealed)[:0]


def test_a_peer_that_wants_answers_and_does_not_read_them_is_given_up(run: Runner) -> None:
    async def main() -> None:
        client, server = await tls_pair()
        async with client, server:
            for end in client, server:
                end.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
                end.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            cast(Any, server._sealing).__class__ = Answering

            async def ask() -> None:
                while True:
                    await one_chunk(client, b"?")

            asking = spawn(ask())
            with pytest.raises(TlsError, match="wants answers and does not read"), timeout(5):
                await server.recv(100)
            asking.cancel()
            assert len(server._sealing.unsent) < 5 * CHUNK

    run(main)
