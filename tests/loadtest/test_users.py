"""Real Locust runs: what its users hold, measure, and refuse to believe.

The runs of a group take a few seconds each, nearly all of it waiting, so they run side by side:
one fixture starts them all and each test judges one.
"""

import itertools
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from loadtest.results.figures import Progress
from tests.loadtest import harness
from tests.loadtest.conftest import Server
from tests.loadtest.harness import LOCUSTFILE, REPOSITORY, Finished, HostileServer, LocustRun

FIFTY = "--users 50 --spawn-rate 50 --pacing 0.5"
LATE_HOST = "127.0.0.77"
TWENTY = "--users 20 --spawn-rate 20"


class Stall:
    """An echo that stands still on all connections at once, for a while from `begin` on."""

    LENGTH = 0.7

    def __init__(self) -> None:
        self._until = 0.0

    def begin(self) -> None:
        self._until = time.monotonic() + self.LENGTH

    def __call__(self, conn: socket.socket) -> None:
        while data := conn.recv(65536):
            time.sleep(max(0.0, self._until - time.monotonic()))
            conn.sendall(data)


@pytest.fixture(scope="module")
def honest_runs(
    asyncio_server: Server, runtime_server: Server, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Finished]:
    """Loads that a good server must carry."""
    echo, sleep = asyncio_server.echo, f"tcp://127.0.0.1:{asyncio_server.sleep}"
    flags = {
        "echo": (echo, "--users 300 --spawn-rate 300 --pacing 0.5 --hold 1.5"),
        "runtime": (runtime_server.echo, "--users 300 --spawn-rate 300 --pacing 0.5 --hold 1.5"),
        "closed loop": (runtime_server.echo, "--users 9 --spawn-rate 9 --pacing 0 --hold 0.5"),
        "workers": (echo, f"{workers()} --users 60 --spawn-rate 60 --pacing 0.2 --hold 2"),
        "large": (echo, "--users 4 --spawn-rate 4 --payload 300000 --pacing 0.2 --hold 0.5"),
        "sleep": (echo, f"{FIFTY} --hold 1.5 --sleep 0.1 --sleep-host {sleep} SleepUser"),
        "both": (echo, f"{FIFTY} --sleep 0.1 --sleep-host {sleep}"),
        "plain": (echo, FIFTY),
    }
    runs = {
        name: LocustRun(tmp_path_factory.mktemp("run"), port, *arguments.split())
        for name, (port, arguments) in flags.items()
    }
    ended = {name: runs.pop(name).stop_when(enough) for name in ("both", "plain")}
    return ended | {name: run.finish() for name, run in runs.items()}


