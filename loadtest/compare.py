"""The comparison: every engine under the same loads, run after run, into one set of results.

A run that fails is kept with its reason, and the next run starts. Ctrl-C (or SIGTERM) stops the
children in order and keeps what was measured; `--resume` goes on from there.
"""

import os
import shlex
import sys
from dataclasses import replace

from rich.console import Console
from rich.text import Text

from loadtest.client.addresses import parse_sources
from loadtest.closed_loop.limit import buildable
from loadtest.closed_loop.loop import run_loop
from loadtest.closed_loop.scenarios import HOLD, available
from loadtest.command import INTERRUPTED, sigterm_as_interrupt
from loadtest.doctor import check_machine, explain_shortage, short_of
from loadtest.host.fds import raise_fd_limit
from loadtest.host.machine import Machine, describe_machine, utc_now
from loadtest.host.pinning import Cores, choose_cores, pinned
from loadtest.report.page import write_report
from loadtest.results.schema import SCHEMA, Peak, Results, Row, write_json
from loadtest.results.summary import compare_runs, slopes
from loadtest.results.table import print_results, run_line
from loadtest.runs.journal import CannotResume, Header, Journal
from loadtest.runs.judge import make_row
from loadtest.runs.plan import Job, Plan
from loadtest.runs.progress import Reporter
from loadtest.runs.run import Observed, run_once


class BadPlan(Exception):
    """The comparison cannot start; the message says what is short and what can be done."""


def run_compare(plan: Plan, command: str, resume: bool, out: Console, err: Console) -> int:
    """Run the plan; 0 if every run counts, 1 if one does not, 130 if interrupted."""
    _check(plan)
    raise_fd_limit()
    cores = choose_cores()
    # Before we are pinned to one core of it.
    machine = describe_machine()
    with sigterm_as_interrupt(), pinned(cores.observer), Reporter(err) as reporter:
        plan = _possible(plan, reporter)
        journal = _open_journal(plan, machine, command, resume)
        jobs = [job for job in plan.jobs() if _key(job) not in journal.done()]
        _announce(plan, jobs, journal, cores, reporter)
        cut_short: list[Row] = []
        try:
            for job in jobs:
                _run(plan, job, cores, journal, cut_short, reporter)
            interrupted = False
        except KeyboardInterrupt:
            interrupted = True
    results = _results(plan, cores, journal, [*journal.rows, *cut_short], interrupted)
    write_json(results, plan.out / "results.json")
    notes = write_report(results, plan.out)
    print_results(results, out)
    for note in notes:
        out.print(Text(note), soft_wrap=True)
    out.print(
        f"{cores.describe()}; wrote {plan.out}/report.html, results.json and runs.jsonl",
        soft_wrap=True,
    )
    if interrupted:
        out.print("interrupted: --resume goes on with the runs that are missing")
        return INTERRUPTED
    return 0 if results.ok else 1


def command_line(arguments: list[str]) -> str:
    """The command that reproduces a comparison."""
    again = [argument for argument in arguments if argument != "--resume"]
    return shlex.join([sys.executable.rpartition("/")[2], "-m", "loadtest", *again])


def _check(plan: Plan) -> None:
    need = plan.need(len(parse_sources(plan.source_addresses)))
    checks = check_machine(need)
    if short_of(checks):
        raise BadPlan(explain_shortage(need, checks))
    try:
        (plan.out / "raw").mkdir(parents=True, exist_ok=True)
        (plan.out / "results.json").touch()
    except OSError as error:
        # In a container the user is seldom the one who made the directory on the machine.
        who = f" for user {os.geteuid()}" if isinstance(error, PermissionError) else ""
        raise BadPlan(f"cannot write to --out {plan.out}: {error.strerror}{who}") from error


def _possible(plan: Plan, reporter: Reporter) -> Plan:
    """Without what needs a program that is not here; the reporter says what that is."""
    return replace(
        plan,
        modes=buildable(plan.modes, plan.out, reporter),
        scenarios=available(plan.scenarios, plan.out, reporter),
    )


def _open_journal(plan: Plan, machine: Machine, command: str, resume: bool) -> Journal:
    header = Header(
        schema=SCHEMA,
        started=utc_now(),
        resumed=[],
        command=command,
        machine=machine,
        asked=plan.asked(),
    )
    if not resume:
        return Journal.begin(plan.out, header)
    try:
        return Journal.resume(plan.out, header)
    except CannotResume as fault:
        raise BadPlan(str(fault)) from None


def _announce(
    plan: Plan, jobs: list[Job], journal: Journal, cores: Cores, reporter: Reporter
) -> None:
    seconds = sum(plan.expected_seconds(job) for job in jobs)
    finished = len(journal.done())
    already = f", {finished} already done" if finished else ""
    runs = "run" if len(jobs) == 1 else "runs"
    reporter.note(f"{len(jobs)} {runs}, about {_duration(seconds)}{already}; {cores.describe()}")
    reporter.expect(len(jobs), seconds)


def _run(
    plan: Plan,
    job: Job,
    cores: Cores,
    journal: Journal,
    cut_short: list[Row],
    reporter: Reporter,
) -> None:
    reporter.begin(describe(job), plan.expected_seconds(job))
    run: Row | Peak
    if job.scenario == HOLD:
        run = _hold(plan, job, cores, cut_short, reporter)
    else:
        run = run_loop(plan, job, None, cores, reporter)
    journal.add(run)
    reporter.end(run_line(run))


def _hold(plan: Plan, job: Job, cores: Cores, cut_short: list[Row], reporter: Reporter) -> Row:
    """One run under Locust. The one that Ctrl-C cuts short is shown, but is not a finished one."""
    seen = Observed(job)
    try:
        run_once(plan, cores, seen, reporter)
    except KeyboardInterrupt:
        seen.reason = "interrupted"
        cut_short.append(make_row(plan, seen))
        raise
    return make_row(plan, seen)


def describe(job: Job) -> str:
    kind = "" if job.scenario == HOLD else f"{job.scenario} "
    return f"{kind}{job.engine}, {job.connections:,} connections, round {job.repeat}"


def _key(job: Job) -> tuple[str, str, int, int]:
    return job.scenario, job.engine, job.connections, job.repeat


def _duration(seconds: float) -> str:
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f} minutes" if seconds >= 90 else f"{seconds:.0f} seconds"
    return f"{seconds / 3600:.1f} hours"


def _results(
    plan: Plan, cores: Cores, journal: Journal, rows: list[Row], interrupted: bool
) -> Results:
    header = journal.header
    return Results(
        schema=SCHEMA,
        started=header.started,
        resumed=header.resumed,
        command=header.command,
        pinning=cores.describe(),
        interrupted=interrupted,
        machine=header.machine,
        asked=header.asked,
        rows=rows,
        peaks=journal.peaks,
        summary=compare_runs(rows, journal.peaks, plan.rival),
        slopes=slopes(rows),
    )
