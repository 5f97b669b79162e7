"""What the torture tests found, as a table: a bar that was missed is printed as large as a pass."""

import platform
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import inf
from typing import Literal

from loadtest.host.machine import describe_machine
from tests.server.harness import MODES
from tests.torture.bars import TITLES, Bar

SHARED = "shared"
"""Stands for the engine in tests of what all of them have in common."""

Verdict = Literal["", "pass", "FAIL", "misses", "skipped"]


@dataclass(frozen=True, slots=True)
class Cell:
    """What one engine made of one row."""

    verdict: Verdict
    """``misses``: the bar, by an engine that is not judged by it. Empty: there is no bar."""
    detail: str

    def __str__(self) -> str:
        word = f"**{self.verdict}**: " if self.verdict == "FAIL" else f"{self.verdict}: "
        return (word.removeprefix(": ") + self.detail).replace("|", "\\|")


@dataclass(slots=True)
class Results:
    """Cells by item, row and engine."""

    rows: dict[tuple[int, str], dict[str, Cell]] = field(default_factory=dict)
    bars: dict[tuple[int, str], Bar] = field(default_factory=dict)

    def record(self, bar: Bar, engine: str, value: float) -> bool:
        """Enter a figure; whether it reaches the bar or need not."""
        judged = engine in ("runtime", SHARED) or not bar.only_runtime
        reached = value <= bar.most
        verdict: Verdict = "pass" if reached else "FAIL" if judged else "misses"
        if bar.most == inf:
            verdict = ""
        self.bars[bar.item, bar.figure] = bar
        self.enter(bar.item, bar.figure, engine, Cell(verdict, quantity(value, bar.unit)))
        return reached or not judged

    def enter(self, item: int, row: str, engine: str, cell: Cell) -> None:
        """Enter the worst of several: a row may be tried in more than one way."""
        cells = self.rows.setdefault((item, row), {})
        before = cells.get(engine)
        if before is None or _WORSE.index(cell.verdict) >= _WORSE.index(before.verdict):
            cells[engine] = cell

    def markdown(self, command: str) -> str:
        """All of it, and where it was found."""
        return "\n".join([*_heading(command), "", *self._lines(), "", *self._notes(), ""])

    def _lines(self) -> Iterator[str]:
        found = {engine for cells in self.rows.values() for engine in cells}
        engines = [each for each in (*MODES, SHARED) if each in found]
        yield f"| | figure | bar | {' | '.join(engines)} |"
        yield "|---" * (3 + len(engines)) + "|"
        item_before = None
        for (item, row), cells in sorted(self.rows.items(), key=lambda entry: entry[0][0]):
            title = f"{item}. {TITLES[item]}" if item != item_before else ""
            item_before = item
            limit = self._limit(item, row)
            shown = " | ".join(str(cells.get(engine, "")) for engine in engines)
            yield f"| {title} | {row} | {limit} | {shown} |"

    def _limit(self, item: int, row: str) -> str:
        bar = self.bars.get((item, row))
        if bar is None:
            return "passes"
        return "" if bar.most == inf else f"at most {quantity(bar.most, bar.unit)}"

    def _notes(self) -> Iterator[str]:
        for (item, row), bar in self.bars.items():
            missed = [
                each for each, cell in self.rows[item, row].items() if cell.verdict == "misses"
            ]
            if missed:
                yield f"- {item}, {row}: reported for {', '.join(missed)}: {bar.only_runtime}."


_WORSE: tuple[Verdict, ...] = ("", "pass", "skipped", "misses", "FAIL")


def quantity(value: float, unit: str) -> str:
    """A number as people read it."""
    digits = 0 if value == int(value) or abs(value) >= 100 else 2
    return f"{value:,.{digits}f} {unit}".rstrip()


def _heading(command: str) -> list[str]:
    machine = describe_machine()
    return [
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {machine.cores} cores of {machine.cpu}, "
        f"{machine.memory_bytes >> 30} GiB, {platform.system()} {machine.kernel}, "
        f"{machine.python}, uvloop {machine.versions['uvloop']}, "
        f"revision {machine.git_revision}.",
        "",
        f"    {command}",
    ]
