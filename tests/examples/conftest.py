"""Fixtures for the examples of the seed series' three parts: time that jumps, and nothing left."""

import logging
import resource
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

import runtime
from runtime.testing import VirtualClock
from runtime.testing.leaks import Leaks, collect_errors


@pytest.fixture
def virtual_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever an example runs on the runtime runs on a clock that jumps."""
    run: Callable[..., Any] = runtime.run

    def run_on_virtual_time(main: Awaitable[Any]) -> Any:
        return run(main, clock=VirtualClock())

    monkeypatch.setattr(runtime, "run", run_on_virtual_time)


@pytest.fixture
def nothing_left() -> Iterator[None]:
    """No descriptor, no thread and no logged error outlives a test, and no raised limit."""
    leaks, errors = Leaks(), list[logging.LogRecord]()
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    with collect_errors(errors):
        yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limit)
    assert [record.getMessage() for record in errors] == []
    assert leaks.left() == []
