"""Leads one load through its phases, and writes what came of it to the `--figures` file.

The phases go ramp, settle, hold, linger. It runs in the process that decides: the only one, or the
master of several. What is measured over the hold is begun and ended by the processes that have
the users (`recorder.py`); Locust's own statistics are never reset, so its summary stays whole.
"""

import logging
import time
from pathlib import Path
from typing import Any

import gevent
from locust.env import Environment

from loadtest.client.recorder import LAG, TICK
from loadtest.client.workers import Team
from loadtest.results.figures import Failure, LoadResult, Phase, Progress, encode

logger = logging.getLogger(__name__)

# Seconds to settle, and more for each user: whoever counts them from outside does it then.
SETTLE = 0.5
SETTLE_PER_USER = 0.0002
# For the last reports of workers, which come every three seconds.
LAST_REPORTS = 10.0


class Monitor:
    """One for each load; `start` and `stop` with each test, of which the web UI runs many."""

    def __init__(self, environment: Environment, team: Team) -> None:
        self._environment = environment
        self._team = team
        options: Any = environment.parsed_options
        self._hold: float = options.hold
        self._linger: float = options.linger
        self._figures = Path(options.figures) if options.figures else None
        self._phases_greenlet: gevent.Greenlet | None = None
        self._phase: Phase = "ramp"

    def start(self) -> None:
        self._started_at = time.monotonic()
        self._ramp_seconds: float | None = None
        self._finished = False
        if self._figures:
            self._figures.write_text("")
        self._team.start()
        self._phases_greenlet = gevent.spawn(self._phases)

    def stop(self) -> None:
        """Called while the users still run: what has been measured so far is the result."""
        if self._phases_greenlet is None:
            return  # a web UI that ends says so also of a test that never began
        self._finish()
        if self._phases_greenlet is not gevent.getcurrent():
            gevent.kill(self._phases_greenlet)
        held, lost = self._team.held(), self._team.lost()
        self._team.stop()
        logger.info("connections: %d held, %d lost", held, lost)

    def _phases(self) -> None:
        self._enter("ramp")
        while not self._everyone_connected():
            self._tick()
        self._ramp_seconds = time.monotonic() - self._started_at
        self._enter("settle")
        self._tick_for(SETTLE + SETTLE_PER_USER * self._asked())
        self._enter("hold")
        self._tick_for(self._hold or float("inf"))
        self._collect()
        self._finish()
        if self._linger:
            self._enter("linger")
            self._tick_for(self._linger)
        self._end_test()

    def _collect(self) -> None:
        """End the hold for everybody, and wait for what they have to say."""
        self._team.enter("linger")
        deadline = time.monotonic() + LAST_REPORTS
        while not self._team.all_in("linger"):
            if time.monotonic() > deadline:
                logger.error("a worker has not told what it measured; it is missing in the result")
                return
            gevent.sleep(TICK)

    def _everyone_connected(self) -> bool:
        asked = self._asked()
        return asked > 0 and self._team.held() >= asked

    def _asked(self) -> int:
        runner = self._environment.runner
        return runner.target_user_count if runner else 0

    def _tick_for(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._tick(min(TICK, left))

    def _tick(self, seconds: float = TICK) -> None:
        gevent.sleep(seconds)
        self._write(self._progress())

    def _enter(self, phase: Phase) -> None:
        self._phase = phase
        if phase != "linger":
            self._team.enter(phase)
        self._write(self._progress())

    def _progress(self) -> Progress:
        total = self._environment.stats.total
        runner = self._environment.runner
        return Progress(
            at=time.monotonic(),
            phase=self._phase,
            users=runner.user_count if runner else 0,
            held=self._team.held(),
            lost=self._team.lost(),
            requests=total.num_requests,
            failures=total.num_failures,
        )

    def _finish(self) -> None:
        """Write the result, once."""
        if not self._finished:
            self._finished = True
            self._write(self._result())

    def _result(self) -> LoadResult:
        whole = self._team.whole()
        times = whole.times
        names = [name for name in times.names() if name != LAG]
        return LoadResult(
            phase=self._phase,
            asked=self._asked(),
            held_min=whole.low if self._phase == "hold" else whole.held,
            held_end=whole.held,
            lost=whole.lost,
            ramp_seconds=self._ramp_seconds,
            hold_seconds=whole.seconds,
            requests=sum(times.count(name) for name in names if name.endswith(" response")),
            cpu_seconds=whole.cpu_seconds,
            times={name: times.summary(name) for name in names},
            curves={name: times.curve(name) for name in names},
            hub_lag=times.summary(LAG),
            fairness=whole.fairness,
            failures=self._failures(),
            answered=whole.answered if self._phase == "hold" else None,
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
