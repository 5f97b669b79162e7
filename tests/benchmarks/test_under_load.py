"""The benchmarks that need a client of their own: they run, and say what they are to say."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import runtime
from benchmarks.watching import report, without_counters
from runtime.executor import Executor
from runtime.task import current_executor

REPOSITORY = Path(__file__).parents[2]

needs_redis_benchmark = pytest.mark.skipif(
    shutil.which("redis-benchmark") is None,
    reason="redis-benchmark is not installed; on Debian: apt-get install redis-tools",
)


def output(*arguments: str) -> str:
    run = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


@needs_redis_benchmark
def test_watching_compares_the_server_with_itself() -> None:
    arguments = ("--clients", "5", "--windows", "2", "--seconds", "0.05")
    lines = output("benchmarks.watching", *arguments).splitlines()
    assert [line.split("  ")[0] for line in lines] == ["watched", "not watched", "ratio"]
    assert "median of 3 windows" in lines[0]


@needs_redis_benchmark
def test_tls_compares_the_servers_it_was_asked_for() -> None:
    sizes = ("--connections", "5", "--clients", "2", "--echoes", "200", "--rounds", "1")
    lines = output("benchmarks.tls", *sizes, "--servers", "runtime,uvloop").splitlines()
    assert [line.split()[0] for line in lines] == ["server", "runtime", "uvloop", "runtime"]
    assert lines[-1].startswith("runtime by uvloop: memory ")


def test_the_loop_without_its_counters_runs_as_before_and_counts_nothing() -> None:
    async def main() -> tuple[int, list[int]]:
        loop = current_executor()
        with without_counters(loop):
            await runtime.yield_now()
            before = runtime.statistics().resumed
            results = await runtime.join_all(answer(n) for n in range(10))
            counted = runtime.statistics().resumed - before
        assert loop._run_ready.__func__ is Executor._run_ready  # type: ignore[attr-defined]
        assert loop._resume.__func__ is Executor._resume  # type: ignore[attr-defined]
        return counted, results

    async def answer(n: int) -> int:
        await runtime.sleep(0.001)
        return n

    assert runtime.run(main()) == (0, list(range(10)))


def test_each_window_is_compared_with_the_two_around_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    # A machine that grows slower all the time, and a watch that costs a tenth.
    times = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]
    report([time * (1.1 if n % 2 == 0 else 1.0) for n, time in enumerate(times)])
    assert "ratio         1.100 (half of them between 1.100 and 1.100)" in capsys.readouterr().out
