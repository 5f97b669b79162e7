"""What the server says on standard error, and how often.

A few functions on top of ``logging``, so that libraries' lines and our own go the same way. What a
peer can cause at will is limited to a line a second; what a peer wrote is shown escaped and cut.
Warnings and exceptions that nobody caught come here, too: with ``--log-format json`` all that
reaches standard error is JSON.
"""

import logging
import math
import sys
import threading
import time
from types import TracebackType

from server import log_format
from server.metrics import Snapshot
from server.protocol import Answer

logger = logging.getLogger("c10k.server")

SHOWN = 64
"""Bytes of a peer's that a line shows, at most."""


def configure(format_name: str) -> None:
    """Send all that this process has to say, libraries' logs included, to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(log_format.FORMATTERS[format_name]())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.captureWarnings(True)
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread
    sys.unraisablehook = _unraisable


def event(level: int, message: str, /, **fields: object) -> None:
    """Log ``message`` with named values, which the JSON format keeps apart."""
    logger.log(level, message, extra={"fields": fields})


def text(message: str, lines: str, /, **fields: object) -> None:
    """Log ``message`` with many lines of our own making: in the JSON format one object has all."""
    logger.info(message, extra={"fields": fields, "text": lines.rstrip("\n")})


def often(level: int, message: str, /, **fields: object) -> None:
    """Log what a peer can cause at will: one line a second for each message.

    The next line says how many were left out before it, and ``stopped`` says the rest.
    """
    count = limits.setdefault(message, Limit()).passes()
    if count is not None:
        event(level, message, **fields, **({"left_out": count} if count else {}))


def bad_line(line: bytes, answer: Answer) -> None:
    """The sleep service did not understand a line; what it said to that tells why."""
    often(logging.INFO, "bad line", line=shown(line), answer=answer.line.decode().rstrip("\n"))


def shown(data: bytes) -> str:
    """A peer's bytes as printable ASCII; of many, the first."""
    return repr(data[:SHOWN])[2:-1] + ("..." if len(data) > SHOWN else "")


class Limit:
    """How often one message may be logged. Several threads may ask."""

    INTERVAL = 1.0
    """Seconds between two lines."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next = -math.inf
        self.left_out = 0

    def passes(self) -> int | None:
        """How many were left out before this one; None if it is left out, too."""
        now = time.monotonic()
        with self._lock:
            if now < self._next:
                self.left_out += 1
                return None
            self._next = now + self.INTERVAL
            count, self.left_out = self.left_out, 0
            return count


limits: dict[str, Limit] = {}
"""What ``often`` has logged, by message."""


def stopped(figures: Snapshot) -> None:
    """The last line of every engine."""
    event(
        logging.INFO,
        "stopped",
        connections=figures["connections"],
        received=figures["received"],
        sent=figures["sent"],
        **figures["closes"],
    )
    for message, limit in tuple(limits.items()):
        if limit.left_out:
            event(logging.INFO, message, left_out=limit.left_out)


def _uncaught(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    logger.critical("uncaught exception", exc_info=(kind, error, traceback))


def _uncaught_in_thread(caught: threading.ExceptHookArgs) -> None:
    if issubclass(caught.exc_type, SystemExit):
        return  # which asks for the end of its thread, and gets it
    logger.critical(
        "uncaught exception in a thread",
        exc_info=_exc_info(caught),
        extra={"fields": {"thread": caught.thread and caught.thread.name}},
    )


def _unraisable(caught: "sys.UnraisableHookArgs") -> None:
    """Where there is nobody to catch it: in a destructor, or in a callback of the interpreter's."""
    logger.error(
        caught.err_msg or "Exception ignored in",
        exc_info=_exc_info(caught),
        extra={"fields": {"object": type(caught.object).__qualname__}},
    )


def _exc_info(
    caught: "threading.ExceptHookArgs | sys.UnraisableHookArgs",
) -> tuple[type[BaseException], BaseException, TracebackType | None]:
    # The value may be missing late in the life of the interpreter.
    error = caught.exc_value or RuntimeError(f"a {caught.exc_type.__name__} without a value")
    return type(error), error, caught.exc_traceback
