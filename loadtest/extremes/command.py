"""The command line of the two ends: `python -m loadtest extremes [crowd|threads]`.

Each part is kept in `extremes.json` when it is finished, so that the other one, made at another
time on the same machine, stays beside it.
"""

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from loadtest.client.options import argument, positive_seconds, source_addresses
from loadtest.command import BAD_INPUT, INTERRUPTED, Parser, positive, sigterm_as_interrupt
from loadtest.doctor import check_machine, explain_shortage, need_of, short_of
from loadtest.extremes.breaking import (
    BreakingPlan,
    SeenBreaking,
    break_bare_threads,
    break_server,
)
from loadtest.extremes.crowd import CrowdPlan, SeenCrowd, run_crowd
from loadtest.extremes.crowd_result import make_crowd
from loadtest.extremes.keeper import BARE_THREADS, BREAKING, Keeper
from loadtest.extremes.words import describe
from loadtest.host.fds import raise_fd_limit
from loadtest.host.machine import describe_machine
from loadtest.runs.progress import Reporter
from loadtest.split import SPAWN_RATE, count_or_auto, split

PARTS = CROWD, THREADS = "crowd", "threads"
# Up to the limits of most machines.
SERVER_SECONDS = 60.0
BARE_SECONDS = 60.0
# The engines that hold a crowd: threads end long before.
ENGINES = ("runtime", "uvloop", "uvloop-protocol", "asyncio")
DESCRIPTION = """\
Two loads that no comparison of engines can have, each for itself.

crowd: so many connections that both sides take several processes. Every one must be held
throughout, by the clients' count and by the kernel's, and must have had an echo, byte by byte as it
was sent. How many processes and addresses that takes is computed from the limits of this machine;
`python -m loadtest doctor --workers auto --processes auto --connections N` shows it.

threads: the server with a thread for each connection gets one connection after the other, each
answered, until the next one is not; then a program without connections starts threads until the
kernel refuses one. Both tell how many there were and which limit it was. While they are there, this
machine has few threads left for others.
"""
EXAMPLES = """\
examples:
  python -m loadtest extremes
      both, about six minutes
  python -m loadtest extremes crowd --connections 20000 --duration 30
      a smaller crowd
  python -m loadtest extremes threads --most 5000
      threads, but no more than so many

Writes DIR/extremes.json. A part in it that is not made again stays, if machine, versions and code
are the same; else that file becomes extremes.earlier.json. What each process said is in DIR/raw.

exit status: 0 all good, 1 something does not count, 2 bad input, 130 interrupted
"""


class BadPlan(Exception):
    """It cannot start; the message says what is short and what can be done."""


def main(arguments: Sequence[str]) -> int:
    parser = _parser()
    parsed = parser.parse_args(arguments)
    parts = (parsed.part,) if parsed.part else PARTS
    try:
        crowd = _crowd_plan(parsed) if CROWD in parts else None
        breaking = _breaking_plan(parsed) if THREADS in parts else None
        keeper = _open(parsed.out, ["python", "-m", "loadtest", "extremes", *arguments])
    except BadPlan as error:
        sys.stderr.write(f"{parser.prog}: {error}\n")
        return BAD_INPUT
    raise_fd_limit()
    with sigterm_as_interrupt(), Reporter(Console(stderr=True)) as reporter:
        status = _run(crowd, breaking, keeper, reporter)
    out = Console()
    for line in describe(keeper.extremes, parts):
        out.print(line, markup=False, highlight=False, soft_wrap=True)
    out.print(f"wrote {keeper.path}", markup=False, highlight=False, soft_wrap=True)
    return status


def _run(
    crowd: CrowdPlan | None, breaking: BreakingPlan | None, keeper: Keeper, reporter: Reporter
) -> int:
    """Each part is written when it is over, and also when it is interrupted."""
    expected = [crowd.expected_seconds] if crowd else []
    expected += [SERVER_SECONDS, BARE_SECONDS] if breaking else []
    reporter.expect(len(expected), sum(expected))
    good = True
    try:
        if crowd:
            reporter.note(crowd.split.describe())
            reporter.begin("crowd", crowd.expected_seconds)
            good &= _crowd(crowd, keeper, reporter)
        if breaking:
            reporter.begin("threads of the server", SERVER_SECONDS)
            good &= _breaking(BREAKING, break_server, breaking, keeper, reporter)
            reporter.begin("bare threads", BARE_SECONDS)
            good &= _breaking(BARE_THREADS, break_bare_threads, breaking, keeper, reporter)
    except KeyboardInterrupt:
        reporter.note("interrupted; what was measured is kept")
        return INTERRUPTED
    return 0 if good else 1


