"""The watchdog tells of a task that blocks the loop, while it does, and of nothing else."""

import ctypes
import logging
import threading
import time
from collections.abc import Iterator

import pytest

import runtime
from runtime.watchdog import LOOKS
from tests.runtime.harness import PATIENCE

THRESHOLD = 0.02


def block_until(condition: threading.Event) -> None:
    """A blocking call, of the kind that a task must not make."""
    assert condition.wait(PATIENCE)


class Said(logging.Handler):
    """What was logged; the event shows that it was logged while the call still blocked."""

    def __init__(self) -> None:
        super().__init__()
        self.event = threading.Event()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())
        self.event.set()


@pytest.fixture
def said() -> Iterator[Said]:
    handler = Said()
    logging.getLogger("runtime").addHandler(handler)
    yield handler
    logging.getLogger("runtime").removeHandler(handler)


def test_a_blocking_call_is_reported_with_its_line_while_it_blocks(said: Said) -> None:
    async def guilty() -> None:
        block_until(said.event)

    async def main() -> None:
        with runtime.detect_blocking(THRESHOLD):
            await runtime.spawn(guilty(), name="culprit")

    runtime.run(main())
    assert len(said.messages) == 1
    assert said.messages[0].startswith(
        "task 'culprit' has blocked the loop for 20 ms and still does"
    )
    assert "guilty (" in said.messages[0]
    assert "block_until (" in said.messages[0]
    assert "executor.py" not in said.messages[0]  # the loop's own frames are no news


def test_an_episode_is_told_once_and_the_next_one_again(said: Said) -> None:
    async def main() -> None:
        with runtime.detect_blocking(THRESHOLD):
            for _ in range(2):
                said.event.clear()
                block_until(said.event)
                # Blocks on: a second line about the same episode would come now.
                threading.Event().wait(LOOKS * THRESHOLD)
                await runtime.yield_now()

    runtime.run(main())
    assert len(said.messages) == 2


def test_an_idle_loop_is_not_a_blocked_one(said: Said) -> None:
    async def main() -> None:
        with runtime.detect_blocking(0.002):
            await runtime.sleep(0.04)

    runtime.run(main())
    assert said.messages == []


def test_a_busy_loop_of_short_steps_is_not_a_blocked_one(said: Said) -> None:
    async def main() -> None:
        with runtime.detect_blocking(2 * THRESHOLD):
            deadline = time.monotonic() + 3 * THRESHOLD
            while time.monotonic() < deadline:
                await runtime.yield_now()

    runtime.run(main())
    assert said.messages == []


def test_debug_mode_has_it_on_and_the_end_of_the_run_ends_it(said: Said) -> None:
    async def main() -> None:
        block_until(said.event)

    before = threading.active_count()
    runtime.run(main(), debug=True)
    assert threading.active_count() == before
    assert len(said.messages) == 1


def test_its_own_start_is_not_a_blocked_loop(said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine a thread may take long to start, and the task waits for that."""
    start = threading.Thread.start

    def start_slowly(thread: threading.Thread) -> None:
        start(thread)
        said.event.wait(2 * THRESHOLD)

    monkeypatch.setattr(threading.Thread, "start", start_slowly)

    async def main() -> None:
        with runtime.detect_blocking(THRESHOLD):
            await runtime.yield_now()

    runtime.run(main())
    assert said.messages == []


@pytest.mark.parametrize("threshold", [0, -1, float("nan")])
def test_a_threshold_that_makes_no_sense_is_refused(threshold: float) -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match="threshold"):
            runtime.detect_blocking(threshold)

    runtime.run(main())


def test_a_call_that_holds_the_interpreter_is_dumped_by_the_last_resort(
    capfd: pytest.CaptureFixture[str],
) -> None:
    sleep_in_c = ctypes.PyDLL(None).usleep  # unlike time.sleep it does not let other threads run

    async def main() -> str:
        dumped = ""
        with runtime.detect_blocking(0.005, last_resort=0.01):
            while "Timeout" not in dumped:  # the watchdog has first to have had its turn
                await runtime.sleep(0.005)
                sleep_in_c(40_000)
                dumped += capfd.readouterr().err
        return dumped

    assert f'File "{__file__}"' in runtime.run(main())


def test_without_a_stall_the_last_resort_is_silent(capfd: pytest.CaptureFixture[str]) -> None:
    async def main() -> None:
        with runtime.detect_blocking(0.004, last_resort=1.0):
            await runtime.sleep(0.02)

    runtime.run(main())
    assert capfd.readouterr().err == ""


def test_a_last_resort_before_the_report_is_refused() -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match="last resort"):
            runtime.detect_blocking(0.1, last_resort=0.1)

    runtime.run(main())
