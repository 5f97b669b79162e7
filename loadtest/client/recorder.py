"""What one Locust process keeps of its own part of the load: connections, times, CPU and lag.

gevent wakes users one after another, so every time they report includes the time that this
process was busy with the others. The overshoot of a short sleep is that lag, recorded as a time
like any other; a report whose p99 is of the size of the lag's has measured Locust, and says so.

The hold begins with `begin`, which sets what is measured to nothing, and ends with `end`, after
which the share stays as it was: connections closing afterwards are no loss.
"""

import gc
import time
from typing import Any

import gevent
from locust.env import Environment

from loadtest.client.connection import PeerClosed
from loadtest.client.gauge import Gauge
from loadtest.client.share import Share, served
from loadtest.client.times import Times
from loadtest.results.figures import Phase

TICK = 0.25
LAG = "LAG"
LAG_INTERVAL = 0.05


class Recorder:
    """One for each process that has users; `start` and `stop` with each test."""

    def __init__(self, environment: Environment, gauge: Gauge, times: Times) -> None:
        self._environment = environment
        self._gauge = gauge
        self._times = times
        self._greenlets: list[gevent.Greenlet] = []
        self._phase: Phase = "ramp"
        self._final: Share | None = None
        self._mark()

    @property
    def held(self) -> int:
        return self._gauge.held

    @property
    def lost(self) -> int:
        return self._gauge.lost

    def start(self) -> None:
        self._gauge.restart()
        self._times.forget(self._times.names())
        self._phase = "ramp"
        self._final = None
        self._mark()
        self._greenlets = [gevent.spawn(self._watch), gevent.spawn(self._measure_lag)]

    def stop(self) -> None:
        """Called while the users still run: what has been measured so far is the share."""
        self._end()
        gevent.killall(self._greenlets)
        gc.unfreeze()

    def enter(self, phase: Phase) -> None:
        """The load as a whole has come to another phase."""
        self._phase = phase
        if phase == "settle":
            # The users live as long as the test. Out of the collector's sight they do not cost a
            # pause of tens of milliseconds each time it makes a full round.
            gc.collect()
            gc.freeze()
        elif phase == "hold":
            self._begin()
        elif phase == "linger":
            self._end()

    def share(self) -> Share:
        return self._final or self._share()

    def _begin(self) -> None:
        """From here on it counts. Only connecting is measured over the whole run."""
        names = self._times.names()
        self._times.forget([name for name in names if not name.startswith("CONNECT ")])
        self._gauge.low = self._gauge.held
        for connection in self._gauge.connections():
            connection.exchanges = 0
        self._mark()

    def _end(self) -> None:
        if self._final is None:
            self._final = self._share()

    def _mark(self) -> None:
        self._since = time.monotonic()
        self._cpu = time.process_time()

    def _share(self) -> Share:
        exchanges = [connection.exchanges for connection in self._gauge.connections()]
        return Share(
            phase=self._phase,
            held=self._gauge.held,
            low=self._gauge.low,
            lost=self._gauge.lost,
            seconds=time.monotonic() - self._since,
            cpu_seconds=time.process_time() - self._cpu,
            times=self._times.encode(),
            served=served(exchanges),
            answered=sum(number > 0 for number in exchanges),
        )

    def _watch(self) -> None:
        """Find the connections that the server has closed while nobody asked it anything."""
        while True:
            gevent.sleep(TICK)
            for connection in self._gauge.find_lost():
                # One in the middle of an exchange finds out, and reports, by itself.
                if connection.idle:
                    self._report_lost()

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

    def _measure_lag(self) -> None:
        while True:
            due_at = time.perf_counter() + LAG_INTERVAL
            gevent.sleep(LAG_INTERVAL)
            self._times.record(LAG, time.perf_counter() - due_at)
