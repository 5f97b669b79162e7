"""The table says what was found: a bar that was missed cannot be overlooked, or overwritten."""

from math import inf

from tests.torture.bars import Bar
from tests.torture.table import SHARED, Cell, Results

JUDGED = Bar(1, "bytes astray", 0)
RUNTIME_ALONE = Bar(2, "p99", 2, "x", only_runtime="turns are the library's")


def row(results: Results, figure: str) -> str:
    (line,) = (line for line in results.markdown("pytest").splitlines() if f"| {figure} |" in line)
    return line


def test_a_figure_is_held_against_its_bar() -> None:
    results = Results()
    assert results.record(JUDGED, "runtime", 0)
    assert not results.record(JUDGED, "asyncio", 3)
    assert row(results, "bytes astray").endswith(
        "| bytes astray | at most 0 | pass: 0 | **FAIL**: 3 |"
    )


def test_a_rival_is_not_judged_where_the_cause_may_be_its_own() -> None:
    results = Results()
    assert results.record(RUNTIME_ALONE, "uvloop", 12.5)
    assert not results.record(RUNTIME_ALONE, "runtime", 2.25)
    assert "| **FAIL**: 2.25 x | misses: 12.50 x |" in row(results, "p99")
    assert "- 2, p99: reported for uvloop: turns are the library's." in results.markdown("")


def test_what_all_engines_share_is_judged() -> None:
    assert not Results().record(RUNTIME_ALONE, SHARED, 3)


def test_a_figure_without_a_bar_is_only_shown() -> None:
    results = Results()
    assert results.record(Bar(3, "answers", inf), "runtime", 1_234_567)
    assert row(results, "answers").endswith("| answers |  | 1,234,567 |")


def test_the_worst_of_several_tries_stays() -> None:
    results = Results()
    results.record(JUDGED, "runtime", 0)
    results.record(JUDGED, "runtime", 5)
    results.record(JUDGED, "runtime", 0)
    assert "**FAIL**: 5" in row(results, "bytes astray")


def test_a_test_that_failed_or_was_skipped_has_a_row_of_its_own() -> None:
    results = Results()
    results.enter(6, "through a proxy", "runtime", Cell("skipped", "needs a proxy"))
    results.enter(6, "directly", "runtime", Cell("FAIL", "a|b"))
    assert "| passes | skipped: needs a proxy |" in row(results, "through a proxy")
    assert "**FAIL**: a\\|b" in row(results, "directly")
