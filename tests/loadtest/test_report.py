"""The report is one well-formed file that needs nothing else, with the answer at its top."""

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import pytest

from loadtest.__main__ import main
from loadtest.report.answer import answer
from loadtest.report.page import render, write_report
from loadtest.results.extremes import Extremes, write_extremes
from loadtest.results.schema import Results, write_json
from tests.loadtest.sample_results import (
    HOSTILE,
    default_results,
    failed_results,
    sample_extremes,
    sample_results,
    strange_results,
    with_rows,
)

FULL, EXTREMES = sample_results(), sample_extremes()
PAGE = render(FULL, EXTREMES)


def text_of(html: str) -> str:
    body = ElementTree.fromstring(html).find("body")
    assert body is not None
    return " ".join("".join(body.itertext()).split())


@pytest.mark.parametrize(
    "html",
    [
        PAGE,
        render(default_results()),
        render(failed_results()),
        render(strange_results()),
        render(with_rows([], [])),
    ],
    ids=["full", "default", "failed", "strange", "empty"],
)
def test_the_report_is_well_formed_and_needs_no_other_file_and_no_script(html: str) -> None:
    root = ElementTree.fromstring(html)
    assert not re.search(r"<(link|script|img|iframe|object|embed|use|image)\b", html)
    assert not re.search(r"@import|url\(|\b(href|src|on\w+)=", html)
    assert "prefers-color-scheme: dark" in html
    assert 'name="viewport"' in html
    named = [element.get("id") for element in root.iter() if element.get("id")]
    assert len(set(named)) == len(named)
    assert not re.search(r"\b(nan|inf|None|Undefined)\b", text_of(html))


def test_the_answer_comes_first() -> None:
    said = answer(FULL)
    assert text_of(PAGE).index(said) < 50


def test_hostile_text_is_text() -> None:
    html = render(strange_results())
    assert "<script" not in html
    assert " ".join(HOSTILE.split()) in text_of(html)
    assert " ".join(HOSTILE.split()) in text_of(render(failed_results()))


def test_every_run_has_its_verdict_and_its_reasons() -> None:
    text = text_of(PAGE)
    assert all(reason in text for row in FULL.rows for reason in row.reasons)
    body = ElementTree.fromstring(PAGE)
    lines = ["".join(line.itertext()).split() for line in body.iter("tr")]
    verdicts = [" ".join(words) for words in lines if "round" in words]
    for row in FULL.rows:
        name = f"{row.engine}, {row.connections:,}, round {row.repeat}"
        assert any(line.startswith(name) and row.verdict in line for line in verdicts)


@pytest.mark.parametrize(
    "told",
    [
        "p99.99",
        "Jain's index",
        "packets dropped (softnet)",
        "PSS with all held, MB",
        "slab, MB",
        "voluntary a second",
        "proportional (PSS) of the server, a connection",
        "at the least, server's side",
        "Closed loop bulk-16m: 4 connections",
        "Ratios to runtime: closed loop echo, 10,000 connections",
        "Linux 6.18.0",
        "vm.max_map_count",
        "python -m loadtest compare",
        "locust --users 10000",
    ],
)
def test_all_points_are_there(told: str) -> None:
    assert told in text_of(PAGE)


def test_what_was_not_measured_is_a_dash_and_no_zero() -> None:
    unknown = [replace(row, lost=None, kernel_slab=None) for row in default_results().rows]
    made = with_rows(unknown, [], modes=("runtime", "threads", "uvloop"))
    html = render(made)
    assert "slab, MB" not in text_of(html)
    lines = [[*line.itertext()] for line in ElementTree.fromstring(html).iter("tr")]
    (told,) = [line for line in lines if line[0] == "runtime, 10,000, round 1"]
    assert told[3:6] == ["10,000", "10,000", "–"]


def test_runs_that_do_not_count_stand_before_all_figures() -> None:
    text = text_of(PAGE)
    told = "c-epoll at 10,000 connections, round 5: void: 3 failed, most often ECHO: WrongBytes"
    assert text.index(told) < text.index("At a glance")


def test_an_interrupted_comparison_says_so() -> None:
    assert "Interrupted: not every run was made" in text_of(render(strange_results()))
    assert "Interrupted" not in text_of(PAGE)