def workers() -> str:
    """Two worker processes, on a port for their master that nobody else has."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    return f"--processes 2 --master-bind-port {port} --master-port {port}"


def enough(progress: Progress) -> bool:
    """Every user has connected and been answered, and more than once."""
    return progress.requests > 4 * progress.users > 0


@pytest.mark.parametrize("name", ["echo", "runtime"])
def test_all_connections_are_held_and_every_echo_is_right(
    honest_runs: dict[str, Finished], name: str
) -> None:
    run = honest_runs[name]
    result = run.measured()
    assert run.status == 0
    assert (result.phase, result.asked, result.held_min, result.held_end) == ("hold", 300, 300, 300)
    assert (result.lost, result.failures) == (0, [])
    assert result.answered == 300
    assert result.times["CONNECT echo"]["count"] == 300


def test_the_schedule_decides_how_many_echoes_there_are(honest_runs: dict[str, Finished]) -> None:
    result = honest_runs["echo"].measured()
    # 300 users, one echo every half second each.
    assert result.requests == pytest.approx(600 * result.hold_seconds, rel=0.2)


def test_an_echo_faster_than_a_millisecond_does_not_report_as_zero(
    honest_runs: dict[str, Finished],
) -> None:
    service = honest_runs["echo"].measured().times["ECHO service"]["p50"]
    assert service is not None
    assert service > 0
    assert service != round(service)


def test_response_includes_service(honest_runs: dict[str, Finished]) -> None:
    times = honest_runs["echo"].measured().times
    response, service = times["ECHO response"]["p50"], times["ECHO service"]["p50"]
    assert response is not None
    assert service is not None
    assert response >= service


def test_each_echo_counts_once_in_the_totals_of_locust(honest_runs: dict[str, Finished]) -> None:
    run = honest_runs["echo"]
    lines = [line.split() for line in run.output.splitlines()]
    counts = {line[1]: int(line[2]) for line in lines if line[:1] == ["ECHO"] and "|" in line}
    total = next(int(line[1]) for line in lines if line[:1] == ["Aggregated"])
    assert counts["response"] == counts["service"]
    assert total == 300 + counts["response"]


def test_the_lag_and_the_cpu_of_the_client_are_measured(honest_runs: dict[str, Finished]) -> None:
    result = honest_runs["echo"].measured()
    assert result.hub_lag["count"]
    assert result.hub_lag["p99"] is not None
    assert len(result.cpu_seconds) == 1
    assert 0 < result.cpu_seconds[0] < 3 * result.hold_seconds


def test_what_several_workers_hold_and_measure_is_one_result(
    honest_runs: dict[str, Finished],
) -> None:
    run = honest_runs["workers"]
    result = run.measured()
    assert run.status == 0
    assert (result.phase, result.asked, result.held_min, result.held_end) == ("hold", 60, 60, 60)
    assert (result.lost, result.failures) == (0, [])
    assert result.times["CONNECT echo"]["count"] == 60
    assert len(result.cpu_seconds) == 2
    assert result.hub_lag["count"]
    # 60 users, five echoes a second each, between them and no more.
    assert result.requests == pytest.approx(300 * result.hold_seconds, rel=0.2)
    assert result.fairness is not None
    assert result.fairness.most <= 5 * result.hold_seconds + 2


def test_connections_on_a_schedule_are_served_alike(honest_runs: dict[str, Finished]) -> None:
    fairness = honest_runs["echo"].measured().fairness
    assert fairness is not None
    # Three messages a connection, or one more or less.
    assert fairness.jain > 0.8
    assert 1 <= fairness.least <= fairness.most <= 8


def test_the_curve_ends_where_the_summary_does(honest_runs: dict[str, Finished]) -> None:
    result = honest_runs["echo"].measured()
    curve, summary = result.curves["ECHO response"], result.times["ECHO response"]
    assert dict(curve)[50] == summary["p50"]
    assert curve[-1] == (100, summary["max"])


def test_without_pacing_a_user_sends_as_soon_as_the_answer_is_in(
    honest_runs: dict[str, Finished],
) -> None:
    result = honest_runs["closed loop"].measured()
    assert result.failures == []
    assert result.requests > 9 * 10 * result.hold_seconds


def test_a_payload_larger_than_all_buffers_does_not_lock_up(
    honest_runs: dict[str, Finished],
) -> None:
    result = honest_runs["large"].measured()
    assert result.failures == []
    assert result.requests >= 1


def test_a_named_sleep_user_runs_alone_and_reports_overshoot(
    honest_runs: dict[str, Finished],
) -> None:
    times = honest_runs["sleep"].measured().times
    assert honest_runs["sleep"].measured().failures == []
    assert set(times) == {"CONNECT sleep", "SLEEP overshoot", "SLEEP response", "SLEEP service"}
    service, overshoot = times["SLEEP service"]["p50"], times["SLEEP overshoot"]["p50"]
    assert service is not None
    assert overshoot is not None
    assert 98 <= service < 1000
    assert overshoot == pytest.approx(service - 100, abs=2)


def test_a_given_sleep_service_runs_beside_the_echo(honest_runs: dict[str, Finished]) -> None:
    result = honest_runs["both"].measured()
    assert result.failures == []
    assert {"ECHO response", "SLEEP response"} <= set(result.times)


@dataclass
class Hostile:
    """The loads on servers that misbehave or are late, and whom one of them saw."""

    runs: dict[str, Finished]
    peers: list[str]

    def __getitem__(self, name: str) -> Finished:
        return self.runs[name]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Hostile:
    stall = Stall()
    loads: dict[str, tuple[harness.Handler, str]] = {
        "corrupting": (harness.corrupting, f"{TWENTY} --pacing 0.2"),
        "crossed": (harness.CrossedWires(), f"{TWENTY} --pacing 0.2"),
        "closing early": (harness.closing_early, f"{TWENTY} --pacing 0.2"),
        "closing unasked": (harness.closing_unasked, f"{TWENTY} --pacing 60"),
        "silent": (harness.silent, f"{TWENTY} --reply-timeout 0.3 --pacing 0"),
        "stalling": (stall, f"{TWENTY} --pacing 0.05 --hold 2"),
        "stopped": (harness.silent, f"{TWENTY} --pacing 0"),
        "sources": (
            harness.honest,
            "--users 9 --spawn-rate 9 --hold 0.1 --source-addresses 127.0.0.2-127.0.0.4",
        ),
    }
    stop_when: dict[str, Callable[[Progress], bool]] = {
        "corrupting": lambda progress: progress.failures > 0,
        "crossed": lambda progress: progress.failures > 0,
        "closing early": lambda progress: progress.failures > 20,
        "closing unasked": lambda progress: progress.lost >= 15,
        "silent": lambda progress: progress.failures > 0,
        "stopped": lambda progress: progress.held == 20,
    }

    def start(port: int, arguments: str) -> LocustRun:
        return LocustRun(tmp_path_factory.mktemp("run"), port, *arguments.split())

    with ExitStack() as stack:
        servers = {
            name: stack.enter_context(HostileServer(handler))
            for name, (handler, _) in loads.items()
        }
        # On an address of its own, where no client's port can take its place in the meantime.
        with socket.create_server((LATE_HOST, 0)) as reserved:
            port = reserved.getsockname()[1]
        runs = {name: start(server.port, loads[name][1]) for name, server in servers.items()}
        late = f"--users 10 --spawn-rate 10 --hold 0.3 --host tcp://{LATE_HOST}:{port}"
        runs["late"] = start(port, late)
        runs["late"].wait_until(lambda progress: progress.failures > 0)
        stack.enter_context(HostileServer(harness.honest, (LATE_HOST, port)))
        runs["stalling"].wait_until(lambda progress: progress.phase == "hold")
        stall.begin()
        ended = {name: runs.pop(name).stop_when(stop_when[name]) for name in stop_when}
        ended |= {name: run.finish() for name, run in runs.items()}
    return Hostile(ended, servers["sources"].peers)


@pytest.mark.parametrize("name", ["corrupting", "crossed"])
def test_wrong_bytes_are_failures(hostile: Hostile, name: str) -> None:
    run = hostile[name]
    assert "WrongBytes" in run.errors["ECHO"]
    assert run.measured().lost > 0


def test_an_end_of_stream_is_a_failure_and_the_user_comes_back(
    hostile: Hostile,
) -> None:
    run = hostile["closing early"]
    assert "PeerClosed" in run.errors["ECHO"]
    # More failures than users: they connected again, since a broken connection is not used twice.
    assert run.measured().lost > 20


def test_a_connection_lost_while_idle_is_a_failure_before_its_next_message(
    hostile: Hostile,
) -> None:
    result = hostile["closing unasked"].measured()
    # With a message a minute, hardly any user has spoken: the gauge found out.
    found = sum(failure.count for failure in result.failures if failure.kind == "LOST")
    assert found >= 15
    assert result.lost >= found


def test_a_missing_answer_is_a_failure_after_the_reply_timeout(
    hostile: Hostile,
) -> None:
    assert "TimeoutError" in hostile["silent"].errors["ECHO"]


def test_a_stall_is_charged_for_every_message_it_held_up(
    hostile: Hostile,
) -> None:
    """Coordinated omission: by service time alone, one message in each connection was slow."""
    result = hostile["stalling"].measured()
    assert result.failures == []
    response, service = result.times["ECHO response"]["p90"], result.times["ECHO service"]["p90"]
    assert response is not None
    assert service is not None
    assert response > 200
    assert service < response / 3


def test_connecting_is_tried_again_until_the_server_is_up(hostile: Hostile) -> None:
    run = hostile["late"]
    assert set(run.errors) == {"CONNECT"}
    assert "ConnectionRefusedError" in run.errors["CONNECT"]
    assert run.measured().held_min == 10


def test_connections_come_from_the_given_sources_in_turn(hostile: Hostile) -> None:
    assert hostile["sources"].measured().failures == []
    assert sorted(hostile.peers) == sorted(["127.0.0.2", "127.0.0.3", "127.0.0.4"] * 3)


def test_stopping_in_the_middle_of_an_exchange_is_no_failure(hostile: Hostile) -> None:
    result = hostile["stopped"].measured()
    assert result.held_end == 20
    assert result.failures == []
    assert "ECHO response" not in result.times


def test_without_user_names_only_the_echo_service_is_needed(
    honest_runs: dict[str, Finished],
) -> None:
    result = honest_runs["plain"].measured()
    assert result.failures == []
    assert {key.split()[0] for key in result.times} == {"CONNECT", "ECHO"}


def test_connections_without_an_answer_in_the_hold_are_held_but_not_answered(
    tmp_path: Path,
) -> None:
    numbers = itertools.count()

    def answers_two(conn: socket.socket) -> None:
        (harness.honest if next(numbers) < 2 else harness.silent)(conn)

    with HostileServer(answers_two) as server:
        flags = "--users 5 --spawn-rate 5 --pacing 0.2 --hold 1"
        result = LocustRun(tmp_path, server.port, *flags.split()).finish().measured()
    assert (result.held_min, result.answered) == (5, 2)


def test_a_busy_worker_is_waited_for(
    asyncio_server: Server, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """One that stands still in the ramp keeps its users, and nobody else gets them."""
    flags = f"{workers()} --users 40 --spawn-rate 4 --pacing 0.5 --hold 1 --worker-patience 60"
    run = LocustRun(tmp_path_factory.mktemp("run"), asyncio_server.echo, *flags.split())
    run.wait_until(lambda progress: progress.held > 0)
    run.stop_a_worker_for(8.0)
    result = run.finish().measured()
    assert (result.asked, result.held_min, result.answered) == (40, 40, 40)
    assert result.times["CONNECT echo"]["count"] == 40


@pytest.mark.timeout(300)
@pytest.mark.usefixtures("overflows_alone")
def test_users_connect_in_turns(tmp_path: Path) -> None:
    """Nobody answers here, so each attempt lasts for a second, and five of them cannot be over
    before five seconds are unless several were under way at the same time."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(3):  # its queue is full
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex(listener.getsockname())
        seen: list[float] = []
        flags = "--users 10 --spawn-rate 10 --connects-at-once 1 --connect-timeout 1"
        run = LocustRun(tmp_path, listener.getsockname()[1], *flags.split())

        def five_failed(progress: Progress) -> bool:
            seen.append(progress.at)
            return progress.failures >= 5

        run.stop_when(five_failed)
    assert seen[-1] - seen[0] > 4.0


