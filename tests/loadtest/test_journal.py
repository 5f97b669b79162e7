"""No finished run is lost, none is made twice, and two comparisons are never mixed up."""

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from loadtest.results.schema import SCHEMA
from loadtest.runs.journal import EARLIER, NAME, CannotResume, Header, Journal
from tests.loadtest.sample_results import MACHINE, sample_peak, sample_results, sample_row, void

NOISE = random.Random(5)
HEADER = Header(
    schema=SCHEMA,
    started="2026-01-01T00:00:00+00:00",
    resumed=[],
    command="python -m loadtest compare",
    machine=MACHINE,
    asked=sample_results().asked,
)
LATER = replace(HEADER, started="2026-01-02T00:00:00+00:00")
ROW = sample_row("runtime", 100, 1, NOISE)
PEAK = sample_peak("churn", "threads", 64, 2, NOISE)


def begun(out: Path) -> Journal:
    journal = Journal.begin(out, HEADER)
    journal.add(ROW)
    journal.add(PEAK)
    return journal


def test_what_was_added_is_there_after_a_crash(tmp_path: Path) -> None:
    begun(tmp_path)
    resumed = Journal.resume(tmp_path, LATER)
    assert resumed.rows == [ROW]
    assert resumed.peaks == [PEAK]
    assert resumed.done() == {("hold", "runtime", 100, 1), ("churn", "threads", 64, 2)}


def test_each_resumption_is_kept_beside_the_first_beginning(tmp_path: Path) -> None:
    begun(tmp_path)
    Journal.resume(tmp_path, LATER)
    third = Journal.resume(tmp_path, replace(HEADER, started="2026-01-03T00:00:00+00:00"))
    assert third.header.started == HEADER.started
    assert third.header.resumed == [LATER.started, "2026-01-03T00:00:00+00:00"]


def test_a_void_run_is_a_finished_one(tmp_path: Path) -> None:
    Journal.begin(tmp_path, HEADER).add(void(ROW))
    assert Journal.resume(tmp_path, LATER).done() == {("hold", "runtime", 100, 1)}


def test_a_line_that_was_cut_off_is_a_run_that_was_not_finished(tmp_path: Path) -> None:
    begun(tmp_path)
    path = tmp_path / NAME
    path.write_text(path.read_text()[:-20])
    resumed = Journal.resume(tmp_path, LATER)
    assert (resumed.rows, resumed.peaks) == ([ROW], [])
    resumed.add(PEAK)
    assert Journal.resume(tmp_path, LATER).peaks == [PEAK]


@pytest.mark.parametrize(
    ("what", "change", "told"),
    [
        ("asked", {"duration": 1.0}, "duration was 30.0, is 1.0"),
        ("asked", {"modes": ["runtime"]}, "modes was"),
        ("asked", {"source_addresses": "127.0.0.2"}, "source_addresses was none, is 127.0.0.2"),
        ("machine", {"git_revision": "new"}, "git_revision was 0123456789ab, is new"),
        ("machine", {"git_revision": "unknown"}, "the revision of the code is not known"),
        ("machine", {"cores": 64}, "cores was 2, is 64"),
        ("machine", {"versions": {}}, "versions was"),
    ],
)
def test_another_plan_machine_or_version_is_not_the_same_comparison(
    tmp_path: Path, what: str, change: dict[str, Any], told: str
) -> None:
    begun(tmp_path)
    changed: dict[str, Any] = {what: replace(getattr(HEADER, what), **change)}
    with pytest.raises(CannotResume) as refused:
        Journal.resume(tmp_path, replace(LATER, **changed))
    assert told in str(refused.value)
    assert str(refused.value).count(" was ") == 1
    # And nothing was changed by the attempt.
    assert Journal.resume(tmp_path, LATER).header.resumed == [LATER.started]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "no "),
        ("", "is empty"),
        ('{"row": {}}\n', "line 1, cannot be read: the first line is no header"),
        ("nonsense\n", "line 1, cannot be read"),
        ("[]\n", "line 1, cannot be read"),
        ('{"header": {}}\n', "line 1, cannot be read"),
    ],
)
def test_a_file_that_is_no_journal_is_named(tmp_path: Path, text: str | None, told: str) -> None:
    if text is not None:
        (tmp_path / NAME).write_text(text)
    with pytest.raises(CannotResume, match=told):
        Journal.resume(tmp_path, LATER)


def test_another_schema_is_refused(tmp_path: Path) -> None:
    Journal.begin(tmp_path, replace(HEADER, schema=1))
    with pytest.raises(CannotResume, match=f"its schema is 1, this is {SCHEMA}"):
        Journal.resume(tmp_path, LATER)


def test_a_new_comparison_moves_the_one_before_aside(tmp_path: Path) -> None:
    begun(tmp_path)
    Journal.begin(tmp_path, LATER)
    assert Journal.resume(tmp_path, HEADER).done() == set()
    earlier = [json.loads(line) for line in (tmp_path / EARLIER).read_text().splitlines()]
    assert [next(iter(record)) for record in earlier] == ["header", "row", "peak"]
