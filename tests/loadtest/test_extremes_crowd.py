"""A small crowd that takes several processes on both sides, and all that can go wrong with it.

A process may have 200 open files here, so 300 connections need three of each kind.
"""

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from loadtest.extremes.crowd_result import faults
from loadtest.results.extremes import Crowd, read_extremes
from loadtest.results.figures import Failure, LineTail, Progress, decode
from tests.loadtest.harness import PATIENCE, REPOSITORY
from tests.loadtest.sample_results import sample_extremes

FILES = 200
SMALL = ("crowd", "--connections", "40", "--workers", "2", "--processes", "2", "--duration", "60")

pytestmark = pytest.mark.usefixtures("nobody_overflows")


def is_alive(process: psutil.Process) -> bool:
    """One whose parent is gone stays a zombie where nobody collects it."""
    with suppress(psutil.NoSuchProcess):
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    return False


class Extremes:
    """`python -m loadtest extremes`, whose processes can be looked at."""

    def __init__(self, out: Path, *arguments: str) -> None:
        self.out = out
        command = [sys.executable, "-m", "loadtest", "extremes", *arguments, "--out", str(out)]
        self._process = subprocess.Popen(
            command,
            cwd=REPOSITORY,
            env={**os.environ, "COLUMNS": "200"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES)),
        )
        self._seen: set[psutil.Process] = set()

    def wait_until(self, condition: Callable[[Progress], bool]) -> None:
        """Until Locust has told of progress that meets the condition."""
        tail: LineTail | None = None
        deadline = time.monotonic() + PATIENCE
        while True:
            assert time.monotonic() < deadline, self.logs()
            assert self._process.poll() is None, self.logs()
            if tail is None and (found := [*self.out.glob("raw/crowd-*.figures.jsonl")]):
                tail = LineTail(found[0])
            records = [decode(line) for line in tail.read()] if tail else []
            self.processes()
            if any(isinstance(each, Progress) and condition(each) for each in records):
                return
            time.sleep(0.02)

    def processes(self) -> list[psutil.Process]:
        """All that it has started."""
        found = psutil.Process(self._process.pid).children(recursive=True)
        self._seen.update(found)
        return found

    def parent(self, word: str) -> psutil.Process:
        """The server's supervisor, or Locust's master."""
        children = psutil.Process(self._process.pid).children()
        (found,) = [each for each in children if word in each.cmdline()]
        return found

    def interrupt(self) -> None:
        self._process.send_signal(signal.SIGINT)

    def finish(self) -> tuple[int, Crowd]:
        """Its exit status and what it has written; none of its processes is left."""
        try:
            output, _ = self._process.communicate(timeout=PATIENCE)
            left = [each for each in self._seen if is_alive(each)]
        finally:
            self.end()
        assert left == [], output
        crowd = read_extremes(self.out / "extremes.json").crowd
        assert crowd is not None, output
        return self._process.returncode, crowd

    def end(self) -> None:
        """Nothing of it outlives the test, whatever it has done."""
        self._process.kill()
        self._process.communicate()
        for each in self._seen:
            with suppress(psutil.NoSuchProcess):
                each.kill()

    def logs(self) -> str:
        return "".join(path.read_text() for path in self.out.glob("raw/*.log"))


@contextmanager
def extremes(out: Path, *arguments: str) -> Iterator[Extremes]:
    run = Extremes(out, *arguments)
    try:
        yield run
    finally:
        run.end()


def held(progress: Progress) -> bool:
    return progress.phase == "hold"


def ramping(progress: Progress) -> bool:
    return progress.phase == "ramp" and progress.held > 0


def test_a_crowd_in_several_processes_is_held_and_each_connection_answered(tmp_path: Path) -> None:
    arguments = ("--connections", "300", "--duration", "6", "--spawn-rate", "100")
    with extremes(tmp_path, "crowd", *arguments) as run:
        run.wait_until(held)
        status, crowd = run.finish()
    assert (status, crowd.ok, crowd.reason) == (0, True, "")
    assert (crowd.workers, crowd.locust_processes) == (3, 3)
    assert (crowd.held_client_min, crowd.held_server_min, crowd.connections_echoed) == (300,) * 3
    assert crowd.echoes is not None
    assert crowd.echoes >= 300
    assert (crowd.lost, crowd.failures, crowd.server_exit_status) == (0, [], 0)
    assert (crowd.listen_overflows, crowd.listen_drops) == (0, 0)
    assert crowd.response_ms is not None
    assert crowd.response_ms["count"] == crowd.echoes
    assert crowd.connect_ms is not None
    assert crowd.connect_ms["count"] == 300
    assert sorted(crowd.rss_by_process) == ["supervisor", "worker 1", "worker 2", "worker 3"]
    assert crowd.rss_before is not None
    assert crowd.rss_held is not None
    assert crowd.pss_held is not None
    assert crowd.pss_held < sum(crowd.rss_by_process.values()) <= crowd.rss_held
    assert crowd.moments[-1].held_client == crowd.moments[-1].held_server == 300
    assert [each.at for each in crowd.moments] == sorted({each.at for each in crowd.moments})
    assert crowd.server_command[3:5] == ["--workers", "3"]
    assert "--processes" in crowd.locust_command


