"""Clients that send all they have, end their side, and want everything back, and then the end."""

import runtime
from runtime import Stream
from tests.torture.client import main, say
from tests.torture.payload import payload

AT_ONCE = 8

CHUNK = 1 << 18


async def send_then_read(port: int, count: int, size: int) -> None:
    sent = memoryview(payload(1, 0, size))
    permits = runtime.Semaphore(AT_ONCE)

    async def is_whole() -> bool:
        whole = False
        async with permits:
            try:
                async with await runtime.connect("127.0.0.1", port) as stream:
                    whole = await all_back(stream, sent)
            except* runtime.BrokenError:
                pass  # from the group's tasks, too: this one was not whole
        return whole

    outcomes = await runtime.join_all(is_whole() for _ in range(count))
    say(whole=sum(outcomes), tried=count)


async def all_back(stream: Stream, sent: memoryview) -> bool:
    """Whether the stream comes back, no byte less or more, after its end has been sent."""

    async def send() -> None:
        await stream.send_all(sent)
        stream.send_eof()

    at = 0
    async with runtime.TaskGroup() as group:
        group.spawn(send())
        while data := await stream.recv(CHUNK):
            if data != sent[at : at + len(data)]:
                return False
            at += len(data)
    return at == len(sent)


if __name__ == "__main__":
    main(send_then_read)
