"""What was written is read back as it was; what is no file of results is named in one line."""

from collections.abc import Callable
from pathlib import Path

import pytest

from loadtest.results.decode import Unreadable
from loadtest.results.extremes import read_extremes, write_extremes
from loadtest.results.schema import read_results, write_json
from tests.loadtest.sample_results import (
    default_results,
    failed_results,
    sample_extremes,
    sample_results,
)


@pytest.mark.parametrize("made", [sample_results, default_results, failed_results])
def test_results_come_back_as_they_were(made: Callable[[], object], tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    results = made()
    write_json(results, path)  # type: ignore[arg-type]
    assert read_results(path) == results


def test_extremes_come_back_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "extremes.json"
    write_extremes(sample_extremes(), path)
    assert read_extremes(path) == sample_extremes()


def test_fields_that_a_later_version_added_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "extremes.json"
    write_extremes(sample_extremes(), path)
    path.write_text(path.read_text().replace('"crowd": {', '"new": 1, "crowd": {"newer": [],', 1))
    assert read_extremes(path) == sample_extremes()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "it is empty"),
        ("[]", "names no schema"),
        ('{"schema": 1, "rows": []}', "its schema is 1, and 2 is what can be read"),
        ('{"schema": 2}', "missing required field `started`"),
        ('{"schema": 2', "truncated"),
        ("\0", "malformed"),
        ('"\udcff"', "is no file of results"),
    ],
)
def test_what_is_no_file_of_results_is_named_in_one_line(
    text: str, told: str, tmp_path: Path
) -> None:
    path = tmp_path / "results.json"
    path.write_text(text, errors="surrogateescape")
    with pytest.raises(Unreadable) as raised:
        read_results(path)
    assert str(raised.value).startswith(f"{path} is no file of results: ")
    assert told in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_wrong_field_is_named_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    write_json(sample_results(), path)
    path.write_text(path.read_text().replace('"lost": 0', '"lost": "none"', 1))
    with pytest.raises(Unreadable, match=r"\$\.rows\[0\]\.lost"):
        read_results(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match=r"nowhere\.json: No such file"):
        read_results(tmp_path / "nowhere.json")
