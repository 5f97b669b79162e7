"""The numbers that can be chosen on an example's command line, checked once for all of them."""

from __future__ import annotations

import argparse
from math import inf


def parser(doc: str | None, **defaults: float) -> argparse.ArgumentParser:
    """A parser with an option for each default: whole numbers for an int, else seconds."""
    made = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    for name, default in defaults.items():
        kind = whole if isinstance(default, int) else seconds
        made.add_argument(f"--{name}", type=kind, default=default, help=f"default: {default}")
    return made


def whole(text: str) -> int:
    """At least one of something."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return int(text)


def seconds(text: str) -> float:
    """A length of time, nought included."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds from 0 on")
    return value
