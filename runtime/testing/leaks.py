"""What a test left behind: descriptors, threads, and errors that were logged and not looked at.

They outlive the test that forgot them and fail another one, much later, for no reason that it
shows; or nobody, ever.  So they are counted around each.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

#: Seconds that a thread gets to end by itself.
GRACE = 5.0


def open_descriptors() -> dict[int, str]:
    """Descriptor -> what it is, of this process; empty where the system does not tell."""
    directory = "/proc/self/fd" if sys.platform == "linux" else "/dev/fd"
    found: dict[int, str] = {}
    try:
        names = os.listdir(directory)
    except OSError:
        return found
    for fd in map(int, names):
        try:
            os.fstat(fd)  # fails for the one that listed the directory
            found[fd] = os.readlink(f"{directory}/{fd}") if sys.platform == "linux" else "open"
        except OSError:
            continue
    return found


def living_threads(before: set[threading.Thread]) -> list[threading.Thread]:
    """Threads that were not there before and do not end by themselves."""
    new = [thread for thread in threading.enumerate() if thread not in before]
    for thread in new:
        thread.join(GRACE)
    return [thread for thread in new if thread.is_alive()]


class Leaks:
    """Looks at the process twice: when it is made, and in `left`."""

    def __init__(self) -> None:
        self._descriptors = open_descriptors()
        self._threads = set(threading.enumerate())

    def left(self) -> list[str]:
        """What is there now and was not before, a line each."""
        threads = living_threads(self._threads)
        return [
            *(f"a thread is still running: {thread.name}" for thread in threads),
            *(
                f"descriptor {fd} is still open: {what}"
                for fd, what in sorted(open_descriptors().items())
                if self._descriptors.get(fd) != what
            ),
        ]


class _Collector(logging.Handler):
    def __init__(self, records: list[logging.LogRecord]) -> None:
        super().__init__(logging.ERROR)
        self.records = records

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@contextmanager
def collect_errors(records: list[logging.LogRecord]) -> Iterator[None]:
    """Collect what the runtime logs as an error inside the block."""
    collector = _Collector(records)
    logger = logging.getLogger("runtime")
    logger.addHandler(collector)
    try:
        yield
    finally:
        logger.removeHandler(collector)
