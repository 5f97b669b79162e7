"""One run: a fresh server, Locust's ramp and hold against it, and the counts of both sides.

The order matters. Whatever is costly to read (10,000 thread states, the socket table) is read in
the settle and linger phases, on either side of the hold. The clients close first, since
TIME_WAIT falls on the side that does; the server is stopped after them and must exit 0.
"""

import time
from dataclasses import dataclass, field

import psutil

from loadtest.host import kernel
from loadtest.host.kernel import ListenCounters
from loadtest.host.machine import utc_now
from loadtest.host.pinning import Cores
from loadtest.results.figures import LoadResult, Phase, Progress
from loadtest.runs.child import RunFailed
from loadtest.runs.engine_process import Engine, engine_command, running_engine
from loadtest.runs.locust_process import Load, locust_command, running_locust
from loadtest.runs.plan import Hold, Job, Plan
from loadtest.runs.progress import Reporter
from loadtest.runs.run_files import RunFiles
from loadtest.runs.sampler import Sample, Sampler

POLL = 0.1
SAMPLE_INTERVAL = 1.0
# Beyond the hold itself: settling, and the last lines of figures.
HOLD_GRACE = 30.0


@dataclass(frozen=True)
class Census:
    """The costly counts: sockets the kernel shows, switches of all threads, and memory that takes
    a walk to add up. Those of memory are None where the kernel does not tell. The descriptors of
    the same moment are what cheaper looks are set against."""

    at: float
    connections: int
    fds: int
    voluntary: int
    involuntary: int
    pss: int | None
    tcp_buffers: int | None
    slab: int | None


def take_census(engine: Engine) -> Census:
    pid = engine.child.pid
    voluntary, involuntary = kernel.context_switches(pid)
    return Census(
        at=time.monotonic(),
        connections=kernel.accepted(pid, engine.echo.host, engine.echo.port),
        fds=kernel.descriptors(pid),
        voluntary=voluntary,
        involuntary=involuntary,
        pss=kernel.proportional_memory(pid),
        tcp_buffers=kernel.tcp_buffers(),
        slab=kernel.slab(),
    )


@dataclass
class Observed:
    """All that a run has seen so far. It fills up as the run goes, so that a run that fails or
    is interrupted still leaves what came before."""

    job: Job
    started: str = ""
    server_command: list[str] = field(default_factory=list)
    locust_command: list[str] = field(default_factory=list)
    idle: Sample | None = None
    samples: list[Sample] = field(default_factory=list)
    before: Census | None = None
    censuses: list[Census] = field(default_factory=list)
    result: LoadResult | None = None
    listening: ListenCounters | None = None
    softnet_drops: int | None = None
    server_status: int | None = None
    reason: str = ""


def run_once(plan: Plan, cores: Cores, seen: Observed, reporter: Reporter) -> None:
    """Fill `seen`; what goes wrong ends up in its `reason`."""
    engine_name = seen.job.engine
    hold = plan.hold(seen.job.connections)
    files = RunFiles.below(plan.out, seen.job.name)
    before, dropped = kernel.listen_counters(), kernel.softnet_drops()
    seen.started = utc_now()
    seen.server_command = engine_command(plan, engine_name)
    try:
        with running_engine(plan, engine_name, files, cores.server) as engine:
            sampler = Sampler(engine.child.pid)
            seen.samples = sampler.samples
            seen.before = take_census(engine)
            seen.idle = sampler.take(None)
            seen.locust_command = locust_command(hold, engine.echo, files)
            with running_locust(hold, engine.echo, files, cores.client) as load:
                _Watch(hold, engine, load, sampler, seen, reporter).until_measured()
            seen.server_status = engine.stop()
    except RunFailed as failure:
        seen.reason = str(failure)
    except (psutil.Error, OSError) as error:
        seen.reason = f"the server ({engine_name}) could not be observed: {error}"
    finally:
        seen.listening = kernel.listen_counters().since(before)
        now_dropped = kernel.softnet_drops()
        if dropped is not None and now_dropped is not None:
            seen.softnet_drops = now_dropped - dropped


@dataclass
class _Watch:
    """Follows a load through its phases."""

    plan: Hold
    engine: Engine
    load: Load
    sampler: Sampler
    seen: Observed
    reporter: Reporter
    next_sample: float = 0.0

    def until_measured(self) -> None:
        """Ramp, hold and a clean end of Locust; RunFailed if any of it goes wrong."""
        try:
            self._follow_until("settle", self.plan.ramp_deadline)
            self.seen.censuses.append(take_census(self.engine))
            self._follow_until("linger", self.plan.duration + HOLD_GRACE)
            # The users go on as before, so this is still the hold, and its end even if we were
            # kept from looking in time.
            self.sampler.take("hold")
            self.seen.censuses.append(take_census(self.engine))
        except (psutil.Error, FileNotFoundError, ProcessLookupError):
            # Its files under /proc are gone, and it with them.
            self.engine.child.wait(1.0)
            self.engine.child.check_alive("under load")
            raise
        finally:
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
            self.engine.child.check_alive("under load")
            self.load.child.check_alive("before the run was over")
            if time.monotonic() > deadline:
                raise RunFailed(self._what_is_missing(patience))
            self._sample()
            self._tell()
            time.sleep(POLL)

    def _sample(self) -> None:
        if time.monotonic() >= self.next_sample:
            interval = min(SAMPLE_INTERVAL, self.plan.duration / 5)
            self.next_sample = time.monotonic() + interval
            progress = self.load.progress
            self.sampler.take(progress.phase if progress else None)

    def _what_is_missing(self, patience: float) -> str:
        progress = self.load.progress
        if progress is None:
            return f"Locust told nothing within {patience:.0f} s"
        return (
            f"{progress.held:,} of {self.plan.connections:,} connections were held "
            f"after {patience:.0f} s in phase {progress.phase}"
        )

    def _tell(self) -> None:
        progress = self.load.progress
        if progress is None:
            self.reporter.update("starting Locust", "")
        else:
            self.reporter.update(progress.phase, _describe(progress, self.plan))


def _describe(progress: Progress, plan: Hold) -> str:
    return (
        f"{progress.held:,} of {plan.connections:,} connections, "
        f"{progress.requests:,} requests, {progress.failures:,} failed"
    )