def test_what_a_dead_worker_held_is_not_held(
    asyncio_server: Server, tmp_path_factory: pytest.TempPathFactory
) -> None:
    flags = f"{workers()} --users 40 --spawn-rate 40 --pacing 0.5 --hold 6"
    run = LocustRun(tmp_path_factory.mktemp("run"), asyncio_server.echo, *flags.split())
    run.wait_until(lambda progress: progress.phase == "hold")
    run.kill_a_worker()
    result = run.finish().measured()
    assert (result.asked, result.held_min) == (40, 20)
    assert len(result.cpu_seconds) == 1


Flags = list[str]


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--host", "nonsense"], "nonsense"),
        (["--payload", "0"], "payload"),
        (["--pacing", "nan"], "pacing"),
        (["--reply-timeout", "0"], "reply-timeout"),
        (["--source-addresses", "somewhere"], "somewhere"),
        (["--sleep-host", "here"], "here"),
        (["--server-metrics", "127.0.0.1:7009"], "no http://HOST:PORT/metrics"),
    ],
)
def test_a_bad_option_ends_locust_with_status_2_and_one_line(flags: Flags, named: str) -> None:
    host = [] if "--host" in flags else ["--host", "tcp://127.0.0.1:9"]
    command = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--headless"]
    done = subprocess.run(
        [*command, "--skip-log-setup", *host, *flags],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        timeout=harness.PATIENCE,
        check=False,
    )
    errors = [line for line in done.stderr.splitlines() if "error" in line]
    assert done.returncode == 2
    assert len(errors) == 1
    assert named in errors[0]
    assert "Traceback" not in done.stderr
