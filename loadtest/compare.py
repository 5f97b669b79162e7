"""The comparison: every engine under the same load, one after another, into one set of results.

A run that fails becomes a row that says why, and the next run starts. Ctrl-C (or SIGTERM) stops
the children in order and keeps what was measured.
"""

import datetime
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType

from rich.console import Console

from loadtest.addresses import parse_sources
from loadtest.command import INTERRUPTED
from loadtest.doctor import check_machine, explain_shortage, short_of
from loadtest.fds import raise_fd_limit
from loadtest.judge import make_row
from loadtest.limit import buildable
from loadtest.machine import describe_machine
from loadtest.pinning import Cores, choose_cores, pinned
from loadtest.plan import Plan
from loadtest.progress import Reporter
from loadtest.report import write_report
from loadtest.results import SCHEMA, Results, Row, write_json
from loadtest.run import Observed, run_once
from loadtest.summary import compare_runs, slopes
from loadtest.table import print_table


class BadPlan(Exception):
    """The comparison cannot start; the message says what is short and what can be done."""


def run_compare(plan: Plan, command: str, out: Console, err: Console) -> int:
    """Run the plan; 0 if every row is good, 1 if one failed, 130 if interrupted."""
    _check(plan)
    raise_fd_limit()
    cores = choose_cores()
    started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    rows: list[Row] = []
    with _sigterm_as_interrupt(), pinned(cores.observer), Reporter(err) as reporter:
        plan = replace(plan, modes=buildable(plan.modes, plan.out, reporter))
        reporter.note(
            f"{len(plan.modes) * plan.repeats} runs of {plan.connections:,} connections, about "
            f"{plan.expected_seconds / 60:.1f} minutes; {cores.describe()}"
        )
        try:
            _run_all(plan, cores, rows, reporter)
            interrupted = False
        except KeyboardInterrupt:
            interrupted = True
    results = Results(
        schema=SCHEMA,
        started=started,
        resumed=[],
        command=command,
        pinning=cores.describe(),
        interrupted=interrupted,
        machine=describe_machine(),
        asked=plan.asked(),
        rows=rows,
        peaks=[],
        summary=compare_runs(rows, [], plan.modes[0]),
        slopes=slopes(rows),
    )
    write_json(results, plan.out / "results.json")
    write_report(results, plan.out / "report.html")
    print_table(rows, out)
    out.print(f"{cores.describe()}; wrote {plan.out}/report.html and results.json", soft_wrap=True)
    if interrupted:
        return INTERRUPTED
    return 0 if results.ok else 1


def command_line(arguments: list[str]) -> str:
    """The command that reproduces a comparison."""
    return shlex.join([sys.executable.rpartition("/")[2], "-m", "loadtest", *arguments])


def _check(plan: Plan) -> None:
    need = plan.need(len(parse_sources(plan.source_addresses)))
    checks = check_machine(need)
    if short_of(checks):
        raise BadPlan(explain_shortage(need, checks))
    try:
        (plan.out / "raw").mkdir(parents=True, exist_ok=True)
        (plan.out / "results.json").touch()
    except OSError as error:
        raise BadPlan(f"cannot write to --out {plan.out}: {error.strerror}") from error


def _run_all(plan: Plan, cores: Cores, rows: list[Row], reporter: Reporter) -> None:
    """Do every run and collect its row, also that of the one which Ctrl-C cuts short."""
    for mode, repeat in plan.runs():
        seen = Observed(mode, repeat)
        try:
            run_once(plan, cores, seen, reporter)
        except KeyboardInterrupt:
            seen.reason = "interrupted"
            raise
        finally:
            row = make_row(plan, seen)
            rows.append(row)
            reporter.note(f"{mode} {repeat}: {'; '.join([row.verdict, *row.reasons])}")


@contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """SIGTERM ends a comparison as Ctrl-C does: children stopped, results written."""

    def interrupt(signum: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
