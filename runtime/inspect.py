"""`dump_tasks`: who is there, who began them, and what each of them waits for.

What `ps` and a stack trace are to threads.  A task that waits has no place on any thread's stack;
its chain of awaits shows where it stands (`stack.py`).  The task that is running has, and if it is
the reason that nothing else moves, its stack is the answer; so this can be called from another
thread, or from a signal handler, while a loop hangs.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, TextIO

from .executor import Executor, executors
from .stack import Place, await_stack, thread_stack
from .task import Task, running


def dump_tasks(file: TextIO | None = None) -> None:
    """Write every task of this thread's runtime to `file`, by default standard error.

    In a thread that has none, write those of all threads.  A task stands under the one whose group
    it is in, with its state and the lines where it waits, outermost first.
    """
    out = sys.stderr if file is None else file
    for thread, executor in tuple(executors.items()):
        if running.executor is None or running.executor is executor:
            out.writelines(f"{line}\n" for line in _describe(executor, thread))
    out.flush()


def _describe(executor: Executor, thread: int) -> Iterator[str]:
    children: dict[Task[Any] | None, list[Task[Any]]] = {}
    tasks = _snapshot(executor)
    for task in tasks:
        children.setdefault(parent(task), []).append(task)
    yield f"{len(tasks)} task{'s' if len(tasks) != 1 else ''}"
    above: list[tuple[Task[Any], int]] = [(task, 0) for task in reversed(children.get(None, []))]
    while above:
        task, depth = above.pop()
        indent = "    " * depth
        yield f"{indent}{task.name}: {_state(task, executor)}, spawned at {task.spawned_at}"
        for place in _places(task, executor, thread):
            yield f"{indent}    at {place}"
        above += [(child, depth + 1) for child in reversed(children.get(task, []))]


def _snapshot(executor: Executor) -> list[Task[Any]]:
    """All tasks at one moment, though the loop may go on in its own thread meanwhile."""
    for _ in range(100):
        try:
            return list(executor.tasks())
        except RuntimeError:  # a set changed while it was read; the next try is as good
            continue
    return []


def parent(task: Task[Any]) -> Task[Any] | None:
    """The task whose group this one is in; None if it is in none."""
    scope = task.home
    while scope is not None and scope.owner is task:
        scope = scope.parent
    owner = None if scope is None else scope.owner
    return owner if isinstance(owner, Task) else None


def _state(task: Task[Any], executor: Executor) -> str:
    state = "running" if task is executor.current else "ready" if task.queued else "waiting"
    return f"{state}, cancelled" if task.cancelled else state


def _places(task: Task[Any], executor: Executor, thread: int) -> list[Place]:
    if task is not executor.current:
        return await_stack(task.coro)
    frame = sys._current_frames().get(thread)
    while frame is not None and frame.f_globals is globals():
        frame = frame.f_back  # the dump itself, if it was the task that asked for it
    return thread_stack(frame, task.coro)
