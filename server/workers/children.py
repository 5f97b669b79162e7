"""What the supervisor keeps of each process that it has forked, and when it forks another.

A place is for good and a child is not: when a child ends, its place is due for the next one, after
a pause that grows while children keep dying young.
"""

import math
from dataclasses import dataclass, field

from server.instance import State
from server.metrics import Snapshot
from server.workers.control import Channel
from server.workers.worker import Body

LOST = "worker_died"
"""Among the reasons of closed connections: they were open when their worker died."""


class Backoff:
    """How long to wait before something that has failed is tried again."""

    FIRST = 0.1
    LONGEST = 5.0
    WELL = 10.0
    """Seconds after which it is held to have worked."""

    def __init__(self) -> None:
        self._next = 0.0

    def after(self, lived: float) -> float:
        """The pause, in seconds, after a try that lasted so long; none after the first."""
        if lived >= self.WELL:
            self._next = 0.0
        pause = self._next
        self._next = min(self.LONGEST, max(self.FIRST, 2 * pause))
        return pause


@dataclass(slots=True, eq=False)
class Child:
    """A process of ours, and what it last said of itself."""

    pid: int
    channel: Channel
    born: float
    heard_at: float
    """When it last told its figures."""
    beat_at: float
    """When its loop was last seen alive."""
    serving: bool = False
    failed: str | None = None
    """Why it could not begin, if that was the operator's fault."""
    asked: bool = False
    """A snapshot is on its way."""
    snapshot: Snapshot | None = None
    final: bool = False
    state: State = State.STARTING

    def past(self) -> Snapshot | None:
        """Its figures when it has ended: every connection that was accepted is closed now."""
        if self.snapshot is None:
            return None
        closes = dict(self.snapshot["closes"])
        if lost := self.snapshot["current"]:
            closes[LOST] = lost
        return {**self.snapshot, "current": 0, "closes": closes}


@dataclass(slots=True, eq=False)
class Place:
    """A process that there should be, and the child that is it, if any."""

    body: Body
    is_worker: bool = True
    child: Child | None = None
    due: float = -math.inf
    """When to start the next one."""
    backoff: Backoff = field(default_factory=Backoff)

    @property
    def name(self) -> str:
        return "worker" if self.is_worker else "admin port"
