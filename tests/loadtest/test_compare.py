"""`compare` from end to end: good rows, rows that say why not, and what it leaves behind."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.loadtest.harness import PATIENCE, REPOSITORY, run_loadtest

# A server that announces itself, echoes for a while, and is gone.
DIES_MIDWAY = """
import socket, sys, threading, time
names = ("echo", "sleep")
listeners = {name: socket.create_server(("127.0.0.1", 0), backlog=512) for name in names}
for name, listener in listeners.items():
    sys.stdout.write(f"listening {name} 127.0.0.1:{listener.getsockname()[1]}\\n")
sys.stdout.flush()
def echo(conn):
    while data := conn.recv(65536):
        conn.sendall(data)
count = 0
while count < 30:
    conn, _ = listeners["echo"].accept()
    count += 1
    threading.Thread(target=echo, args=(conn,), daemon=True).start()
sys.stderr.write("out of luck\\n")
sys.stderr.flush()
sys.exit(7)
"""


pytestmark = pytest.mark.usefixtures("nobody_overflows")


@dataclass(frozen=True)
class Compared:
    status: int
    stdout: str
    stderr: str
    results: dict[str, Any]
    out: Path

    @property
    def rows(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.results["rows"]
        return rows


def compare(out: Path, *arguments: str) -> Compared:
    done = run_loadtest("compare", "--out", str(out), *arguments)
    results = json.loads((out / "results.json").read_text())
    return Compared(done.returncode, done.stdout, done.stderr, results, out)


def own_faults(row: dict[str, Any]) -> list[str]:
    """Why a row is void, but for what other programs on this machine may have done to it."""
    if row["verdict"] != "void":
        return []
    return [reason for reason in row["reasons"] if "a listen queue of this machine" not in reason]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Compared:
    return compare(
        tmp_path_factory.mktemp("compare") / "results",
        *["--modes", "runtime,asyncio", "--connections", "100", "--duration", "2"],
    )


def test_every_engine_holds_all_connections_and_the_status_is_0(good: Compared) -> None:
    assert [row["engine"] for row in good.rows] == ["runtime", "asyncio"]
    assert [own_faults(row) for row in good.rows] == [[], []]
    assert good.status == int(any(row["verdict"] == "void" for row in good.rows))
    for row in good.rows:
        assert row["held_client_min"] == row["held_server_min"] == 100
        assert row["connections"] == 100
        assert (row["lost"], row["failures"], row["server_exit_status"]) == (0, [], 0)


def test_the_figures_of_a_row_make_sense(good: Compared) -> None:
    for row in good.rows:
        # 100 connections, one echo each 0.1 s.
        assert row["offered_per_second"] == pytest.approx(1000)
        assert row["achieved_per_second"] == pytest.approx(1000, rel=0.3)
        assert row["response_ms"]["p99"] >= row["service_ms"]["p50"] > 0
        assert row["connect_ms"]["count"] == 100
        # Beside the loop's own those of a watchdog and of signals, none for a connection.
        assert 1 <= row["threads"] <= 5
        assert row["rss_held"] > row["rss_before"] > 1_000_000
        assert row["rss_held"] >= row["pss_held"] > 1_000_000
        assert row["rss_before"] >= row["pss_before"] > 1_000_000
        assert row["user_us_per_echo"] + row["system_us_per_echo"] == pytest.approx(
            row["cpu_us_per_echo"]
        )
        assert row["curves"]["response"][-1] == [100.0, row["response_ms"]["max"]]
        assert 0.5 < row["fairness"]["jain"] <= 1
        assert row["errors"] == {}
        assert row["client_cpu_percent"] > 0
        held = [sample for sample in row["samples"] if sample["phase"] == "hold"]
        assert len(held) >= 2
        assert min(sample["fds"] for sample in held) > 100


def test_the_results_say_where_and_how(good: Compared) -> None:
    assert good.results["schema"] == 2
    assert good.results["machine"]["cores"] == len(os.sched_getaffinity(0))
    assert "--modes runtime,asyncio" in good.results["command"]
    assert "--users" in good.rows[0]["locust_command"]
    assert good.rows[0]["server_command"][-6:-4] == ["--mode", "runtime"]


def test_table_report_and_raw_figures_are_written(good: Compared) -> None:
    assert "100 connections held" in good.stdout
    assert "1/1" in good.stdout
    assert "CPU" in good.stdout
    assert "100 connections" in (good.out / "report.html").read_text()
    raw = {path.name for path in (good.out / "raw").iterdir()}
    assert {"hold-100-runtime-1.figures.jsonl", "hold-100-asyncio-1.client.log"} <= raw


def test_progress_goes_to_standard_error_in_plain_lines(good: Compared) -> None:
    assert "[1/2] runtime, 100 connections, round 1: hold" in good.stderr
    assert "\x1b" not in good.stderr


def test_a_server_that_dies_midway_is_a_row_that_says_why(tmp_path: Path) -> None:
    script = tmp_path / "dies.py"
    script.write_text(DIES_MIDWAY)
    done = compare(
        tmp_path / "results",
        *["--modes", "runtime", "--connections", "60", "--duration", "1"],
        *["--server-command", shlex.join([sys.executable, str(script)])],
    )
    assert done.status == 1
    assert "Traceback" not in done.stderr
    (row,) = done.rows
    assert row["verdict"] == "void"
    assert "ended under load with status 7: out of luck" in row["reasons"][0]
    assert "void" in done.stdout
    assert "out of luck" in (done.out / "report.html").read_text()


def test_an_engine_that_cannot_start_is_a_row_and_the_next_one_runs(tmp_path: Path) -> None:
    """As uvloop does where it is not installed."""
    script = tmp_path / "choosy.py"
    script.write_text(
        "import os, sys\n"
        "if 'uvloop' in sys.argv:\n"
        "    sys.exit('uvloop is not installed: pip install uvloop')\n"
        "os.execv(sys.executable, [sys.executable, '-m', 'server', *sys.argv[1:]])\n"
    )
    done = compare(
        tmp_path / "results",
        *["--modes", "uvloop,asyncio", "--connections", "20", "--duration", "0.5"],
        *["--server-command", shlex.join([sys.executable, str(script)])],
    )
    assert done.status == 1
    assert [bool(own_faults(row)) for row in done.rows] == [True, False]
    assert "with status 1: uvloop is not installed" in done.rows[0]["reasons"][0]


def test_connections_that_only_the_kernel_holds_do_not_count(tmp_path: Path) -> None:
    """Past its maximum the server does not accept; the clients are connected all the same."""
    server = shlex.join([sys.executable, "-m", "server", "--max-connections", "10"])
    done = compare(
        tmp_path / "results",
        *["--modes", "asyncio", "--connections", "20", "--duration", "0.5"],
        *["--server-command", server],
    )
    (row,) = done.rows
    assert done.status == 1
    assert (row["held_client_min"], row["held_server_min"]) == (20, 10)
    assert "10 of 20 connections held at the minimum, on the server's side" in row["reasons"][0]


@dataclass(frozen=True)
class Started:
    """A comparison on its way, in its first hold."""

    process: subprocess.Popen[bytes]
    children: list[psutil.Process]
    log: Path
    out: Path

    def finish(self) -> dict[str, Any]:
        self.process.wait(PATIENCE)
        results: dict[str, Any] = json.loads((self.out / "results.json").read_text())
        return results


def start_compare(tmp_path: Path, modes: str, duration: str = "60", runs: int = 0) -> Started:
    """Come to the hold of the run after so many."""
    out, log = tmp_path / "results", tmp_path / "log"
    command = [sys.executable, "-m", "loadtest", "compare", "--modes", modes]
    command += ["--connections", "20", "--duration", duration, "--out", str(out)]
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=stderr
        )
    deadline = time.monotonic() + PATIENCE
    while log.read_text().count(": hold") <= runs:
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
    return Started(process, psutil.Process(process.pid).children(), log, out)


def test_ctrl_c_keeps_what_was_measured_and_leaves_no_process(tmp_path: Path) -> None:
    started = start_compare(tmp_path, "asyncio,runtime")
    started.process.send_signal(signal.SIGINT)
    results = started.finish()
    assert started.process.returncode == 130
    assert len(started.children) == 2
    assert not any(child.is_running() for child in started.children)
    assert results["interrupted"]
    rows = [(row["engine"], row["reasons"]) for row in results["rows"]]
    assert rows == [("asyncio", ["interrupted"])]
    assert results["rows"][0]["held_client_min"] == 20
    assert "Traceback" not in started.log.read_text()


def test_what_was_interrupted_goes_on_with_the_runs_that_are_missing(tmp_path: Path) -> None:
    started = start_compare(tmp_path, "asyncio,runtime", duration="1.5", runs=1)
    started.process.send_signal(signal.SIGTERM)
    before = started.finish()
    assert started.process.returncode == 130
    assert [(row["engine"], row["reasons"] == ["interrupted"]) for row in before["rows"]] == [
        ("asyncio", False),
        ("runtime", True),
    ]
    again = ["--modes", "asyncio,runtime", "--connections", "20", "--out", str(started.out)]
    other = run_loadtest("compare", "--resume", *again, "--duration", "2")
    assert other.returncode == 2
    assert "cannot be resumed: duration was 1.5, is 2.0" in other.stderr
    done = compare(started.out, "--resume", *again[:4], "--duration", "1.5")
    assert "1 run, about " in done.stderr
    assert "1 already done" in done.stderr
    assert [(row["engine"], own_faults(row)) for row in done.rows] == [
        ("asyncio", []),
        ("runtime", []),
    ]
    assert done.rows[0] == before["rows"][0]
    assert done.results["started"] == before["started"]
    assert len(done.results["resumed"]) == 1
    assert not done.results["interrupted"]


def test_several_numbers_of_connections_and_closed_loops_are_one_comparison(
    tmp_path: Path,
) -> None:
    done = compare(
        tmp_path / "results",
        *["--modes", "runtime,asyncio", "--connections", "20,40", "--duration", "1"],
        *["--scenarios", "hold,churn", "--rival", "asyncio", "--spawn-rate", "100"],
    )
    assert [(row["connections"], row["engine"]) for row in done.rows] == [
        (20, "runtime"),
        (20, "asyncio"),
        (40, "runtime"),
        (40, "asyncio"),
    ]
    # Without a compiler there is no client for it, and the table says so.
    if "churn is left out" not in done.stderr:
        assert [peak["engine"] for peak in done.results["peaks"]] == ["runtime", "asyncio"]
    counted = [row for row in done.rows if row["verdict"] != "void"]
    ratios = {
        entry["connections"]: entry
        for entry in done.results["summary"]
        if (entry["figure"], entry["engine"]) == ("cpu_us_per_echo", "runtime")
    }
    if len(counted) == 4:
        assert set(ratios) == {20, 40}
        assert {entry["rival"] for entry in ratios.values()} == {"asyncio"}
        # One round ranks nobody.
        assert {entry["difference"] for entry in ratios.values()} == {"unknown"}
        assert {slope["engine"] for slope in done.results["slopes"]} == {"runtime", "asyncio"}
    assert "20 connections held" in done.stdout
    assert "40 connections held" in done.stdout


def test_a_locust_that_dies_is_a_row_that_says_why(tmp_path: Path) -> None:
    started = start_compare(tmp_path, "runtime")
    (locust,) = [child for child in started.children if "locust" in child.cmdline()]
    locust.kill()
    results = started.finish()
    (row,) = results["rows"]
    assert started.process.returncode == 1
    assert row["verdict"] == "void"
    assert "Locust ended before the run was over with status -9" in row["reasons"][0]
    assert "Traceback" not in started.log.read_text()
