"""Watches one Locust process from inside: connections held, the hold, and the client's own lag.

gevent wakes users one after another, so every time they report includes the time that this
process was busy with the others. The overshoot of a short sleep is that lag; a report whose p99
is of the size of the lag's has measured Locust, and says so.

The phases go ramp, settle, hold, linger. What is measured over the hold is a difference of two
snapshots of Locust's histograms: nothing is reset, Locust's own summary stays whole.
"""

import gc
import logging
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gevent
from locust.env import Environment

from loadtest.buckets import bucket_response_time, subtract, summarise
from loadtest.connection import PeerClosed
from loadtest.figures import Failure, LoadResult, Phase, Progress, Summary, encode
from loadtest.gauge import Gauge

logger = logging.getLogger(__name__)

TICK = 0.25
# Seconds to settle, and more for each user: whoever counts them from outside does it then.
SETTLE = 0.5
SETTLE_PER_USER = 0.0002
LAG_INTERVAL = 0.05

# (name, type) of an entry -> its histogram.
Histograms = dict[tuple[str, str], dict[float, int]]


@dataclass(frozen=True)
class Snapshot:
    """Where the counters stood at one moment."""

    at: float = field(default_factory=time.monotonic)
    cpu: float = field(default_factory=time.process_time)
    histograms: Histograms = field(default_factory=dict)
    lag: dict[float, int] = field(default_factory=dict)


class Monitor:
    """One for each process; `start` and `stop` with each test, of which the web UI runs many."""

    def __init__(self, environment: Environment, gauge: Gauge) -> None:
        self._environment = environment
        self._gauge = gauge
        options: Any = environment.parsed_options
        self._hold: float = options.hold
        self._linger: float = options.linger
        self._figures = Path(options.figures) if options.figures else None
        self._greenlets: list[gevent.Greenlet] = []
        self._phase: Phase = "ramp"
        self._lag: dict[float, int] = {}

    def start(self) -> None:
        self._gauge.restart()
        self._started_at = time.monotonic()
        self._ramp_seconds: float | None = None
        self._begun = self._snapshot()
        self._finished = False
        if self._figures:
            self._figures.write_text("")
        self._greenlets = [gevent.spawn(self._phases), gevent.spawn(self._measure_lag)]

    def stop(self) -> None:
        """Called while the users still run: what has been measured so far is the result."""
        self._finish()
        here = gevent.getcurrent()
        gevent.killall([greenlet for greenlet in self._greenlets if greenlet is not here])
        gc.unfreeze()
        logger.info("connections: %d held, %d lost", self._gauge.held, self._gauge.lost)

    def _phases(self) -> None:
        self._enter("ramp")
        while not self._everyone_connected():
            self._tick()
        self._ramp_seconds = time.monotonic() - self._started_at
        self._enter("settle")
        # The users live as long as the test. Out of the collector's sight they do not cost a
        # pause of tens of milliseconds each time it makes a full round.
        gc.collect()
        gc.freeze()
        self._tick_for(SETTLE + SETTLE_PER_USER * self._asked())
        self._begun = self._snapshot()
        self._gauge.low = self._gauge.held
        self._enter("hold")
        self._tick_for(self._hold or float("inf"))
        self._finish()
        if self._linger:
            self._enter("linger")
            self._tick_for(self._linger)
        self._end_test()

    def _everyone_connected(self) -> bool:
        asked = self._asked()
        return asked > 0 and self._gauge.held >= asked

    def _asked(self) -> int:
        runner = self._environment.runner
        return runner.target_user_count if runner else 0

    def _tick_for(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._tick(min(TICK, left))

    def _tick(self, seconds: float = TICK) -> None:
        gevent.sleep(seconds)
        for connection in self._gauge.find_lost():
            # One in the middle of an exchange finds out, and reports, by itself.
            if connection.idle:
                self._report_lost()
        self._write(self._progress())

    def _report_lost(self) -> None:
        fire: Any = self._environment.events.request.fire
        fire(
            request_type="LOST",
            name="connection",
            response_time=0.0,
            response_length=0,
            exception=PeerClosed("the server closed an idle connection"),
            context={},
        )

    def _enter(self, phase: Phase) -> None:
        self._phase = phase
        self._write(self._progress())

    def _progress(self) -> Progress:
        total = self._environment.stats.total
        runner = self._environment.runner
        return Progress(
            at=time.monotonic(),
            phase=self._phase,
            users=runner.user_count if runner else 0,
            held=self._gauge.held,
            lost=self._gauge.lost,
            requests=total.num_requests,
            failures=total.num_failures,
        )

    def _measure_lag(self) -> None:
        while True:
            due_at = time.perf_counter() + LAG_INTERVAL
            gevent.sleep(LAG_INTERVAL)
            late = bucket_response_time((time.perf_counter() - due_at) * 1000)
            self._lag[late] = self._lag.get(late, 0) + 1

    def _snapshot(self) -> Snapshot:
        entries: Any = self._environment.stats.entries
        histograms = {key: dict(entry.response_times) for key, entry in entries.items()}
        return Snapshot(histograms=histograms, lag=dict(self._lag))

    def _finish(self) -> None:
        """Write the result, once."""
        if self._finished:
            return
        self._finished = True
        self._write(self._result())

    def _result(self) -> LoadResult:
        begun, now = self._begun, self._snapshot()
        times: dict[str, Summary] = {}
        for (name, kind), histogram in sorted(now.histograms.items()):
            earlier = {} if kind == "CONNECT" else begun.histograms.get((name, kind), {})
            times[f"{kind} {name}"] = summarise(subtract(histogram, earlier))
        return LoadResult(
            phase=self._phase,
            asked=self._asked(),
            held_min=self._gauge.low if self._phase == "hold" else self._gauge.held,
            held_end=self._gauge.held,
            lost=self._gauge.lost,
            ramp_seconds=self._ramp_seconds,
            hold_seconds=now.at - begun.at,
            requests=sum(
                int(summary["count"] or 0)
                for key, summary in times.items()
                if key.endswith(" response")
            ),
            cpu_seconds=now.cpu - begun.cpu,
            times=times,
            hub_lag=summarise(subtract(now.lag, begun.lag)),
            failures=self._failures(),
        )

    def _failures(self) -> list[Failure]:
        errors = self._environment.stats.errors.values()
        return [
            Failure(error.method, error.name, error.parse_error(error.error), error.occurrences)
            for error in errors
        ]

    def _write(self, record: Progress | LoadResult) -> None:
        if self._figures:
            with self._figures.open("a") as file:
                file.write(encode(record))

    def _end_test(self) -> None:
        runner = self._environment.runner
        if runner is None:
            return
        if self._environment.web_ui:
            runner.stop()
        else:
            runner.quit()
