"""The report is one well-formed file that needs nothing else, with the answer at its top."""

import random
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import pytest

from loadtest.report.page import answer, render
from loadtest.results.schema import Results, Row
from tests.loadtest.sample_results import sample_row, with_rows

NOISE = random.Random(1)


def row(engine: str, repeat: int, cpu: float, rss: float) -> Row:
    made = sample_row(engine, 10_000, repeat, NOISE)
    return replace(made, cpu_us_per_echo=cpu, rss_per_connection=rss)


ROWS = [
    row("runtime", 1, 20.0, 1300.0),
    row("uvloop", 1, 40.0, 4100.0),
    row("uvloop", 2, 50.0, 4300.0),
    row("runtime", 2, 22.0, 1500.0),
]


def results(rows: list[Row]) -> Results:
    return with_rows(rows, [])


def text_of(html: str) -> str:
    body = ElementTree.fromstring(html).find("body")
    assert body is not None
    return " ".join("".join(body.itertext()).split())


def test_the_report_is_well_formed_and_needs_no_other_file() -> None:
    html = render(results(ROWS))
    ElementTree.fromstring(html)
    assert "://" not in html
    assert not re.search(r"<(link|script|img|iframe)\b|@import|url\(", html)
    assert "prefers-color-scheme: dark" in html
    assert 'name="viewport"' in html


def test_the_answer_comes_first_in_one_sentence() -> None:
    sentence = answer(results(ROWS))
    assert sentence == (
        "runtime and uvloop held 10,000 connections with every echo verified; an echo cost the "
        "server 21 µs of CPU on runtime and 45 µs of CPU on uvloop (too few runs to rank them: "
        "--repeats 3)."
    )
    assert text_of(render(results(ROWS))).index(sentence) < 100


@pytest.mark.parametrize(
    ("slowest", "verdict"),
    [(30.0, "runtime the least in every run"), (41.0, "no clear difference between runtime and")],
)
def test_engines_are_ranked_only_if_their_runs_do_not_overlap(slowest: float, verdict: str) -> None:
    more = [row("runtime", 3, slowest, 1300.0), row("uvloop", 3, 42.0, 4100.0)]
    assert verdict in answer(results([*ROWS, *more]))


def test_the_figures_are_medians_and_every_run_is_a_dot() -> None:
    html = render(results(ROWS))
    assert "45 µs" in html
    assert "1.4 kB" in html
    assert html.count("<circle") == 3 * len(ROWS)
    # The largest run sets the scale: 50 us is the full width of 340.
    assert 'cx="340.0"' in html
    assert 'width="306.0"' in html


def test_a_failed_run_is_listed_and_enters_no_figure() -> None:
    failed = replace(ROWS[1], verdict="void", reasons=["server died <b>"], cpu_us_per_echo=9999.0)
    html = render(results([ROWS[0], failed]))
    text = text_of(html)
    assert "uvloop, run 1: server died <b>" in text
    assert "server died <b>" not in html
    assert "9,999" not in text
    assert "uvloop did not hold 10,000 connections" in answer(results([ROWS[0], failed]))


def test_a_report_without_any_good_run_still_opens() -> None:
    failed = [replace(entry, verdict="void", reasons=["no luck"]) for entry in ROWS[:2]]
    text = text_of(render(results(failed)))
    assert "Runtime and uvloop did not hold" in text
    assert text.count("no luck") == 2


def test_what_comes_from_outside_is_escaped() -> None:
    nasty = replace(
        ROWS[0], reasons=["<script>alert(1)</script>"], server_command=["a & b", '"<x>"']
    )
    html = render(results([nasty]))
    ElementTree.fromstring(html)
    assert "<script" not in html


@pytest.mark.parametrize("name", ["c10k", "uvloop", "locust"])
def test_machine_versions_and_commands_are_there(name: str) -> None:
    made = results(ROWS)
    text = text_of(render(made))
    assert made.machine.cpu.split()[0] in text
    assert f"{name}" in text
    assert made.machine.versions[name] in text
    assert "python -m server --mode uvloop" in text
    assert "locust --users 10000" in text
