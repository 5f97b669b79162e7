"""Clients that send a line one byte at a time, each byte well before anybody grows impatient.

They go on until the server closes them, and say how long each of them was let in the line.
"""

import random

import runtime
from tests.torture.client import CONNECTING, main, say, source, stand_back


async def drip(port: int, count: int, every: float, deadline: float, give_up_after: float) -> None:
    permits = runtime.Semaphore(CONNECTING)
    opened = 0
    lived: list[float] = []

    async def one(number: int) -> None:
        nonlocal opened
        async with permits:
            stream = await runtime.connect("127.0.0.1", port, local_address=source(number))
        opened += 1
        async with stream:
            await runtime.sleep(random.random() * min(every, 0.5))
            began = runtime.now()
            while runtime.now() < began + give_up_after:
                if await is_closed_after_a_byte(stream, every):
                    lived.append(runtime.now() - began)
                    return

    async with runtime.TaskGroup() as group:
        for number in range(count):
            group.spawn(one(number))
        while opened < count:
            await runtime.sleep(0.01)
        stand_back()
        say(dripping=opened)
    early = sum(each < deadline for each in lived)
    say(closed=len(lived), early=early, longest=max(lived, default=0.0))


async def is_closed_after_a_byte(stream: runtime.Stream, wait: float) -> bool:
    """Send a byte and see whether the server closes before the next is due."""
    with runtime.move_on_after(wait):
        try:
            await stream.send_all(b"0")
            return not await stream.recv(4096)
        except runtime.BrokenError:
            return True
    return False


if __name__ == "__main__":
    main(drip)
