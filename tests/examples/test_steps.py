"""What is true of every step of the three parts."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from .steps import STEPS

ROOT = Path(__file__).parents[2]


def test_a_name_means_one_step() -> None:
    files = [
        path
        for part in ("part1_futures", "part2_tasks", "part3_io")
        for path in (ROOT / "examples" / part).glob("s??_*.py")
    ]
    assert len(files) == len(STEPS) >= 29


@pytest.mark.parametrize("name", STEPS)
def test_help_says_in_a_sentence_what_a_step_shows(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        STEPS[name].main(["--help"])
    first, blank, *_ = (STEPS[name].__doc__ or "").splitlines()
    assert first.endswith(".")
    assert blank == ""
    assert first in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("name", [name for name in STEPS if name != "the_runtime"])
def test_a_step_ends_where_the_next_one_begins(name: str) -> None:
    last = (STEPS[name].__doc__ or "").rstrip().rpartition("\n\n")[2]
    assert re.search(r"\b(Next|Part Two|Part Three)\b", last)


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["--count", "0"], "'0' is no whole number from 1 on"),
        (["--count", "ten"], "'ten' is no whole number from 1 on"),
        (["--seconds", "-1"], "'-1' is no number of seconds from 0 on"),
        (["--seconds", "inf"], "'inf' is no number of seconds from 0 on"),
        (["--seconds", "nan"], "'nan' is no number of seconds from 0 on"),
        (["--seconds", "soon"], "'soon' is no number of seconds from 0 on"),
    ],
)
def test_a_number_that_makes_no_sense_is_named(
    arguments: list[str], fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match=r"^2$"):
        STEPS["foo"].main(arguments)
    assert fault in capsys.readouterr().err.splitlines()[-1]


def test_a_step_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", STEPS["awake"].__name__, "--seconds", "0.01"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=30,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "all joined" in done.stdout
