"""Every finished run, appended at once, so that no interruption loses more than the run at hand.

`runs.jsonl` begins with a line that says what the comparison is: the plan, the machine, the
versions and the revision of the code. Each further line is one run. `--resume` reads it back and
goes on with what is missing, if all of that is still the same: runs made by two versions, or on two
machines, are not one comparison.

Void runs are finished runs. To try them again until they come out well would be to choose.
"""

import dataclasses
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadtest.closed_loop.scenarios import HOLD
from loadtest.host.machine import UNKNOWN_REVISION, Machine
from loadtest.results.decode import from_json
from loadtest.results.schema import SCHEMA, Asked, Peak, Row

NAME = "runs.jsonl"
EARLIER = "runs.earlier.jsonl"


class CannotResume(Exception):
    """What is there does not go with what is asked; the message says why."""


@dataclass(frozen=True)
class Header:
    """What all runs of a comparison have in common."""

    schema: int
    started: str
    resumed: list[str]
    command: str
    machine: Machine
    asked: Asked


@dataclass
class Journal:
    """The file, what its header says, and the runs in it."""

    path: Path
    header: Header
    rows: list[Row]
    peaks: list[Peak]

    @classmethod
    def begin(cls, out: Path, header: Header) -> "Journal":
        """A new one. What an earlier comparison left is moved aside, not overwritten."""
        path = out / NAME
        if path.exists():
            path.replace(out / EARLIER)
        _append(path, {"header": dataclasses.asdict(header)})
        return cls(path, header, [], [])

    @classmethod
    def resume(cls, out: Path, wanted: Header) -> "Journal":
        """Go on with the one that is there; CannotResume says what differs."""
        path = out / NAME
        journal = _read(path)
        differences = [*_differences(journal.header, wanted)]
        if differences:
            raise CannotResume(
                f"{path} cannot be resumed: {'; '.join(differences)}; to begin anew, leave out "
                "--resume or choose another --out"
            )
        resumed = [*journal.header.resumed, wanted.started]
        journal.header = dataclasses.replace(journal.header, resumed=resumed)
        _append(path, {"resumed": wanted.started})
        return journal

    def done(self) -> set[tuple[str, str, int, int]]:
        """Scenario, engine, connections and round of every run in it."""
        rows = {(HOLD, row.engine, row.connections, row.repeat) for row in self.rows}
        peaks = {(peak.scenario, peak.engine, peak.connections, peak.repeat) for peak in self.peaks}
        return rows | peaks

    def add(self, run: Row | Peak) -> None:
        """Keep a finished run; it is on the disk when this returns."""
        if isinstance(run, Row):
            self.rows.append(run)
            _append(self.path, {"row": dataclasses.asdict(run)})
        else:
            self.peaks.append(run)
            _append(self.path, {"peak": dataclasses.asdict(run)})


def _append(path: Path, record: dict[str, Any]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")
        file.flush()
        os.fsync(file.fileno())


def _read(path: Path) -> Journal:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise CannotResume(f"there is nothing to resume: no {path}; leave out --resume") from None
    # A line without an end was being written when the power went: that run is not finished.
    complete, _, torn = text.rpartition("\n")
    if torn:
        path.write_text(complete + "\n", encoding="utf-8")
    journal: Journal | None = None
    for number, line in enumerate(complete.splitlines(), start=1):
        try:
            ((kind, fields),) = json.loads(line).items()
            if kind == "header":
                journal = Journal(path, from_json(fields, Header), [], [])
            elif journal is None:
                raise ValueError("the first line is no header")
            elif kind == "row":
                journal.rows.append(from_json(fields, Row))
            elif kind == "peak":
                journal.peaks.append(from_json(fields, Peak))
            else:
                resumed = [*journal.header.resumed, fields]
                journal.header = dataclasses.replace(journal.header, resumed=resumed)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise CannotResume(f"{path}, line {number}, cannot be read: {error}") from None
    if journal is None:
        raise CannotResume(f"there is nothing to resume: {path} is empty; leave out --resume")
    return journal


def _differences(there: Header, wanted: Header) -> Sequence[str]:
    """Every field of plan and machine that is not the same, with both values."""
    if there.schema != SCHEMA:
        return [f"its schema is {there.schema}, this is {SCHEMA}"]
    found = []
    if wanted.machine.git_revision == UNKNOWN_REVISION:
        found.append(
            "the revision of the code is not known, so it may be another one (SOURCE_REVISION)"
        )
    for what in ("asked", "machine"):
        ours, theirs = getattr(wanted, what), getattr(there, what)
        for field in dataclasses.fields(ours):
            before, now = getattr(theirs, field.name), getattr(ours, field.name)
            if before != now:
                found.append(f"{field.name} was {_short(before)}, is {_short(now)}")
    return found


def _short(value: object) -> str:
    return str(value) if str(value) else "none"
