"""One thread for each connection, until it fails; then threads alone, until they fail.

The server is asked by one connection after the other, each of which must be answered before the
next one comes. It may end in two ways. If the server cannot start a thread, or a thread gets no
memory, it closes the connection and goes on with those it has. If it has no descriptors to spare,
which is where a process has less than about 22,000, it accepts no more: nothing is refused, the
next connection waits in the kernel's queue and is answered when another one ends, which is tried.
Either way all others must still be answered then.

In the second case it remains unsaid where threads end. So a program without connections, and so
without descriptors, finds that (`bare_threads.py`).
"""

import json
import os
import socket
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from loadtest.client.addresses import dial, parse_sources
from loadtest.client.connection import Connection, PeerClosed, payload
from loadtest.extremes.bare_threads import END_PATIENCE, Found
from loadtest.extremes.family import session_ended
from loadtest.host import cgroups, kernel
from loadtest.host.fds import fd_limit
from loadtest.host.machine import utc_now
from loadtest.host.pinning import unpinned
from loadtest.host.thread_limits import out_of_descriptors, reached, shared_limits
from loadtest.results.extremes import Breaking
from loadtest.runs.child import POLL, Child, RunFailed
from loadtest.runs.engine_process import Engine, engine_command, running_engine
from loadtest.runs.progress import Reporter
from loadtest.runs.run_files import RunFiles
from loadtest.split import sources_for

MODE = "threads"
PAYLOAD = 64
BARE_PATIENCE = 120.0
DYING = 0.5
# Threads that are left to everybody else on the machine, and memory for one of ours.
LEFT_TO_OTHERS = 2_000
BYTES_PER_THREAD = 64 * 1024
TELL_EVERY = 500
CANNOT_START = "cannot start a thread"


@dataclass(frozen=True)
class BreakingPlan:
    """`most` connections, or threads, and no more."""

    most: int
    out: Path
    server_command: tuple[str, ...] = (sys.executable, "-m", "server")
    # For an answer. Thousands of threads are slow to start, and nothing here is about their speed.
    patience: float = 10.0


@dataclass(frozen=True)
class Bound:
    """How many are tried at most, and why no more; "" if only because that was asked for."""

    most: int
    why: str


@dataclass
class SeenBreaking:
    """All that was seen so far."""

    command: list[str] = field(default_factory=list)
    started: str = field(default_factory=utc_now)
    began: float = field(default_factory=time.monotonic)
    connections: int = 0
    threads: int = 0
    errno: int | None = None
    error: str = ""
    limit: str = ""
    seconds: float = 0.0
    rss: int | None = None
    reason: str = ""

    def look(self, process: psutil.Process) -> None:
        self.threads, self.rss = process.num_threads(), process.memory_info().rss

    def breaking(self) -> Breaking:
        return Breaking(
            command=self.command,
            started=self.started,
            connections=self.connections,
            threads=self.threads,
            errno=self.errno,
            error=self.error,
            limit=self.limit,
            seconds=round(self.seconds, 3),
            rss=self.rss,
            reason=self.reason,
        )


def bound(most: int) -> Bound:
    """As many as asked for, but not the last ones of what all share."""
    bounds = [Bound(most, "")]
    for limit in shared_limits():
        room = limit.room - LEFT_TO_OTHERS
        bounds.append(Bound(room, f"{limit} is everybody's, and {LEFT_TO_OTHERS:,} were left"))
    free = (psutil.virtual_memory().available, cgroups.memory_left())
    room = min(size for size in free if size is not None) // BYTES_PER_THREAD
    bounds.append(Bound(room, "more threads might not fit into the memory"))
    least = min(bounds, key=lambda each: each.most)
    return Bound(max(0, least.most), least.why)


# The server.


def break_server(plan: BreakingPlan, seen: SeenBreaking, reporter: Reporter) -> None:
    """Fill `seen`; what makes it not count ends up in its `reason`."""
    files = RunFiles.below(plan.out, "breaking-server")
    files.server_out.parent.mkdir(parents=True, exist_ok=True)
    seen.command = engine_command(plan, MODE)
    try:
        with (
            running_engine(plan, MODE, files, unpinned()) as engine,
            session_ended(engine.child),
        ):
            _Drive(plan, engine, files, seen, reporter).until_it_breaks()
            reporter.update("stopping the server", "")
            engine.stop()
    except RunFailed as failure:
        seen.reason = str(failure)
    except (psutil.Error, OSError) as error:
        seen.reason = f"the server could not be observed: {error}"


