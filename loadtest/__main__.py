"""The command line of the load tests: compare, report, doctor, bench and extremes."""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from loadtest.client.addresses import parse_sources
from loadtest.client.options import (
    argument,
    payload_bytes,
    positive_seconds,
    seconds,
    source_addresses,
)
from loadtest.closed_loop.scenarios import HOLD, SCENARIOS, parse_scenarios
from loadtest.command import BAD_INPUT, Parser, positive
from loadtest.compare import BadPlan, command_line, run_compare
from loadtest.doctor import Need, need_of, run_doctor
from loadtest.report.page import EXTREMES, REPORT, RESULTS, report_again
from loadtest.results.decode import Unreadable
from loadtest.runs.plan import (
    DEFAULT_MODES,
    ECHOES_PER_SECOND,
    MODES,
    Plan,
    parse_counts,
    parse_modes,
    resolve_counts,
)
from loadtest.split import SPAWN_RATE, count_or_auto, split

EXAMPLES = """\
examples:
  python -m loadtest doctor --connections 10000
      what this machine can hold, and what is short
  python -m loadtest compare
      10,000 connections on runtime, threads and uvloop; about four minutes
  python -m loadtest compare --modes runtime,uvloop-protocol --connections 1000 --duration 10
      a quick look at two of them
  python -m loadtest compare --modes all --connections 100,1000,10000,max --repeats 5
      --scenarios hold,echo,bulk-64k,bulk-16m,churn
      everything, for hours; --resume goes on with one that was interrupted
  python -m loadtest report results
      report.html again, from the results.json that is there
  python -m loadtest bench --help
      CPU by operation in a closed loop alone
  python -m loadtest doctor --connections 100000 --workers auto --processes auto
      how many processes 100,000 connections take here, and the commands that start them
  python -m loadtest extremes --help
      100,000 connections at the same time; and threads until the kernel refuses one

By hand, against a server that runs already:
  locust -f loadtest/locustfile.py --host tcp://127.0.0.1:7007

exit status: 0 all good, 1 a run failed or a limit is short, 2 bad input
"""


