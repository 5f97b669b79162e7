"""Standard output, which somebody reads to learn where the server listens: it must not be lost."""

import os
import sys

from server.errors import UsageError


def say(text: str) -> None:
    """Write and flush; a UsageError if nobody can read it."""
    try:
        if sys.stdout is None:
            raise OSError("it is closed")
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        if sys.stdout is not None:
            # What is left in the buffer would fail once more as the interpreter exits.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise UsageError(
            f"cannot write to standard output: {error}; redirect it to a file or a reader"
        ) from None
