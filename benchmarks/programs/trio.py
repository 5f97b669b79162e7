"""The benchmarks on Trio.

`million_timers` is not among them: Trio's timers are the deadlines of scopes, a scope belongs to a
task, and a million tasks are another benchmark.
"""

from __future__ import annotations

from queue import SimpleQueue
from threading import Thread

import trio

from benchmarks.programs import CAPACITY, LONG, RIVALS, SLEEPERS, TASKS, TURN, shares


async def one() -> int:
    return 1


async def spawn_one(n: int) -> int:
    done = 0

    async def count() -> None:
        nonlocal done
        done += 1

    for _ in range(n):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(count)
    return done


async def spawn_many(n: int) -> int:
    done = 0

    async def count() -> None:
        nonlocal done
        done += 1

    async with trio.open_nursery() as nursery:
        for _ in range(n):
            nursery.start_soon(count)
    return done


async def yield_now(n: int) -> int:
    done = 0

    async def turns(share: int) -> None:
        nonlocal done
        for _ in range(share):
            await trio.lowlevel.checkpoint()
            done += 1

    async with trio.open_nursery() as nursery:
        for share in shares(n, TASKS):
            nursery.start_soon(turns, share)
    return done


async def event_ping_pong(n: int) -> int:
    ping, pong = trio.Event(), trio.Event()

    async def partner() -> None:
        nonlocal ping
        for _ in range(n):
            await ping.wait()
            ping = trio.Event()
            pong.set()

    done = 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partner)
        for _ in range(n):
            ping.set()
            await pong.wait()
            pong = trio.Event()
            done += 1
    return done


async def channel_ping_pong(n: int) -> int:
    ping, pinged = trio.open_memory_channel[int](1)
    pong, ponged = trio.open_memory_channel[int](1)

    async def partner() -> None:
        for _ in range(n):
            await pong.send(await pinged.receive())

    done = 0
    async with ping, pinged, pong, ponged, trio.open_nursery() as nursery:
        nursery.start_soon(partner)
        for _ in range(n):
            await ping.send(1)
            done += await ponged.receive()
    return done


async def channel_throughput(n: int) -> int:
    sender, receiver = trio.open_memory_channel[int](CAPACITY)

    async def produce() -> None:
        for _ in range(n):
            await sender.send(1)

    done = 0
    async with sender, receiver, trio.open_nursery() as nursery:
        nursery.start_soon(produce)
        for _ in range(n):
            done += await receiver.receive()
    return done


async def lock_uncontended(n: int) -> int:
    lock = trio.Lock()
    done = 0
    for _ in range(n):
        async with lock:
            done += 1
    return done


async def lock_contended(n: int) -> int:
    lock = trio.Lock()
    done = 0

    async def rival(share: int) -> None:
        nonlocal done
        for _ in range(share):
            async with lock:
                await trio.lowlevel.checkpoint()
                done += 1

    async with trio.open_nursery() as nursery:
        for share in shares(n, RIVALS):
            nursery.start_soon(rival, share)
    return done


async def timer_set_cancel(n: int) -> int:
    done = 0
    for number in range(n):
        with trio.fail_after(LONG):
            done += await one()
        if not number % TURN:
            await trio.lowlevel.checkpoint()
    return done


async def timer_fire(n: int) -> int:
    done = 0

    async def naps(share: int) -> None:
        nonlocal done
        for _ in range(share):
            await trio.sleep(0.001)
            done += 1

    async with trio.open_nursery() as nursery:
        for share in shares(n, SLEEPERS):
            nursery.start_soon(naps, share)
    return done


async def wake_across_thread(n: int) -> int:
    wake = trio.lowlevel.current_trio_token().run_sync_soon
    requests: SimpleQueue[trio.Event | None] = SimpleQueue()

    def answer() -> None:
        while (event := requests.get()) is not None:
            wake(event.set)

    thread = Thread(target=answer)
    thread.start()
    answers = 0
    for _ in range(n):
        event = trio.Event()
        requests.put(event)
        await event.wait()
        answers += event.is_set()
    requests.put(None)
    thread.join()
    return answers


def blocking() -> int:
    return 1


async def run_in_thread(n: int) -> int:
    done = 0
    for _ in range(n):
        done += await trio.to_thread.run_sync(blocking)
    return done


async def million_sleepers(n: int, seconds: float = 1.0) -> int:
    done = 0

    async def sleeper() -> None:
        nonlocal done
        await trio.sleep(seconds)
        done += 1

    async with trio.open_nursery() as nursery:
        for _ in range(n):
            nursery.start_soon(sleeper)
    return done
