"""The comparison in one sentence that can be quoted: what was held, what an echo costs, what a
connection costs.

It says no more than the rounds bear out. An engine is put before or after another only where
`summary` has found a difference; who failed, and who costs less than the engine that the others are
compared with, stands in the same sentence. The cost of an echo is the closed loop's, in which a
client in C asks as fast as it is answered. Without one it is that of the held load, and said so.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from loadtest.closed_loop.scenarios import HOLD
from loadtest.report.words import digits, interval, listed, memory, quotient
from loadtest.results.estimate import RUNS_TO_RANK
from loadtest.results.schema import Comparison, Peak, Results, Row
from loadtest.results.summary import Found, index

ECHO = "echo"
# So many engines are named one by one where the rest of the sentence does not need it.
FEW = 3
COST = {HOLD: "cpu_us_per_echo", ECHO: "cpu_us"}


def answer(results: Results) -> str:
    """The sentence."""
    if not results.rows and not results.peaks:
        return "Nothing was measured."
    parts = [*_held(results), *_echo(results), *_memory(results)]
    sentence = "; ".join(parts)
    # The name of an engine keeps its small letter.
    if sentence.split(" ")[0].rstrip(",") not in results.asked.modes:
        sentence = sentence[0].upper() + sentence[1:]
    return f"{sentence}."


def largest(runs: Sequence[Row] | Sequence[Peak]) -> int | None:
    """The largest number of connections with a run that counts."""
    return max((run.connections for run in runs if run.ok), default=None)


@dataclass(frozen=True)
class Tally:
    """Of an engine's runs, how many count."""

    engine: str
    good: int
    tried: int

    def __str__(self) -> str:
        if not self.tried:
            return f"{self.engine}, not tried"
        rounds = "round" if self.tried == 1 else "rounds"
        if not self.good:
            only = "its only round" if self.tried == 1 else f"all of its {self.tried} rounds"
            return f"{self.engine}, in {only}"
        return f"{self.engine}, in {self.tried - self.good} of its {self.tried} {rounds}"


def tallies(
    engines: Sequence[str], runs: Sequence[Row] | Sequence[Peak], connections: int
) -> list[Tally]:
    at = [run for run in runs if run.connections == connections]
    return [
        Tally(
            engine,
            good=sum(run.ok for run in at if run.engine == engine),
            tried=sum(run.engine == engine for run in at),
        )
        for engine in engines
    ]


def _held(results: Results) -> Iterator[str]:
    """Who held how many, and who did not."""
    if not results.rows:
        return
    most = largest(results.rows)
    for count in sorted({row.connections for row in results.rows}, reverse=True):
        if most is None or count > most:
            failed = tallies(results.asked.modes, results.rows, count)
            tried = [tally.engine for tally in failed if tally.tried]
            runs = sum(tally.tried for tally in failed)
            of = "the only run" if runs == 1 else f"all {runs} runs"
            are = "is" if runs == 1 else "are"
            yield f"at {count:,} connections {of} of {listed(tried)} {are} void"
    if most is None:
        return
    found = tallies(results.asked.modes, results.rows, most)
    good = [tally.engine for tally in found if tally.good]
    short = [str(tally) for tally in found if tally.good < tally.tried or not tally.tried]
    who = f"all {len(good)} engines" if len(found) == len(good) > FEW else listed(good)
    told = f"{who} held {most:,} connections at once with every echo verified"
    yield f"{told} (void or failed: {'; '.join(short)})" if short else told


def _echo(results: Results) -> Iterator[str]:
    """What an echo costs, by the closed loop if there was one."""
    loops = [peak for peak in results.peaks if peak.scenario == ECHO]
    most = largest(loops)
    found = index(results.summary)
    tried = {peak.connections for peak in loops}
    for count in sorted(tried, reverse=True):
        if most is not None and count > most:
            yield f"every closed loop of echoes over {count:,} connections failed"
    if most is not None:
        told = f"in a closed loop over {most:,} connections an echo costs the server"
        failed = [
            str(tally)
            for tally in tallies(results.asked.modes, loops, most)
            if tally.good < tally.tried
        ]
        yield f"{told} {_ranked(results, _costs(found, ECHO, most))}" + (
            f" (failed: {'; '.join(failed)})" if failed else ""
        )
        return
    if loops:
        yield "no closed loop of echoes came to its end"
    held = largest(results.rows)
    costs = _costs(found, HOLD, held) if held is not None else {}
    if held is not None and costs:
        yield f"{_offered(results.rows, held)} an echo costs the server {_ranked(results, costs)}"
    if not loops:
        yield "what it costs at full speed was not measured (--scenarios hold,echo)"


