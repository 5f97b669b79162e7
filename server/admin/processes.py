"""What the server's processes take of the machine, added up: CPU, memory, threads.

`prometheus_client` knows one process, and with workers that would be the admin port's, which serves
nobody. All figures of one are in one file, /proc/PID/stat, whose fields proc_pid_stat(5) numbers.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

TICK = 1 / os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Use:
    """Of one process, or of several together."""

    cpu_seconds: float
    """User and system, and that of the children it had and has waited for."""
    resident_bytes: int
    """RSS; pages that several share are counted by each."""
    threads: int


def use(pids: Sequence[int]) -> Use:
    """Of those that are there."""
    found = [each for each in map(_use, pids) if each is not None]
    return Use(
        sum(each.cpu_seconds for each in found),
        sum(each.resident_bytes for each in found),
        sum(each.threads for each in found),
    )


def _use(pid: int) -> Use | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None  # it has ended since somebody named it
    # The name, in brackets, may hold blanks and brackets; behind it is the third field.
    fields = text.rpartition(")")[2].split()
    ticks = sum(map(int, fields[11:15]))
    return Use(ticks * TICK, int(fields[21]) * PAGE, int(fields[17]))
