"""From the last step to `runtime/`: each idea of these examples, and the file that has it for real.

What the loop of step 05 lacks at ten thousand is three changes:

* a waker for each task, and a queue of those that were woken, in place of one flag for all;
* a list of descriptors that stays in the kernel, in place of one that is made anew each turn;
* coroutines that yield at the bottom by themselves, in place of futures that are polled from the
  top, so that most waits need no object but the task.

The rest is what programs need that go on for longer than an example: to be cancelled, to fail, to
end, and to say what they are waiting for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..options import parser


class Step(NamedTuple):
    """An idea, where it was built here, and where it is in the runtime."""

    example: str
    idea: str
    file: str


STEPS = (
    Step("sleep", "something that is polled: Ready, PENDING", "future.py"),
    Step("own_join_all", "many as one; there, a task for each", "joining.py"),
    Step("never_woken", "whoever can never go on, found and named", "stuck.py"),
    Step("busy_sleep", "woken at once, but only once a turn", "sleep.py"),
    Step("thread_per_waker", "the right to wake, held by another thread", "waker.py"),
    Step("timer_thread", "and how that ends the sleep of the loop", "wakeup.py"),
    Step("timeout", "time that is up: a scope, which raises", "scopes.py"),
    Step("wake_times", "deadlines in order; the loop sleeps until the first", "timers.py"),
    Step("async_def", "send(None) is poll, and who is polled now", "task.py"),
    Step("async_def", "a bare yield at the bottom", "leaf.py"),
    Step("task_list", "the loop over tasks; there, over those that are ready", "executor.py"),
    Step("main_task", "the program ends with it, and the others with the program", "run.py"),
    Step("join_handle", "where a result waits; there, the task itself", "task.py"),
    Step("awake", "Task.wake and the ready queue", "task.py"),
    Step("busy_clients", "try first, wait only if the kernel says not now", "stream.py"),
    Step("poll", "descriptors -> wake-ups", "reactor.py"),
    Step("last_millisecond", "timeouts rounded up", "epoll.py"),
    Step("on_the_runtime", "tasks with handles, as a block", "groups.py"),
    Step("poll_everything", "edges from epoll: only what changed", "epoll.py"),
)


def main(argv: Sequence[str] | None = None) -> None:
    parser(__doc__).parse_args(argv)
    for step in STEPS:
        print(f"{step.example:17} {step.idea:58} runtime/{step.file}")


if __name__ == "__main__":
    main()
