"""A `JoinHandle` and its four states: between a task and whoever awaits its result.

    unawaited  ──poll──▶  awaited by a waker       nobody has asked yet; somebody waits
        │                      │
        └──────────┬───────────┘ the task ends     and wakes who waits
                   ▼
                 ready  ──poll──▶  done            there is a value; it was given away

The task and the awaiter come in either order, and so the handle keeps what the first of them
brought: the waker, or the value.  That is all; a task that is joined needs no more than a place
where its value lies.  (A lock, too, if the loop had several threads.)

The value can be had once here, as in Rust, where it is moved out.  The runtime's handle keeps it,
and what the task raised as well, which here would end the whole program.

This is polled by hand, to see it move.  Next: on the loop, and the loop hangs.
"""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeAlias, TypeVar, final

from runtime import PENDING, Pending, Ready

from ..options import parser
from ..part1_futures.s01_sleep import Waker
from . import s04_new_tasks
from .s02_async_def import Future

T = TypeVar("T")


@final
@dataclass(frozen=True)
class Unawaited:
    """The task runs, and nobody has asked for its value."""


@final
@dataclass(frozen=True)
class Awaited:
    """The task runs, and somebody waits for it."""

    waker: Waker


@final
@dataclass(frozen=True)
class Done:
    """The value is given away."""


State: TypeAlias = Unawaited | Awaited | Ready[T] | Done
UNAWAITED: Final = Unawaited()
DONE: Final = Done()


class JoinHandle(Future[T], Generic[T]):
    """The value that a task will have."""

    def __init__(self) -> None:
        self.state: State[T] = UNAWAITED

    def poll(self, waker: Waker) -> Ready[T] | Pending:
        match self.state:
            case Unawaited() | Awaited():
                self.state = Awaited(waker)  # the latest, as ever
                return PENDING
            case Ready() as ready:
                self.state = DONE
                return ready
            case Done():
                raise RuntimeError("this handle has given its value away already")

    def finish(self, value: T) -> None:
        """The task has ended: keep its value, and wake who waits for it."""
        before, self.state = self.state, Ready(value)
        if isinstance(before, Awaited):
            before.waker.wake()


async def deliver(coro: Coroutine[Any, Any, T], handle: JoinHandle[T]) -> None:
    """What the loop runs: the coroutine, and then its value goes into the handle."""
    handle.finish(await coro)


def spawn(coro: Coroutine[Any, Any, T]) -> JoinHandle[T]:
    """Have it run in the background; the handle is where to wait for it."""
    handle: JoinHandle[T] = JoinHandle()
    s04_new_tasks.spawn(deliver(coro, handle))
    return handle


class Bell:
    """A waker that can be heard."""

    def wake(self) -> None:
        print("  (the waker is called)")

    def __repr__(self) -> str:
        return "a bell"


def main(argv: Sequence[str] | None = None) -> None:
    parser(__doc__).parse_args(argv)
    handle: JoinHandle[int] = JoinHandle()
    print(handle.state)
    print(f"polled: {handle.poll(Bell())}, now {handle.state}")
    handle.finish(42)
    print(f"the task ends: {handle.state}")
    print(f"polled: {handle.poll(Bell())}, now {handle.state}")
    try:
        handle.poll(Bell())
    except RuntimeError as error:
        print(f"polled: {error}")


if __name__ == "__main__":
    main()
