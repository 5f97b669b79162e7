"""A run in a process of its own: what it may not see of the parent, and how it may end."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from benchmarks import memory, rounds
from benchmarks.measure import Run, keep_to_one_cpu
from benchmarks.rounds import ROOT, Plan, RunFailed, run_apart


@pytest.mark.parametrize(
    ("engine", "imported"),
    [
        ("runtime", ["runtime"]),
        ("asyncio", ["asyncio"]),
        ("uvloop", ["asyncio", "uvloop"]),
        ("trio", ["trio"]),
    ],
)
def test_a_run_imports_one_engine(engine: str, imported: list[str]) -> None:
    program = (
        "import sys; from benchmarks.measure import measure; "
        f"measure('yield_now', '{engine}', 3); "
        "print(sorted({'asyncio', 'trio', 'uvloop', 'runtime', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(imported)


def test_a_small_run_of_a_large_parent_is_small() -> None:
    large = b"x" * (150 << 20)
    run = run_apart("spawn_one", "runtime", 10)
    assert run.rss_peak < len(large)
    assert 0 < run.rss_before <= run.rss_peak


def test_a_run_that_fails_says_why() -> None:
    with pytest.raises(RunFailed, match=r"status 1: LookupError: .*trio has nothing"):
        run_apart("million_timers", "trio", 10)


def test_a_run_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "PATIENCE", 0.02)
    with pytest.raises(RunFailed, match=r"not done after 0\.02 s"):
        run_apart("spawn_one", "runtime", 10)


@pytest.mark.parametrize(
    ("status", "stdout", "stderr", "reason"),
    [
        (-9, "", "", r"ended by SIGKILL \(out of memory\?\)"),
        (3, "", "", "ended with status 3: without a word"),
        (3, "", "one\ntwo\n", "ended with status 3: two"),
        (0, "", "", "printed no figures but ''"),
        (0, "hello", "", "printed no figures but 'hello'"),
        (0, '{"benchmark": 1}', "", "printed no figures"),
    ],
)
def test_however_it_ends_the_reason_is_one_line(
    monkeypatch: pytest.MonkeyPatch, status: int, stdout: str, stderr: str, reason: str
) -> None:
    def ended(*_: Any, **__: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess([], status, stdout, stderr)

    monkeypatch.setattr(subprocess, "run", ended)
    with pytest.raises(RunFailed, match=reason) as caught:
        run_apart("spawn_one", "runtime", 10)
    assert "\n" not in str(caught.value)


def test_engines_take_turns_and_every_second_round_goes_back() -> None:
    plan = Plan(("spawn_one",), ("runtime", "asyncio", "trio"), rounds=2, scale=1.0)
    assert list(plan.turns("spawn_one")) == [
        (0, "runtime"),
        (0, "asyncio"),
        (0, "trio"),
        (1, "trio"),
        (1, "asyncio"),
        (1, "runtime"),
    ]


def test_an_engine_without_a_version_is_left_out() -> None:
    plan = Plan(("million_timers",), ("runtime", "trio"), rounds=1, scale=1.0)
    assert list(plan.turns("million_timers")) == [(0, "runtime")]


@pytest.mark.parametrize(("scale", "operations"), [(1.0, 50_000), (0.1, 5_000), (1e-9, 1)])
def test_scale_multiplies_the_operations(scale: float, operations: int) -> None:
    assert Plan(("spawn_one",), ("runtime",), 1, scale).operations("spawn_one") == operations


def test_a_run_keeps_to_one_of_the_cpus_it_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[set[int]] = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {2, 5})
    monkeypatch.setattr(os, "sched_setaffinity", lambda pid, cpus: kept.append(cpus))
    assert keep_to_one_cpu() == 5
    assert kept == [{5}]
    monkeypatch.delattr(os, "sched_setaffinity")
    assert keep_to_one_cpu() is None


def test_memory_is_known_without_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 0 < memory.resident() <= memory.peak()

    def nothing(*_: Any) -> str:
        raise FileNotFoundError

    monkeypatch.setattr("pathlib.Path.read_text", nothing)
    assert memory.resident() == 0
    assert memory.peak() > 1 << 20


def test_cpu_is_user_and_system_time() -> None:
    run = Run("spawn_one", "runtime", 1, 9.0, 2.0, 1.0, 0, 0, 0, {})
    assert run.cpu == 3.0
