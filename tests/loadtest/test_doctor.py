"""The doctor names each limit, says what it allows, and its exit status can be relied on."""

import resource
import subprocess
import sys
from collections.abc import Callable

import pytest

from loadtest.doctor import Need, check_machine, explain_shortage, short_of
from loadtest.host.kernel import port_range
from tests.loadtest.harness import REPOSITORY, run_loadtest


def limit_open_files(limit: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))


def run_limited(limit: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "loadtest", *arguments],
        preexec_fn=limit_open_files(limit),
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        timeout=30,
        check=False,
    )


def test_a_small_number_of_connections_fits() -> None:
    done = run_loadtest("doctor", "--connections", "100")
    assert done.returncode == 0
    assert "100 connections fit; " in done.stdout
    for limit in ("open files", "local ports", "accept queue", "memory", "cores"):
        assert limit in done.stdout


def test_too_few_open_files_are_short_with_a_remedy() -> None:
    done = run_limited(512, "doctor", "--connections", "10000")
    assert done.returncode == 1
    assert "short" in done.stdout
    assert "ulimit -Hn" in done.stdout
    assert "or --connections 448" in done.stdout


def test_compare_refuses_before_it_starts_what_does_not_fit() -> None:
    done = run_limited(512, "compare", "--connections", "10000", "--out", "/nonexistent")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "open files 512" in done.stderr
    assert "--connections 448" in done.stderr
    assert done.stdout == ""


def test_more_source_addresses_allow_more_connections() -> None:
    ports = port_range()
    few = Need(connections=ports + 1, sources=1)
    (short,) = [check for check in short_of(check_machine(few)) if check.name == "local ports"]
    assert short.allows == ports
    assert "--source-addresses 127.0.0.2-127.0.0.3" in short.remedy
    many = Need(connections=ports + 1, sources=2)
    assert "local ports" not in [check.name for check in short_of(check_machine(many))]


def test_thread_limits_matter_only_to_the_threads_engine() -> None:
    need = Need(connections=10**7, threads=False)
    assert "kernel.pid_max" not in [check.name for check in check_machine(need)]
    with_threads = short_of(check_machine(Need(connections=10**7, threads=True)))
    (short,) = [check for check in with_threads if check.name == "kernel.pid_max"]
    assert "--modes" in short.remedy


@pytest.mark.parametrize("burst", [10**6])
def test_a_burst_over_the_backlog_is_short(burst: int) -> None:
    names = [check.name for check in short_of(check_machine(Need(connections=1, burst=burst)))]
    assert "accept queue" in names


def test_the_shortage_is_told_in_one_line_with_the_number_that_fits() -> None:
    need = Need(connections=10**7)
    text = explain_shortage(need, check_machine(need))
    assert "\n" not in text
    assert "or --connections " in text
