"""The benchmarks on asyncio; uvloop runs the same ones on a loop of its own.

`gather` where results are wanted (as quick as a `TaskGroup`, and 6 % lighter for 200,000 sleepers);
a `TaskGroup` where tasks merely have to end.
"""

from __future__ import annotations

import asyncio
from queue import SimpleQueue
from threading import Thread

from benchmarks.programs import (
    CAPACITY,
    KEPT,
    LONG,
    RIVALS,
    SLEEPERS,
    TASKS,
    TURN,
    Outcome,
    deadlines,
    judge,
    shares,
)


async def one() -> int:
    return 1


async def spawn_one(n: int) -> int:
    done = 0
    for _ in range(n):
        done += await asyncio.create_task(one())
    return done


async def spawn_many(n: int) -> int:
    return sum(await asyncio.gather(*(one() for _ in range(n))))


async def yield_now(n: int) -> int:
    async def turns(share: int) -> int:
        done = 0
        for _ in range(share):
            await asyncio.sleep(0)
            done += 1
        return done

    return sum(await asyncio.gather(*(turns(share) for share in shares(n, TASKS))))


async def event_ping_pong(n: int) -> int:
    ping, pong = asyncio.Event(), asyncio.Event()

    async def partner() -> None:
        for _ in range(n):
            await ping.wait()
            ping.clear()
            pong.set()

    done = 0
    async with asyncio.TaskGroup() as group:
        group.create_task(partner())
        for _ in range(n):
            ping.set()
            await pong.wait()
            pong.clear()
            done += 1
    return done


async def channel_ping_pong(n: int) -> int:
    ping: asyncio.Queue[int] = asyncio.Queue(1)
    pong: asyncio.Queue[int] = asyncio.Queue(1)

    async def partner() -> None:
        for _ in range(n):
            await pong.put(await ping.get())

    done = 0
    async with asyncio.TaskGroup() as group:
        group.create_task(partner())
        for _ in range(n):
            await ping.put(1)
            done += await pong.get()
    return done


async def channel_throughput(n: int) -> int:
    queue: asyncio.Queue[int] = asyncio.Queue(CAPACITY)

    async def produce() -> None:
        for _ in range(n):
            await queue.put(1)

    done = 0
    async with asyncio.TaskGroup() as group:
        group.create_task(produce())
        for _ in range(n):
            done += await queue.get()
    return done


async def lock_uncontended(n: int) -> int:
    lock = asyncio.Lock()
    done = 0
    for _ in range(n):
        async with lock:
            done += 1
    return done


async def lock_contended(n: int) -> int:
    lock = asyncio.Lock()
    done = 0

    async def rival(share: int) -> None:
        nonlocal done
        for _ in range(share):
            async with lock:
                await asyncio.sleep(0)
                done += 1

    async with asyncio.TaskGroup() as group:
        for share in shares(n, RIVALS):
            group.create_task(rival(share))
    return done


async def timer_set_cancel(n: int) -> int:
    done = 0
    for number in range(n):
        async with asyncio.timeout(LONG):
            done += await one()
        if not number % TURN:
            await asyncio.sleep(0)
    return done


async def timer_fire(n: int) -> int:
    async def naps(share: int) -> int:
        done = 0
        for _ in range(share):
            await asyncio.sleep(0.001)
            done += 1
        return done

    return sum(await asyncio.gather(*(naps(share) for share in shares(n, SLEEPERS))))


async def wake_across_thread(n: int) -> int:
    loop = asyncio.get_running_loop()
    requests: SimpleQueue[asyncio.Future[int] | None] = SimpleQueue()

    def answer() -> None:
        while (future := requests.get()) is not None:
            loop.call_soon_threadsafe(future.set_result, 1)

    thread = Thread(target=answer)
    thread.start()
    answers = 0
    for _ in range(n):
        future = loop.create_future()
        requests.put(future)
        answers += await future
    requests.put(None)
    thread.join()
    return answers


def blocking() -> int:
    return 1


async def run_in_thread(n: int) -> int:
    done = 0
    for _ in range(n):
        done += await asyncio.to_thread(blocking)
    return done


async def million_sleepers(n: int, seconds: float = 1.0) -> int:
    async def sleeper() -> int:
        await asyncio.sleep(seconds)
        return 1

    return sum(await asyncio.gather(*(sleeper() for _ in range(n))))


async def million_timers(n: int) -> Outcome:
    loop = asyncio.get_running_loop()
    rung: list[tuple[float, float]] = []

    def ring(deadline: float) -> None:
        rung.append((deadline, loop.time()))

    due = deadlines(n, loop.time())
    handles = [loop.call_at(deadline, ring, deadline) for deadline in due]
    for number, handle in enumerate(handles):
        if number % KEPT:
            handle.cancel()
    kept = due[::KEPT]
    del handles, handle, due
    await asyncio.sleep(max(kept) - loop.time())
    await asyncio.sleep(0.005)
    return judge(n, kept, rung)
