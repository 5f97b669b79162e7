"""Closed loops: clients that compare every byte, and runs that say why they failed."""

import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from loadtest.client.addresses import Target
from loadtest.closed_loop.loop import run_loop
from loadtest.closed_loop.scenarios import REDIS, SCENARIOS, available, binary
from loadtest.host.pinning import choose_cores
from loadtest.results.schema import Peak
from loadtest.runs.plan import Job
from loadtest.runs.progress import Reporter
from tests.loadtest import harness
from tests.loadtest.harness import PATIENCE, HostileServer, run_loadtest

needs_compiler = pytest.mark.skipif(
    not any(shutil.which(name) for name in ("cc", "gcc", "clang")), reason="needs a C compiler"
)
needs_redis = pytest.mark.skipif(shutil.which(REDIS) is None, reason=f"needs {REDIS}")
MIB = 1 << 20


class Plan:
    """As much of a plan as a closed loop needs."""

    def __init__(self, out: Path, *server_command: str) -> None:
        self.out = out
        self.server_command = server_command or (sys.executable, "-m", "server")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "raw").mkdir()
    return tmp_path


@pytest.fixture
def drive(out: Path) -> Path:
    SCENARIOS["churn"].prepare(out)
    return binary(out)


def run_drive(drive: Path, port: int, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [drive, "127.0.0.1", str(port), *words],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@needs_compiler
@pytest.mark.parametrize(
    "words",
    ["bulk 1 3 16777216", "bulk 3 7 65536", "bulk 2 1 1", "churn 5 40 64", "churn 9 2 3000"],
)
def test_every_operation_is_done_and_told(drive: Path, words: str) -> None:
    with HostileServer(harness.honest) as server:
        done = run_drive(drive, server.port, *words.split())
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split()[:2] for line in done.stdout.splitlines()] == [
        ["open"],
        ["done", words.split()[2]],
    ]


@needs_compiler
@pytest.mark.parametrize("how", ["bulk", "churn"])
@pytest.mark.parametrize(
    ("handler", "told"),
    [
        (harness.corrupting, "what came back differs"),
        (harness.adding, "more came back than was sent"),
        (harness.closing_early, "closed a connection in the middle of an answer"),
    ],
)
def test_a_server_that_is_wrong_ends_it_with_a_reason(
    drive: Path, handler: harness.Handler, told: str, how: str
) -> None:
    with HostileServer(handler) as server:
        done = run_drive(drive, server.port, how, "1", "5", "64")
    assert done.returncode == 1
    assert told in done.stderr


@needs_compiler
def test_answers_on_the_wrong_connection_are_found(drive: Path) -> None:
    with HostileServer(harness.CrossedWires()) as server:
        done = run_drive(drive, server.port, "bulk", "2", "10", "64")
    assert done.returncode == 1
    assert "differs" in done.stderr


@needs_compiler
@pytest.mark.parametrize(
    "words", ["", "bulk 1 1", "bulk 0 1 1", "bulk 1 x 1", "bulk 1 1 0", "churn 1 1 9999999999"]
)
def test_bad_numbers_are_refused(drive: Path, words: str) -> None:
    done = run_drive(drive, 9, *words.split())
    assert done.returncode == 1
    assert "usage: " in done.stderr


def run(plan: Plan, scenario: str, connections: int, operations: int) -> Peak:
    job = Job(scenario, "runtime", connections, 1)
    return run_loop(plan, job, operations, choose_cores(), Reporter(Console(file=io.StringIO())))


def assert_it_counts(peak: Peak) -> None:
    """But for what other programs on this machine may have done to its listen queues."""
    assert peak.ok or "a listen queue of this machine" in peak.reason, peak.reason


@needs_compiler
def test_bulk_is_told_in_bytes_by_cpu_second(out: Path) -> None:
    SCENARIOS["bulk-16m"].prepare(out)
    peak = run(Plan(out), "bulk-16m", 2, 4)
    assert_it_counts(peak)
    assert peak.operations == 4
    assert peak.cpu_us is not None
    assert peak.bytes_per_cpu_second == pytest.approx(16 * MIB * 1e6 / peak.cpu_us)
    assert peak.operations_per_cpu_second is None


@needs_compiler
def test_churn_is_told_in_connections_by_cpu_second(out: Path) -> None:
    SCENARIOS["churn"].prepare(out)
    peak = run(Plan(out), "churn", 8, 600)
    assert_it_counts(peak)
    assert peak.cpu_us is not None
    assert peak.operations_per_cpu_second == pytest.approx(1e6 / peak.cpu_us)
    assert (peak.bytes_per_cpu_second, peak.rss_per_connection) == (None, None)


