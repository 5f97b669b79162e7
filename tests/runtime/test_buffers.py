"""Every kind of memory that is received into or sent from, to the last byte."""

import random
import socket
from typing import Any, cast

import pytest

from runtime import (
    TaskGroup,
    spawn,
)
from runtime.stream import Buffer

from .harness import Runner, receive, stream_pair, turns


def test_receiving_into_memory(run: Runner) -> None:
    async def main() -> tuple[list[int], bytes]:
        left, right = stream_pair()
        async with left, right:
            buffer = bytearray(8)
            await right.send_all(b"0123456789ab")
            counts = [await left.recv_into(buffer), await left.recv_into(memoryview(buffer)[2:5])]
            reader = spawn(cast(Any, left.recv_into(memoryview(buffer)[5:])))
            await turns(2)
            right.send_eof()
            counts += [await left.recv_into(bytearray(100))] if reader.done else []
            counts.append(await reader)
            with pytest.raises(ValueError, match="no bytes"):
                await left.recv_into(bytearray())
            return counts, bytes(buffer)

    counts, data = run(main)
    assert counts[0] == 8
    assert sum(counts) == 12
    assert data[:2] == b"01"
    assert data[2:5] == b"89a"


def test_receiving_into_wide_items_counts_bytes(run: Runner) -> None:
    async def main() -> tuple[int, bytes]:
        left, right = stream_pair()
        async with left, right:
            memory = bytearray(16)
            await right.send_all(b"abcdefghij")
            return await left.recv_into(memoryview(memory).cast("I")), bytes(memory[:10])

    assert run(main) == (10, b"abcdefghij")


@pytest.mark.parametrize("size", [0, 4, 4096, 4 << 20])
@pytest.mark.parametrize("kind", ["bytes", "bytearray", "view", "wide view", "slice of a view"])
def test_every_kind_of_buffer_is_sent_whole(run: Runner, kind: str, size: int) -> None:
    data = random.Random(size).randbytes(size)
    buffers: dict[str, bytes | bytearray | memoryview] = {
        "bytes": data,
        "bytearray": bytearray(data),
        "view": memoryview(data),
        "wide view": memoryview(data).cast("I"),
        "slice of a view": memoryview(b"xx" + data + b"yy")[2:-2],
    }

    async def main() -> bytes:
        left, right = stream_pair("unix")
        async with left, right, TaskGroup() as group:

            async def send() -> None:
                await left.send_all(buffers[kind])
                left.send_eof()

            group.spawn(send())
            return await receive(right, size + 1)
        raise AssertionError("not reached")

    assert run(main) == data


def test_as_many_bytes_sent_as_there_are_items_is_not_all_of_them(run: Runner) -> None:
    """The kernel takes 8 bytes of a view of 8 items: its length is no measure of what is left."""
    data = bytes(range(32))

    async def main() -> bytes:
        left, right = stream_pair("unix")
        async with left, right:
            send = left.socket.send

            class TakesALittle:
                def send(self, buffer: Buffer) -> int:
                    spawn(make_room())
                    return send(memoryview(buffer).cast("B")[:8])

            async def make_room() -> None:
                left.writable = True
                if left.writer is not None:
                    left.writer.wake()

            left._output = cast(socket.socket, TakesALittle())
            await left.send_all(memoryview(data).cast("I"))
            left.send_eof()
            return await receive(right, 100)

    assert run(main) == data


def test_a_bytearray_can_be_resized_after_it_was_sent(run: Runner) -> None:
    async def main() -> int:
        left, right = stream_pair("unix")
        async with left, right:
            buffer = bytearray(1 << 20)
            sender = spawn(left.send_all(buffer))
            await receive(right, 1 << 20)
            await sender
            buffer += b"more"  # BufferError, if a view of it were left
            return len(buffer)

    assert run(main) == (1 << 20) + 4
