"""Fixtures: `run`, on each selector in turn, which fails a test for what it leaves behind."""

import selectors
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.testing.leaks import Leaks, collect_errors, open_descriptors

from .harness import SELECTORS, Runner

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A wake-up that is lost shows as a test that hangs: do not wait a minute for each."""
    for item in items:
        if HERE in item.path.parents and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(20))


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
    leaks, descriptors = Leaks(), open_descriptors()
    runner = Runner(selector_class)
    with collect_errors(runner.errors):
        yield runner
    assert [record.getMessage() for record in runner.errors] == []
    assert runner.left_registered == []
    assert leaks.left() == []
    assert open_descriptors() == descriptors  # nor was one closed that is somebody else's


@pytest.fixture
def anything_left() -> Iterator[None]:
    """The same check of descriptors and threads, for tests that bring their own runs."""
    leaks, descriptors = Leaks(), open_descriptors()
    yield
    assert leaks.left() == []
    assert open_descriptors() == descriptors
