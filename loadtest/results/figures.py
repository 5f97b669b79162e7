"""What a Locust process tells about its load: the format of the `--figures` file.

The file holds one JSON object a line: `progress` lines while it runs and one `result` line at
the end. The writer is Locust (`monitor.py`), the reader `compare` in another process; this
module is what both agree on, and needs neither. `at` is CLOCK_MONOTONIC, which all processes of
a machine share.
"""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

# ramp: not every user holds a connection yet; settle: the last ones have just connected, nothing
# is measured; hold: measured; linger: measured, kept open so that others can count.
Phase = Literal["ramp", "settle", "hold", "linger"]

# Percentiles in milliseconds and a count; None for a percentile that has too few samples.
Summary = Mapping[str, float | int | None]

# Pairs of percentile (0 to 100) and milliseconds, both rising.
Curve = list[tuple[float, float]]


@dataclass(frozen=True)
class Progress:
    """How far the load has come."""

    at: float
    phase: Phase
    users: int
    held: int
    lost: int
    requests: int
    failures: int


@dataclass(frozen=True)
class Failure:
    """All failures with the same text, over the whole run."""

    kind: str
    name: str
    error: str
    count: int


@dataclass(frozen=True)
class Fairness:
    """How alike the connections were served: Jain's index of their requests (1 if all had the same
    number, 1/n if one had them all), and the numbers of the least and the most served."""

    jain: float
    least: int
    most: int


@dataclass(frozen=True)
class LoadResult:
    """What the load saw. `phase` is the last one reached; without "hold" nothing was measured."""

    phase: Phase
    asked: int
    held_min: int
    held_end: int
    lost: int
    ramp_seconds: float | None
    hold_seconds: float
    requests: int
    # Of each process that had users.
    cpu_seconds: list[float]
    # Over the hold, by "ECHO response", "ECHO service" and so on; CONNECT is over the whole run.
    times: dict[str, Summary]
    curves: dict[str, Curve]
    hub_lag: Summary
    fairness: Fairness | None
    failures: list[Failure] = field(default_factory=list)
    # Connections held at the end of the hold that had at least one answer in it.
    answered: int | None = None


def encode(record: Progress | LoadResult) -> str:
    """One line of the file."""
    event = "progress" if isinstance(record, Progress) else "result"
    return json.dumps({"event": event, **dataclasses.asdict(record)}) + "\n"


def decode(line: str) -> Progress | LoadResult:
    """The record of one line; ValueError if it is none."""
    try:
        fields: dict[str, Any] = json.loads(line)
        event = fields.pop("event")
        if event == "progress":
            return Progress(**fields)
        fairness = fields["fairness"]
        fields["fairness"] = Fairness(**fairness) if fairness else None
        fields["curves"] = {
            name: [(percentile, ms) for percentile, ms in curve]
            for name, curve in fields["curves"].items()
        }
        fields["failures"] = [Failure(**failure) for failure in fields["failures"]]
        return LoadResult(**fields)
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"no line of figures: {line!r}") from error


class LineTail:
    """The complete lines that were added to a growing file since the last look."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def read(self) -> list[str]:
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return []  # Its writer has not come that far.
        complete = data[: data.rfind(b"\n") + 1]
        self._offset += len(complete)
        return complete.decode(errors="replace").splitlines()
