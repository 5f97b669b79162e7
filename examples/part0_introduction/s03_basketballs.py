"""What it costs to switch: players pass balls to one another, first threads, then tasks.

Each player waits for a ball, does about a microsecond of work, and passes the ball to another one
at random.  There are eight balls for each CPU, however many players there are.  So more players
make no more work; but the fewer balls each of them sees, the more often it must wait, and somebody
else must be found who can go on.

For a thread, to wait is to go to the kernel, and to go on is to be chosen by it, to come back with
cold caches, and in Python to get hold of the interpreter lock, which lets one thread run at a time.
(In a language without that lock, passes first rise with the number of CPUs.)  A task that waits is
put aside by the program itself: one thread goes on with the next.

The mailboxes are the fastest there are: `SimpleQueue`, written in C, for the threads, and the
runtime's own channel, in Python, for the tasks.

Next: as few threads as one likes, with any number of jobs.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from queue import SimpleQueue
from random import randrange
from threading import Thread

import runtime

from ..options import parser

BALLS_PER_CPU = 8

#: Turns of an empty loop that take, together with choosing a player, about a microsecond.
TURNS = 20


def work() -> None:
    for _ in range(TURNS):
        pass


def another(me: int, players: int) -> int:
    return (me + randrange(1, players)) % players


def with_threads(players: int, balls: int, seconds: float) -> float:
    """Passes per millisecond among threads."""
    hands: list[SimpleQueue[bool]] = [SimpleQueue() for _ in range(players)]
    passes = [0] * players  # one for each, so that no two write to the same place

    def play(me: int) -> None:
        catch = hands[me].get
        while catch():
            work()
            passes[me] += 1
            hands[another(me, players)].put(True)

    threads: list[Thread] = []
    try:
        for n in range(players):
            thread = Thread(target=play, args=(n,))
            thread.start()
            threads.append(thread)
        for n in range(balls):
            hands[n % players].put(True)
        began, before = time.perf_counter(), sum(passes)
        time.sleep(seconds)
        ended, after = time.perf_counter(), sum(passes)
    finally:
        for hand in hands:
            hand.put(False)  # instead of a ball: the game is over
        for thread in threads:
            thread.join()
    return (after - before) / (ended - began) / 1000


def hand(balls: int) -> tuple[runtime.Sender[bool], runtime.Receiver[bool]]:
    """A channel with room for all of them, so that nobody waits to pass."""
    return runtime.channel(balls)


async def with_tasks(players: int, balls: int, seconds: float) -> float:
    """Passes per millisecond among tasks."""
    passes = 0
    senders: list[runtime.Sender[bool]] = []

    async def play(me: int, mine: runtime.Receiver[bool]) -> None:
        nonlocal passes
        async for ball in mine:
            work()
            passes += 1
            await senders[another(me, players)].send(ball)

    async with runtime.TaskGroup() as group:
        for n in range(players):
            sender, receiver = hand(balls)
            senders.append(sender)
            group.spawn(play(n, receiver))
        for n in range(balls):
            await senders[n % players].send(True)
        began, before = time.perf_counter(), passes
        await runtime.sleep(seconds)
        ended, after = time.perf_counter(), passes
        group.cancel_scope.cancel()
    return (after - before) / (ended - began) / 1000


def main(argv: Sequence[str] | None = None) -> None:
    balls = BALLS_PER_CPU * (os.cpu_count() or 1)
    options = parser(__doc__, most=4096, balls=balls, seconds=0.5).parse_args(argv)
    print(f"passes per ms, {options.balls} balls")
    print(f"{'players':>7} {'threads':>8} {'tasks':>8}")
    players = 2
    while players <= options.most:
        try:
            threads = f"{with_threads(players, options.balls, options.seconds):8.1f}"
        except RuntimeError:  # see the step before
            threads = " refused"
        tasks = runtime.run(with_tasks(players, options.balls, options.seconds))
        print(f"{players:7,} {threads} {tasks:8.1f}")
        players *= 2


if __name__ == "__main__":
    main()
