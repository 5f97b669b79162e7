"""The command line: `python -m benchmarks [NAMES] [--engines ...]`."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from benchmarks.catalogue import BENCHMARKS, SMALL
from benchmarks.engines import ENGINES
from benchmarks.results import Results, write_json
from benchmarks.rounds import Plan, RunFailed, run_apart

BAD_INPUT = 2
INTERRUPTED = 130


class BadInput(Exception):
    """What was asked for cannot be done; the message names the remedy."""


def main(argv: Sequence[str] | None = None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = _parser()
    try:
        plan, file = _plan(parser.parse_args(arguments))
        return _run(plan, arguments, file)
    except BadInput as fault:
        sys.stderr.write(f"{parser.prog}: {fault}\n")
        return BAD_INPUT


def _run(plan: Plan, arguments: Sequence[str], file: Path | None) -> int:
    try:
        from rich.console import Console
    except ImportError as missing:
        raise BadInput("rich is not installed: pip install rich") from missing
    from benchmarks.table import print_table  # rich again

    results, progress = Results(plan), Console(stderr=True)
    interrupted = False
    with progress.status("") as line:
        try:
            for benchmark in plan.benchmarks:
                if not progress.is_terminal:
                    progress.print(benchmark)
                for number, engine in plan.turns(benchmark):
                    line.update(f"{benchmark}  round {number + 1} of {plan.rounds}  {engine}")
                    _run_once(results, benchmark, engine, number)
        except KeyboardInterrupt:
            interrupted = True
    print_table(results, Console())
    if file is not None:
        write_json(results, arguments, file)
    if interrupted:
        return INTERRUPTED
    return 1 if results.failures else 0


def _run_once(results: Results, benchmark: str, engine: str, number: int) -> None:
    key = benchmark, engine, number
    try:
        results.runs[key] = run_apart(benchmark, engine, results.plan.operations(benchmark))
    except RunFailed as failure:
        results.failures[key] = str(failure)


def _plan(parsed: argparse.Namespace) -> tuple[Plan, Path | None]:
    names = tuple(dict.fromkeys(parsed.names)) or SMALL
    engines = tuple(dict.fromkeys(name.strip() for name in parsed.engines.split(",")))
    _check("benchmark", names, tuple(BENCHMARKS))
    _check("engine", engines, tuple(ENGINES))
    for name in engines:
        if not ENGINES[name].installed:
            others = [other for other in engines if ENGINES[other].installed]
            without = f", or --engines {','.join(others)}" if others else ""
            raise BadInput(f"{name} is not installed: pip install {name}{without}")
    plan = Plan(names, engines, parsed.rounds, parsed.scale)
    for benchmark in names:
        if not plan.comparable(benchmark):
            raise BadInput(f"{benchmark} compares with nothing on {','.join(engines)}: add runtime")
    if parsed.json is not None:
        try:
            parsed.json.touch()
        except OSError as error:
            raise BadInput(f"cannot write --json {parsed.json}: {error.strerror}") from error
    return plan, parsed.json


def _check(kind: str, names: Sequence[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise BadInput(f"no {kind} {name!r}; there are {', '.join(known)}")


def _rounds(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number over 0")
    return int(text)


def _scale(text: str) -> float:
    try:
        scale = float(text)
    except ValueError:
        scale = math.nan
    if not 0 < scale < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number over 0, like 0.1")
    return scale


class Parser(argparse.ArgumentParser):
    """Reports a bad flag in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(BAD_INPUT, f"{self.prog}: {message} (see --help)\n")


def _parser() -> Parser:
    width = max(map(len, BENCHMARKS))
    listed = "\n".join(
        f"  {each.name:{width}}  {each.operation}{' *' if each.big else ''}"
        for each in BENCHMARKS.values()
    )
    parser = Parser(
        prog="python -m benchmarks",
        description="What the runtime's verbs cost, beside asyncio, uvloop and Trio.",
        epilog=f"""\
benchmarks, and what counts as one operation:
{listed}
  * minutes on some engines, and gigabytes: only when named

examples:
  python -m benchmarks
      all but the two big ones, five rounds; some minutes
  python -m benchmarks spawn_many yield_now --engines runtime,uvloop --rounds 9
      two of them on two engines, with more rounds for a quieter median
  python -m benchmarks --scale 0.05 --rounds 1
      do they all run? the figures mean little
  python -m benchmarks million_sleepers million_timers --engines runtime,asyncio --rounds 1
      --scale 0.1 makes it a hundred thousand

Each run is a process of its own on one CPU. CPU is user and system time; ratios are ours by
theirs, made within a round, under 1 where ours takes less.
exit status: 0 all good, 1 a run failed, 2 bad input, 130 interrupted (what was measured is kept)
""",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("names", nargs="*", metavar="NAME", help="benchmarks to run (default all without a *)")
    add(
        "--engines",
        default=",".join(ENGINES),
        metavar="E,E",
        help=f"of {','.join(ENGINES)} (default all)",
    )
    add("--rounds", type=_rounds, default=5, metavar="N", help="runs of each engine (default 5)")
    add(
        "--scale",
        type=_scale,
        default=1.0,
        metavar="F",
        help="operations, as a multiple of the usual (default 1)",
    )
    add("--json", type=Path, metavar="FILE", help="write every run there, and the machine")
    return parser


if __name__ == "__main__":
    sys.exit(main())
