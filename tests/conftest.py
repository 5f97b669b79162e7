"""What no test may leave behind for the next one, whichever that is."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

WATCHED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGCHLD)


@contextmanager
def signals_put_back() -> Iterator[None]:
    """For a test that has a server take over the signals of the test's own process."""
    handlers = {number: signal.getsignal(number) for number in WATCHED}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


@pytest.fixture(autouse=True)
def signals_are_left_as_they_were() -> Iterator[None]:
    """Handlers and the mask: a test that changes them puts them back."""
    handlers = {number: signal.getsignal(number) for number in WATCHED}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    yield
    assert {number: signal.getsignal(number) for number in WATCHED} == handlers
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == mask
