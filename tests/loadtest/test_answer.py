"""The sentence says what was measured, names who failed or was better, and ranks nobody by less
than the rounds bear out."""

import random
from collections.abc import Sequence
from dataclasses import replace

from loadtest.report.answer import answer
from loadtest.results.schema import Peak, Results, Row
from tests.loadtest.sample_results import (
    client_limited,
    cut_short,
    default_results,
    failed,
    failed_results,
    sample_peak,
    sample_results,
    sample_row,
    void,
    with_rows,
)

NOISE = random.Random(1)


def rows(engine: str, rounds: int, connections: int = 10_000) -> list[Row]:
    made = [sample_row(engine, connections, repeat, NOISE) for repeat in range(1, rounds + 1)]
    return [replace(row, rss_per_connection=1640.0) for row in made]


def loops(engine: str, costs: Sequence[float], connections: int = 10_000) -> list[Peak]:
    return [
        replace(sample_peak("echo", engine, connections, repeat, NOISE), cpu_us=cost)
        for repeat, cost in enumerate(costs, start=1)
    ]


def compared(peaks: list[Peak], engines: Sequence[str] = ("runtime", "uvloop")) -> Results:
    held = [row for engine in engines for row in rows(engine, 4)]
    return with_rows(held, peaks, modes=engines, repeats=4, scenarios=("hold", "echo"))


def test_a_clear_difference_is_a_ratio_with_its_interval() -> None:
    said = answer(
        compared([*loops("runtime", (20, 21, 22, 23)), *loops("uvloop", (40, 42, 44, 46))])
    )
    assert said == (
        "runtime and uvloop held 10,000 connections at once with every echo verified; in a closed "
        "loop over 10,000 connections an echo costs the server 21.5 µs of CPU on runtime, more on "
        "uvloop (2.00 times [2.00–2.00]); a connection takes 1.64 kB of the server's memory on "
        "runtime and 1.64 kB on uvloop."
    )


def test_a_loss_is_said_in_the_same_words_as_a_win() -> None:
    said = answer(
        compared([*loops("runtime", (20, 21, 22, 23)), *loops("uvloop", (10, 10, 11, 11))])
    )
    assert "21.5 µs of CPU on runtime, less on uvloop (0.49 times [0.48–0.50])" in said


def test_where_intervals_overlap_there_is_no_difference() -> None:
    said = answer(
        compared([*loops("runtime", (20, 21, 22, 40)), *loops("uvloop", (21, 20, 25, 39))])
    )
    assert "no difference found from uvloop" in said
    assert "more on" not in said
    assert "less on" not in said


def test_with_too_few_rounds_nobody_is_ranked() -> None:
    said = answer(compared([*loops("runtime", (20, 21, 22)), *loops("uvloop", (40, 42, 44))]))
    assert "too few rounds that count (--repeats 4) to rank it against uvloop (2.00 times" in said
    assert "more on" not in said


def test_without_a_closed_loop_it_is_the_held_load_and_said_so() -> None:
    said = answer(default_results())
    assert "at 1,000 echoes a second an echo costs the server" in said
    assert "what it costs at full speed was not measured (--scenarios hold,echo)" in said
    assert "to rank it against threads" in said


def test_times_of_runs_that_locust_limited_are_not_in_it() -> None:
    held = [client_limited(row) for engine in ("runtime", "uvloop") for row in rows(engine, 4)]
    said = answer(with_rows(held, [], modes=("runtime", "uvloop"), repeats=4))
    assert " ms" not in said
    assert "costs the server" in said


def test_who_did_not_hold_and_who_failed_are_named() -> None:
    held = [*rows("runtime", 2), *[void(row) for row in rows("uvloop", 1)], *rows("uvloop", 1)]
    held += [cut_short(row) for row in rows("threads", 2)]
    held[-3] = replace(held[-3], repeat=2)
    peaks = [*loops("runtime", (20, 21)), *[failed(peak) for peak in loops("uvloop", (1, 2))]]
    said = answer(with_rows(held, peaks, modes=("runtime", "uvloop", "threads"), repeats=2))
    assert said.startswith("runtime and uvloop held 10,000")
    assert "void or failed: uvloop, in 1 of its 2 rounds; threads, in all of its 2 rounds" in said
    assert "(failed: uvloop, in all of its 2 rounds)" in said


def test_a_number_that_nobody_held_is_said_before_the_one_that_was() -> None:
    held = [*rows("runtime", 1, 1000), void(rows("runtime", 1, 20_000)[0])]
    said = answer(with_rows(held, [], (1000, 20_000), ("runtime",)))
    assert said.startswith(
        "At 20,000 connections the only run of runtime is void; runtime held 1,0"
    )


def test_where_nothing_counts_no_figure_is_given() -> None:
    said = answer(failed_results())
    assert "At 20,000 connections all 6 runs of runtime, threads and uvloop are void" in said
    assert "no closed loop of echoes came to its end" in said
    assert "µs" not in said
    assert "memory" not in said
    assert answer(with_rows([], [])) == ("Nothing was measured.")


def test_without_the_rival_costs_stand_alone() -> None:
    peaks = [*loops("threads", (30, 31, 32, 33)), *loops("uvloop", (40, 42, 44, 46))]
    said = answer(compared(peaks, ("runtime", "uvloop", "threads")))
    assert "31.5 µs of CPU on threads and 43.0 µs of CPU on uvloop" in said
    assert "(not compared: runtime has no run that counts)" in said


def test_of_many_engines_memory_is_a_range() -> None:
    said = answer(sample_results())
    assert said.startswith("All 6 engines held 10,000 connections")
    assert "of the server's memory on runtime (of all engines from under 1 B on c-epoll to" in said
