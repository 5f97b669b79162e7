"""The order of runs favours nobody, and each is done once."""

import statistics
from dataclasses import replace
from pathlib import Path

import pytest

from loadtest.closed_loop.scenarios import parse_scenarios
from loadtest.doctor import largest_fit
from loadtest.runs.plan import (
    MODES,
    Job,
    Plan,
    parse_counts,
    parse_modes,
    resolve_counts,
)

PLAN = Plan(
    modes=("runtime", "threads", "uvloop"),
    connections=(100, 1000),
    scenarios=("hold",),
    repeats=2,
    rival="runtime",
    duration=10.0,
    payload=64,
    pacing=None,
    spawn_rate=100,
    source_addresses="",
    out=Path("unused"),
    server_command=("server",),
)


def test_a_round_and_the_same_backwards() -> None:
    order = [(job.connections, job.engine, job.repeat) for job in PLAN.jobs()]
    there = [(count, engine) for count in (100, 1000) for engine in PLAN.modes]
    assert order == [(*place, 1) for place in there] + [(*place, 2) for place in there[::-1]]


@pytest.mark.parametrize("repeats", [2, 4, 6])
def test_over_an_even_number_of_rounds_every_run_stands_at_the_same_moment(repeats: int) -> None:
    plan = replace(PLAN, repeats=repeats, scenarios=("hold", "echo", "churn"))
    moments: dict[Job, list[int]] = {}
    for moment, job in enumerate(plan.jobs()):
        moments.setdefault(replace(job, repeat=0), []).append(moment)
    assert len({statistics.mean(found) for found in moments.values()}) == 1
    assert {len(found) for found in moments.values()} == {repeats}


def test_a_scenario_has_connections_of_its_own_or_as_many_as_its_client_can() -> None:
    plan = replace(PLAN, connections=(100, 20_000), scenarios=parse_scenarios("echo,bulk-16m"))
    assert [plan.counts(scenario) for scenario in ("hold", "echo", "bulk-16m")] == [
        (100, 20_000),
        (100,),
        (4,),
    ]


def test_the_default_pacing_makes_the_same_rate_at_any_number_of_connections() -> None:
    rates = [count / PLAN.hold(count).pacing for count in PLAN.connections]
    assert rates == [1000, 1000]
    assert replace(PLAN, pacing=2.5).hold(100).pacing == 2.5


def test_max_is_what_the_machine_holds_in_its_place_among_the_others() -> None:
    least, most = resolve_counts(("max", "100"), sources=1, threads=True)
    assert least == 100
    # Memory and threads that others use come and go between two looks.
    assert most == pytest.approx(largest_fit(sources=1, threads=True), rel=0.1)
    assert most > 100


@pytest.mark.parametrize("text", ["", "nonsense", "runtime,", "runtime,runtime"])
def test_unknown_or_doubled_engines_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="engine"):
        parse_modes(text)


def test_all_engines_are_all() -> None:
    assert parse_modes("all") == MODES


@pytest.mark.parametrize("text", ["", "0", "ten", "10,,20", "1.5", "10,10", "-1"])
def test_numbers_of_connections_are_whole_and_named_once(text: str) -> None:
    with pytest.raises(ValueError, match=r"number"):
        parse_counts(text)


@pytest.mark.parametrize("text", ["", "nonsense", "hold,hold"])
def test_unknown_or_doubled_scenarios_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="scenario"):
        parse_scenarios(text)
