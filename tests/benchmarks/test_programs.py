"""Every benchmark, on every engine, does what it says and as often as it says."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import benchmarks.programs.asyncio as on_asyncio
import benchmarks.programs.runtime as on_runtime
import benchmarks.programs.trio as on_trio
import runtime
from benchmarks.catalogue import BENCHMARKS, SMALL
from benchmarks.engines import ENGINES, Engine
from benchmarks.measure import measure
from benchmarks.programs import KEPT, deadlines, judge, shares
from runtime.testing import VirtualClock

MODULES = {"runtime": on_runtime, "asyncio": on_asyncio, "uvloop": on_asyncio, "trio": on_trio}

#: What each benchmark calls once for each operation, by engine.
VERBS = {
    ("spawn_one", "runtime"): "spawn",
    ("spawn_one", "asyncio"): "create_task",
    ("spawn_one", "trio"): "open_nursery",
    ("yield_now", "runtime"): "yield_now",
    ("yield_now", "asyncio"): "sleep",
    ("yield_now", "trio"): "lowlevel.checkpoint",
    ("timer_set_cancel", "runtime"): "timeout",
    ("timer_set_cancel", "asyncio"): "timeout",
    ("timer_set_cancel", "trio"): "fail_after",
    ("timer_fire", "runtime"): "sleep",
    ("timer_fire", "asyncio"): "sleep",
    ("timer_fire", "trio"): "sleep",
    ("wake_across_thread", "runtime"): "current_waker",
    ("run_in_thread", "runtime"): "run_in_thread",
    ("run_in_thread", "asyncio"): "to_thread",
    ("run_in_thread", "trio"): "to_thread.run_sync",
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("benchmark_name", SMALL)
@pytest.mark.parametrize("operations", [1, 250])
def test_it_counts_as_many_operations_as_were_asked_for(
    benchmark_name: str, engine: str, operations: int
) -> None:
    run = measure(benchmark_name, engine, operations)
    assert run.operations == operations
    assert run.wall > 0
    assert run.rss_peak > 0


@pytest.mark.parametrize("engine", ENGINES)
def test_every_sleeper_sleeps_and_is_counted(engine: str) -> None:
    program: Any = ENGINES[engine].program("million_sleepers")

    async def main() -> Any:
        return await program(300, seconds=0.001)

    assert ENGINES[engine].run(main) == 300


@pytest.mark.parametrize("engine", [name for name in ENGINES if name != "trio"])
def test_the_timers_that_were_left_fire_and_no_others(engine: str) -> None:
    run = measure("million_timers", engine, 250)
    assert run.operations == 250
    assert run.facts["fired"] == 3  # every hundredth


def test_no_timer_of_the_runtime_is_early_or_out_of_order() -> None:
    outcome = runtime.run(on_runtime.million_timers(5_000), clock=VirtualClock())
    assert outcome.facts == {"fired": 50, "early": 0, "earliest_us": 0, "out_of_order": 0}


@pytest.mark.parametrize(("benchmark_name", "engine"), VERBS)
def test_it_calls_the_verb_once_for_each_operation(
    benchmark_name: str, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder: Any = getattr(MODULES[engine], engine)
    *path, verb = VERBS[benchmark_name, engine].split(".")
    for name in path:
        holder = getattr(holder, name)
    original, calls = getattr(holder, verb), 0

    def counted(*args: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        return original(*args, **options)

    monkeypatch.setattr(holder, verb, counted)
    calls_of = {}
    for operations in (20, 50):
        calls = 0
        program: Any = ENGINES[engine].program(benchmark_name)

        async def main(program: Any = program, operations: int = operations) -> Any:
            return await program(operations)

        assert ENGINES[engine].run(main) == operations
        calls_of[operations] = calls
    # What engines call by themselves, at their start, say, cancels out.
    assert calls_of[50] - calls_of[20] == 30


@pytest.mark.parametrize(
    ("engine", "benchmark_name", "work"),
    [
        (engine, benchmark_name, work)
        for engine in ("runtime", "asyncio", "trio")
        for benchmark_name, work in (
            ("spawn_one", "one"),
            ("spawn_many", "one"),
            ("timer_set_cancel", "one"),
            ("run_in_thread", "blocking"),
        )
        # A nursery has no results, so Trio's tasks count themselves.
        if engine != "trio" or "spawn" not in benchmark_name
    ],
)
def test_what_it_counts_is_what_the_work_returned(
    engine: str, benchmark_name: str, work: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Work that is worth seven makes the count seven times as high."""
    program: Any = ENGINES[engine].program(benchmark_name)

    async def seven() -> int:
        return 7

    monkeypatch.setattr(MODULES[engine], work, seven if work == "one" else lambda: 7)

    async def main() -> Any:
        return await program(30)

    assert ENGINES[engine].run(main) == 210


def test_every_engine_has_every_benchmark_but_bare_timers_on_trio() -> None:
    missing = {
        (engine.name, name)
        for engine in ENGINES.values()
        for name in BENCHMARKS
        if engine.program(name) is None
    }
    assert missing == {("trio", "million_timers")}


@given(n=st.integers(0, 10_000), parts=st.integers(1, 200))
def test_shares_add_up_and_differ_by_one_at_most(n: int, parts: int) -> None:
    dealt = shares(n, parts)
    assert sum(dealt) == n
    assert len(dealt) == parts
    assert max(dealt) - min(dealt) <= 1


def test_deadlines_are_the_same_for_every_engine_and_in_no_order() -> None:
    assert deadlines(1_000, 5.0) == deadlines(1_000, 5.0)
    assert deadlines(1_000, 5.0) != sorted(deadlines(1_000, 5.0))
    assert min(deadlines(1_000, 5.0)) >= 5.0 + 0.01 + 1_000 * 5e-6


def test_early_and_disordered_timers_are_counted() -> None:
    rung = [(1.0, 1.0), (3.0, 2.5), (2.0, 2.5)]
    assert judge(9, [1.0, 2.0, 3.0], rung).facts == {
        "fired": 3,
        "early": 1,
        "earliest_us": 500_000,
        "out_of_order": 1,
    }


@pytest.mark.parametrize("rung", [[], [(1.0, 1.0), (1.0, 1.0)], [(2.0, 2.0)]])
def test_a_timer_that_is_lost_or_fires_twice_fails_the_run(rung: list[tuple[float, float]]) -> None:
    with pytest.raises(RuntimeError, match="1 timers were left to fire"):
        judge(KEPT, [1.0], rung)


def test_a_program_that_miscounts_fails_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    async def lazy(n: int) -> int:
        return n - 1

    monkeypatch.setattr(Engine, "program", lambda engine, name: lazy)
    with pytest.raises(RuntimeError, match="10 operations were asked for, 9 done"):
        measure("spawn_one", "runtime", 10)


def test_a_benchmark_that_an_engine_lacks_is_an_error_of_its_own() -> None:
    with pytest.raises(LookupError, match="trio has nothing that compares to million_timers"):
        measure("million_timers", "trio", 10)