def main(argv: Sequence[str] | None = None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["bench"]:
        # Its own program: with everything it needs imported only if it is asked for.
        from loadtest.closed_loop import bench

        return bench.main(arguments[1:])
    if arguments[:1] == ["extremes"]:
        from loadtest.extremes import command as extremes

        return extremes.main(arguments[1:])
    parser = _parser()
    parsed = parser.parse_args(arguments)
    if parsed.command == "doctor":
        return _doctor(parsed)
    if parsed.command == "report":
        return _report(parsed.directory, parser.prog)
    try:
        plan = _plan(parsed)
        command = command_line(arguments)
        return run_compare(plan, command, parsed.resume, Console(), Console(stderr=True))
    except BadPlan as error:
        sys.stderr.write(f"{parser.prog} compare: {error}\n")
        return BAD_INPUT


def _parser() -> Parser:
    parser = Parser(
        prog="python -m loadtest",
        description="Load tests for the echo/sleep server, and a comparison of its engines.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_compare(commands.add_parser("compare", help="each engine under the same Locust load"))
    _add_report(commands.add_parser("report", help="report.html again, from old results"))
    _add_doctor(commands.add_parser("doctor", help="what this machine can hold"))
    commands.add_parser("bench", help="closed loops: CPU by operation, from a client in C")
    commands.add_parser("extremes", help="100,000 connections, and threads until one is refused")
    return parser


def _add_compare(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Starts each engine, holds the asked numbers of connections on it with Locust, samples "
        "the server process, and writes report.html, results.json, runs.jsonl and raw files to "
        "--out."
    )
    _add_modes(parser)
    add = parser.add_argument
    add(
        "--connections",
        type=argument(parse_counts),
        default=("10000",),
        metavar="N,N",
        help="connections to hold at the same time, one number after the other; max is what the "
        "machine holds (default 10000)",
    )
    add(
        "--scenarios",
        type=argument(parse_scenarios),
        default=(HOLD,),
        metavar="S,S",
        help=f"{HOLD} (Locust) and closed loops, of {', '.join(SCENARIOS)} (default {HOLD})",
    )
    add(
        "--rival",
        default=None,
        metavar="M",
        help="the engine that ratios are taken against (default: the first of --modes)",
    )
    add(
        "--resume",
        action="store_true",
        help="go on with the comparison in --out that was interrupted, if plan, machine and code "
        "are still the same",
    )
    add(
        "--duration",
        type=argument(positive_seconds),
        default=45.0,
        metavar="S",
        help="seconds to measure once all connections are held (default 45)",
    )
    add(
        "--repeats",
        type=argument(positive),
        default=1,
        metavar="N",
        help="rounds, in the order A B C, C B A (default 1; with fewer than 4 nothing is ranked)",
    )
    add(
        "--out",
        type=Path,
        default=Path("results"),
        metavar="DIR",
        help="where to write (default results/)",
    )
    add(
        "--payload",
        type=argument(payload_bytes),
        default=64,
        metavar="BYTES",
        help="size of an echo (default 64)",
    )
    add(
        "--pacing",
        type=argument(seconds),
        default=None,
        metavar="S",
        help="seconds between the echoes of one connection (default: connections / "
        f"{ECHOES_PER_SECOND}, so {ECHOES_PER_SECOND:,} echoes a second in all)",
    )
    add(
        "--spawn-rate",
        type=argument(positive),
        default=500,
        metavar="N",
        help="new connections a second (default 500)",
    )
    _add_sources(parser)
    add(
        "--server-command",
        type=argument(shlex.split),
        default=[sys.executable, "-m", "server"],
        metavar="COMMAND",
        help="what to start; --mode, --echo and --sleep are added (default: python -m server)",
    )


def _add_report(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        f"Writes DIR/{REPORT} again from DIR/{RESULTS}, and {EXTREMES} if that is beside it and "
        "of the same machine."
    )
    parser.add_argument(
        "directory", type=Path, metavar="DIR", help="where a comparison wrote (its --out)"
    )


def _add_doctor(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Checks descriptors, ports, threads, queues, memory and cores for a number of "
        "connections with both sides on this machine; exit status 1 if something is short."
    )
    parser.add_argument(
        "--connections",
        type=argument(positive),
        default=10_000,
        metavar="N",
        help="connections to hold at the same time (default 10000)",
    )
    _add_modes(parser)
    _add_sources(parser)
    for flag, whose in (("--workers", "server"), ("--processes", "Locust")):
        parser.add_argument(
            flag,
            type=argument(count_or_auto),
            default=1,
            metavar="N",
            help=f"{whose} processes that share the connections, held by the runtime engine; auto "
            "is as many as it takes (default 1). Prints the split and its command lines",
        )


def _add_modes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--modes",
        type=argument(parse_modes),
        default=parse_modes(DEFAULT_MODES),
        metavar="M,M",
        help=f"engines, of {', '.join(MODES)} (default {DEFAULT_MODES})",
    )


def _add_sources(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--source-addresses",
        type=argument(source_addresses),
        default="",
        metavar="LIST",
        help="connect from these for more ports, e.g. 127.0.0.2-127.0.0.5",
    )


def _report(directory: Path, program: str) -> int:
    try:
        notes = report_again(directory)
    except Unreadable as fault:
        sys.stderr.write(f"{program} report: {fault}; DIR is what compare had as --out\n")
        return BAD_INPUT
    for line in (*notes, f"wrote {directory / REPORT}"):
        sys.stdout.write(f"{line}\n")
    return 0


def _doctor(parsed: argparse.Namespace) -> int:
    if parsed.workers == parsed.processes == 1:
        return run_doctor(_need(parsed), Console())
    found = split(parsed.connections, parsed.workers, parsed.processes, parsed.source_addresses)
    return run_doctor(need_of(found, SPAWN_RATE), Console(), found)


def _need(parsed: argparse.Namespace) -> Need:
    return Need(
        connections=parsed.connections,
        sources=len(parse_sources(parsed.source_addresses)),
        threads="threads" in parsed.modes,
    )


def _plan(parsed: argparse.Namespace) -> Plan:
    sources = len(parse_sources(parsed.source_addresses))
    rival = parsed.rival or parsed.modes[0]
    if rival not in parsed.modes:
        raise BadPlan(f"--rival {rival} is none of --modes {','.join(parsed.modes)}")
    return Plan(
        modes=parsed.modes,
        connections=resolve_counts(parsed.connections, sources, "threads" in parsed.modes),
        scenarios=parsed.scenarios,
        rival=rival,
        duration=parsed.duration,
        repeats=parsed.repeats,
        payload=parsed.payload,
        pacing=parsed.pacing,
        spawn_rate=parsed.spawn_rate,
        source_addresses=parsed.source_addresses,
        out=parsed.out,
        server_command=tuple(parsed.server_command),
    )


if __name__ == "__main__":
    sys.exit(main())
