"""Log lines on standard error, as text for people or as JSON for machines.

Nothing here or in an engine logs what a peer sent: hostile bytes cannot forge a line. Both
formats escape line breaks within a message all the same, so that one event is one line; a
traceback, which is our own, follows on lines of its own in the text format.
"""

import json
import logging
import sys
import time
from dataclasses import asdict

from server.metrics import Counters

logger = logging.getLogger("c10k.server")


class TextFormatter(logging.Formatter):
    """``2026-01-31T12:00:00.250Z info draining connections=3``"""

    def format(self, record: logging.LogRecord) -> str:
        words = [_timestamp(record), record.levelname.lower(), _message(record)]
        words += [f"{key}={value}" for key, value in _fields(record).items()]
        line = " ".join(words)
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


def stopped(counters: Counters) -> None:
    """The last line of every engine."""
    event(logging.INFO, "stopped", **asdict(counters))


def _timestamp(record: logging.LogRecord) -> str:
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{seconds}.{int(record.msecs):03d}Z"


def _message(record: logging.LogRecord) -> str:
    return record.getMessage().replace("\r", "\\r").replace("\n", "\\n")


def _fields(record: logging.LogRecord) -> dict[str, object]:
    fields: dict[str, object] = getattr(record, "fields", {})
    return fields
