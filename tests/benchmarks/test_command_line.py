"""The command line: bad input gets one line and status 2, and what was measured is never lost."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks.catalogue import BENCHMARKS
from benchmarks.engines import ENGINES
from benchmarks.measure import Run
from benchmarks.results import Results
from benchmarks.rounds import ROOT, Plan, RunFailed


def status_of(arguments: list[str]) -> object:
    try:
        return command.main(arguments)
    except SystemExit as ending:
        return ending.code


def fake_run(benchmark: str, engine: str, operations: int) -> Run:
    """As if the runtime were twice as fast as anybody else."""
    seconds = operations * (1e-6 if engine == "runtime" else 2e-6)
    facts = {"early": 7} if benchmark == "million_timers" else {}
    return Run(
        benchmark, engine, operations, seconds, seconds, 0.0, 1 << 20, 9 << 20, 2 << 20, facts
    )


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["nonsense"], "no benchmark 'nonsense'; there are spawn_one, "),
        (["spawn_one", "spwan_many"], "'spwan_many'"),
        (["--engines", "tokio"], "no engine 'tokio'; there are runtime, asyncio, uvloop, trio"),
        (["--engines", ""], "no engine ''"),
        (["--rounds", "0"], "--rounds"),
        (["--rounds", "many"], "--rounds"),
        (["--scale", "0"], "--scale"),
        (["--scale", "nan"], "--scale"),
        (["--scale", "inf"], "--scale"),
        (["--scale", "small"], "--scale"),
        (["--json", "/proc/nowhere/x"], "/proc/nowhere/x"),
        (["million_timers", "--engines", "trio"], "add runtime"),
        (["--nonsense"], "--nonsense"),
    ],
)
def test_bad_input_gets_one_line_and_status_2(
    arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of(arguments) == 2
    stdout, stderr = capsys.readouterr()
    assert len(stderr.splitlines()) == 1
    assert named in stderr
    assert stdout == ""


def test_an_engine_that_is_not_installed_is_named_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(ENGINES, "trio", replace(ENGINES["trio"], package="no_such_package"))
    assert status_of([]) == 2
    assert capsys.readouterr().err == (
        "python -m benchmarks: trio is not installed: "
        "pip install trio, or --engines runtime,asyncio,uvloop\n"
    )
    assert status_of(["--engines", "trio"]) == 2
    assert capsys.readouterr().err.endswith("pip install trio\n")


def test_without_rich_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "rich.console", None)
    assert status_of(["spawn_one"]) == 2
    assert capsys.readouterr().err.endswith("rich is not installed: pip install rich\n")


def test_help_teaches_every_benchmark(capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of(["--help"]) == 0
    taught = capsys.readouterr().out
    for each in BENCHMARKS.values():
        assert each.name in taught
        assert each.operation in taught
    assert "python -m benchmarks spawn_many yield_now --engines runtime,uvloop" in taught


def test_a_real_run_of_every_engine(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    arguments = ["spawn_many", "--scale", "0.0001", "--rounds", "1", "--json", str(file)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(file.read_text())
    assert [run["engine"] for run in document["runs"]] == list(ENGINES)
    assert {run["operations"] for run in document["runs"]} == {10}
    assert document["failures"] == []
    assert document["command"].startswith("python -m benchmarks spawn_many --scale 0.0001")
    assert max(map(len, done.stdout.splitlines()[:8])) <= 80


def test_the_big_ones_run_only_when_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "run_apart", fake_run)
    assert status_of(["--rounds", "1"]) == 0
    assert "million" not in capsys.readouterr().out
    assert status_of(["million_timers", "--rounds", "1"]) == 0
    stdout = capsys.readouterr().out
    assert "million_timers on runtime, round 1: early 7" in stdout
    assert "RSS before / peak / after: 1 / 9 / 2 MiB" in stdout


def test_ratios_are_ours_by_theirs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "run_apart", fake_run)
    assert status_of(["spawn_one", "--engines", "runtime,trio"]) == 0
    row = next(line for line in capsys.readouterr().out.splitlines() if "trio" in line)
    assert row.split() == ["trio", "2.00", "2.00-2.00", "2.00", "9", "0.50", "0.50-0.50"]


def test_a_failed_run_has_its_reason_shown_and_status_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def run(benchmark: str, engine: str, operations: int) -> Run:
        if engine == "uvloop":
            raise RunFailed("ended by SIGKILL")
        return fake_run(benchmark, engine, operations)

    monkeypatch.setattr(command, "run_apart", run)
    file = tmp_path / "figures.json"
    assert status_of(["spawn_one", "--rounds", "1", "--json", str(file)]) == 1
    stdout = capsys.readouterr().out
    assert ["uvloop", "failed"] in [line.split() for line in stdout.splitlines()]
    assert "FAILED spawn_one on uvloop, round 1: ended by SIGKILL" in stdout
    assert [each["reason"] for each in json.loads(file.read_text())["failures"]] == [
        "ended by SIGKILL"
    ]


def test_an_interrupt_keeps_what_was_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def run(benchmark: str, engine: str, operations: int) -> Run:
        if engine == "uvloop":
            raise KeyboardInterrupt
        return fake_run(benchmark, engine, operations)

    monkeypatch.setattr(command, "run_apart", run)
    file = tmp_path / "figures.json"
    assert status_of(["spawn_one", "--json", str(file)]) == 130
    assert "asyncio" in capsys.readouterr().out
    assert len(json.loads(file.read_text())["runs"]) == 2


def test_a_ratio_pairs_runs_of_one_round() -> None:
    """The machine is twice as slow in the second round, and the rival missed the third."""
    results = Results(Plan(("spawn_one",), ("runtime", "trio"), 3, 1.0))
    for number, (ours, theirs) in enumerate([(1.0, 4.0), (2.0, 4.0), (9.0, None)]):
        for engine, seconds in (("runtime", ours), ("trio", theirs)):
            if seconds is not None:
                run = replace(fake_run("spawn_one", engine, 1), user=seconds)
                results.runs["spawn_one", engine, number] = run
    ratio = results.ratio("spawn_one", "trio", lambda run: run.cpu)
    assert ratio is not None
    assert (ratio.least, ratio.median, ratio.most) == (0.25, 0.375, 0.5)
    assert results.ratio("spawn_one", "runtime", lambda run: run.cpu) is None
    assert results.spread("spawn_one", "asyncio", lambda run: run.cpu) is None
