"""Locust users who speak raw TCP: EchoUser and SleepUser.

Each user has a schedule of its own (`next_at += period`) and reports two times. *Response* counts
from the moment a message was due, so a server that stalls is charged for the messages it held
up; *service* counts from the moment it was really sent. Locust's own `constant_pacing` knows
only the second, and forgives every stall.

Nothing is reported for a user who is stopped in the middle of an exchange (gevent raises
GreenletExit, which is no Exception): that exchange neither failed nor succeeded.
"""

import functools
import itertools
import logging
import random
import time
from typing import Any

import gevent
from gevent import monkey
from gevent.lock import BoundedSemaphore
from locust import User, task
from locust.exception import StopUser

from loadtest.client.addresses import Target, resolve
from loadtest.client.connection import Connection, backoff
from loadtest.client.gauge import Gauge
from loadtest.client.options import LoadOptions
from loadtest.client.times import Times
from loadtest.host.fds import raise_fd_limit

logger = logging.getLogger(__name__)

raise_fd_limit()

CONNECT_ATTEMPTS = 8

# Counts the attempts to connect, to take the addresses and sources in turn.
_turns = itertools.count()

# gevent hides epoll from the select module, lest anybody block in it. The gauge only ever polls
# with a timeout of zero.
HELD = Gauge(monkey.get_original("select", "epoll"))
TIMES = Times()


@functools.lru_cache(maxsize=1)
def _place(connects_at_once: int) -> BoundedSemaphore:
    """To hold while connecting.

    Locust starts users by the clock, however far behind the connecting is. On a machine that has
    too much to do they would pile up, each with its timeout running, until all of them fail.
    """
    return BoundedSemaphore(connects_at_once)


class TcpUser(User):
    """A user with one connection, a schedule, and a way to report times."""

    abstract = True
    service_type = ""
    connection: Connection | None = None
    started = False

    def on_start(self) -> None:
        try:
            self.options = LoadOptions.read(self.host, self.environment.parsed_options)
        except ValueError as error:
            logger.error("bad option: %s", error)
            raise StopUser from error
        # Locust spawns a second's worth of users at once; spread them over that second, or each
        # second's connects queue behind each other and their times measure us.
        gevent.sleep(random.random())

    def wait_time(self) -> float:
        return max(0.0, self.next_at - time.perf_counter())

    @task
    def exchange(self) -> None:
        """Connect if need be, then one message and its answer, reported."""
        if self.connection is None or self.connection.lost:
            self._hang_up()
            self.connection = self._connect()
        if not self.started:
            self.started = True
            # Users who start together must not send together.
            self.next_at = time.perf_counter() + random.random() * self.options.pacing
            return
        sent_at = time.perf_counter()
        due_at = self.next_at if self.options.pacing else sent_at
        self.next_at = due_at + self.options.pacing
        try:
            length = self.speak(self.connection)
        except OSError as error:
            self._report(self.service_type, "response", due_at, 0, error)
            HELD.lose(self.connection)
            self._hang_up()
        else:
            self._report(self.service_type, "response", due_at, length, None)
            self._note("service", time.perf_counter() - sent_at, length)

    def on_stop(self) -> None:
        self._hang_up()

    def _hang_up(self) -> None:
        if self.connection is not None:
            HELD.release(self.connection)
            self.connection.close()
            self.connection = None

    def target(self) -> Target:
        """The service that this kind of user speaks to; each subclass names its own."""
        raise NotImplementedError

    def speak(self, connection: Connection) -> int:
        """One exchange; the bytes of its answer. An OSError is a failed one."""
        raise NotImplementedError

    def _connect(self) -> Connection:
        """A new connection, or StopUser after the last of several attempts."""
        delays = backoff(CONNECT_ATTEMPTS)
        for _ in range(CONNECT_ATTEMPTS):
            with _place(self.options.connects_at_once):
                connection = self._try_to_connect()
            if connection is not None:
                return connection
            gevent.sleep(next(delays, 0.0))
        raise StopUser

    def _try_to_connect(self) -> Connection | None:
        started_at = time.perf_counter()
        try:
            connection = self._dial()
        except OSError as error:
            self._report("CONNECT", self.service_type.lower(), started_at, 0, error)
            return None
        self._report("CONNECT", self.service_type.lower(), started_at, 0, None)
        HELD.add(connection)
        return connection

    def _dial(self) -> Connection:
        target, options = self.target(), self.options
        addresses = resolve(target)
        turn, place = divmod(next(_turns), len(addresses))
        source = options.sources[turn % len(options.sources)] if options.sources else None
        address = addresses[place]
        return Connection.open(address, target.port, source, options.connect_timeout)

    def _report(
        self, kind: str, name: str, since: float, length: int, error: Exception | None
    ) -> None:
        seconds = time.perf_counter() - since
        # Failed ones, too: to leave out an answer that never came would flatter the server.
        TIMES.record(f"{kind} {name}", seconds)
        milliseconds = seconds * 1000
        fire: Any = self.environment.events.request.fire
        fire(
            request_type=kind,
            name=name,
            response_time=milliseconds,
            response_length=length,
            exception=error,
            context={},
            start_time=time.time() - seconds,
        )

    def _note(self, name: str, seconds: float, length: int) -> None:
        """A second time of a message that was reported already: an entry of its own, kept out
        of Locust's totals so that they count each message once."""
        TIMES.record(f"{self.service_type} {name}", seconds)
        self.environment.stats.get(name, self.service_type).log(seconds * 1000, length)


class EchoUser(TcpUser):
    """Sends keyed payloads and compares every byte that comes back."""

    service_type = "ECHO"

    def target(self) -> Target:
        return self.options.echo

    def speak(self, connection: Connection) -> int:
        connection.echo(self.options.payload, self.options.reply_timeout)
        return self.options.payload


class SleepUser(TcpUser):
    """Asks the sleep service for a nap; its overshoot is the lateness of the server's timers."""

    service_type = "SLEEP"

    def target(self) -> Target:
        return self.options.sleep_service

    def speak(self, connection: Connection) -> int:
        seconds = self.options.sleep
        late = connection.sleep(seconds, seconds + self.options.reply_timeout)
        self._note("overshoot", max(0.0, late), 0)
        return 0
