"""`bench`: what one echo costs the server when the clients ask as fast as they are answered.

Locust is written in Python and would be what is measured, so the load comes from a C program,
redis-benchmark. It speaks to an echo server without knowing it, because a Redis request is itself
a valid Redis reply. Every connection sends 64 bytes, waits for them, and sends again: a closed
loop, in which a faster server gets more work, so that rates say as much about the client's core as
about the server's. **CPU per echo** does not, and that is the figure here: the server's CPU
seconds between the moment the last connection is open and the last answer, by the number of
echoes. Opening the connections is not in it.

The machine may be shared and its speed may drift, so the engines take turns (A B C, C B A, ...)
and a ratio is made within each turn before the median is taken.
"""

import argparse
import os
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import psutil
from rich.console import Console

from loadtest.child import Child, RunFailed
from loadtest.command import BAD_INPUT, INTERRUPTED, Parser, positive
from loadtest.doctor import Need, check_machine, explain_shortage, short_of
from loadtest.engine_process import Engine, running_engine
from loadtest.fds import raise_fd_limit
from loadtest.limit import buildable
from loadtest.options import argument
from loadtest.peak_results import Peak, PeakPlan, PeakResults, print_peaks, write_peaks
from loadtest.pinning import Cores, choose_cores, pinned
from loadtest.plan import MODES, parse_modes
from loadtest.progress import Reporter
from loadtest.run_files import RunFiles
from loadtest.sampler import Sample, Sampler

DEFAULT_MODES = "runtime,uvloop,uvloop-protocol,c-epoll"
CLIENT = "redis-benchmark"
# With its Redis framing this makes 64 bytes on the wire.
PAYLOAD = "x" * 43
# redis-benchmark's own limit.
MAX_CONNECTIONS = 10_000
# It opens 64 connections and pauses for 50 ms, so 10,000 take about 8 s.
CONNECT_PATIENCE = 60.0
# For the slowest engine on a slow machine, with room.
SECONDS_PER_ECHO = 1e-3
POLL = 0.05

EPILOG = """\
examples:
  python -m loadtest bench
  python -m loadtest bench --modes runtime,uvloop-protocol --connections 100 --repeats 5

Needs redis-benchmark (Debian: apt-get install redis-tools).
exit status: 0 all good, 1 a run failed, 2 bad input
"""


def main(argv: Sequence[str]) -> int:
    """The `bench` command; its exit status."""
    parser = _parser()
    parsed = parser.parse_args(argv)
    plan = PeakPlan(parsed.modes, parsed.connections, parsed.requests, parsed.repeats, parsed.out)
    fault = _fault(plan)
    if fault:
        sys.stderr.write(f"{parser.prog}: {fault}\n")
        return BAD_INPUT
    raise_fd_limit()
    cores = choose_cores()
    results = PeakResults()
    with pinned(cores.observer), Reporter(Console(stderr=True)) as reporter:
        plan = replace(plan, modes=buildable(plan.modes, plan.out, reporter))
        reporter.note(
            f"{len(plan.runs())} runs of {plan.requests:,} echoes over {plan.connections:,} "
            f"connections; {cores.describe().replace('Locust', CLIENT)}"
        )
        interrupted = _run_all(plan, cores, results, reporter)
    write_peaks(plan, results)
    print_peaks(plan, results, Console())
    if interrupted:
        return INTERRUPTED
    return 1 if results.failures or not results.peaks else 0


def _run_all(plan: PeakPlan, cores: Cores, results: PeakResults, reporter: Reporter) -> bool:
    """Do every run; true if the user cut it short, which keeps what was measured."""
    for repeat, mode in plan.runs():
        reporter.update(f"{mode} {repeat}/{plan.repeats}", "")
        try:
            results.peaks.append(_run(plan, mode, repeat, cores))
        except KeyboardInterrupt:
            return True
        except (RunFailed, psutil.Error, OSError) as failure:
            results.failures.append(f"{mode} {repeat}: {failure}")
            reporter.note(f"{mode} {repeat}: FAILED: {failure}")
    return False


