"""What Locust writes, compare reads; half a line waits for its other half."""

from pathlib import Path

import pytest

from loadtest.results.figures import (
    Failure,
    Fairness,
    LineTail,
    LoadResult,
    Progress,
    decode,
    encode,
)

PROGRESS = Progress(at=1.5, phase="ramp", users=3, held=2, lost=0, requests=7, failures=1)
RESULT = LoadResult(
    phase="hold",
    asked=3,
    held_min=3,
    held_end=3,
    lost=0,
    ramp_seconds=1.0,
    hold_seconds=2.0,
    requests=10,
    cpu_seconds=[0.5],
    times={"ECHO response": {"count": 10, "p50": 0.3}},
    curves={"ECHO response": [(50.0, 0.3), (100.0, 1.0)]},
    hub_lag={"count": 20, "p99": 0.1},
    fairness=Fairness(0.9, 2, 4),
    failures=[Failure("ECHO", "response", "WrongBytes('x')", 2)],
)


@pytest.mark.parametrize("record", [PROGRESS, RESULT])
def test_a_record_survives_the_way_through_the_file(record: Progress | LoadResult) -> None:
    line = encode(record)
    assert line.endswith("\n")
    assert decode(line) == record


@pytest.mark.parametrize("line", ["", "{}", "[]", "3", '{"event": "progress"}', "{"])
def test_a_line_that_is_no_record_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        decode(line)


def test_a_tail_gives_each_line_once_and_waits_for_its_end(tmp_path: Path) -> None:
    path = tmp_path / "figures"
    tail = LineTail(path)
    assert tail.read() == []
    path.write_text("one\ntw")
    assert tail.read() == ["one"]
    assert tail.read() == []
    path.write_text("one\ntwo\nthree\n")
    assert tail.read() == ["two", "three"]
