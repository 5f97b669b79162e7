"""What the web UI's Connections tab shows, looked up once a second and kept for five minutes.

The looking must not cost the load, which runs in the same thread: a look at the server reads a few
small files, and what takes longer (to find its process, once) is done in a thread of gevent's. It
goes on whether or not a test runs, and no fault ends it: each is shown, and logged when it is new.
"""

import logging
import time
from collections import deque
from collections.abc import Set
from dataclasses import dataclass
from typing import Any

import gevent
from locust.env import Environment
from locust.runners import STATE_RUNNING, STATE_SPAWNING

from loadtest.client.addresses import parse_target
from loadtest.client.options import DEFAULT_HOST
from loadtest.client.server_metrics import MetricsPage
from loadtest.client.server_watch import LocalServer, Reading, Source, Watch
from loadtest.client.workers import Team
from loadtest.host import kernel

logger = logging.getLogger(__name__)

INTERVAL = 1.0
KEPT = 300


@dataclass(frozen=True)
class Sample:
    """One moment; None is not measured, or while no test runs not asked."""

    at: float
    asked: int | None
    held: int
    lost: int
    cpu_percent: float | None
    rss: int | None
    threads: int | None


class Onlooker:
    """One for each web UI; `run` is a greenlet's."""

    def __init__(self, environment: Environment, team: Team) -> None:
        self._environment = environment
        self._team = team
        self._watch: Watch | None = None
        self._watched: tuple[str, str] | None = None
        self._logged: str | None = None
        self.samples: deque[Sample] = deque(maxlen=KEPT)
        self.reading = Reading("", "Nobody has looked yet.")

    def run(self) -> None:
        while True:
            self.look()
            gevent.sleep(INTERVAL)

    def look(self) -> None:
        self.reading = reading = self._read()
        if reading.problem is not None and reading.problem != self._logged:
            self._logged = reading.problem
            logger.warning("the Connections tab has no figures of the server: %s", reading.problem)
        self.samples.append(
            Sample(
                at=time.monotonic(),
                asked=self._asked(),
                held=self._team.held(),
                lost=self._team.lost(),
                cpu_percent=reading.cpu_percent,
                rss=reading.rss,
                threads=reading.threads,
            )
        )

    def doubt(self) -> None:
        """A test begins: another server may have taken the place of the one that was found."""
        if self._watch is not None:
            self._watch.doubt()

    def _asked(self) -> int | None:
        runner = self._environment.runner
        if runner is None or runner.state not in (STATE_SPAWNING, STATE_RUNNING):
            return None
        return runner.target_user_count

    def _read(self) -> Reading:
        try:
            return self._current_watch().read()
        except ValueError as error:  # the web UI's form takes any text for a host
            return Reading("", f"{error}.")
        except Exception as error:
            problem = f"A fault of the load test's own: {type(error).__name__}: {error}."
            if problem != self._logged:
                logger.exception("the look at the server failed")
            return Reading("", problem)

    def _current_watch(self) -> Watch:
        """Of the server that the options name now: the form changes them between tests."""
        options: Any = self._environment.parsed_options
        wanted = self._environment.host or DEFAULT_HOST, options.server_metrics
        if self._watch is None or wanted != self._watched:
            self._watch = Watch(_source(*wanted))
            self._watched = wanted
        return self._watch


def _source(host: str, server_metrics: str) -> Source:
    if server_metrics:
        return MetricsPage(server_metrics)
    return LocalServer(parse_target(host), _holders)


def _holders(inodes: Set[int]) -> set[int]:
    found: set[int] = gevent.get_hub().threadpool.apply(kernel.holders, (inodes,))
    return found
