"""`dump_tasks`: who is there, who began them, and what each of them waits for.

What `ps` and a stack trace are to threads.  A task that waits has no place on any thread's stack;
its chain of awaits shows where it stands (`stack.py`).  The task that is running has, and if it is
the reason that nothing else moves, its stack is the answer; so this can be called from another
thread, or from a signal handler, while a loop hangs.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, TextIO

from .executor import Executor, executors
from .stack import Place, await_stack, thread_stack
from .task import Task, running


def dump_tasks(file: TextIO | None = None) -> None:
    """Write every task of this thread's runtime to `file`, by default standard error.

    In a thread that has none, write those of all threads.  A task stands under the one whose group
    it is in, or else the one that spawned it, with its state, for how long it has been so, and the
    lines where it waits, outermost first.
    """
    out = sys.stderr if file is None else file
    out.write(_dump())
    out.flush()


@contextmanager
def dump_tasks_on(signum: int, file: TextIO | None = None) -> Iterator[None]:
    """Have a signal write the dump while the block runs: `with dump_tasks_on(signal.SIGUSR1)`.

    Works while the loop hangs, too, unless it hangs in C.  From the main thread only (ValueError
    elsewhere); the handler that was there before is put back.
    """

    def handler(number: int, frame: FrameType | None) -> None:
        # An exception here would be raised in whatever line the signal came upon.
        with suppress(OSError, ValueError):  # a file that is closed, or full
            _dump_from_a_signal(sys.stderr if file is None else file)

    before = signal.signal(signum, handler)
    try:
        yield
    finally:
        signal.signal(signum, before)


def _dump_from_a_signal(out: TextIO) -> None:
    try:
        # Not `out.write`: the signal may have interrupted just that, and it cannot be nested.
        descriptor = out.fileno()
    except (OSError, AttributeError):
        out.write(_dump())
    else:
        _write_all(descriptor, _dump().encode(errors="backslashreplace"))


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _dump() -> str:
    lines: list[str] = []
    for thread, executor in tuple(executors.items()):
        if running.executor is None or running.executor is executor:
            lines += _describe(executor, thread)
    return "".join(f"{line}\n" for line in lines)


def _describe(executor: Executor, thread: int) -> Iterator[str]:
    children: dict[Task[Any] | None, list[Task[Any]]] = {}
    tasks = sorted(_snapshot(executor), key=lambda task: task.name)
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
    """The task whose group this one is in, or else the one that spawned it, if it lives."""
    group = task.birthplace
    owner = None if group is None else group.owner
    if isinstance(owner, Task):
        return owner
    spawner = None if task.spawner is None else task.spawner()
    return None if spawner is None or spawner.done else spawner


def _state(task: Task[Any], executor: Executor) -> str:
    state = "running" if task is executor.current else "ready" if task.queued else "waiting"
    seconds = max(0.0, executor.clock.now() - task.since)
    return f"{state}{', cancelled' if task.cancelled else ''} for {seconds:.3f} s"


def _places(task: Task[Any], executor: Executor, thread: int) -> list[Place]:
    if task is not executor.current:
        return await_stack(task.coro)
    frame = sys._current_frames().get(thread)
    while frame is not None and frame.f_globals is globals():
        frame = frame.f_back  # the dump itself, if it was the task that asked for it
    return thread_stack(frame, task.coro)
