"""A task that will not be cancelled is asked at leisure, and named (anyio#1111, anyio#1257)."""

import logging

import pytest

from runtime import Cancelled, now, sleep, spawn, statistics, yield_now
from runtime.executor import ASK_EVERY, STUBBORN
from runtime.testing import VirtualClock

from .harness import Runner


def test_a_task_that_swallows_cancelled_neither_spins_nor_goes_unnoticed(
    run: Runner, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "runtime")
    asked = 0

    async def stubborn() -> None:
        nonlocal asked
        while asked < 2 * STUBBORN + 1:
            try:
                await sleep(3600)
            except Cancelled:
                asked += 1

    async def main() -> tuple[float, int]:
        task = spawn(stubborn(), name="mule")
        await yield_now()
        task.cancel()
        while not task.done:
            await sleep(1)
        return now(), statistics().resumed

    seconds, resumed = run(main, clock=VirtualClock())
    # The first thousand at once, the rest one by one.
    assert seconds == pytest.approx(STUBBORN * ASK_EVERY, abs=2)
    assert resumed < 3 * STUBBORN
    assert len(caplog.messages) == 2
    assert caplog.messages[0].startswith("task 'mule', spawned at ")
    assert "gone on waiting 1000 times, now in sleep, awaited by" in caplog.messages[0]


def test_cleanup_that_waits_a_few_times_is_no_stubbornness(
    run: Runner, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "runtime")

    async def tidy() -> None:
        for _ in range(20):
            try:
                await sleep(3600)
            except Cancelled:
                continue

    async def main() -> float:
        task = spawn(tidy())
        await yield_now()
        task.cancel()
        await task
        return now()

    assert run(main, clock=VirtualClock()) == 0
    assert caplog.messages == []
