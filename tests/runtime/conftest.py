"""Fixtures: `run`, on each selector in turn, which fails a test for what it leaves behind."""

import logging
import selectors
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from .harness import SELECTORS, Runner, living_threads, open_descriptors

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A wake-up that is lost shows as a test that hangs: do not wait a minute for each."""
    for item in items:
        if HERE in item.path.parents and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(20))


class _Collector(logging.Handler):
    def __init__(self, records: list[logging.LogRecord]) -> None:
        super().__init__(logging.ERROR)
        self.records = records

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture(params=SELECTORS, ids=lambda kind: kind.__name__.removesuffix("Selector"))
def selector_class(request: pytest.FixtureRequest) -> type[selectors.BaseSelector]:
    """Each kind of selector in turn."""
    kind: type[selectors.BaseSelector] = request.param
    return kind


@pytest.fixture
def run(selector_class: type[selectors.BaseSelector]) -> Iterator[Runner]:
    """Runs a coroutine (function); afterwards nothing may be left of it.

    Left over: descriptors, threads, registrations, and errors that were logged and not taken
    with `run.expected_error()`. A coroutine that nobody awaited is a warning, hence an error.
    """
    descriptors, threads = open_descriptors(), set(threading.enumerate())
    runner = Runner(selector_class)
    collector = _Collector(runner.errors)
    logger = logging.getLogger("runtime")
    logger.addHandler(collector)
    try:
        yield runner
    finally:
        logger.removeHandler(collector)
    assert [record.getMessage() for record in runner.errors] == []
    assert runner.left_registered == []
    assert living_threads(threads) == []
    assert open_descriptors() == descriptors


@pytest.fixture
def anything_left() -> Iterator[None]:
    """The same check of descriptors and threads, for tests that bring their own runs."""
    descriptors, threads = open_descriptors(), set(threading.enumerate())
    yield
    assert living_threads(threads) == []
    assert open_descriptors() == descriptors
