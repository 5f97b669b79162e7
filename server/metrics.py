"""What an engine counts, the same in all of them, and the form in which the figures leave it.

Every connection that is accepted ends under exactly one reason, so at any moment the accepted are
the closed and the open: a connection that is in neither has been lost, and a test finds it.
"""

import errno
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypedDict


class Closed(StrEnum):
    """Why a connection ended."""

    FINISHED = "finished"
    """In order: by the peer's end of stream, after all answers."""
    BAD_LINE = "bad_line"
    """By us, after an answer that says why: a line too long, or a last one that does not end."""
    BROKEN = "broken"
    """By the peer's reset, a broken pipe or another network error."""
    PEER_TIMEOUT = "peer_timeout"
    """The peer's kernel no longer acknowledges, or the peer no longer reads (--write-timeout)."""
    HANDSHAKE_FAILED = "handshake_failed"
    HANDSHAKE_TIMEOUT = "handshake_timeout"
    IDLE_TIMEOUT = "idle_timeout"
    LINE_TIMEOUT = "line_timeout"
    HALF_CLOSE_TIMEOUT = "half_close_timeout"
    ABORTED = "aborted"
    """Still open at the drain's deadline, and cut off."""
    FAILED = "failed"
    """By a bug of ours; the log has the traceback."""


def reason_for(error: BaseException) -> Closed:
    """What a network error says about how a connection ended."""
    timed_out = isinstance(error, OSError) and error.errno == errno.ETIMEDOUT
    return Closed.PEER_TIMEOUT if timed_out else Closed.BROKEN


SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the buckets in which durations are counted; above the last is one more."""


class HistogramSnapshot(TypedDict):
    """``counts`` has a number for each of ``SECONDS``, not cumulative, and one for the rest."""

    counts: list[int]
    sum: float


class Snapshot(TypedDict):
    """The figures at one moment, in what JSON can hold; those of several processes add up."""

    connections: int
    current: int
    received: int
    sent: int
    closes: dict[str, int]
    accept_errors: dict[str, int]
    rejected: dict[str, int]
    handshake_seconds: HistogramSnapshot
    loop_lag_seconds: HistogramSnapshot


@dataclass(slots=True)
class Histogram:
    """Durations, in buckets."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(SECONDS) + 1))
    sum: float = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(SECONDS, seconds)] += 1
        self.sum += seconds

    def snapshot(self) -> HistogramSnapshot:
        return {"counts": list(self.counts), "sum": self.sum}


@dataclass(slots=True)
class Counters:
    """Totals since the start."""

    connections: int = 0
    """Accepted."""
    received: int = 0
    """Bytes of payload, as they are after TLS."""
    sent: int = 0
    """Bytes of payload that were given to the kernel or to the event loop."""
    closes: dict[Closed, int] = field(default_factory=lambda: dict.fromkeys(Closed, 0))
    accept_errors: dict[str, int] = field(default_factory=dict)
    """Failed attempts to accept, by the name of their errno."""
    rejected: dict[str, int] = field(default_factory=dict)
    """Closed at once instead of being served, by reason; not among ``connections``."""
    handshake_seconds: Histogram = field(default_factory=Histogram)
    loop_lag_seconds: Histogram = field(default_factory=Histogram)

    def accept_failed(self, error: OSError) -> None:
        name = errno.errorcode.get(error.errno or 0, "unknown")
        self.accept_errors[name] = self.accept_errors.get(name, 0) + 1

    def reject(self, reason: str) -> None:
        self.rejected[reason] = self.rejected.get(reason, 0) + 1

    def snapshot(self) -> Snapshot:
        """Safe to take from another thread: each figure is read whole."""
        closes = {str(reason): count for reason, count in tuple(self.closes.items())}
        return {
            "connections": self.connections,
            "current": self.connections - sum(closes.values()),
            "received": self.received,
            "sent": self.sent,
            "closes": closes,
            "accept_errors": dict(self.accept_errors),
            "rejected": dict(self.rejected),
            "handshake_seconds": self.handshake_seconds.snapshot(),
            "loop_lag_seconds": self.loop_lag_seconds.snapshot(),
        }


def add(snapshots: Sequence[Snapshot]) -> Snapshot:
    """The figures of several processes as those of one."""
    return {
        "connections": sum(each["connections"] for each in snapshots),
        "current": sum(each["current"] for each in snapshots),
        "received": sum(each["received"] for each in snapshots),
        "sent": sum(each["sent"] for each in snapshots),
        "closes": _add_counts([each["closes"] for each in snapshots]),
        "accept_errors": _add_counts([each["accept_errors"] for each in snapshots]),
        "rejected": _add_counts([each["rejected"] for each in snapshots]),
        "handshake_seconds": _add_histograms([each["handshake_seconds"] for each in snapshots]),
        "loop_lag_seconds": _add_histograms([each["loop_lag_seconds"] for each in snapshots]),
    }


def _add_counts(tables: Sequence[dict[str, int]]) -> dict[str, int]:
    keys = dict.fromkeys(key for table in tables for key in table)
    return {key: sum(table.get(key, 0) for table in tables) for key in keys}


def _add_histograms(histograms: Sequence[HistogramSnapshot]) -> HistogramSnapshot:
    columns = zip(*(each["counts"] for each in histograms), strict=True)
    return {
        "counts": [sum(column) for column in columns],
        "sum": sum(each["sum"] for each in histograms),
    }
