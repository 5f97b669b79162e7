"""Bad input gets one line and status 2; help teaches by examples."""

from pathlib import Path

import pytest

from loadtest.__main__ import main
from tests.loadtest.harness import run_loadtest


def status_of(arguments: list[str]) -> object:
    try:
        return main(arguments)
    except SystemExit as ending:
        return ending.code


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["compare", "--modes", "asyncio,nonsense"], "nonsense"),
        (["compare", "--modes", "asyncio,asyncio"], "twice"),
        (["compare", "--connections", "0"], "--connections"),
        (["compare", "--connections", "many"], "--connections"),
        (["compare", "--connections", "100,100"], "twice"),
        (["compare", "--scenarios", "hold,nonsense"], "no scenario 'nonsense'"),
        (["compare", "--rival", "threads", "--modes", "uvloop"], "--rival threads"),
        (["compare", "--duration", "0"], "--duration"),
        (["compare", "--duration", "inf"], "--duration"),
        (["compare", "--repeats", "-1"], "--repeats"),
        (["compare", "--payload", "0"], "--payload"),
        (["compare", "--pacing", "-1"], "--pacing"),
        (["compare", "--source-addresses", "here"], "here"),
        (["compare", "--server-command", "'"], "--server-command"),
        (["compare", "--unknown"], "--unknown"),
        (["compare", "--connections", "10", "--out", "/proc/nowhere"], "/proc/nowhere"),
        (["doctor", "--connections", "x"], "--connections"),
        (["nonsense"], "nonsense"),
        ([], "COMMAND"),
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


def test_nothing_to_resume_is_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["compare", "--resume", "--connections", "10", "--out", str(tmp_path)]
    assert status_of(arguments) == 2
    _, stderr = capsys.readouterr()
    assert len(stderr.splitlines()) == 1
    assert "there is nothing to resume" in stderr


def test_bad_input_on_a_real_command_line_ends_with_status_2() -> None:
    done = run_loadtest("compare", "--modes", "asyncio,nonsense")
    assert done.returncode == 2
    assert "no engine 'nonsense'; there are runtime, threads" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "taught"),
    [
        (["--help"], "python -m loadtest compare --modes"),
        (["--help"], "locust -f loadtest/locustfile.py --host tcp://127.0.0.1:7007"),
        (["compare", "--help"], "--source-addresses"),
        (["doctor", "--help"], "--connections"),
    ],
)
def test_help_teaches(
    arguments: list[str], taught: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of(arguments) == 0
    assert taught in " ".join(capsys.readouterr().out.split())
