"""The series on a terminal is live and leaves a line for each run; elsewhere it is plain lines."""

import io

from rich.console import Console

from loadtest.runs.progress import Reporter


def console(terminal: bool) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=100)


def a_series(target: Console) -> str:
    with Reporter(target) as reporter:
        reporter.expect(2, 120.0)
        reporter.begin("runtime, 10 connections, round 1", 60.0)
        for held in range(3):
            reporter.update("ramp", f"{held} of 10 connections")
        reporter.update("hold", "10 of 10 connections")
        reporter.end("valid; 34 us")
        reporter.begin("uvloop, 10 connections, round 1", 60.0)
    assert isinstance(target.file, io.StringIO)
    return target.file.getvalue()


def test_plain_output_has_a_line_for_each_stage_and_each_end() -> None:
    assert a_series(console(terminal=False)).splitlines() == [
        "[1/2] runtime, 10 connections, round 1: ramp  0 of 10 connections",
        "[1/2] runtime, 10 connections, round 1: hold  10 of 10 connections",
        "[1/2] runtime, 10 connections, round 1: valid; 34 us",
    ]


def test_a_terminal_shows_how_far_it_is_and_keeps_what_was_found() -> None:
    shown = a_series(console(terminal=True))
    assert "1 of 2 runs done, about 1 min to go" in shown
    assert "[1/2] runtime, 10 connections, round 1: valid; 34 us" in shown
    # The cursor is given back.
    assert shown.rstrip().endswith("\x1b[?25h") or "\x1b[?25h" in shown


def test_brackets_in_a_text_are_text() -> None:
    target = console(terminal=False)
    Reporter(target).note("[red]x[/red]")
    assert isinstance(target.file, io.StringIO)
    assert target.file.getvalue() == "[red]x[/red]\n"
