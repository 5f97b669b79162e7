"""The compose file as people start it: five engines and Locust's web UI, healthy and confined."""

import json
import signal

import pytest

from tests.docker.conftest import Report
from tests.docker.engine import ENGINES, Stack, ask, docker, docker_says, inspect, post

pytestmark = pytest.mark.engine

EVERYBODY = (*ENGINES, "locust")


def status_of(stack: Stack, service: str, process: int | str = 1) -> dict[str, str]:
    """/proc/PID/status in a container; PID 1 is its init."""
    text = docker_says("exec", stack.container(service), "cat", f"/proc/{process}/status")
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


@pytest.mark.parametrize("service", EVERYBODY)
def test_a_container_has_no_privileges_and_cannot_get_any(running: Stack, service: str) -> None:
    for process in (1, "self"):
        status = status_of(running, service, process)
        assert status["Uid"].split() == ["10001"] * 4
        assert status["NoNewPrivs"] == "1"
        for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert int(status[name], 16) == 0


@pytest.mark.parametrize("service", EVERYBODY)
def test_a_container_cannot_write_but_to_its_memory(running: Stack, service: str) -> None:
    container = running.container(service)
    for place in ("/c10k/x", "/opt/c10k/x", "/etc/x", "/x"):
        done = docker("exec", container, "touch", place)
        assert done.returncode == 1
        assert "Read-only file system" in done.stderr
    docker_says("exec", container, "touch", "/tmp/x")


@pytest.mark.parametrize("service", EVERYBODY)
def test_limits_are_those_that_ten_thousand_connections_need(running: Stack, service: str) -> None:
    script = "ulimit -Sn; ulimit -Hn; cd /proc/sys/net; cat core/somaxconn ipv4/ip_local_port_range"
    said = docker_says("exec", running.container(service), "sh", "-c", script)
    assert said.split() == ["20000", "20000", "4096", "10240", "65535"]
    config = inspect(running.container(service))["HostConfig"]
    assert config["PidsLimit"] == 20000
    assert config["Memory"] > 0
    assert config["LogConfig"]["Config"] == {"max-size": "10m", "max-file": "3"}


@pytest.mark.parametrize("engine", ENGINES)
def test_a_thousand_connections_are_held(running: Stack, engine: str, report: Report) -> None:
    load = running.load(engine, 1000, hold=5, pacing=2)
    report.load(engine, load)
    found = load.result
    assert found.phase == "hold"
    assert found.failures == [], load.output
    assert (found.held_min, found.held_end, found.lost) == (1000, 1000, 0)
    assert found.requests >= 1000
    assert load.most_held == 1000


def test_ten_thousand_connections_are_held(running: Stack, report: Report) -> None:
    load = running.load("runtime", 10_000, hold=10)
    report.load("runtime", load)
    found = load.result
    assert found.phase == "hold"
    assert found.failures == [], load.output
    assert (found.held_min, found.held_end, found.lost) == (10_000, 10_000, 0)
    assert found.requests >= 9_000


def test_the_web_ui_proposes_the_runtime_and_says_where_it_is(running: Stack) -> None:
    page = ask(running.web_port, "/")
    assert "tcp://runtime:7007" in page
    log = docker("logs", running.container("locust")).stderr
    assert f"Starting web interface at http://127.0.0.1:{running.web_port}" in log


def test_the_web_ui_reaches_an_engine_by_its_name(running: Stack) -> None:
    host = "tcp://uvloop-protocol:7007"
    post(running.web_port, "/swarm", user_count=100, spawn_rate=100, host=host)
    try:
        running.wait_for_users(running.web_port, 100)
    finally:
        post(running.web_port, "/stop")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_server_logs_lines_of_json_and_announces_itself_in_words(
    running: Stack, engine: str
) -> None:
    container = running.container(engine)
    docker_says(
        *("exec", container, "python", "-c"),
        "import socket; s = socket.create_connection(('127.0.0.1', 7008)); s.sendall(b'no\\n'); "
        "print(s.recv(100))",
    )
    said = docker("logs", container)
    assert said.stdout.splitlines()[:3] == [
        "listening echo 0.0.0.0:7007",
        "listening sleep 0.0.0.0:7008",
        "listening admin 0.0.0.0:7009",
    ]
    lines = [json.loads(line) for line in said.stderr.splitlines()]
    assert any(line["message"] == "bad line" for line in lines)


def test_a_server_that_hangs_is_found_unhealthy_and_healthy_when_it_goes_on(
    running: Stack,
) -> None:
    running.signal_server("asyncio", signal.SIGSTOP)
    try:
        running.wait_for_health("asyncio", "unhealthy")
        checks = inspect(running.container("asyncio"))["State"]["Health"]["Log"]
        assert "unhealthy: echo at 127.0.0.1:7007: no answer within 5 s" in checks[-1]["Output"]
    finally:
        running.signal_server("asyncio", signal.SIGCONT)
    running.wait_for_health("asyncio", "healthy")


def test_a_server_that_was_killed_comes_back(running: Stack) -> None:
    before = inspect(running.container("uvloop"))
    running.signal_server("uvloop", signal.SIGKILL)
    running.wait_for_restart("uvloop", before["RestartCount"])
    running.wait_for_health("uvloop", "healthy")
    load = running.load("uvloop", 50, hold=1, pacing=0.5)
    assert load.result.failures == []
