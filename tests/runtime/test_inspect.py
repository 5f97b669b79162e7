"""`dump_tasks`: the tree of tasks, where each stands, and what a hung loop is doing."""

import io
import threading
import time

import runtime
from runtime.testing import VirtualClock
from tests.runtime.harness import Runner, turns


async def waits_for_ever() -> None:
    await runtime.sleep(float("inf"))


async def outer() -> None:
    await waits_for_ever()


def dumped() -> str:
    out = io.StringIO()
    runtime.dump_tasks(out)
    return out.getvalue()


def test_a_waiting_task_is_shown_with_the_lines_of_its_awaits(run: Runner) -> None:
    async def main() -> str:
        task = runtime.spawn(outer(), name="worker")
        await turns(2)
        text = dumped()
        task.cancel()
        return text

    lines = run(main, clock=VirtualClock()).splitlines()
    first = next(n for n, line in enumerate(lines) if line.startswith("worker: waiting, spawned"))
    assert [line.split("(")[0].strip() for line in lines[first + 1 : first + 4]] == [
        "at outer",
        "at waits_for_ever",
        "at Sleep",
    ]
    assert f"({__file__}:" in lines[first + 1]


def test_children_stand_under_the_task_whose_group_they_are_in(run: Runner) -> None:
    async def parent() -> None:
        async with runtime.TaskGroup() as group:
            group.spawn(outer(), name="first")
            group.spawn(outer(), name="second")

    async def main() -> str:
        task = runtime.spawn(parent(), name="parent")
        await turns(3)
        text = dumped()
        task.cancel()
        return text

    text = run(main, clock=VirtualClock())
    assert text.startswith("4 tasks\n")
    under_parent = text[text.index("\nparent: waiting") :]
    assert "\n    first: waiting" in under_parent
    assert "\n    second: waiting" in under_parent
    assert "\nfirst" not in text


def test_the_running_task_is_shown_with_its_stack_and_without_the_loop(run: Runner) -> None:
    def helper() -> str:
        return dumped()

    async def main() -> str:
        return helper()

    lines = run(main).splitlines()
    assert lines[1].startswith("main: running, spawned at ")
    assert [
        line.split("(")[0].strip().removeprefix("at ").split(".")[-1] for line in lines[2:]
    ] == [
        "main",
        "helper",
        "dumped",
    ]


def test_another_thread_sees_what_a_hung_loop_is_doing() -> None:
    hung, seen = threading.Event(), threading.Event()

    async def hangs() -> None:
        hung.set()
        deadline = time.monotonic() + 10
        while not seen.is_set() and time.monotonic() < deadline:
            pass  # never awaits: no other task gets its turn

    async def main() -> None:
        await runtime.spawn(hangs(), name="guilty")

    thread = threading.Thread(target=runtime.run, args=(main(),))
    thread.start()
    assert hung.wait(10)
    text = dumped()
    seen.set()
    thread.join(10)
    guilty = text[text.index("guilty: running") :].splitlines()
    assert "hangs (" in guilty[1]
    assert __file__ in guilty[1]
    assert "main: waiting" in text


def test_without_a_runtime_there_is_nothing_to_show() -> None:
    assert dumped() == ""
