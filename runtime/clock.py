"""Where time comes from.

The executor asks three things of a clock: what time it is, how long a poll may block before a
deadline, and what to do when a poll found nothing.  That is enough to run on real time here and on
a time that jumps in `testing/clock.py`, with the same loop.
"""

from __future__ import annotations

import time
from math import inf
from typing import Protocol

#: No poll blocks for longer: selectors keep milliseconds in an int, which a far deadline overflows.
LONGEST_POLL = 86_400.0


class Clock(Protocol):
    """What the executor asks of time, all in seconds."""

    def now(self) -> float:
        """The time, which never goes back."""

    def patience(self, deadline: float) -> float | None:
        """How long a poll may block if the next timer is due at `deadline`; None without limit."""

    def idle(self, deadline: float) -> None:
        """Nothing happened during such a poll and no task is ready."""


class MonotonicClock:
    """Real time, unmoved by what is done to the wall clock."""

    def now(self) -> float:
        return time.monotonic()

    def patience(self, deadline: float) -> float | None:
        if deadline == inf:
            return None
        return min(max(deadline - time.monotonic(), 0.0), LONGEST_POLL)

    def idle(self, deadline: float) -> None:
        """Real time passes by itself."""
