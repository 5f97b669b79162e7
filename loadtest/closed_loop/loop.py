"""One run in a closed loop: what an operation costs the server when it is asked for as many as it
can do.

A faster server gets more work, so rates say as much about the client's core as about the server's.
**CPU per operation** does not, and that is the figure here: the server's CPU seconds between the
moment the last connection is open and the end of the client, by the number of operations. Opening
the connections is not in it, except in `churn`, where it is what is measured.
"""

import os
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import psutil

from loadtest.closed_loop.scenarios import SCENARIOS, Scenario
from loadtest.host import kernel
from loadtest.host.machine import utc_now
from loadtest.host.pinning import Cores, pinned
from loadtest.results.schema import Peak
from loadtest.runs.child import Child, RunFailed
from loadtest.runs.engine_process import Engine, engine_command, running_engine
from loadtest.runs.plan import Job
from loadtest.runs.progress import Reporter
from loadtest.runs.run_files import RunFiles
from loadtest.runs.sampler import Sample, Sampler

# redis-benchmark opens 64 connections and pauses for 50 ms, so 10,000 take about 8 s.
CONNECT_PATIENCE = 60.0
# For the slowest engine on a slow machine, with room: an operation, and a byte of it.
SECONDS_PER_OPERATION = 2e-3
SECONDS_PER_BYTE = 1e-7
POLL = 0.05


class LoopPlan(Protocol):
    """Any plan that says how the server is started and where its files go."""

    @property
    def server_command(self) -> tuple[str, ...]: ...

    @property
    def out(self) -> Path: ...


@dataclass
class _Loop:
    """A run on its way."""

    plan: LoopPlan
    job: Job
    operations: int
    cores: Cores
    reporter: Reporter
    server_command: list[str]
    client_command: list[str] = field(default_factory=list)

    @property
    def scenario(self) -> Scenario:
        return SCENARIOS[self.job.scenario]


def run_loop(
    plan: LoopPlan, job: Job, operations: int | None, cores: Cores, reporter: Reporter
) -> Peak:
    """Do the run, of as many operations as the scenario has or else is asked for; a failed one is
    a Peak with its reason."""
    before, started = kernel.listen_counters(), utc_now()
    scenario = SCENARIOS[job.scenario]
    loop = _Loop(
        plan=plan,
        job=job,
        operations=operations or scenario.operations,
        cores=cores,
        reporter=reporter,
        server_command=engine_command(plan, job.engine),
    )
    try:
        peak = _measure(loop)
    except (RunFailed, psutil.Error, OSError) as failure:
        peak = _bare(loop, str(failure))
    listening = kernel.listen_counters().since(before)
    peak = replace(
        peak,
        started=started,
        listen_overflows=listening.overflows,
        listen_drops=listening.drops,
    )
    if peak.ok and (listening.overflows or listening.drops):
        reason = f"a listen queue of this machine dropped {listening.drops:,} connections"
        return replace(peak, ok=False, reason=reason)
    return peak


def _bare(loop: _Loop, reason: str) -> Peak:
    return Peak(
        scenario=loop.job.scenario,
        engine=loop.job.engine,
        connections=loop.job.connections,
        repeat=loop.job.repeat,
        ok=not reason,
        reason=reason,
        server_command=loop.server_command,
        client_command=loop.client_command,
    )


def _measure(loop: _Loop) -> Peak:
    job, scenario = loop.job, loop.scenario
    files = RunFiles.below(loop.plan.out, job.name)
    with running_engine(loop.plan, job.engine, files, loop.cores.server) as engine:
        sampler = Sampler(engine.child.pid)
        idle = sampler.take(None)
        with _client(loop, engine, files) as client:
            begin = idle if scenario.churns else _all_open(loop, sampler, idle, client)
            rss, end = _watch(loop, sampler, client)
        engine.stop()
    seconds = _told(files) or end.at - begin.at
    user, system = end.cpu_user - begin.cpu_user, end.cpu_system - begin.cpu_system
    per_cpu_second = loop.operations / (user + system) if user + system else None
    return replace(
        _bare(loop, ""),
        operations=loop.operations,
        seconds=seconds,
        operations_per_second=loop.operations / seconds,
        cpu_us=1e6 * (user + system) / loop.operations,
        user_us=1e6 * user / loop.operations,
        system_us=1e6 * system / loop.operations,
        bytes_per_cpu_second=(
            scenario.size * per_cpu_second if scenario.bulk and per_cpu_second else None
        ),
        operations_per_cpu_second=per_cpu_second if scenario.churns else None,
        rss_per_connection=None if scenario.churns else (rss - idle.rss) / job.connections,
    )


def _client(loop: _Loop, engine: Engine, files: RunFiles) -> Child:
    job = loop.job
    loop.client_command = loop.scenario.command(
        loop.plan.out, engine.echo, job.connections, loop.operations
    )
    with pinned(loop.cores.client):
        return Child(
            loop.scenario.client,
            loop.client_command,
            files.client_out,
            files.client_log,
            os.environ,
        )


def _all_open(loop: _Loop, sampler: Sampler, idle: Sample, client: Child) -> Sample:
    deadline = time.monotonic() + CONNECT_PATIENCE
    wanted = loop.job.connections
    while (sample := sampler.take(None)).fds - idle.fds < wanted:
        client.check_alive("before all connections were open")
        opened = sample.fds - idle.fds
        if time.monotonic() > deadline:
            raise RunFailed(f"{opened:,} connections were open after {CONNECT_PATIENCE:g} s")
        loop.reporter.update("opening", f"{opened:,} of {wanted:,} connections")
        time.sleep(POLL)
    return sample


def _watch(loop: _Loop, sampler: Sampler, client: Child) -> tuple[int, Sample]:
    """The largest RSS under load, and the sample after the last operation."""
    each = SECONDS_PER_OPERATION + loop.scenario.size * SECONDS_PER_BYTE
    began = time.monotonic()
    deadline = began + 30.0 + loop.operations * each
    rss = 0
    while client.status is None:
        if time.monotonic() > deadline:
            raise RunFailed(f"{client.name} was not done in time")
        time.sleep(POLL)
        rss = max(rss, sampler.take(None).rss)
        loop.reporter.update("running", f"{time.monotonic() - began:.0f} s")
    if client.status != 0:
        raise RunFailed(client.explain(client.status))
    return rss, sampler.take(None)


def _told(files: RunFiles) -> float | None:
    """The seconds that `drive` says it took; redis-benchmark does not tell its own."""
    for line in files.client_out.read_text(errors="replace").splitlines():
        match line.split():
            case ["done", _, seconds]:
                return float(seconds)
    return None
