"""Parsers from an option's text to its value.

Each raises ``ValueError`` with what the text should have been ("a whole number from 1 to 9"),
so that the message about a bad value always says what a good one is.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

_DIGITS = re.compile(r"[0-9]{1,18}")
_DECIMAL = re.compile(r"[0-9]{1,18}(\.[0-9]{1,18})?")
_ADDRESS = re.compile(
    r"(?:\[(?P<ipv6>[0-9A-Fa-f:.%\w]+)\]|(?P<host>[^:\[\]\s]+)):(?P<port>[0-9]{1,5})"
)


class Address(NamedTuple):
    """A host and a TCP port; printed as it is written on the command line."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def address(text: str) -> Address:
    """``127.0.0.1:7007``, ``localhost:0``, ``[::1]:7007``."""
    match = _ADDRESS.fullmatch(text)
    if match is None or int(match["port"]) > 65535:
        raise ValueError("HOST:PORT, such as 127.0.0.1:7007 or [::1]:7007 (port 0 to 65535)")
    return Address(match["ipv6"] or match["host"], int(match["port"]))


def whole_number(least: int, most: int) -> Callable[[str], int]:
    """Digits alone: ``int()`` would also take ``1_0`` and `` 7``."""

    def parse(text: str) -> int:
        if _DIGITS.fullmatch(text) is None or not least <= int(text) <= most:
            raise ValueError(f"a whole number from {least} to {most}")
        return int(text)

    return parse


def seconds(most: float, least: float = 0.0) -> Callable[[str], float]:
    """Digits with an optional fraction: ``float()`` would also take ``nan`` and ``1e400``."""

    def parse(text: str) -> float:
        if _DECIMAL.fullmatch(text) is None or not least <= float(text) <= most:
            raise ValueError(f"a number of seconds from {least:.15g} to {most:.15g}")
        return float(text)

    return parse


def file_name(text: str) -> str:
    """Whether there is such a file is found out by whoever opens it."""
    if not text.isprintable() or not text:
        raise ValueError("a file name (printable, not empty)")
    return text


def choice(*allowed: str) -> Callable[[str], str]:
    """One of a few words."""

    def parse(text: str) -> str:
        if text not in allowed:
            raise ValueError(f"one of {', '.join(allowed)}")
        return text

    return parse