def _crowd(plan: CrowdPlan, keeper: Keeper, reporter: Reporter) -> bool:
    seen = SeenCrowd()
    try:
        run_crowd(plan, seen, reporter)
    except KeyboardInterrupt:
        seen.reason = "interrupted"
        raise
    finally:
        crowd = make_crowd(plan, seen)
        keeper.keep(crowd=crowd)
    reporter.end("good" if crowd.ok else f"does not count: {crowd.reason}")
    return crowd.ok


def _breaking(
    name: str,
    run: Callable[[BreakingPlan, SeenBreaking, Reporter], None],
    plan: BreakingPlan,
    keeper: Keeper,
    reporter: Reporter,
) -> bool:
    seen = SeenBreaking()
    try:
        run(plan, seen, reporter)
    except KeyboardInterrupt:
        seen.reason = "interrupted"
        raise
    finally:
        keeper.keep(**{name: seen.breaking()})
    reporter.end(f"does not count: {seen.reason}" if seen.reason else "good")
    return not seen.reason


def _open(out: Path, command: list[str]) -> Keeper:
    try:
        (out / "raw").mkdir(parents=True, exist_ok=True)
        return Keeper(out / "extremes.json", command, describe_machine())
    except OSError as error:
        raise BadPlan(f"cannot write to --out {out}: {error.strerror}") from error


def _crowd_plan(parsed: argparse.Namespace) -> CrowdPlan:
    found = split(parsed.connections, parsed.workers, parsed.processes, parsed.source_addresses)
    need = need_of(found, parsed.spawn_rate)
    checks = check_machine(need)
    if short_of(checks):
        raise BadPlan(explain_shortage(need, checks))
    if found.connections < max(found.workers, found.processes):
        raise BadPlan(
            f"--connections {found.connections} leaves some of {found.workers} workers and "
            f"{found.processes} Locust processes without any; ask for more, or for fewer processes"
        )
    return CrowdPlan(
        engine=parsed.mode,
        split=found,
        duration=parsed.duration,
        spawn_rate=parsed.spawn_rate,
        out=parsed.out,
        base_command=tuple(parsed.server_command),
    )


def _breaking_plan(parsed: argparse.Namespace) -> BreakingPlan:
    return BreakingPlan(parsed.most, parsed.out, tuple(parsed.server_command))


def _parser() -> Parser:
    parser = Parser(
        prog="python -m loadtest extremes",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("part", nargs="?", choices=PARTS, help="one of the two (default: both)")
    add(
        "--connections",
        type=argument(positive),
        default=100_000,
        metavar="N",
        help="of the crowd (default 100000)",
    )
    add(
        "--mode",
        choices=ENGINES,
        default=ENGINES[0],
        help=f"the crowd's engine, of {', '.join(ENGINES)} (default {ENGINES[0]})",
        metavar="M",
    )
    for flag, whose in (("--workers", "server"), ("--processes", "Locust")):
        add(
            flag,
            type=argument(count_or_auto),
            default=None,
            metavar="N",
            help=f"{whose} processes of the crowd (default auto: as many as descriptors ask for, "
            "and one for each core)",
        )
    add(
        "--source-addresses",
        type=argument(source_addresses),
        default="",
        metavar="LIST",
        help="where the crowd connects from (default: as many of 127.0.0.2 and so on as use a "
        "quarter of their ports)",
    )
    add(
        "--duration",
        type=argument(positive_seconds),
        default=120.0,
        metavar="S",
        help="seconds to hold the crowd; each connection has an echo every four fifths of that "
        "(default 120)",
    )
    add(
        "--spawn-rate",
        type=argument(positive),
        default=SPAWN_RATE,
        metavar="N",
        help=f"new connections of the crowd in a second (default {SPAWN_RATE})",
    )
    add(
        "--most",
        type=argument(positive),
        default=100_000,
        metavar="N",
        help="threads at most (default 100000); never the last ones of the machine",
    )
    add(
        "--out",
        type=Path,
        default=Path("results"),
        metavar="DIR",
        help="where to write (default results/)",
    )
    add(
        "--server-command",
        type=argument(shlex.split),
        default=[sys.executable, "-m", "server"],
        metavar="COMMAND",
        help="what to start; flags are added (default: python -m server)",
    )
    return parser
