"""`extremes.json`, part by part: what is made again is replaced, what is not stays.

Figures of one machine and one version of the code are not put beside those of another. If the file
is of another it is set aside, under a name of its own, and a new one is begun.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from loadtest.host.machine import Machine, utc_now
from loadtest.results.decode import Unreadable
from loadtest.results.extremes import Extremes, read_extremes, write_extremes

CROWD, BREAKING, BARE_THREADS = "crowd", "breaking", "bare_threads"


class Keeper:
    """The file and what is in it; an OSError says that it cannot be written."""

    def __init__(self, path: Path, command: list[str], machine: Machine) -> None:
        self.path = path
        self.extremes = Extremes(started=utc_now(), command=command, machine=machine)
        before = self._before()
        if before is not None:
            self.extremes = replace(before, started=self.extremes.started, command=command)
        elif path.exists():
            path.replace(path.with_suffix(".earlier.json"))
        self._write()

    def keep(self, **parts: Any) -> None:
        self.extremes = replace(self.extremes, **parts)
        self._write()

    def _before(self) -> Extremes | None:
        """What is there, if it was made on this machine as it is now."""
        try:
            before = read_extremes(self.path)
        except Unreadable:
            return None
        return before if before.machine == self.extremes.machine else None

    def _write(self) -> None:
        """A reader finds the old file or the new one, and an interruption leaves one of them."""
        new = self.path.with_suffix(".json.new")
        write_extremes(self.extremes, new)
        new.replace(self.path)
