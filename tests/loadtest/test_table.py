"""The table fits a terminal, says what differs, and names each run that does not count."""

import io
import random
from dataclasses import replace

import pytest
from rich.console import Console

from loadtest.results.schema import Results
from loadtest.results.table import print_results, run_line
from tests.loadtest.sample_results import (
    client_limited,
    sample_peak,
    sample_results,
    sample_row,
    void,
    with_rows,
)

NOISE = random.Random(2)
ROW = sample_row("runtime", 10_000, 1, NOISE)
PEAK = sample_peak("echo", "runtime", 10_000, 1, NOISE)


def printed(results: Results) -> str:
    console = Console(file=io.StringIO(), width=80)
    print_results(results, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.fixture(scope="module")
def whole() -> str:
    return printed(sample_results())


def test_nothing_is_cut_off_at_80_columns(whole: str) -> None:
    assert "…" not in whole
    assert "uvloop-protocol" in whole


@pytest.mark.parametrize(
    "heading",
    [
        "100 connections held; ratios to runtime",
        "1,000 connections held",
        "10,000 connections held",
        "echo over 10,000 connections",
        "bulk-16m over 4 connections",
        "churn over 64 connections",
        "memory of the process",
    ],
)
def test_each_load_has_its_table(whole: str, heading: str) -> None:
    assert heading in whole


def test_a_void_run_is_named_with_its_reasons_and_the_limited_ones_are_counted(whole: str) -> None:
    assert "c-epoll, 10,000, round 5: void: 3 failed, most often ECHO: WrongBytes; 2 conn" in whole
    assert "Locust was the limit in 1 of 90 runs" in whole
    (line,) = [line for line in whole.splitlines() if line.startswith("c-epoll") and "4/5" in line]
    assert "10,000" in line


def ratios(text: str) -> dict[str, str]:
    """The words that end in a mark, or the ratio, by engine; of the first table."""
    table = text.split("\n\n")[0]
    rows = [line.split() for line in table.splitlines() if "/4" in line or "/1" in line]
    return {row[0]: row[5] for row in rows if len(row) > 8}


def test_a_ratio_is_marked_where_it_is_no_difference() -> None:
    modes = ("runtime", "c-epoll", "threads")
    rows = [sample_row(mode, 100, n, NOISE) for n in range(1, 5) for mode in modes]
    rows = [
        replace(row, cpu_us_per_echo=10.0 + row.repeat / 10) if row.engine == "runtime" else row
        for row in rows
    ]
    rows = [
        replace(row, cpu_us_per_echo=10.2 + row.repeat / 10) if row.engine == "threads" else row
        for row in rows
    ]
    found = ratios(printed(with_rows(rows, [], (100,), modes, 4)))
    assert found["threads"] == "1.02="
    assert not found["c-epoll"].endswith(("=", "?"))


def test_one_round_ranks_nobody() -> None:
    rows = [ROW, sample_row("c-epoll", 10_000, 1, NOISE)]
    text = printed(with_rows(rows, []))
    assert "?: not ranked, for want of 4 rounds" in text


def test_a_failed_closed_loop_is_named_with_its_reason() -> None:
    failed = replace(PEAK, ok=False, reason="no luck", cpu_us=None)
    assert "echo runtime, 10,000, round 1: failed: no luck" in printed(with_rows([ROW], [failed]))


def test_a_finished_run_is_told_in_one_line() -> None:
    assert run_line(ROW).startswith("valid; ")
    assert "us of CPU an echo" in run_line(ROW)
    assert run_line(client_limited(ROW)).startswith("client-limited; Locust's lag")
    assert run_line(void(ROW)).startswith("void; 3 failed")
    assert "us of CPU" not in run_line(void(ROW))
    assert "a second" in run_line(PEAK)
    assert run_line(replace(PEAK, ok=False, reason="no luck")) == "FAILED: no luck"


def test_what_was_not_measured_is_a_dash() -> None:
    bare = replace(ROW, cpu_us_per_echo=None, response_ms=None, rss_per_connection=None)
    assert "- us of CPU an echo, - kB a connection, response p99 - ms" in run_line(bare)
