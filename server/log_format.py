"""How a log line looks: as text for people or as JSON for machines.

The fact that shaped this file: some of what is logged was written by a peer, or by a library that
quotes one, and whatever it says must not forge a line. So in JSON an event is one object on one
line. In text it is one line too, ``TIME LEVEL MESSAGE KEY=VALUE ...``, in which all that is not
plain words stands as a JSON string; only a traceback or a list of tasks goes on below it, on lines
that begin with a blank. No record is too strange for a line: a formatter never raises.
"""

import json
import logging
import math
import time

MOST_BITS = 4096
"""Of a number; one with more than 4,300 digits is refused by Python, and by most readers sooner."""

common: dict[str, object] = {}
"""Named values of every line: which of several processes it comes from."""


class TextFormatter(logging.Formatter):
    """``2026-01-31T12:00:00.250Z info draining connections=3``"""

    def format(self, record: logging.LogRecord) -> str:
        words = [_timestamp(record), record.levelname.lower(), _plain(_message(record), "=")]
        words += [f"{key}={_plain(_string(value), ' ')}" for key, value in _fields(record)]
        below = [*_text(record).splitlines(), *_exception(self, record).splitlines()]
        return "\n".join([" ".join(words), *(f"    {_printable(line)}" for line in below)])


class JsonFormatter(logging.Formatter):
    """One object a line, with the keys ``time``, ``level``, ``message`` and the event's own."""

    def format(self, record: logging.LogRecord) -> str:
        event: dict[str, object] = {
            "time": _timestamp(record),
            "level": record.levelname.lower(),
            "message": _message(record),
        }
        for key, value in _fields(record):
            event.setdefault(key, value)
        if text := _text(record):
            event["text"] = text
        if exception := _exception(self, record):
            event["exception"] = exception
        return json.dumps({key: _json_value(value) for key, value in event.items()})


FORMATTERS = {"text": TextFormatter, "json": JsonFormatter}


def _plain(text: str, special: str) -> str:
    """The text itself if nobody can mistake where it ends, else as a JSON string."""
    if text and text.isprintable() and not any(each in text for each in ('"', special)):
        return text
    return json.dumps(_without_surrogates(text))


def _printable(line: str) -> str:
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in line
    )


def _json_value(value: object) -> object:
    if (
        value is None
        or (isinstance(value, int) and value.bit_length() <= MOST_BITS)
        or (isinstance(value, float) and math.isfinite(value))
    ):
        return value
    return _without_surrogates(_string(value))


def _without_surrogates(text: str) -> str:
    """Many who read JSON refuse a lone surrogate, which stands for a byte that is no UTF-8."""
    return text.encode(errors="backslashreplace").decode()


def _string(value: object) -> str:
    try:
        return str(value)
    except Exception as error:
        return f"{type(value).__name__} without a text: {type(error).__name__}"


def _timestamp(record: logging.LogRecord) -> str:
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{seconds}.{int(record.msecs):03d}Z"


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception as error:  # the arguments do not fit, or have no text
        return f"{_string(record.msg)} (not formatted: {type(error).__name__}: {_string(error)})"


def _fields(record: logging.LogRecord) -> list[tuple[str, object]]:
    fields: dict[str, object] = getattr(record, "fields", {})
    return [*common.items(), *fields.items()]


def _text(record: logging.LogRecord) -> str:
    text: str = getattr(record, "text", "")
    return text


def _exception(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    if not record.exc_info:
        return ""
    try:
        return formatter.formatException(record.exc_info)
    except Exception as error:
        kind = record.exc_info[0]
        return f"{kind and kind.__name__} without a traceback: {type(error).__name__}"
