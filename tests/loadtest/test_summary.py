"""What is found follows from the runs that count, and from nothing else."""

import random
from dataclasses import replace

import pytest

from loadtest.results.schema import Comparison, Peak, Row
from loadtest.results.summary import compare_runs, slopes, value
from tests.loadtest.sample_results import (
    client_limited,
    sample_peak,
    sample_results,
    sample_row,
    void,
)

NOISE = random.Random(3)
ROUNDS = (1, 2, 3, 4)
ROWS = [sample_row(mode, 100, n, NOISE) for n in ROUNDS for mode in ("runtime", "threads")]


def find(
    figure: str, rows: list[Row], peaks: list[Peak] | None = None, engine: str = "threads"
) -> Comparison:
    found = compare_runs(rows, peaks or [], "runtime")
    (one,) = [entry for entry in found if entry.figure == figure and entry.engine == engine]
    return one


def test_each_figure_is_the_median_over_the_rounds_with_its_ratio_to_the_rival() -> None:
    found = find("rss_per_connection", ROWS)
    assert found.estimate.median == pytest.approx(42_000, rel=0.02)
    assert found.ratio is not None
    assert found.ratio.median == pytest.approx(42_000 / 1640, rel=0.04)
    assert found.difference == "more"
    assert found.scenario == "hold"


def test_the_rival_has_no_ratio_to_itself() -> None:
    found = find("cpu_us_per_echo", ROWS, engine="runtime")
    assert (found.ratio, found.difference) == (None, None)


def test_without_the_rival_there_is_no_ratio() -> None:
    found = find("cpu_us_per_echo", [row for row in ROWS if row.engine == "threads"])
    assert (found.ratio, found.difference) == (None, None)


def test_percentiles_are_figures_with_a_dot() -> None:
    row = replace(ROWS[0], response_ms={"p99": 3.0, "p99.9": 7.0})
    assert value(row, "response_ms.p99.9") == 7.0
    assert value(replace(row, response_ms=None), "response_ms.p99") is None


def test_a_void_run_enters_nothing() -> None:
    last = replace(void(ROWS[-1]), rss_per_connection=1e9)
    found = find("rss_per_connection", [*ROWS[:-1], last])
    assert len(found.estimate.values) == 3
    assert found.estimate.high < 1e6
    assert found.difference == "unknown"


def test_where_locust_was_the_limit_only_the_servers_own_figures_rank() -> None:
    rows = [client_limited(ROWS[0]), *ROWS[1:]]
    assert find("rss_per_connection", rows).difference == "more"
    assert find("response_ms.p99", rows).difference == "client-limited"
    assert len(find("response_ms.p99", rows).estimate.values) == 4


def test_numbers_of_connections_and_scenarios_are_kept_apart() -> None:
    more = [sample_row("threads", 1000, n, NOISE) for n in ROUNDS]
    peaks = [sample_peak("churn", "threads", 64, n, NOISE) for n in ROUNDS]
    failed = replace(peaks[0], ok=False, repeat=9)
    found = compare_runs([*ROWS, *more], [*peaks, failed], "runtime")
    places = {(entry.scenario, entry.connections) for entry in found}
    assert places == {("hold", 100), ("hold", 1000), ("churn", 64)}
    assert all(len(entry.estimate.values) == 4 for entry in found)


def test_a_slope_leaves_the_process_itself_out() -> None:
    """A division of the growth by the number would not, and by less the more there are."""
    found = [slope for slope in slopes(sample_results().rows) if slope.figure == "rss_held"]
    by_engine = {slope.engine: slope for slope in found}
    assert by_engine["runtime"].connections == [100, 1000, 10_000]
    assert by_engine["runtime"].bytes_per_connection.median == pytest.approx(1640, rel=0.05)
    assert by_engine["runtime"].intercept.median == pytest.approx(21e6, rel=0.05)
    assert by_engine["threads"].bytes_per_connection.median == pytest.approx(42_000, rel=0.05)


def test_one_number_of_connections_gives_no_slope() -> None:
    assert slopes(ROWS) == []
