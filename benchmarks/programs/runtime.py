"""The benchmarks on our runtime."""

from __future__ import annotations

from queue import SimpleQueue
from threading import Thread

import runtime
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
from runtime.timers import timer


async def one() -> int:
    return 1


async def spawn_one(n: int) -> int:
    done = 0
    for _ in range(n):
        done += await runtime.spawn(one())
    return done


async def spawn_many(n: int) -> int:
    return sum(await runtime.join_all(one() for _ in range(n)))


async def yield_now(n: int) -> int:
    async def turns(share: int) -> int:
        done = 0
        for _ in range(share):
            await runtime.yield_now()
            done += 1
        return done

    return sum(await runtime.join_all(turns(share) for share in shares(n, TASKS)))


async def event_ping_pong(n: int) -> int:
    ping, pong = runtime.Event(), runtime.Event()

    async def partner() -> None:
        nonlocal ping
        for _ in range(n):
            await ping.wait()
            ping = runtime.Event()
            pong.set()

    done = 0
    async with runtime.TaskGroup() as group:
        group.spawn(partner())
        for _ in range(n):
            ping.set()
            await pong.wait()
            pong = runtime.Event()
            done += 1
    return done


def ints(maxsize: int) -> tuple[runtime.Sender[int], runtime.Receiver[int]]:
    return runtime.channel(maxsize)


async def channel_ping_pong(n: int) -> int:
    ping, pinged = ints(1)
    pong, ponged = ints(1)

    async def partner() -> None:
        for _ in range(n):
            await pong.send(await pinged.receive())

    done = 0
    with ping, pinged, pong, ponged:
        async with runtime.TaskGroup() as group:
            group.spawn(partner())
            for _ in range(n):
                await ping.send(1)
                done += await ponged.receive()
    return done


async def channel_throughput(n: int) -> int:
    sender, receiver = ints(CAPACITY)

    async def produce() -> None:
        for _ in range(n):
            await sender.send(1)

    done = 0
    with sender, receiver:
        async with runtime.TaskGroup() as group:
            group.spawn(produce())
            for _ in range(n):
                done += await receiver.receive()
    return done


async def lock_uncontended(n: int) -> int:
    lock = runtime.Lock()
    done = 0
    for _ in range(n):
        async with lock:
            done += 1
    return done


async def lock_contended(n: int) -> int:
    lock = runtime.Lock()
    done = 0

    async def rival(share: int) -> None:
        nonlocal done
        for _ in range(share):
            async with lock:
                await runtime.yield_now()
                done += 1

    async with runtime.TaskGroup() as group:
        for share in shares(n, RIVALS):
            group.spawn(rival(share))
    return done


async def timer_set_cancel(n: int) -> int:
    done = 0
    for number in range(n):
        with runtime.timeout(LONG):
            done += await one()
        if not number % TURN:
            await runtime.yield_now()
    return done


async def timer_fire(n: int) -> int:
    async def naps(share: int) -> int:
        done = 0
        for _ in range(share):
            await runtime.sleep(0.001)
            done += 1
        return done

    return sum(await runtime.join_all(naps(share) for share in shares(n, SLEEPERS)))


async def wake_across_thread(n: int) -> int:
    requests: SimpleQueue[runtime.Waker | None] = SimpleQueue()
    answers = 0

    def answer() -> None:
        nonlocal answers
        while (waker := requests.get()) is not None:
            answers += 1
            waker.wake()

    thread = Thread(target=answer)
    thread.start()
    for request in range(n):
        requests.put(runtime.current_waker())
        while answers <= request:
            await runtime.park()
    requests.put(None)
    thread.join()
    return answers


def blocking() -> int:
    return 1


async def run_in_thread(n: int) -> int:
    done = 0
    for _ in range(n):
        done += await runtime.run_in_thread(blocking)
    return done


async def million_sleepers(n: int, seconds: float = 1.0) -> int:
    async def sleeper() -> int:
        await runtime.sleep(seconds)
        return 1

    return sum(await runtime.join_all(sleeper() for _ in range(n)))


class Alarm:
    """What a timer wakes, if it is no task."""

    __slots__ = ("deadline", "rung")

    def __init__(self, deadline: float, rung: list[tuple[float, float]]) -> None:
        self.deadline = deadline
        self.rung = rung

    def wake(self) -> None:
        self.rung.append((self.deadline, runtime.now()))


async def million_timers(n: int) -> Outcome:
    timers = runtime.current_task().executor.timers
    rung: list[tuple[float, float]] = []
    alarms = [timer(deadline, Alarm(deadline, rung)) for deadline in deadlines(n, runtime.now())]
    for alarm in alarms:
        timers.add(alarm)
    for number, alarm in enumerate(alarms):
        if number % KEPT:
            timers.cancel(alarm)
    kept = [float(alarm) for alarm in alarms[::KEPT]]
    del alarms, alarm
    await runtime.sleep_until(max(kept))
    await runtime.sleep(0.005)
    return judge(n, kept, rung)
