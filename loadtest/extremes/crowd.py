"""Very many connections at once: a server with workers, a Locust with processes, and their counts.

The run is that of a comparison (`loadtest/runs/run.py`) for a family of processes on either side.
Nothing is pinned: with two cores for a dozen processes, whoever has something to do had better take
what is free. Connections are counted once a second at both ends, by the Locust processes, which
tell every three seconds and say what was lowest, and by the kernel's own table of sockets.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from loadtest.extremes.family import Cost, Family, session_ended
from loadtest.host import kernel, sock_diag
from loadtest.host.kernel import ListenCounters
from loadtest.host.machine import utc_now
from loadtest.host.pinning import unpinned
from loadtest.results.figures import LoadResult, Phase
from loadtest.runs.child import RunFailed
from loadtest.runs.engine_process import Engine, engine_command, running_engine
from loadtest.runs.locust_process import Load, locust_command, running_locust
from loadtest.runs.plan import Hold
from loadtest.runs.progress import Reporter
from loadtest.runs.run_files import RunFiles
from loadtest.split import Split

POLL = 0.1
SECOND = 1.0
# The part of the time that may go into looking. The kernel walks over all sockets of the machine to
# count ours.
LOOKING = 0.05
# Each connection is due once a period, and late by no more than what is left of the hold.
PERIODS = 1.25
# Beyond the ramp: starting a dozen processes. Beyond the hold: settling, the last reports, and the
# time for which many users each take their turn.
START_SECONDS = 30.0
HOLD_GRACE = 60.0
PAYLOAD = 64
# In all processes together: far fewer than have room in the listen queue.
CONNECTS_AT_ONCE = 300


@dataclass(frozen=True)
class CrowdPlan:
    """What is asked for; the engine is one of the server's modes."""

    engine: str
    split: Split
    duration: float
    spawn_rate: int
    out: Path
    base_command: tuple[str, ...] = (sys.executable, "-m", "server")

    @property
    def server_command(self) -> tuple[str, ...]:
        return (*self.base_command, *self.split.server_flags())

    @property
    def hold(self) -> Hold:
        return Hold(
            connections=self.split.connections,
            duration=self.duration,
            payload=PAYLOAD,
            pacing=self.duration / PERIODS,
            spawn_rate=self.spawn_rate,
            source_addresses=self.split.source_addresses,
            processes=self.split.processes,
            connects_at_once=max(1, CONNECTS_AT_ONCE // self.split.processes),
        )

    @property
    def ramp_patience(self) -> float:
        """Connections wait for each other, so a busy machine makes the ramp longer."""
        return 3 * self.hold.ramp_seconds + START_SECONDS

    @property
    def expected_seconds(self) -> float:
        return self.hold.expected_seconds + START_SECONDS


@dataclass(frozen=True)
class Look:
    """Both ends and the cost of the server at one moment."""

    at: float
    phase: Phase | None
    held_client: int
    held_server: int
    cost: Cost


@dataclass(frozen=True)
class Still:
    """What is costly to read: while all are held, on either side of the hold."""

    pss: int | None
    rss_by_process: dict[str, int]
    tcp_buffers: int | None
    slab: int | None


@dataclass
class SeenCrowd:
    """All that was seen so far, so that a run that breaks off still leaves what came before."""

    started: str = ""
    server_command: list[str] = field(default_factory=list)
    locust_command: list[str] = field(default_factory=list)
    began: float = 0.0
    idle: Cost | None = None
    looks: list[Look] = field(default_factory=list)
    before: Still | None = None
    held: Still | None = None
    result: LoadResult | None = None
    listening: ListenCounters | None = None
    server_status: int | None = None
    reason: str = ""


def run_crowd(plan: CrowdPlan, seen: SeenCrowd, reporter: Reporter) -> None:
    """Fill `seen`; what goes wrong ends up in its `reason`."""
    files = RunFiles.below(plan.out, f"crowd-{plan.split.connections}-{plan.engine}")
    files.figures.parent.mkdir(parents=True, exist_ok=True)
    listening = kernel.listen_counters()
    seen.started, seen.began = utc_now(), time.monotonic()
    seen.server_command = engine_command(plan, plan.engine)
    try:
        with (
            running_engine(plan, plan.engine, files, unpinned()) as engine,
            session_ended(engine.child),
        ):
            _load(plan, engine, files, seen, reporter)
            reporter.update("stopping the server", "")
            seen.server_status = engine.stop()
    except RunFailed as failure:
        seen.reason = str(failure)
    except (psutil.Error, OSError) as error:
        seen.reason = f"the processes could not be observed: {error}"
    finally:
        seen.listening = kernel.listen_counters().since(listening)


def _load(
    plan: CrowdPlan, engine: Engine, files: RunFiles, seen: SeenCrowd, reporter: Reporter
) -> None:
    server = Family(engine.child, "supervisor", "worker")
    seen.idle, seen.before = server.cost(), _still(server)
    seen.locust_command = locust_command(plan.hold, engine.echo, files)
    seen.began = time.monotonic()
    with (
        running_locust(plan.hold, engine.echo, files, unpinned()) as load,
        session_ended(load.child),
    ):
        _Watch(plan, engine, server, load, seen, reporter).until_measured()


@dataclass
class _Watch:
    """Follows the load through its phases; RunFailed as soon as it cannot come to a good end."""

    plan: CrowdPlan
    engine: Engine
    server: Family
    load: Load
    seen: SeenCrowd
    reporter: Reporter
    clients: Family | None = None
    next_look: float = 0.0

    def until_measured(self) -> None:
        hold = self.plan.hold
        try:
            self._follow_until("settle", self.plan.ramp_patience)
            self.seen.held = _still(self.server)
            self._follow_until("linger", hold.duration + HOLD_GRACE)
            # The users go on as before, so this is still the hold.
            self._look("hold")
        finally:
            self.reporter.update("stopping Locust", "")
            status = self.load.finish()
            self.seen.result = self.load.result
        if status != 0:
            raise RunFailed(self.load.child.explain(status))
        if self.load.result is None:
            raise RunFailed("Locust ended without a result")

    def _follow_until(self, phase: Phase, patience: float) -> None:
        deadline = time.monotonic() + patience
        while True:
            if any(progress.phase == phase for progress in self.load.read()):
                return
            self._check_alive()
            if time.monotonic() > deadline:
                raise RunFailed(self._what_is_missing(patience))
            began = time.monotonic()
            if began >= self.next_look:
                progress = self.load.progress
                self._look(progress.phase if progress else None)
                took = time.monotonic() - began
                self.next_look = began + max(SECOND, took / LOOKING)
            time.sleep(POLL)

    def _check_alive(self) -> None:
        progress = self.load.progress
        when = f"in the {progress.phase}" if progress else "before the ramp"
        self.server.check_alive(when)
        if self.clients is None and progress is not None:
            # They are all there when the master has told something.
            self.clients = Family(self.load.child, "master", "worker")
        if self.clients is None:
            self.load.child.check_alive(when)
        else:
            self.clients.check_alive(when)

    def _look(self, phase: Phase | None) -> None:
        progress = self.load.progress
        look = Look(
            at=time.monotonic() - self.seen.began,
            phase=phase,
            held_client=progress.held if progress else 0,
            held_server=_established(self.engine),
            cost=self.server.cost(),
        )
        self.seen.looks.append(look)
        self.reporter.update(phase or "starting Locust", describe(look, self.plan.split))

    def _what_is_missing(self, patience: float) -> str:
        progress = self.load.progress
        if progress is None:
            return f"Locust told nothing within {patience:.0f} s"
        return (
            f"{progress.held:,} of {self.plan.split.connections:,} connections were held "
            f"after {patience:.0f} s in phase {progress.phase}"
        )


def describe(look: Look, split: Split) -> str:
    return (
        f"{look.held_client:,} (Locust) and {look.held_server:,} (kernel) of "
        f"{split.connections:,} connections, server RSS {look.cost.rss / 1e6:,.0f} MB"
    )


def _established(engine: Engine) -> int:
    try:
        return sock_diag.established(engine.echo.port)
    except OSError:  # the kernel was built without it
        return kernel.accepted(engine.child.pid, engine.echo.host, engine.echo.port)


def _still(server: Family) -> Still:
    return Still(
        pss=server.pss(),
        rss_by_process=server.rss_by_process(),
        tcp_buffers=kernel.tcp_buffers(),
        slab=kernel.slab(),
    )


def growth(seen: SeenCrowd, value: Callable[[Still], int | None]) -> int | None:
    """From before the first connection to all held; less than nothing if others gave back more."""
    before = value(seen.before) if seen.before else None
    held = value(seen.held) if seen.held else None
    return None if before is None or held is None else held - before
