"""Ctrl-C: the first one cancels the main task, the second one raises (cpython#86849, trio#16)."""

import os
import signal
import threading
import time
from collections.abc import Callable
from functools import partial

import pytest

import runtime
from runtime import Cancelled, CancelScope, current_task, sleep, spawn, yield_now
from runtime.task import current_executor

from .harness import PATIENCE, Runner, forever, turns


def ctrl_c() -> None:
    """As if somebody pressed it; the handler has run when this returns."""
    os.kill(os.getpid(), signal.SIGINT)


def later(call: Callable[[], None]) -> threading.Thread:
    """Have another thread do it while the loop is asleep."""

    def work() -> None:
        time.sleep(0.01)
        call()

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_the_first_one_unwinds_everything_in_order(run: Runner) -> None:
    cleaned: list[str] = []

    async def worker(name: str) -> None:
        try:
            await forever()
        finally:
            with CancelScope(shield=True):
                await yield_now()
            cleaned.append(name)

    async def main() -> None:
        spawn(worker("background"))
        try:
            async with runtime.TaskGroup() as group:
                group.spawn(worker("child"))
                await yield_now()
                ctrl_c()
                cleaned.append("goes on until it waits")
                await forever()
        finally:
            cleaned.append("main")

    with pytest.raises(KeyboardInterrupt):
        run(main)
    assert cleaned == ["goes on until it waits", "child", "main", "background"]


def test_it_ends_a_sleep(run: Runner) -> None:
    async def main() -> None:
        thread = later(ctrl_c)
        try:
            await sleep(PATIENCE)
        finally:
            thread.join()

    with pytest.raises(KeyboardInterrupt):
        run(main)


def test_the_second_one_does_not_wait_for_a_task_that_blocks(run: Runner) -> None:
    cleaned: list[str] = []

    async def main() -> None:
        try:
            ctrl_c()
            cleaned.append("still here")
            ctrl_c()
            cleaned.append("never reached")
        finally:
            cleaned.append("main")

    with pytest.raises(KeyboardInterrupt):
        run(main)
    assert cleaned == ["still here", "main"]


def test_the_second_one_ends_a_cleanup_that_takes_too_long(run: Runner) -> None:
    async def main() -> None:
        try:
            ctrl_c()
            await forever()
        finally:
            with CancelScope(shield=True):
                thread = later(ctrl_c)
                try:
                    await sleep(PATIENCE)
                finally:
                    thread.join()

    with pytest.raises(KeyboardInterrupt):
        run(main)


def test_the_second_one_leaves_no_child_behind_whose_group_is_being_left(run: Runner) -> None:
    """A group that waits for its children does so behind a shield, and that is no cleanup."""
    cleaned: list[str] = []

    async def child() -> None:
        try:
            await forever()
        finally:
            with CancelScope(shield=True):
                try:
                    await forever()
                finally:
                    try:
                        await yield_now()
                    finally:
                        cleaned.append(f"child, inside {current_task().name}")

    async def parent() -> None:
        try:
            async with runtime.TaskGroup() as group:
                group.spawn(child(), name="child")
                await forever()
        finally:
            cleaned.append("parent")

    async def main() -> None:
        handle = spawn(parent())
        await turns(2)
        handle.cancel()
        await turns(2)
        ctrl_c()
        ctrl_c()

    with pytest.raises(KeyboardInterrupt):
        run(main)
    assert cleaned == ["child, inside child", "parent"]


def test_an_order_that_comes_while_the_run_is_taken_apart_leaves_no_descriptor(run: Runner) -> None:
    """The fixture looks for those, and for threads."""

    async def main() -> None:
        for _ in range(3):
            current_executor().at_exit[partial(signal.raise_signal, signal.SIGINT)] = None
        with runtime.signals(signal.SIGUSR1):
            await runtime.run_in_thread(int)

    with pytest.raises(KeyboardInterrupt):
        run(main)


def test_a_main_task_that_takes_it_in_has_the_last_word(run: Runner) -> None:
    async def main() -> str:
        try:
            ctrl_c()
            await forever()
        except Cancelled:
            return "saved everything"
        return "not cancelled"

    assert run(main) == "saved everything"


def test_once_the_main_task_is_over_it_raises_at_once(run: Runner) -> None:
    async def dawdles() -> None:
        try:
            await forever()
        finally:
            ctrl_c()

    async def main() -> None:
        spawn(dawdles())
        await yield_now()

    with pytest.raises(KeyboardInterrupt):
        run(main)


def test_the_handler_that_was_there_is_put_back(run: Runner) -> None:
    async def main() -> bool:
        return signal.getsignal(signal.SIGINT) is signal.default_int_handler

    assert run(main) is False
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_handler_of_the_programs_own_is_left_alone(run: Runner) -> None:
    caught: list[int] = []

    async def main() -> str:
        ctrl_c()
        await yield_now()
        return "not cancelled"

    before = signal.signal(signal.SIGINT, lambda signum, frame: caught.append(signum))
    try:
        assert run(main) == "not cancelled"
    finally:
        signal.signal(signal.SIGINT, before)
    assert caught == [signal.SIGINT]


def test_signals_take_precedence_while_they_are_waited_for(run: Runner) -> None:
    async def main() -> signal.Signals:
        with runtime.signals(signal.SIGINT) as caught:
            ctrl_c()
            return await anext(caught)

    assert run(main) == signal.SIGINT
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_run_in_another_thread_leaves_it_to_the_main_thread() -> None:
    seen: list[object] = []

    async def main() -> None:
        seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=runtime.run, args=(main(),))
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]
