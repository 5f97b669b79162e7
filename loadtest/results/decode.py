"""From JSON back to the dataclasses that it was written from, every field looked at.

Files of results lie around for months and are edited, cut off or of another kind. A wrong field
found here is named with its place in the file (`$.rows[3].lost`); found later it would be a
traceback in the middle of a report. msgspec does the looking. Fields that are unknown are passed
over: a later version may add some.
"""

from pathlib import Path
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")


class Unreadable(Exception):
    """A file is not what it should be; the message is one line that says which and why."""


def read_file(path: Path, kind: type[T], schema: int | None = None) -> T:
    """What a whole file holds, of the given version of its schema; Unreadable if it is not that."""
    try:
        data = path.read_bytes()
        fields = msgspec.json.decode(data)
        if schema is not None:
            _check_schema(fields, schema)
        return from_json(fields, kind)
    except OSError as error:
        raise Unreadable(f"cannot read {path}: {error.strerror}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError) as error:
        told = "it is empty" if not data else str(error)
        raise Unreadable(f"{path} is no file of results: {told}") from None


def from_json(fields: Any, kind: type[T]) -> T:
    """The same from JSON that is decoded already; ValueError says what does not fit."""
    try:
        # JSON has only text for the keys of an object.
        return msgspec.convert(fields, kind, str_keys=True)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from None


def _check_schema(fields: Any, schema: int) -> None:
    found = fields.get("schema") if isinstance(fields, dict) else None
    if found != schema:
        what = "it names no schema" if found is None else f"its schema is {found}"
        raise ValueError(f"{what}, and {schema} is what can be read here")
