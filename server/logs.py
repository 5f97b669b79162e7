"""Log lines on standard error, as text for people or as JSON for machines.

Nothing here or in an engine logs what a peer sent: hostile bytes cannot forge a line. Both
formats escape line breaks within a message all the same, so that one event is one line; what we
have made ourselves, a traceback or a list of tasks, follows on lines of its own in the text format.
"""

import json
import logging
import math
import sys
import threading
import time

from server.metrics import Snapshot

logger = logging.getLogger("c10k.server")

common: dict[str, object] = {}
"""Named values of every line: which of several processes it comes from."""


class TextFormatter(logging.Formatter):
    """``2026-01-31T12:00:00.250Z info draining connections=3``"""

    def format(self, record: logging.LogRecord) -> str:
        words = [_timestamp(record), record.levelname.lower(), _message(record)]
        words += [f"{key}={value}" for key, value in _fields(record).items()]
        line = " ".join(words)
        if text := _text(record):
            line += "\n" + text
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


class JsonFormatter(logging.Formatter):
    """One object a line, with the keys ``time``, ``level``, ``message`` and the event's own."""

    def format(self, record: logging.LogRecord) -> str:
        event = {
            "time": _timestamp(record),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **_fields(record),
        }
        if text := _text(record):
            event["text"] = text
        if record.exc_info:
            event["exception"] = self.formatException(record.exc_info)
        return json.dumps(event)


FORMATTERS = {"text": TextFormatter, "json": JsonFormatter}


def configure(log_format: str) -> None:
    """Send all logging of this process, libraries' included, to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(FORMATTERS[log_format]())
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def event(level: int, message: str, /, **fields: object) -> None:
    """Log ``message`` with named values, which the JSON format keeps apart."""
    logger.log(level, message, extra={"fields": fields})


def text(message: str, lines: str, /, **fields: object) -> None:
    """Log ``message`` with many lines of our own making, which in JSON are one value."""
    logger.info(message, extra={"fields": fields, "text": lines.rstrip("\n")})


def often(level: int, message: str, /, **fields: object) -> None:
    """Log what a peer can cause at will: one line a second for each message.

    The next line says how many were left out before it, and ``stopped`` says the rest.
    """
    count = limits.setdefault(message, Limit()).passes()
    if count is not None:
        event(level, message, **fields, **({"left_out": count} if count else {}))


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


def _timestamp(record: logging.LogRecord) -> str:
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{seconds}.{int(record.msecs):03d}Z"


def _message(record: logging.LogRecord) -> str:
    return record.getMessage().replace("\r", "\\r").replace("\n", "\\n")


def _fields(record: logging.LogRecord) -> dict[str, object]:
    fields: dict[str, object] = getattr(record, "fields", {})
    return {**common, **fields}


def _text(record: logging.LogRecord) -> str:
    text: str = getattr(record, "text", "")
    return text
