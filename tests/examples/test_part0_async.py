"""The introduction's async steps: what each says, in which order; and both mistakes found out."""

import re
from collections.abc import Awaitable
from pathlib import Path
from types import ModuleType

import pytest

import runtime
from examples.part0_introduction import (
    s05_one_at_a_time,
    s06_join_all,
    s07_million,
    s08_blocking,
    s09_awaiting_in_a_loop,
)
from runtime.testing import VirtualClock

from .harness import examples, printed
from .steps import all_at_once

pytestmark = pytest.mark.usefixtures("nothing_left")


def one_after_the_other(count: int) -> list[str]:
    return [f"{what} {n}" for n in range(1, count + 1) for what in ("start", "end")]


def line_of(file: str, text: str) -> int:
    """Where a line stands that is in a file once."""
    lines = Path(file).read_text().splitlines()
    (number,) = (number for number, line in enumerate(lines, 1) if line.strip() == text)
    return number


@pytest.mark.usefixtures("virtual_time")
def test_three_that_are_awaited_take_three_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    s05_one_at_a_time.main([])
    assert printed(capsys) == [*one_after_the_other(3), "3.00 s"]


@pytest.mark.usefixtures("virtual_time")
@pytest.mark.parametrize("count", [10, 1000])
def test_joined_they_take_a_second_and_start_in_order(
    count: int, capsys: pytest.CaptureFixture[str]
) -> None:
    s06_join_all.main(["--count", str(count)])
    first, *said, took = printed(capsys)
    assert first == "joined after 0.00 s, and nothing has started"
    assert said == all_at_once(count)
    assert took == "1.00 s"


def test_thousands_sleep_at_the_same_time() -> None:
    async def main() -> tuple[int, float]:
        return await s07_million.on_the_runtime(5_000, 3600), runtime.now()

    assert runtime.run(main(), clock=VirtualClock()) == (5_000, 3600)


def test_a_million_is_reported_with_time_and_memory_on_either_loop() -> None:
    bytes_each = {}
    for loop, flags in (("runtime", ()), ("asyncio", ("--asyncio",))):
        done = examples("million", "--count", "20000", "--seconds", "0.01", *flags)
        assert (done.returncode, done.stderr) == (0, "")
        figures = re.fullmatch(
            rf"{loop}: 20,000 of 20,000 are done\n"
            r"(\d+\.\d\d) s, (\d+\.\d\d) s of them on the CPU\n"
            r"memory: [\d.]+ MiB, ([\d,]+) bytes for each\n",
            done.stdout,
        )
        assert figures is not None, done.stdout
        assert float(figures[1]) >= float(figures[2]) * 0.9 > 0
        bytes_each[loop] = int(figures[3].replace(",", ""))
    assert 300 < bytes_each["runtime"] < bytes_each["asyncio"]


def test_peak_memory_is_known_where_linux_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    here = s07_million.peak_memory()

    def missing(path: Path) -> str:
        raise FileNotFoundError(path)

    monkeypatch.setattr(Path, "read_text", missing)
    assert s07_million.peak_memory() > here / 2 > 1 << 20


def test_blocking_calls_come_one_at_a_time_and_each_is_told_with_its_line(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        with runtime.detect_blocking(0.01):
            await s08_blocking.join(2, 0.05)

    runtime.run(main())
    assert printed(capsys)[:-1] == one_after_the_other(2)
    line = line_of(s08_blocking.__file__, "time.sleep(seconds)  # wrong")
    assert len(caplog.messages) == 2
    for message in caplog.messages:
        assert message.startswith("task 'foo' has blocked the loop for 10 ms and still does")
        assert message.splitlines()[1:] == [f"    at foo ({s08_blocking.__file__}:{line})"]


def test_awaited_in_a_loop_they_take_ten_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    runtime.run(s09_awaiting_in_a_loop.await_each(10, 1.0), clock=VirtualClock())
    assert printed(capsys) == [*one_after_the_other(10), "10.00 s"]


def test_the_loop_that_awaits_is_told_with_its_line(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        with runtime.detect_one_by_one(0.001):
            await s09_awaiting_in_a_loop.await_each(4, 0.03)

    runtime.run(main())
    assert printed(capsys)[:-1] == one_after_the_other(4)
    (message,) = caplog.messages
    assert message.startswith("task 'main' awaits calls of 'foo' one after the other: ")
    line = line_of(s09_awaiting_in_a_loop.__file__, "await coroutine  # wrong")
    assert message.splitlines()[1] == (
        f"    at await_each ({s09_awaiting_in_a_loop.__file__}:{line})"
    )


@pytest.mark.parametrize("step", [s08_blocking, s09_awaiting_in_a_loop])
def test_both_mistakes_run_in_debug_mode(step: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    modes = []

    def run(main: Awaitable[None], *, debug: bool) -> None:
        modes.append(debug)
        runtime.task.discard(main)

    monkeypatch.setattr(runtime, "run", run)
    step.main([])
    assert modes == [True]
