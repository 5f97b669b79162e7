"""Which connections have been idle, or in the middle of a line, for too long.

A timer per connection would be set anew at each echo, and a time of last use stored at each echo.
Neither is needed, because the kernel keeps that time already: ``TCP_INFO`` says how long ago data
last came and went. So an engine comes by every ``interval`` seconds, a part of the connections is
looked at, and after a few steps all have been. An echo pays nothing, hundreds of looks a second
cost a few milliseconds, and a connection is closed up to half of its deadline late, never early.

What a peer does not take is not looked for here. ``TCP_USER_TIMEOUT``, which accepted sockets
inherit from their listener, makes the kernel end a connection whose peer has acknowledged nothing,
or has kept its window shut, for ``--write-timeout`` seconds; the engine then sees ETIMEDOUT.
"""

import socket
import struct
import time
from collections.abc import Iterator, Mapping
from typing import Protocol, TypeVar

from server.config import Settings
from server.fds import borrowed, unacknowledged, unread
from server.metrics import Closed
from server.protocol import SleepProtocol

LONGEST_INTERVAL = 0.25
"""Seconds between two steps, at most: this is the server's heartbeat, too."""

SHORTEST_INTERVAL = 0.01

STEPS = 16
"""Into at least so many the shortest deadline is divided, so that no step has many looks."""

QUIET_ROUNDS = 2
"""An idle connection is looked at so many times in the time of its deadline: each look costs."""

LINE_ROUNDS = 6
"""The same for one in a line: the first look, which a newcomer has in its second round at the
latest, only sees that a line has begun."""

_CLOSE_WAIT = 8
"""The peer has ended its side and we have not (enum in net/tcp_states.h)."""

# In struct tcp_info of linux/tcp.h: tcpi_state, the milliseconds since data was sent, and, after
# those since an ACK was sent, which Linux does not fill, since data came.
_TCP_INFO = struct.Struct("=B43xI4xI")


class Watched(Protocol):
    """A connection, as far as deadlines go."""

    @property
    def lines(self) -> SleepProtocol | None:
        """Where the sleep service stands; None on an echo connection."""


C = TypeVar("C", bound=Watched)


class Round:
    """Descriptors in turn: each once in so many steps, as far as they were there at the first.

    They are small numbers without large gaps, so a part of them is a stride through their range,
    and a step need not go through ten thousand to find its hundred.
    """

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._turn = -1
        self._end = 0

    def part(self, live: Mapping[int, object]) -> range:
        """What to look for at the next step. What is not open, or not yet, is among it."""
        self._turn = (self._turn + 1) % self._steps
        if self._turn == 0:
            # A copy in one step: in the threads engine others come and go meanwhile.
            self._end = max(tuple(live), default=-1) + 1
        return range(self._turn, self._end, self._steps)


class Deadlines:
    """The deadlines of one server's connections. A time of 0 in the settings is no deadline."""

    def __init__(self, settings: Settings) -> None:
        self._idle = settings.idle_timeout
        self._half_close = settings.half_close_timeout
        self._line = settings.line_timeout
        shortest = min((each for each in (self._idle, self._half_close) if each), default=0.0)
        steps = (each / STEPS for each in (shortest, self._line) if each)
        self.interval = max(SHORTEST_INTERVAL, min([LONGEST_INTERVAL, *steps]))
        """Seconds between two calls of ``overdue``."""
        self._quiet_round = Round(self._steps(shortest, QUIET_ROUNDS))
        self._line_round = Round(self._steps(self._line, LINE_ROUNDS))

    def _steps(self, deadline: float, rounds: int) -> int:
        return max(1, int(deadline / rounds / self.interval))

    def overdue(self, live: Mapping[int, C]) -> Iterator[tuple[C, Closed]]:
        """Look at this step's part of the connections, given by descriptor.

        Yields those to be closed, and why; closing may change ``live``.
        """
        now = time.monotonic()
        if self._line:
            for fd in self._line_round.part(live):
                if (one := live.get(fd)) and one.lines and self._line_is_late(fd, one.lines, now):
                    yield one, Closed.LINE_TIMEOUT
        if self._idle or self._half_close:
            for fd in self._quiet_round.part(live):
                if (one := live.get(fd)) and (reason := self._quiet_for_too_long(fd, one)):
                    yield one, reason

    def _line_is_late(self, fd: int, lines: SleepProtocol, now: float) -> bool:
        """A line is timed as a whole: a byte now and then does not keep it going."""
        if not lines.in_line:
            return False
        seen_at = lines.seen_at
        if seen_at is None:
            lines.seen_at = now
            if not lines.in_line:
                # It ended meanwhile, in its own thread; the time would be taken for the next one's.
                lines.seen_at = None
            return False
        # If this process was stopped, the rest of the line may have come and lie unread.
        return now - seen_at >= self._line and not _has_unread(fd)

    def _quiet_for_too_long(self, fd: int, one: Watched) -> Closed | None:
        if one.lines and one.lines.busy:
            return None  # not the peer is idle, but we owe it an answer
        try:
            with borrowed(fd) as sock:
                info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
            state, sent, received = _TCP_INFO.unpack(info)
            reason, limit = Closed.IDLE_TIMEOUT, self._idle
            if state == _CLOSE_WAIT:
                reason, limit = Closed.HALF_CLOSE_TIMEOUT, self._half_close
            quiet = min(sent, received) / 1000
            late = limit and quiet >= limit and not _is_our_turn(fd)
        except OSError:
            return None  # closed meanwhile
        return reason if late else None


def _has_unread(fd: int) -> bool:
    try:
        return unread(fd) > 0
    except OSError:
        return False  # closed meanwhile


def _is_our_turn(fd: int) -> bool:
    """Whether the peer waits for us: we have not read what it sent, and it has all that we sent.

    That is so for long if this process was stopped, or if the connection was in the backlog.
    """
    return unread(fd) > 0 and not unacknowledged(fd)