def test_the_ends_of_the_machine_are_there() -> None:
    text = text_of(PAGE)
    assert "runtime held 100,000 connections at once (2 server processes, 4 of Locust)" in text
    assert (
        "A thread for each connection came to 19,936 connections (19,939 threads); then the next "
        "connection waits, and was answered when another had ended, at open files 20,000." in text
    )
    assert (
        "Threads alone, without connections, came to 21,793 threads; the next could not be started "
        "(errno 11, Resource temporarily unavailable), at vm.max_map_count 65,530." in text
    )
    assert "Beyond one process" not in text_of(render(FULL))


def test_threads_that_did_not_fail_are_not_said_to_have() -> None:
    assert EXTREMES.bare_threads is not None
    stopped = replace(EXTREMES.bare_threads, errno=None, error="", limit="", reason="stopped at 50")
    text = text_of(render(FULL, replace(EXTREMES, bare_threads=stopped)))
    assert "came to 21,793 threads; it does not count: stopped at 50" in text
    assert "could not be started" not in text


def test_a_crowd_that_does_not_count_says_why() -> None:
    assert EXTREMES.crowd is not None
    crowd = replace(EXTREMES.crowd, ok=False, reason=f"12 were lost {HOSTILE}", moments=[])
    html = render(FULL, replace(EXTREMES, crowd=crowd, breaking=None, bare_threads=None))
    assert "does not count: 12 were lost" in text_of(html)
    assert "A thread for each connection" not in text_of(html)
    assert "<script" not in html


class TestCommand:
    """`python -m loadtest report DIR`."""

    def directory(self, path: Path, extremes: Extremes | None = EXTREMES) -> Path:
        write_json(FULL, path / "results.json")
        if extremes is not None:
            write_extremes(extremes, path / "extremes.json")
        return path

    def test_old_results_get_the_report(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["report", str(self.directory(tmp_path))]) == 0
        assert (tmp_path / "report.html").read_text(encoding="utf-8") == PAGE
        assert capsys.readouterr().out == f"wrote {tmp_path}/report.html\n"

    def test_it_does_without_extremes(self, tmp_path: Path) -> None:
        assert main(["report", str(self.directory(tmp_path, None))]) == 0
        assert (tmp_path / "report.html").read_text(encoding="utf-8") == render(FULL)

    def test_extremes_of_another_machine_are_left_out_and_said_to_be(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        other = replace(EXTREMES, machine=replace(EXTREMES.machine, cores=64))
        assert main(["report", str(self.directory(tmp_path, other))]) == 0
        told = "extremes.json was measured on another machine"
        assert told in capsys.readouterr().out
        page = text_of((tmp_path / "report.html").read_text(encoding="utf-8"))
        assert told in page
        assert "Beyond one process" not in page

    @pytest.mark.parametrize("name", ["results.json", "extremes.json"])
    @pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 1}', '{"schema": 2}'])
    def test_a_bad_file_is_one_line_and_status_2(
        self, name: str, text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (self.directory(tmp_path) / name).write_text(text)
        assert main(["report", str(tmp_path)]) == 2
        stdout, stderr = capsys.readouterr()
        assert len(stderr.splitlines()) == 1
        assert name in stderr
        assert stdout == ""
        assert not (tmp_path / "report.html").exists()

    def test_a_directory_without_results_is_one_line_and_status_2(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["report", str(tmp_path / "nowhere")]) == 2
        assert "nowhere/results.json: No such file" in capsys.readouterr().err

    def test_a_report_that_cannot_be_written_is_one_line_and_status_2(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (self.directory(tmp_path) / "report.html").mkdir()
        assert main(["report", str(tmp_path)]) == 2
        assert "cannot write" in capsys.readouterr().err


def test_no_fault_of_extremes_spoils_the_end_of_a_comparison(tmp_path: Path) -> None:
    (tmp_path / "extremes.json").write_text("{")
    (note,) = write_report(FULL, tmp_path)
    assert "extremes.json" in note
    assert "it is left out of the report" in note
    assert "All 6 engines held" in text_of((tmp_path / "report.html").read_text(encoding="utf-8"))


def test_a_comparison_takes_extremes_that_are_beside_it(tmp_path: Path) -> None:
    write_extremes(EXTREMES, tmp_path / "extremes.json")
    results: Results = default_results()
    assert write_report(results, tmp_path) == []
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Beyond one process" in text_of(page)