def _fault(plan: PeakPlan) -> str:
    """What keeps the bench from starting, and the remedy; empty if nothing does."""
    if shutil.which(CLIENT) is None:
        return f"{CLIENT} is not installed; on Debian: apt-get install redis-tools"
    if plan.connections > MAX_CONNECTIONS:
        return f"{CLIENT} holds at most {MAX_CONNECTIONS:,} connections; ask for no more"
    need = Need(plan.connections, sources=1, threads="threads" in plan.modes)
    checks = check_machine(need)
    if short_of(checks):
        return explain_shortage(need, checks)
    try:
        (plan.out / "raw").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return f"cannot write to --out {plan.out}: {error.strerror}"
    return ""


def _run(plan: PeakPlan, mode: str, repeat: int, cores: Cores) -> Peak:
    files = RunFiles.below(plan.out, f"bench-{mode}", repeat)
    with running_engine(plan, mode, files, cores.server) as engine:
        sampler = Sampler(engine.child.pid)
        idle = sampler.take(None)
        with _client(plan, engine, files, cores) as client:
            begin = _all_open(plan, sampler, idle, client)
            # Halfway: every connection has echoed, none has closed.
            rss, end = _watch(plan, sampler, client)
        engine.stop()
    per_echo = 1e6 / plan.requests
    return Peak(
        mode=mode,
        repeat=repeat,
        cpu_user=(end.cpu_user - begin.cpu_user) * per_echo,
        cpu_system=(end.cpu_system - begin.cpu_system) * per_echo,
        rss=(rss - idle.rss) / plan.connections,
        echoes_per_second=plan.requests / (end.at - begin.at),
    )


def _client(plan: PeakPlan, engine: Engine, files: RunFiles, cores: Cores) -> Child:
    command = [CLIENT, "-h", engine.echo.host, "-p", str(engine.echo.port)]
    command += ["-c", str(plan.connections), "-n", str(plan.requests), "--csv", "ECHO", PAYLOAD]
    with pinned(cores.client):
        return Child(CLIENT, command, files.locust_out, files.locust_log, os.environ)


def _all_open(plan: PeakPlan, sampler: Sampler, idle: Sample, client: Child) -> Sample:
    deadline = time.monotonic() + CONNECT_PATIENCE
    while (sample := sampler.take(None)).fds - idle.fds < plan.connections:
        client.check_alive("before all connections were open")
        if time.monotonic() > deadline:
            opened = sample.fds - idle.fds
            raise RunFailed(f"{opened:,} connections were open after {CONNECT_PATIENCE:g} s")
        time.sleep(POLL)
    return sample


def _watch(plan: PeakPlan, sampler: Sampler, client: Child) -> tuple[int, Sample]:
    """The largest RSS under load, and the sample after the last echo."""
    deadline = time.monotonic() + 30.0 + plan.requests * SECONDS_PER_ECHO
    rss = 0
    while client.status is None:
        if time.monotonic() > deadline:
            raise RunFailed(f"{CLIENT} was not done in time")
        time.sleep(POLL)
        rss = max(rss, sampler.take(None).rss)
    if client.status != 0:
        raise RunFailed(client.explain(client.status))
    return rss, sampler.take(None)


def _parser() -> Parser:
    parser = Parser(
        prog="python -m loadtest bench",
        description="CPU per echo and memory per connection under a closed loop from a C client.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--modes",
        type=argument(parse_modes),
        default=parse_modes(DEFAULT_MODES),
        metavar="M,M",
        help=f"engines, of {', '.join(MODES)} (default {DEFAULT_MODES})",
    )
    add("--connections", type=argument(positive), default=10_000, metavar="N", help="default 10000")
    add(
        "--requests",
        type=argument(positive),
        default=400_000,
        metavar="N",
        help="echoes a run (400000)",
    )
    add("--repeats", type=argument(positive), default=3, metavar="N", help="rounds (default 3)")
    add("--out", type=Path, default=Path("results"), metavar="DIR", help="default results/")
    return parser
