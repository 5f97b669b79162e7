"""One serving process, as its engine, its admin port and its parent see it.

An engine gets this and nothing else. It takes its settings, listeners and certificate from here and
reports here: when it serves, that its loop is alive, that it drains. Whoever watches from another
thread reads plain attributes, so an engine that hangs can still be looked at.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from server import logs
from server.config import Settings
from server.listeners import Listener
from server.metrics import Counters, Snapshot
from server.protocol import SleepProtocol
from server.tls import Certificate


class State(StrEnum):
    """Where in its life the server is; it is ready for new connections in the second alone."""

    STARTING = "starting"
    SERVING = "serving"
    DRAINING = "draining"


def _no_tasks() -> str:
    return "the engine has not begun\n"


def _nothing() -> None:
    pass


@dataclass(slots=True)
class Instance:
    """What an engine is given, and what it says of itself."""

    settings: Settings
    listeners: Sequence[Listener]
    certificate: Certificate | None
    """There is one if any of the listeners is ``secure``."""
    on_serving: Callable[[], None]
    """Called once, when the engine accepts."""
    counters: Counters = field(default_factory=Counters)
    on_draining: Callable[[], None] = _nothing
    """Called once, when a signal has come."""
    state: State = State.STARTING
    beat_at: float = field(default_factory=time.monotonic)
    """When the engine's loop was last seen alive, on the monotonic clock."""
    describe_tasks: Callable[[], str] = _no_tasks
    """What each task or thread is doing, as text; from any thread, also while the loop hangs."""
    snapshot: Callable[[], Snapshot] = field(init=False)
    """The figures; an engine that keeps some of them elsewhere puts its own function here."""

    def __post_init__(self) -> None:
        self.snapshot = self.counters.snapshot

    # For the engine.

    def new_lines(self) -> SleepProtocol:
        """The sleep service's side of a new connection."""
        return SleepProtocol(self.settings.max_line, self.settings.max_sleep, logs.bad_line)

    def serving(self) -> None:
        """The engine accepts connections now."""
        self.state = State.SERVING
        self.beat_at = time.monotonic()
        self.on_serving()

    def draining(self) -> None:
        """A signal has come: no new connections any more."""
        self.state = State.DRAINING
        self.on_draining()

    def beat(self, expected_after: float) -> None:
        """The loop is alive. It asked to be here so many seconds after the beat before."""
        now = time.monotonic()
        self.counters.loop_lag_seconds.observe(max(0.0, now - self.beat_at - expected_after))
        self.beat_at = now
