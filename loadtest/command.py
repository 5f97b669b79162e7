"""What the commands of this package have in common on the command line."""

import argparse
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

BAD_INPUT = 2
"""Exit status for a flag or a machine that will not do; nothing was started."""

INTERRUPTED = 130
"""Exit status after Ctrl-C; what was measured is kept."""


class Parser(argparse.ArgumentParser):
    """Reports a bad flag in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(BAD_INPUT, f"{self.prog}: {message} (see --help)\n")


def positive(text: str) -> int:
    """A whole number over zero."""
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"{text!r} is not a whole number over 0")
    return int(text)


@contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """SIGTERM ends what is measured as Ctrl-C does: children stopped, results written."""

    def interrupt(signum: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
