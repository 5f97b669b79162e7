"""`extremes.json` keeps the part that is not made again, and only beside its own machine's."""

from dataclasses import replace
from pathlib import Path

import pytest

from loadtest.extremes.keeper import Keeper
from loadtest.results.extremes import Breaking, read_extremes, write_extremes
from tests.loadtest.sample_results import sample_extremes

SAMPLE = sample_extremes()
NEW = Breaking(["new"], "", 1, 2, None, "", "", 0.0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "extremes.json"
    write_extremes(SAMPLE, path)
    return path


def test_one_part_is_replaced_and_the_other_stays(path: Path) -> None:
    Keeper(path, ["again"], SAMPLE.machine).keep(breaking=NEW)
    found = read_extremes(path)
    assert (found.crowd, found.breaking, found.command) == (SAMPLE.crowd, NEW, ["again"])
    assert [each.name for each in path.parent.iterdir()] == ["extremes.json"]


def test_what_another_machine_has_left_is_set_aside(path: Path) -> None:
    other = replace(SAMPLE.machine, cores=SAMPLE.machine.cores + 1)
    Keeper(path, ["again"], other).keep(bare_threads=NEW)
    found = read_extremes(path)
    assert (found.crowd, found.breaking, found.bare_threads) == (None, None, NEW)
    assert found.machine == other
    assert read_extremes(path.parent / "extremes.earlier.json") == SAMPLE


def test_what_cannot_be_read_is_set_aside(path: Path) -> None:
    path.write_text("{")
    Keeper(path, ["again"], SAMPLE.machine)
    assert read_extremes(path).crowd is None
    assert (path.parent / "extremes.earlier.json").read_text() == "{"


def test_the_first_one_is_begun_empty(tmp_path: Path) -> None:
    Keeper(tmp_path / "extremes.json", ["first"], SAMPLE.machine)
    found = read_extremes(tmp_path / "extremes.json")
    assert (found.crowd, found.breaking, found.bare_threads) == (None, None, None)
