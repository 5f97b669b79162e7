"""What a chart is given is what was measured: medians of the runs that count, and every run."""

import statistics
from dataclasses import replace

import pytest

from loadtest.report import series
from loadtest.report.charts import Chart, Missing, all_charts
from loadtest.report.looks import SYMBOLS, looks
from loadtest.results.figures import Curve
from loadtest.results.schema import Results
from loadtest.runs.plan import MODES
from tests.loadtest.sample_results import (
    cut_short,
    default_results,
    failed_results,
    sample_results,
    strange_results,
    with_rows,
)

FULL = sample_results()


def names(results: Results) -> list[str]:
    return [chart.name for chart in all_charts(results) if isinstance(chart, Chart)]


def missing(results: Results) -> dict[str, str]:
    return {m.title: m.remedy for m in all_charts(results) if isinstance(m, Missing)}


def test_a_line_has_every_number_of_connections_and_every_run() -> None:
    (line,) = [each for each in series.lines(FULL, "echo", "cpu_us") if each.engine == "uvloop"]
    assert [point.x for point in line.points] == [100, 1000, 10_000]
    costs = [
        peak.cpu_us
        for peak in FULL.peaks
        if (peak.scenario, peak.engine, peak.connections) == ("echo", "uvloop", 1000)
    ]
    assert sorted(line.points[1].found.values) == sorted(cost for cost in costs if cost)
    assert line.points[1].found.median == statistics.median(cost for cost in costs if cost)


def test_a_run_that_does_not_count_is_in_no_figure() -> None:
    lines = series.of_rows(FULL, lambda row: row.rss_held)
    (line,) = [each for each in lines if each.engine == "c-epoll"]
    assert [point.found.runs for point in line.points] == [5, 5, 4]
    (curves,) = [c for c in series.percentiles(FULL, 10_000) if c.engine == "c-epoll"]
    assert len(curves.runs) == 4


def test_parts_of_a_bar_are_user_and_system_in_the_same_unit() -> None:
    parts = ("user_us", "system_us")
    for bar in series.bars(FULL, "echo", 10_000, "cpu_us", parts):
        assert bar.found is not None
        assert sum(bar.parts) == pytest.approx(bar.found.median, rel=0.05)


def test_an_engine_without_a_run_that_counts_is_there_with_nothing() -> None:
    rows = [cut_short(row) if row.engine == "threads" else row for row in default_results().rows]
    results = with_rows(rows, [], modes=("runtime", "threads", "uvloop"))
    bars = series.bars(results, "hold", 10_000, "cpu_us_per_echo")
    assert [bar.found is None for bar in bars] == [False, True, False]


def test_the_middle_curve_is_of_percentiles_that_all_runs_have_and_not_the_maximum() -> None:
    short: Curve = [(0.0, 1.0), (50.0, 2.0), (99.0, 3.0), (100.0, 9.0)]
    longer: Curve = [(0.0, 2.0), (50.0, 4.0), (99.0, 5.0), (99.9, 6.0), (100.0, 9.0)]
    rows = [
        replace(row, engine="runtime", repeat=repeat, curves={"response": curve})
        for repeat, (row, curve) in enumerate(
            zip(default_results().rows, (short, longer), strict=False), start=1
        )
    ]
    (found,) = series.percentiles(with_rows(rows, [], modes=("runtime",)), 10_000)
    assert [(point.x, point.found.median) for point in found.middle] == [
        (0, 1.5),
        (50, 3.0),
        (99, 4.0),
    ]


def test_a_ramp_counts_from_the_first_connection_and_without_the_idle_descriptors() -> None:
    ramps = series.ramps(FULL, 10_000)
    assert len(ramps) == 30
    for ramp in ramps:
        assert ramp.moments[0] == (0.0, 0)
        assert max(held for _, held in ramp.moments) == 10_000
        assert ramp.complete is not None
        assert ramp.complete >= 20


def test_a_run_that_failed_in_its_ramp_shows_how_far_it_came() -> None:
    ramps = [ramp for ramp in series.ramps(failed_results(), 20_000) if ramp.engine == "threads"]
    assert ramps
    assert all(not ramp.ok and ramp.complete is None for ramp in ramps)
    assert all(0 < ramp.moments[-1][1] < 20_000 for ramp in ramps)


def test_everything_measured_is_drawn() -> None:
    drawn = ["throughput", "cost", "parts", "latency", "memory", "ramp"]
    assert names(FULL) == [*drawn, "bulk-64k", "bulk-16m", "churn"]
    assert missing(FULL) == {}


def test_what_was_not_measured_is_named_with_the_option_that_measures_it() -> None:
    assert names(default_results()) == ["cost", "latency", "memory", "ramp"]
    remedies = missing(default_results())
    assert remedies["Echoes a second, closed loop"] == "--scenarios hold,echo"
    assert remedies["Churn"] == "--scenarios hold,churn"


def test_of_what_failed_only_the_ramp_is_drawn() -> None:
    assert names(failed_results()) == ["ramp"]
    assert missing(failed_results())["Memory"] == "no run under Locust counts"


def test_times_at_the_limit_of_locust_are_said_to_rank_nobody() -> None:
    def better(results: Results) -> str:
        charts = [chart for chart in all_charts(results) if isinstance(chart, Chart)]
        return next(chart.better for chart in charts if chart.name == "latency")

    assert better(FULL) == "less is better"
    assert better(default_results()) == "ranks nobody: Locust was the limit in 3 of 3 runs"


def test_an_engine_looks_the_same_whoever_is_beside_it() -> None:
    assert looks(["uvloop"])["uvloop"] == looks(MODES)["uvloop"]
    assert len(set(looks(MODES).values())) == len(MODES)
    strangers = looks(strange_results().asked.modes)
    assert all(0 <= look < len(SYMBOLS) for look in strangers.values())
    assert looks(["new", "runtime"])["new"] not in looks(MODES).values()
