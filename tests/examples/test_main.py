"""`python -m examples`: what it lists, what it runs, and what it says to a name that is none."""

import importlib
import os
import re
import subprocess
import sys
from collections import Counter

import pytest

from examples import __main__ as command
from examples.part0_introduction import s06_join_all

from .harness import ROOT, examples, printed, python

FILES = sorted(
    path.relative_to(ROOT / "examples").with_suffix("").as_posix()
    for path in (ROOT / "examples").glob("part*/s[0-9][0-9]_*.py")
)
#: Names in reading order, which is that of the files.
NAMES = [re.sub(r".*/s\d\d_", "", file) for file in FILES]


def test_all_examples_are_listed_in_reading_order(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([]) == 0
    lines = printed(capsys)
    listed = [line.split()[0] for line in lines if line.startswith("  ")]
    assert listed == NAMES
    assert len(listed) > 30
    headings = [
        line for before, line in zip(["", *lines], lines, strict=False) if line and not before
    ]
    assert [heading.split(":")[0] for heading in headings[:-1]] == [
        "The introduction",
        "Part One, futures",
        "Part Two, tasks",
        "Part Three, IO",
    ]


def test_a_line_says_what_an_example_shows(capsys: pytest.CaptureFixture[str]) -> None:
    command.main([])
    lines = printed(capsys)
    for file, name in zip(FILES, NAMES, strict=True):
        doc = importlib.import_module(f"examples.{file.replace('/', '.')}").__doc__
        (line,) = (line for line in lines if line.split()[:1] == [name] and line[0] == " ")
        assert doc is not None
        assert line.split(maxsplit=1)[1] == doc.splitlines()[0]
        assert doc.splitlines()[0].endswith(".")


def test_no_two_examples_have_one_name() -> None:
    assert [name for name, times in Counter(NAMES).items() if times > 1] == []


@pytest.mark.parametrize("name", ["join_all", "join-all"])
def test_an_example_is_run_by_its_name_and_gets_the_rest(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    got: list[object] = []
    monkeypatch.setattr(sys, "argv", ["unmoved"])
    monkeypatch.setattr(s06_join_all, "main", got.append)
    assert command.main([name, "--count", "3"]) == 0
    assert got == [["--count", "3"]]


def test_from_a_shell_it_takes_its_arguments_from_there() -> None:
    done = examples("join-all", "--count", "2", "--seconds", "0.01")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[1:-1] == ["start 1", "start 2", "end 1", "end 2"]


def test_each_is_a_module_that_can_be_run() -> None:
    done = python("-m", "examples.part0_introduction.s06_join_all", "--seconds", "0")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-2] == "end 10"


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("joinall", "join_all"), ("basketball", "basketballs"), ("Threads", "threads")],
)
def test_an_unknown_name_is_one_line_with_the_nearest_and_status_2(
    name: str, nearest: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main([name]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        f"examples: there is no example {name!r}; did you mean {nearest}? "
        "(python -m examples lists them)\n"
    )


@pytest.mark.parametrize("name", ["--list", "zzzz", ""])
def test_a_name_like_none_is_one_line_too(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([name]) == 2
    assert re.fullmatch(r"examples: there is no example .*\n", capsys.readouterr().err)


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_a_reader_that_has_seen_enough_is_no_fault(arguments: list[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    with open(write, "wb") as pipe:
        done = subprocess.run(
            [sys.executable, "-m", "examples", *arguments],
            cwd=ROOT,
            stdout=pipe,
            stderr=subprocess.PIPE,
            text=True,
            timeout=30,
        )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_teaches(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([flag]) == 0
    said = capsys.readouterr().out
    assert "Jack O'Connor" in said
    assert "Async Rust in Three Parts" in said
    shown = re.findall(r"python -m examples ([a-z][a-z_-]+)", said)
    assert {name.replace("-", "_") for name in shown} <= set(NAMES)
    assert len(shown) >= 3


def test_an_example_is_told_what_it_is_called() -> None:
    done = examples("join-all", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: python -m examples join_all ")
    done = examples("join-all", "--count", "none")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("python -m examples join_all: error: ")


def test_ctrl_c_ends_an_example_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(argv: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sys, "argv", ["unmoved"])
    monkeypatch.setattr(s06_join_all, "main", interrupted)
    assert command.main(["join_all"]) == 130
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("file", [file for file in FILES if file.startswith("part0")])
def test_a_step_of_the_introduction_ends_where_the_next_one_begins(file: str) -> None:
    doc = importlib.import_module(f"examples.{file.replace('/', '.')}").__doc__ or ""
    assert re.match(r"Next\b.*[:.]$", doc.rstrip().rpartition("\n\n")[2])
