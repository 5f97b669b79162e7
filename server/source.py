"""What the admin port shows, whether one process serves or many.

The admin port asks a ``Source`` and does not know what is behind it: the process's own instance, or
a supervisor that has the figures of each of its workers. It asks from a thread of its own.
"""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from server.instance import Instance, State
from server.metrics import Snapshot


@dataclass(frozen=True, slots=True)
class WorkerState:
    """One process that serves."""

    pid: int
    state: State
    beat_age: float
    """Seconds since its loop was last seen alive."""


class SourceGone(Exception):
    """Whoever knew has ended, and so has the server."""


class Source(Protocol):
    """The figures and the state of a server; safe to ask from any thread.

    Each method raises SourceGone in the last moments of a server.
    """

    def snapshots(self) -> Sequence[Snapshot]:
        """Of each process that serves or has served; ``metrics.add`` makes them one."""
        ...

    def workers(self) -> Sequence[WorkerState]:
        """Those that are alive."""
        ...

    def processes(self) -> Sequence[int]:
        """The pids of all that the server consists of; whoever has forked others comes first."""
        ...

    def tasks(self) -> str:
        """What each task or thread is doing."""
        ...


class InstanceSource:
    """A server of one process: this one."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance

    def snapshots(self) -> Sequence[Snapshot]:
        return [self._instance.snapshot()]

    def workers(self) -> Sequence[WorkerState]:
        instance = self._instance
        return [WorkerState(os.getpid(), instance.state, beat_age(instance))]

    def processes(self) -> Sequence[int]:
        return [os.getpid()]

    def tasks(self) -> str:
        return self._instance.describe_tasks()


def beat_age(instance: Instance) -> float:
    """Seconds since the engine's loop was last seen alive."""
    return time.monotonic() - instance.beat_at
