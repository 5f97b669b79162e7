"""Random interleavings: tasks that a test starts, cancels and wakes for nothing at any moment.

Hypothesis draws a list of operations, the test performs them from its main task, and what happens
is the same each time, because nothing in the runtime is left to chance. Between two "turn"s, all
operations fall into one turn of the loop, which is where the races are: served and cancelled,
closed and served, woken by mistake and then in earnest.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, TypeAlias

from hypothesis import strategies as st

from runtime import Cancelled, Task, spawn, yield_now
from runtime.task import current_executor

#: What to do, and a number to choose with.
Operation: TypeAlias = tuple[str, int]

DISTURBANCES = ("cancel", "wake", "turn", "turn", "settle")


def operations(*names: str) -> st.SearchStrategy[list[Operation]]:
    """Lists of the operations named and of disturbances."""
    return st.lists(
        st.tuples(st.sampled_from((*names, *DISTURBANCES)), st.integers(0, 11)), max_size=50
    )


async def settle() -> None:
    """Let the others run until none of them has anything to do."""
    executor = current_executor()
    for _ in range(1000):
        await yield_now()
        if not executor._ready and not executor._from_outside:
            return
    raise AssertionError("the tasks never come to rest")


class Crew:
    """The tasks of one test, by number."""

    def __init__(self) -> None:
        self.tasks: list[Task[Any]] = []

    @property
    def alive(self) -> list[Task[Any]]:
        return [task for task in self.tasks if not task.done]

    def start(self, coro: Awaitable[Any]) -> None:
        self.tasks.append(spawn(coro))

    async def disturb(self, name: str, choice: int) -> None:
        """Perform one of the disturbances; anything else is none."""
        alive = self.alive
        if name == "turn":
            await yield_now()
        elif name == "settle":
            await settle()
        elif name == "cancel" and alive:
            alive[choice % len(alive)].cancel()
        elif name == "wake" and alive:
            alive[choice % len(alive)].wake()

    async def dismiss(self) -> None:
        """Cancel those that are left, and see that each of them ends, and that none failed."""
        for task in self.tasks:
            task.cancel()
        await settle()
        assert all(task.done for task in self.tasks)
        for task in self.tasks:
            if not isinstance(task.error, Cancelled):
                task.outcome()