@needs_redis
def test_echoes_are_counted_once_all_connections_are_open(out: Path) -> None:
    peak = run(Plan(out), "echo", 20, 30_000)
    assert_it_counts(peak)
    assert peak.operations == 30_000
    assert peak.cpu_us is not None
    assert peak.user_us is not None
    assert peak.system_us is not None
    assert peak.cpu_us == pytest.approx(peak.user_us + peak.system_us)
    assert peak.rss_per_connection is not None


# A server to whom every connection costs a tenth of a second of CPU, and an echo next to nothing.
DEAR_CONNECTIONS = """
import signal, socket, sys, threading, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
listener = socket.create_server(("127.0.0.1", 0))
for name in ("echo", "sleep"):
    print("listening", name, f"127.0.0.1:{listener.getsockname()[1]}", flush=True)
def echo(conn):
    while data := conn.recv(65536):
        conn.sendall(data)
while True:
    began = time.thread_time()
    while time.thread_time() - began < 0.1:
        pass
    threading.Thread(target=echo, args=(listener.accept()[0],), daemon=True).start()
"""


@needs_compiler
def test_opening_the_connections_is_not_in_the_cost_of_an_echo(out: Path) -> None:
    script = out / "dear.py"
    script.write_text(DEAR_CONNECTIONS)
    SCENARIOS["bulk-64k"].prepare(out)
    peak = run(Plan(out, sys.executable, str(script)), "bulk-64k", 4, 400)
    assert_it_counts(peak)
    assert peak.cpu_us is not None
    # Three of the four are accepted between the first look and the last connection, and a fifth
    # is waited for with the echoes.
    assert peak.cpu_us * 400 < 250_000


@needs_compiler
def test_a_server_that_cannot_start_is_a_failed_run(out: Path) -> None:
    SCENARIOS["churn"].prepare(out)
    peak = run(Plan(out, "false"), "churn", 8, 10)
    assert not peak.ok
    assert "ended before it listened with status 1" in peak.reason
    assert peak.cpu_us is None


def test_a_client_that_is_not_there_is_a_note_and_the_others_go_on(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(out))
    monkeypatch.delenv("CC", raising=False)
    said = io.StringIO()
    reporter = Reporter(Console(file=said))
    assert available(("hold", "echo", "churn"), out, reporter) == ("hold",)
    assert "echo is left out: redis-benchmark is not installed; on Debian" in said.getvalue()
    assert "churn is left out: there is no C compiler" in said.getvalue()


def test_a_command_names_where_to_and_how_much(out: Path) -> None:
    target = Target("127.0.0.1", 7007)
    words = SCENARIOS["bulk-64k"].command(out, target, 16, 5)
    assert words[1:] == ["127.0.0.1", "7007", "bulk", "16", "5", "65536"]
    assert SCENARIOS["echo"].command(out, target, 16, 5)[:5] == [
        *(REDIS, "-h", "127.0.0.1"),
        *("-p", "7007"),
    ]


@needs_compiler
def test_bench_prints_a_table_and_writes_every_run(tmp_path: Path) -> None:
    arguments = ["--scenario", "churn", "--modes", "runtime,asyncio", "--repeats", "2"]
    done = run_loadtest("bench", *arguments, "--requests", "300", "--out", str(tmp_path / "new"))
    document = json.loads((tmp_path / "new" / "bench.json").read_text())
    assert [(one["engine"], one["repeat"]) for one in document["runs"]] == [
        ("runtime", 1),
        ("asyncio", 1),
        ("asyncio", 2),
        ("runtime", 2),
    ]
    assert done.returncode == int(not all(one["ok"] for one in document["runs"])), done.stderr
    assert "churn over 64 connections" in done.stdout
    assert "[4/4] runtime, round 2: " in done.stderr


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--scenario", "nonsense"], "no scenario 'nonsense'"),
        (["--connections", "10001"], "at most 10,000 connections"),
        (["--requests", "0"], "--requests"),
        (["--scenario", "churn", "--out", "/proc/nowhere"], "/proc/nowhere"),
    ],
)
def test_bad_input_to_bench_gets_one_line_and_status_2(arguments: list[str], named: str) -> None:
    done = run_loadtest("bench", *arguments)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert named in done.stderr