@pytest.mark.parametrize(
    ("when", "named", "whose", "told"),
    [
        (ramping, "server", "child", "of server (runtime)"),
        (held, "server", "parent", "server (runtime) ended in the hold with status -9"),
        (ramping, "locust", "parent", "Locust ended in the ramp with status -9"),
        (held, "locust", "child", "of Locust"),
    ],
)
def test_a_process_that_dies_voids_the_crowd_and_is_named(
    tmp_path: Path, when: Callable[[Progress], bool], named: str, whose: str, told: str
) -> None:
    slow = ("--spawn-rate", "2") if when is ramping else ()
    with extremes(tmp_path, *SMALL, *slow) as run:
        run.wait_until(when)
        victim = run.parent(named)
        if whose == "child":
            victim = victim.children()[0]
            told = f"(pid {victim.pid}) died in the {'ramp' if slow else 'hold'}"
        victim.kill()
        status, crowd = run.finish()
    assert status == 1
    assert not crowd.ok
    assert told in crowd.reason
    assert crowd.moments


def test_what_was_measured_is_written_when_it_is_interrupted(tmp_path: Path) -> None:
    with extremes(tmp_path, *SMALL) as run:
        run.wait_until(held)
        run.interrupt()
        status, crowd = run.finish()
    assert (status, crowd.ok, crowd.reason) == (130, False, "interrupted")
    assert crowd.lost == 0
    assert crowd.ramp_seconds is not None
    assert crowd.moments


def test_one_wrong_answer_voids_the_crowd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "corrupting.py"
    program.write_text(
        """
import itertools, time
from tests.loadtest.harness import HostileServer
messages = itertools.count()
def corrupting_one(conn):
    while data := conn.recv(65536):
        conn.sendall(data[::-1] if next(messages) == 8 else data)
with HostileServer(corrupting_one) as server:
    print(f"listening echo 127.0.0.1:{server.port}", flush=True)
    print("listening sleep 127.0.0.1:1", flush=True)
    time.sleep(60)
"""
    )
    command = f"{sys.executable} {program}"
    short = ("--connections", "6", "--workers", "1", "--processes", "2", "--duration", "4")
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    with extremes(tmp_path, "crowd", *short, "--server-command", command) as run:
        status, crowd = run.finish()
    assert status == 1
    assert not crowd.ok
    assert [failure.kind for failure in crowd.failures if "WrongBytes" in failure.error]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--connections", "1000", "--workers", "2"), "open files, server 200 x 2: --workers 8"),
        (("--connections", "3", "--workers", "5"), "leaves some of 5 workers"),
        (("--connections", "0"), "'0' is not a whole number over 0"),
        (("--mode", "threads"), "invalid choice: 'threads'"),
        (("--source-addresses", "127.0.0.9-127.0.0.2"), "is no range of addresses"),
        (("--connections", "9", "--out", "/proc/nowhere"), "cannot write to --out /proc/nowhere"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line(
    tmp_path: Path, arguments: tuple[str, ...], told: str
) -> None:
    if "--out" not in arguments:
        arguments += ("--out", str(tmp_path / "out"))
    done = subprocess.run(
        [sys.executable, "-m", "loadtest", "extremes", "crowd", *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES)),
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert told in done.stderr
    assert not (tmp_path / "out").exists()


GOOD = replace(sample_extremes().crowd or pytest.fail("none"), connections_echoed=100_000)


def test_a_crowd_without_a_fault_has_none() -> None:
    assert [*faults(GOOD)] == []


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (
            replace(GOOD, held_client_min=99_999),
            "99,999 of 100,000 connections held at the minimum, by Locust's count",
        ),
        (
            replace(GOOD, held_server_min=99_999),
            "99,999 of 100,000 connections held at the minimum, by the kernel's count",
        ),
        (
            replace(GOOD, connections_echoed=99_999),
            "99,999 of 100,000 connections answered at least once in the hold",
        ),
        (replace(GOOD, held_server_min=None), "not measured: connections held"),
        (replace(GOOD, connections_echoed=None), "not measured: connections answered"),
        (replace(GOOD, lost=2), "2 connections were lost"),
        (replace(GOOD, failures=[Failure("ECHO", "response", "X()", 3)]), "3 failed, most often"),
        (replace(GOOD, listen_drops=4), "dropped 4 connections: come slower"),
        (replace(GOOD, server_exit_status=1), "the server ended with status 1"),
        (replace(GOOD, server_exit_status=None), "the server ended with status None"),
    ],
)
def test_every_fault_is_told(fault: Crowd, told: str) -> None:
    (reason,) = faults(fault)
    assert told in reason
