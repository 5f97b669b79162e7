"""Clients that send as fast as the server takes it, and read as fast as it answers.

They do not wait for an answer before they send on, so the server always has something of theirs to
do. What comes back is compared.
"""

import runtime
from runtime import Stream
from tests.torture.client import main, say, stand_back, told


async def flood(port: int, count: int, message: str, times: int) -> None:
    chunk = message.encode() * times
    streams = [await runtime.connect("127.0.0.1", port) for _ in range(count)]
    books = {"received": 0, "wrong": 0}
    stand_back()
    say(connected=count)
    await told()
    async with runtime.TaskGroup() as group:
        for stream in streams:
            group.spawn(send(stream, chunk))
            group.spawn(receive(stream, chunk, books))
        await told()
        while not books["received"]:
            await runtime.sleep(0.01)
        group.cancel_scope.cancel()
    say(**books)


async def send(stream: Stream, chunk: bytes) -> None:
    while True:
        await stream.send_all(chunk)


async def receive(stream: Stream, chunk: bytes, books: dict[str, int]) -> None:
    twice = memoryview(chunk * 2)
    at = 0
    while data := await stream.recv(len(chunk)):
        books["wrong"] += data != twice[at : at + len(data)]
        books["received"] += len(data)
        at = (at + len(data)) % len(chunk)


if __name__ == "__main__":
    main(flood)
