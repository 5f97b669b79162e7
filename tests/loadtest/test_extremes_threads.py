"""Threads until it fails, at small size: descriptors, address space, a user's quota, and faults.

The limits are those of the server's own process, put there by the command that starts it.
"""

import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from loadtest.extremes import breaking
from loadtest.extremes.breaking import (
    BreakingPlan,
    SeenBreaking,
    bare_command,
    bound,
    break_bare_threads,
    break_server,
)
from loadtest.results.extremes import Breaking, read_extremes
from loadtest.runs.progress import Reporter
from tests.loadtest.harness import PATIENCE, REPOSITORY

SERVER = (sys.executable, "-m", "server")
AGAIN = os.strerror(errno.EAGAIN)

needs_prlimit = pytest.mark.skipif(
    shutil.which("prlimit") is None, reason="needs prlimit of util-linux"
)


def drive(out: Path, command: tuple[str, ...], most: int = 1000, patience: float = 2.0) -> Breaking:
    """The server until it fails; nothing of it is left."""
    seen = SeenBreaking()
    with Reporter(Console(stderr=True)) as reporter:
        break_server(BreakingPlan(most, out, command, patience), seen, reporter)
    return seen.breaking()


@needs_prlimit
def test_without_descriptors_the_next_connection_waits_for_its_turn(tmp_path: Path) -> None:
    found = drive(tmp_path, ("prlimit", "--nofile=150", *SERVER))
    assert found.connections == 150 - 64  # what the server keeps for itself
    assert found.connections < found.threads < found.connections + 10
    assert (found.errno, found.limit, found.reason) == (None, "open files 150", "")
    assert found.error == "the next connection waits, and was answered when another had ended"
    assert found.rss is not None
    assert "threads" in found.command


@needs_prlimit
def test_without_memory_for_a_thread_the_others_are_still_answered(tmp_path: Path) -> None:
    found = drive(tmp_path, ("prlimit", f"--as={900 << 20}", *SERVER))
    assert found.reason == ""
    assert 1 <= found.connections < 1000
    assert found.limit.startswith("RLIMIT_AS")
    assert "MemoryError" in found.error or "cannot start a thread" in found.error


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become a user who has no processes")
def test_a_thread_that_is_refused_is_told_with_the_words_of_the_server(tmp_path: Path) -> None:
    # Python's own files may be out of a stranger's reach, so it becomes one when all is imported.
    nobody = 64_322
    program = (
        "import os, resource, sys\n"
        "from server.__main__ import main\n"
        "from server.engines.threads_accept import ThreadServer\n"
        "serve = ThreadServer.serve\n"
        "def limited(server):\n"
        "    resource.setrlimit(resource.RLIMIT_NPROC, (40, 40))\n"
        f"    os.setuid({nobody})\n"
        "    serve(server)\n"
        "ThreadServer.serve = limited\n"
        "sys.exit(main())\n"
    )
    found = drive(tmp_path, (sys.executable, "-c", program))
    assert found.reason == ""
    assert found.threads == 40
    assert 30 < found.connections < 40
    assert "can't start new thread" in found.error
    assert found.limit == "RLIMIT_NPROC (ulimit -u) 40"


def test_that_the_bound_came_first_is_said(tmp_path: Path) -> None:
    found = drive(tmp_path, SERVER, most=20)
    assert found.connections == 20
    assert found.reason == "it did not fail: stopped at 20 connections"


def test_a_server_that_dies_is_told(tmp_path: Path) -> None:
    seen = SeenBreaking()
    before = {each.pid for each in psutil.Process().children()}

    def kill() -> None:
        deadline = time.monotonic() + PATIENCE
        while seen.connections < 10 and time.monotonic() < deadline:
            time.sleep(0.01)
        (server,) = [each for each in psutil.Process().children() if each.pid not in before]
        server.send_signal(signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    with Reporter(Console(stderr=True)) as reporter:
        break_server(BreakingPlan(10_000, tmp_path, SERVER), seen, reporter)
    killer.join()
    assert seen.connections >= 10
    assert "server (threads) ended under load with status -9" in seen.reason


def test_a_wrong_answer_is_told(tmp_path: Path) -> None:
    program = (
        "import sys, time\n"
        f"sys.path.insert(0, {str(REPOSITORY)!r})\n"
        "from tests.loadtest.harness import HostileServer, corrupting\n"
        "with HostileServer(corrupting) as server:\n"
        "    print(f'listening echo 127.0.0.1:{server.port}', flush=True)\n"
        "    print('listening sleep 127.0.0.1:1', flush=True)\n"
        "    time.sleep(60)\n"
    )
    found = drive(tmp_path, (sys.executable, "-c", program))
    assert found.connections == 0
    assert "differ from those sent" in found.error


def test_bare_threads_end_with_an_errno_and_the_limit(tmp_path: Path) -> None:
    size = 700 << 20
    done = subprocess.run(
        bare_command(20_000),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (size, size)),
    )
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert 1 <= found["threads"] < 20_000
    assert (found["errno"], found["error"]) == (errno.EAGAIN, AGAIN)
    assert found["limit"].startswith("RLIMIT_AS")


def test_bare_threads_that_nobody_refused_are_not_a_finding(tmp_path: Path) -> None:
    seen = SeenBreaking()
    with Reporter(Console(stderr=True)) as reporter:
        break_bare_threads(BreakingPlan(50, tmp_path), seen, reporter)
    found = seen.breaking()
    assert (found.threads, found.connections, found.errno) == (50, 0, None)
    assert found.reason == "none was refused: stopped at 50 threads"


def test_the_last_threads_of_the_machine_are_left_to_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(breaking, "LEFT_TO_OTHERS", 10**9)
    found = bound(100)
    assert found.most == 0
    assert "is everybody's, and 1,000,000,000 were left" in found.why
    monkeypatch.undo()
    assert bound(100).most == 100


def test_both_are_found_and_written_by_one_command(tmp_path: Path) -> None:
    size = 900 << 20
    done = subprocess.run(
        [sys.executable, "-m", "loadtest", "extremes", "threads", "--out", str(tmp_path)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (size, size)),
    )
    assert done.returncode == 0, done.stderr
    extremes = read_extremes(tmp_path / "extremes.json")
    assert extremes.crowd is None
    assert extremes.breaking is not None
    assert extremes.breaking.connections >= 1
    assert extremes.bare_threads is not None
    assert extremes.bare_threads.errno == errno.EAGAIN
    assert f"errno {errno.EAGAIN}, {AGAIN}; limit reached: RLIMIT_AS" in done.stdout
