"""Time that jumps.

A test of a one-hour timeout should neither take an hour nor shorten the timeout.  On a
`VirtualClock` time stands still while anything can run, and when every task waits it jumps to the
next timer.  So sleeps cost nothing, their order is exact, and a test of timing cannot be flaky
because the machine was busy.  (Trio's autojump clock, as the only time there is.)

>>> import runtime
>>> async def an_hour():
...     began = runtime.now()
...     await runtime.sleep(3600)
...     return runtime.now() - began
>>> runtime.run(an_hour(), clock=VirtualClock())
3600.0
"""

from __future__ import annotations

from math import inf


class VirtualClock:
    """A clock that jumps to the next deadline when there is nothing else to do.

    I/O comes first: before each jump the sockets are polled, for up to `patience` real seconds.
    The default, 0, suits sockets whose other end is a task of the same run; with a thread or
    a process at the other end, give it the time that those may take to answer.
    """

    def __init__(self, patience: float = 0.0) -> None:
        self._now = 0.0
        self._patience = patience

    def now(self) -> float:
        """Virtual seconds since the clock was made."""
        return self._now

    def patience(self, deadline: float) -> float | None:
        """A poll may block for the real time allowed; for ever only if no timer is set."""
        return None if deadline == inf else self._patience

    def idle(self, deadline: float) -> None:
        """Nothing can run: jump."""
        if deadline != inf:
            self._now = max(self._now, deadline)
