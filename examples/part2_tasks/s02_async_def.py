"""`async def` on our own loop: a coroutine as a future, and a future that can be awaited.

From here on we want to write `async def`, not state machines.  Rust's compiler makes a future of
each; Python makes a coroutine, and the way from one to the other is short, in both directions:

* To **poll a coroutine** is `coro.send(None)`.  It runs to the next `yield` at the bottom of its
  awaits, which means `PENDING`, or to its end: then `StopIteration` holds the value of `Ready`.
* To **await a future** is to poll it, and to yield as long as it is `PENDING`.

One thing is missing.  In Rust the waker goes down from poll to poll as an argument; `send(None)`
hands nothing down.  So whoever polls a coroutine leaves the waker in a place where the future at
the bottom finds it.  (In the runtime that is `current_task()`: what can be woken there is a task.)

Nothing else is new: the loop is that of Part One.  Next: more than one task on it.
"""

from __future__ import annotations

import time
from collections.abc import Coroutine, Generator, Sequence
from typing import Any, TypeVar

from runtime import PENDING, Pending, Ready

from ..options import parser
from ..part1_futures import s01_sleep, s11_wake_times
from ..part1_futures.s01_sleep import Waker
from ..part1_futures.s03_own_join_all import JoinAll
from ..part1_futures.s10_busy_main import Nobody

T = TypeVar("T")


class Current:
    """Where the waker of the poll that is under way lies."""

    waker: Waker = Nobody()


class Future(s01_sleep.Future[T]):
    """A future that can be awaited on our own loop."""

    def __await__(self) -> Generator[None, None, T]:
        while True:
            state = self.poll(Current.waker)
            if isinstance(state, Ready):
                return state.value
            yield


class Async(Future[T]):
    """A coroutine as a future."""

    def __init__(self, coro: Coroutine[Any, Any, T]) -> None:
        self.coro = coro

    def poll(self, waker: Waker) -> Ready[T] | Pending:
        outer, Current.waker = Current.waker, waker
        try:
            self.coro.send(None)
        except StopIteration as stop:
            return Ready(stop.value)
        finally:
            Current.waker = outer
        return PENDING


class Sleep(Future[None], s11_wake_times.Sleep):
    """The sleep of Part One's last step, to be awaited."""


async def foo(n: int, seconds: float) -> None:
    print(f"start {n}")
    await Sleep(seconds)
    print(f"end {n}")


def main(argv: Sequence[str] | None = None) -> None:
    options = parser(__doc__, count=10, seconds=1.0).parse_args(argv)
    began = time.monotonic()
    s11_wake_times.run(JoinAll(Async(foo(n, options.seconds)) for n in range(1, options.count + 1)))
    print(f"{time.monotonic() - began:.2f} s")


if __name__ == "__main__":
    main()
