"""Standard error, where the one line about a bad start goes, and which may be closed or full.

Nobody can be told that then, so nothing is: the exit status says it alone. A descriptor 2 that is
closed is worse than silent, as the next socket would get its number and every stray message.
"""

import os
import sys

STDERR = 2


def secure() -> None:
    """Have a standard error, if only one that keeps nothing; before anything is opened."""
    if sys.stderr is None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), STDERR)
        sys.stderr = open(STDERR, "w")  # noqa: SIM115 - for as long as the process lives


def say(line: str) -> None:
    """Write a line."""
    secure()
    try:
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
    except OSError:
        # What is left in the buffer would fail once more as the interpreter exits, with status 120.
        os.dup2(os.open(os.devnull, os.O_WRONLY), STDERR)