def _offered(rows: Sequence[Row], connections: int) -> str:
    rates = [row.offered_per_second for row in rows if row.ok and row.connections == connections]
    known = [rate for rate in rates if rate is not None]
    return f"at {known[0]:,.0f} echoes a second" if known else "under that load"


def _costs(found: Found, scenario: str, connections: int) -> dict[str, Comparison]:
    """By engine."""
    return {
        engine: entry
        for (kind, count, figure, engine), entry in found.items()
        if (kind, count, figure) == (scenario, connections, COST[scenario])
    }


def _ranked(results: Results, costs: Mapping[str, Comparison]) -> str:
    """The rival's cost, then all others by what was found of them."""
    rival = results.asked.rival
    if rival not in costs:
        each = [f"{_us(entry)} of CPU on {engine}" for engine, entry in _cheapest_first(costs)]
        return f"{listed(each)} (not compared: {rival} has no run that counts)"
    groups: dict[str, list[str]] = {"less": [], "more": [], "none": [], "": []}
    for engine, entry in _cheapest_first(costs):
        if engine != rival:
            group = entry.difference if entry.difference in groups else ""
            groups[group or ""].append(f"{engine} ({_ratio(entry)})")
    parts = [f"{_us(costs[rival])} of CPU on {rival}"]
    for group, told in (
        ("less", "less on"),
        ("more", "more on"),
        ("none", "no difference found from"),
        ("", f"too few rounds that count (--repeats {RUNS_TO_RANK}) to rank it against"),
    ):
        if groups[group]:
            parts.append(f"{told} {listed(groups[group])}")
    return ", ".join(parts)


def _cheapest_first(costs: Mapping[str, Comparison]) -> list[tuple[str, Comparison]]:
    return sorted(costs.items(), key=lambda item: item[1].estimate.median)


def _us(entry: Comparison) -> str:
    return f"{digits(entry.estimate.median)} µs"


def _ratio(entry: Comparison) -> str:
    if entry.ratio is None:
        return _us(entry)
    between = interval(entry.ratio, quotient)
    return f"{quotient(entry.ratio.median)} times" + (f" [{between}]" if between else "")


def _memory(results: Results) -> Iterator[str]:
    """What a connection costs in memory of the server's process: the slope over several numbers
    of connections if there is one, and else the growth divided by their number."""
    costs = {
        slope.engine: slope.bytes_per_connection.median
        for slope in results.slopes
        if slope.figure == "rss_held"
    }
    most = largest(results.rows)
    grown = {
        engine: entry.estimate.median
        for (scenario, count, figure, engine), entry in index(results.summary).items()
        if (scenario, count, figure) == (HOLD, most, "rss_per_connection")
    }
    if grown.keys() - costs.keys():
        costs = grown  # one or the other for all: a growth has the process's own in it
    if costs:
        yield f"a connection takes {_takes(costs, results.asked.rival)}"


def _takes(costs: Mapping[str, float], rival: str) -> str:
    """Each engine's, or, of many, the rival's and between which it lies."""
    order = sorted(costs, key=lambda engine: costs[engine])
    each = [f"{memory(costs[engine])} on {engine}" for engine in order]
    if len(order) <= FEW or rival not in costs:
        first = f"{memory(costs[order[0]])} of the server's memory on {order[0]}"
        return listed([first, *each[1:]])
    ours = f"{memory(costs[rival])} of the server's memory on {rival}"
    return f"{ours} (of all engines from {each[0]} to {each[-1]})"
