"""`bench`: one closed loop on each engine, without the rest of a comparison.

Engines take turns (A B C, C B A, ...) and a ratio is made within each turn before the median is
taken: the machine may be shared and its speed may drift, which then cancels out.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rich.console import Console

from loadtest.client.options import argument
from loadtest.closed_loop.limit import buildable
from loadtest.closed_loop.loop import run_loop
from loadtest.closed_loop.scenarios import (
    REDIS,
    REDIS_CONNECTIONS,
    SCENARIOS,
    Scenario,
    Unavailable,
)
from loadtest.command import BAD_INPUT, INTERRUPTED, Parser, positive
from loadtest.doctor import Need, check_machine, explain_shortage, short_of
from loadtest.host.fds import raise_fd_limit
from loadtest.host.machine import describe_machine
from loadtest.host.pinning import choose_cores, pinned
from loadtest.results.schema import Peak
from loadtest.results.summary import compare_runs
from loadtest.results.table import print_peaks, run_line
from loadtest.runs.plan import CLOSED_LOOP_SECONDS, MODES, Job, parse_modes
from loadtest.runs.progress import Reporter

DEFAULT_MODES = "runtime,uvloop,uvloop-protocol,c-epoll"
DEFAULT_CONNECTIONS = 10_000

EPILOG = """\
examples:
  python -m loadtest bench
  python -m loadtest bench --modes runtime,uvloop-protocol --connections 100 --repeats 5
  python -m loadtest bench --scenario churn

scenarios:
{scenarios}

echo needs redis-benchmark (Debian: apt-get install redis-tools), the others a C compiler.
exit status: 0 all good, 1 a run failed, 2 bad input
"""


@dataclass(frozen=True)
class Bench:
    """What is asked for."""

    scenario: Scenario
    modes: tuple[str, ...]
    connections: int
    operations: int
    repeats: int
    out: Path
    server_command: tuple[str, ...] = (sys.executable, "-m", "server")

    def jobs(self) -> Iterator[Job]:
        """Every second round the other way, so that drift favours nobody."""
        for repeat in range(1, self.repeats + 1):
            for mode in self.modes if repeat % 2 else self.modes[::-1]:
                yield Job(self.scenario.name, mode, self.connections, repeat)


def main(argv: Sequence[str]) -> int:
    """The `bench` command; its exit status."""
    parser = _parser()
    bench = _bench(parser.parse_args(argv))
    fault = _fault(bench)
    if fault:
        sys.stderr.write(f"{parser.prog}: {fault}\n")
        return BAD_INPUT
    raise_fd_limit()
    peaks: list[Peak] = []
    with Reporter(Console(stderr=True)) as reporter:
        bench = replace(bench, modes=buildable(bench.modes, bench.out, reporter))
        interrupted = _run_all(bench, peaks, reporter)
    _write(bench, peaks)
    rival = bench.modes[0]
    print_peaks(peaks, compare_runs([], peaks, rival), rival, Console())
    Console().print(
        f"{bench.repeats} interleaved rounds of {bench.operations:,} operations; "
        f"wrote {bench.out}/bench.json",
        soft_wrap=True,
    )
    if interrupted:
        return INTERRUPTED
    return 0 if peaks and all(peak.ok for peak in peaks) else 1


def _run_all(bench: Bench, peaks: list[Peak], reporter: Reporter) -> bool:
    """Do every run; true if the user cut it short, which keeps what was measured."""
    cores = choose_cores()
    jobs = list(bench.jobs())
    reporter.note(
        f"{len(jobs)} runs of {bench.operations:,} operations over {bench.connections:,} "
        f"connections; {cores.describe().replace('Locust', bench.scenario.client)}"
    )
    reporter.expect(len(jobs), CLOSED_LOOP_SECONDS * len(jobs))
    with pinned(cores.observer):
        for job in jobs:
            reporter.begin(f"{job.engine}, round {job.repeat}", CLOSED_LOOP_SECONDS)
            try:
                peaks.append(run_loop(bench, job, bench.operations, cores, reporter))
            except KeyboardInterrupt:
                return True
            reporter.end(run_line(peaks[-1]))
    return False


def _fault(bench: Bench) -> str:
    """What keeps the bench from starting, and the remedy; empty if nothing does."""
    if bench.scenario.client == REDIS and bench.connections > REDIS_CONNECTIONS:
        return f"{REDIS} holds at most {REDIS_CONNECTIONS:,} connections; ask for no more"
    checks = check_machine(Need(bench.connections, threads="threads" in bench.modes))
    if short_of(checks):
        return explain_shortage(Need(bench.connections), checks)
    try:
        (bench.out / "raw").mkdir(parents=True, exist_ok=True)
        bench.scenario.prepare(bench.out)
    except OSError as error:
        return f"cannot write to --out {bench.out}: {error.strerror}"
    except Unavailable as fault:
        return str(fault)
    return ""


def _write(bench: Bench, peaks: Sequence[Peak]) -> None:
    """`bench.json`, with all runs and the machine they ran on."""
    document = {
        "machine": asdict(describe_machine()),
        "scenario": bench.scenario.name,
        "connections": bench.connections,
        "operations": bench.operations,
        "runs": [asdict(peak) for peak in peaks],
    }
    (bench.out / "bench.json").write_text(json.dumps(document, indent=1) + "\n")


def _bench(parsed: argparse.Namespace) -> Bench:
    scenario = SCENARIOS[parsed.scenario]
    return Bench(
        scenario=scenario,
        modes=parsed.modes,
        connections=parsed.connections or scenario.connections or DEFAULT_CONNECTIONS,
        operations=parsed.requests or scenario.operations,
        repeats=parsed.repeats,
        out=parsed.out,
    )


def _scenario(text: str) -> str:
    if text not in SCENARIOS:
        raise ValueError(f"no scenario {text!r}; there are {', '.join(SCENARIOS)}")
    return text


def _parser() -> Parser:
    explained = (f"  {name:<9} {scenario.explained}" for name, scenario in SCENARIOS.items())
    parser = Parser(
        prog="python -m loadtest bench",
        description="CPU by operation and memory by connection in a closed loop from a C client.",
        epilog=EPILOG.format(scenarios="\n".join(explained)),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--scenario",
        type=argument(_scenario),
        default="echo",
        metavar="S",
        help="what is asked for, see below (default echo)",
    )
    add(
        "--modes",
        type=argument(parse_modes),
        default=parse_modes(DEFAULT_MODES),
        metavar="M,M",
        help=f"engines, of {', '.join(MODES)} (default {DEFAULT_MODES})",
    )
    add(
        "--connections",
        type=argument(positive),
        default=None,
        metavar="N",
        help=f"default {DEFAULT_CONNECTIONS} for echo, else see below",
    )
    add(
        "--requests",
        type=argument(positive),
        default=None,
        metavar="N",
        help="operations a run (200000 echoes; fewer of the larger ones)",
    )
    add("--repeats", type=argument(positive), default=3, metavar="N", help="rounds (default 3)")
    add("--out", type=Path, default=Path("results"), metavar="DIR", help="default results/")
    return parser