class _Drive:
    """One connection after the other, all kept."""

    def __init__(
        self,
        plan: BreakingPlan,
        engine: Engine,
        files: RunFiles,
        seen: SeenBreaking,
        reporter: Reporter,
    ) -> None:
        self._patience = plan.patience
        self._bound = bound(plan.most)
        self._engine = engine
        self._log = files.server_log
        self._seen = seen
        self._reporter = reporter
        self._process = psutil.Process(engine.child.pid)
        self._held: list[Connection] = []
        expected = min(self._bound.most, fd_limit().hard)
        self._sources = parse_sources(sources_for(expected, kernel.port_range()))

    def until_it_breaks(self) -> None:
        idle = self._process.num_threads()
        self._seen.began = time.monotonic()
        try:
            self._fill()
            self._seen.look(self._process)
            self._check_the_others()
        finally:
            self._reporter.update("closing all connections", "")
            for connection in self._held:
                connection.close()
        self._wait_until_threads_are_gone(idle)

    def _fill(self) -> None:
        seen = self._seen
        while len(self._held) < self._bound.most:
            if not self._another():
                return
            seen.connections = len(self._held)
            seen.seconds = time.monotonic() - seen.began
            if seen.connections % TELL_EVERY == 0:
                seen.look(self._process)
                self._reporter.update("connecting", f"{seen.connections:,} connections")
        why = f": {self._bound.why}" if self._bound.why else ""
        seen.reason = f"it did not fail: stopped at {self._bound.most:,} connections{why}"

    def _another(self) -> bool:
        """Open one more and see its echo; if that does not come, find out why."""
        try:
            connection = self._open()
        except OSError as error:
            self._engine.child.check_alive("under load")
            self._seen.error = str(error)
            self._seen.reason = f"this program, not the server, could not connect: {error}"
            return False
        try:
            connection.echo(PAYLOAD, self._patience)
        except OSError as error:
            connection.close()
            # A server that has just been killed is still on its way out when its sockets are gone.
            self._engine.child.wait(DYING)
            self._engine.child.check_alive("under load")
            self._explain(error)
            return False
        self._held.append(connection)
        return True

    def _open(self) -> Connection:
        return Connection.open(*self._address(), self._patience)

    def _address(self) -> tuple[str, int, str | None]:
        echo = self._engine.echo
        number = len(self._held)
        source = self._sources[number % len(self._sources)] if self._sources else None
        return echo.host, echo.port, source

    def _explain(self, error: OSError) -> None:
        seen, pid = self._seen, self._process.pid
        if isinstance(error, TimeoutError):
            seen.limit = out_of_descriptors(pid)
            seen.error = "the next connection waits"
            if not seen.limit:
                seen.reason = f"no answer within {self._patience:.0f} s, and no limit was reached"
        elif isinstance(error, PeerClosed | ConnectionResetError):
            seen.limit = reached(pid)
            seen.error = self._complaint() or error.strerror or str(error)
        else:
            seen.error = str(error)
            seen.reason = f"an answer was wrong: {error}"

    def _complaint(self) -> str:
        """What the server has logged: that it cannot start a thread, or the end of a traceback."""
        lines = self._log.read_text(errors="replace").splitlines()
        found = [line[line.index(CANNOT_START) :] for line in lines if CANNOT_START in line]
        return next((line.strip() for line in reversed(found or lines)), "")

    def _check_the_others(self) -> None:
        """All that had been answered still are, and one that waits has its turn after another."""
        self._reporter.update("asking all once more", f"{len(self._held):,} connections")
        for number, connection in enumerate(self._held):
            try:
                connection.echo(PAYLOAD, self._patience)
            except OSError as error:
                raise RunFailed(
                    f"connection {number + 1:,} of {len(self._held):,} was not answered any more "
                    f"when all were open: {error}"
                ) from error
        if self._seen.limit and self._held and self._seen.error == "the next connection waits":
            self._take_turns()

    def _take_turns(self) -> None:
        sent = payload(0, 0, PAYLOAD)
        with dial(*self._address(), self._patience) as waiting:
            waiting.sendall(sent)
            self._held.pop().close()
            try:
                answer = waiting.recv(PAYLOAD, socket.MSG_WAITALL)
            except OSError as error:
                raise RunFailed(f"one that waited was not answered later: {error}") from error
        if answer != sent:
            raise RunFailed("one that waited got another answer later than it was owed")
        self._seen.error = "the next connection waits, and was answered when another had ended"

    def _wait_until_threads_are_gone(self, idle: int) -> None:
        deadline = time.monotonic() + END_PATIENCE
        while (left := self._process.num_threads()) > idle:
            self._engine.child.check_alive("after the load")
            if time.monotonic() > deadline:
                raise RunFailed(
                    f"{left - idle:,} threads were still there {END_PATIENCE:.0f} s later"
                )
            self._reporter.update("waiting until its threads are gone", f"{left:,} left")
            time.sleep(POLL)


# Threads alone.


def break_bare_threads(plan: BreakingPlan, seen: SeenBreaking, reporter: Reporter) -> None:
    """Fill `seen`; what makes it not count ends up in its `reason`."""
    files = RunFiles.below(plan.out, "breaking-threads")
    files.client_out.parent.mkdir(parents=True, exist_ok=True)
    limit = bound(plan.most)
    seen.command = bare_command(limit.most)
    seen.began = time.monotonic()
    try:
        child = Child(
            "the program of bare threads",
            seen.command,
            files.client_out,
            files.client_log,
            os.environ,
        )
        with child, session_ended(child):
            _follow(child, seen, reporter)
        _take(seen, limit, files.client_out)
    except RunFailed as failure:
        seen.reason = str(failure)


def bare_command(most: int) -> list[str]:
    return [sys.executable, "-m", "loadtest.extremes.bare_threads", str(most)]


def _follow(child: Child, seen: SeenBreaking, reporter: Reporter) -> None:
    deadline = time.monotonic() + BARE_PATIENCE
    process = psutil.Process(child.pid)
    while child.status is None:
        if time.monotonic() > deadline:
            raise RunFailed(f"{child.name} did not end within {BARE_PATIENCE:.0f} s")
        with suppress(psutil.NoSuchProcess):  # it has just ended, as its status says next time
            reporter.update("starting threads", f"{process.num_threads():,} threads")
        time.sleep(POLL)
    if child.status != 0:
        raise RunFailed(child.explain(child.status))


def _take(seen: SeenBreaking, limit: Bound, out: Path) -> None:
    try:
        found = Found(**json.loads(out.read_text()))
    except (ValueError, TypeError) as error:
        raise RunFailed(f"the program of bare threads told nothing: {error}") from error
    seen.threads, seen.rss, seen.seconds = found.threads, found.rss, found.seconds
    seen.limit = found.limit
    if not found.error:
        why = f": {limit.why}" if limit.why else ""
        seen.reason = f"none was refused: stopped at {found.threads:,} threads{why}"
        return
    seen.errno = found.errno or None
    seen.error = found.error
