"""`dump_tasks`: the tree of tasks, where each stands, and what a hung loop is doing."""

import io
import os
import signal
import threading
import time
from pathlib import Path

import pytest

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


def tree(text: str) -> list[str]:
    """The names of the tasks in a dump, indented."""
    return [
        line.split(":")[0] for line in text.splitlines()[1:] if not line.lstrip().startswith("at ")
    ]


def test_a_waiting_task_is_shown_with_the_lines_of_its_awaits(run: Runner) -> None:
    async def main() -> str:
        task = runtime.spawn(outer(), name="worker")
        await turns(2)
        text = dumped()
        task.cancel()
        return text

    lines = run(main, clock=VirtualClock()).splitlines()
    first = next(n for n, line in enumerate(lines) if line.startswith("    worker: waiting for "))
    assert f", spawned at {__file__}:" in lines[first]
    assert [line.split("(")[0].strip() for line in lines[first + 1 : first + 4]] == [
        "at outer",
        "at waits_for_ever",
        "at sleep",
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

    assert tree(run(main, clock=VirtualClock())) == [
        "main",
        "    parent",
        "        first",
        "        second",
    ]


def test_a_task_stands_under_its_spawner_until_that_one_ends(run: Runner) -> None:
    async def spawns() -> None:
        runtime.spawn(outer(), name="orphan")
        await runtime.sleep(1)

    async def main() -> tuple[str, str]:
        task = runtime.spawn(spawns(), name="spawner")
        await turns(3)
        before = dumped()
        await task
        return before, dumped()

    before, after = run(main, clock=VirtualClock())
    assert tree(before) == ["main", "    spawner", "        orphan"]
    assert tree(after) == ["main", "orphan"]


def test_the_dump_says_for_how_long(run: Runner) -> None:
    async def main() -> str:
        task = runtime.spawn(outer(), name="worker")
        await runtime.sleep(2.5)
        text = dumped()
        task.cancel()
        return text

    assert "worker: waiting for 2.500 s, spawned" in run(main, clock=VirtualClock())


@pytest.mark.parametrize("kind", ["file", "buffer"])
def test_a_signal_dumps_the_tasks_of_a_loop_that_hangs(kind: str, tmp_path: Path) -> None:
    async def hangs() -> None:
        os.kill(os.getpid(), signal.SIGUSR1)  # the handler runs here, where it cannot await

    async def main() -> None:
        await runtime.spawn(hangs(), name="guilty")

    with open(tmp_path / "dump", "w+") if kind == "file" else io.StringIO() as out:
        before = signal.getsignal(signal.SIGUSR1)
        with runtime.dump_tasks_on(signal.SIGUSR1, out):
            runtime.run(main())
        assert signal.getsignal(signal.SIGUSR1) is before
        out.seek(0)
        text = out.read()
    assert tree(text) == ["main", "    guilty"]
    guilty = text[text.index("guilty: running") :].splitlines()
    assert "hangs (" in guilty[1]
    assert __file__ in guilty[1]


def test_the_running_task_is_shown_with_its_stack_and_without_the_loop(run: Runner) -> None:
    def helper() -> str:
        return dumped()

    async def main() -> str:
        return helper()

    lines = run(main).splitlines()
    assert lines[1].startswith("main: running for 0.0")
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


def test_a_dump_that_cannot_be_written_harms_nobody(tmp_path: Path) -> None:
    async def main() -> str:
        os.kill(os.getpid(), signal.SIGUSR1)
        return "unharmed"

    closed = open(tmp_path / "dump", "w")  # noqa: SIM115 - it is closed on purpose
    closed.close()
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as broken:
        for out in closed, broken:
            with runtime.dump_tasks_on(signal.SIGUSR1, out):
                assert runtime.run(main()) == "unharmed"
