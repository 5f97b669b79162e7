"""Three servers behind HAProxy under the load of a distributed Locust: who has the connections.

What docs/scaling.md says of a server that is killed, added or drained, at a tenth of its size.
Each test begins with its own load on the same containers, after those of the last are all gone.
"""

import csv
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.docker.conftest import Report
from tests.docker.engine import (
    Stack,
    ask,
    docker,
    docker_says,
    free_port,
    inspect,
    post,
    stack,
    wait_until,
)

pytestmark = pytest.mark.engine

METRICS = "import urllib.request as web; "
METRICS += "print(web.urlopen('http://127.0.0.1:7009/metrics', timeout=10).read().decode())"

EACH = 100


class Scaled:
    """The stack of deploy/docker-compose.scale.yml, and what its parts say."""

    def __init__(self, made: Stack) -> None:
        self.stack = made
        self.admin_port = free_port()
        made.settings.update(
            COMPOSE_FILE="deploy/docker-compose.scale.yml",
            STACK_SERVERS="3",
            STACK_WORKERS="2",
            STACK_PROXY_BASE="python:3.11-slim-bookworm",
            STACK_PROXY_CONNECTIONS="2000",
            STACK_PROXY_PROCESS="2100",
            STACK_PROXY_NOFILE="5000",
            STACK_PORT=str(free_port()),
            STACK_PROXY_ADMIN_PORT=str(self.admin_port),
            STACK_SCALE_CONNECTIONS=str(3 * EACH),
            STACK_SCALE_SPAWN_RATE="300",
            STACK_PACING="1",
            STACK_RUN_TIME="30m",
        )

    def servers(self) -> list[str]:
        return sorted(self.stack.containers("server"))

    def held(self, container: str) -> int:
        """By the server's own count, which is of HAProxy's checks as well while they last."""
        page = docker_says("exec", container, "python", "-c", METRICS)
        (line,) = (x for x in page.splitlines() if x.startswith("c10k_connections_current "))
        return int(float(line.split()[1]))

    def wait_for_held(self, wanted: list[int]) -> None:
        running = [name for name in self.servers() if inspect(name)["State"]["Running"]]
        found: list[int] = []

        def as_wanted() -> bool:
            found[:] = [self.held(name) for name in running]
            return sorted(found) == sorted(wanted)

        wait_until(as_wanted, lambda: f"{found}, wanted {wanted}")

    def wait_for_servers_up(self, number: int) -> None:
        """By HAProxy's view of them."""

        def up() -> list[str]:
            rows = csv.DictReader(ask(self.admin_port, "/stats;csv").splitlines())
            ours = (row for row in rows if row["# pxname"] == "servers")
            named = (row for row in ours if row["svname"] != "BACKEND")
            return [row["svname"] for row in named if row["status"] == "UP"]

        wait_until(lambda: len(up()) == number, lambda: ask(self.admin_port, "/stats;csv"))

    def statistics(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(ask(self.stack.web_port, "/stats/requests"))
        return found

    def users(self) -> int:
        """None before the web UI answers."""
        try:
            return int(self.statistics()["user_count"])
        except OSError:
            return 0

    def failures(self, kind: str) -> int:
        """Of Locust's requests of one kind; a connection that was lost is one of kind LOST."""
        entries = self.statistics()["stats"]
        return sum(each["num_failures"] for each in entries if each["method"] == kind)

    def start_all(self) -> None:
        for name in self.servers():
            docker_says("start", name)
        self.wait_for_servers_up(3)

    def load(self, connections: int) -> None:
        """As many more, or less; figures go on if there is a load already."""
        where = "tcp://haproxy:7007"
        post(self.stack.web_port, "/swarm", user_count=connections, spawn_rate=300, host=where)
        wait_until(
            lambda: self.statistics()["user_count"] == connections,
            lambda: json.dumps(self.statistics()),
        )

    def end_load(self) -> None:
        post(self.stack.web_port, "/stop")
        self.wait_for_held([0, 0, 0])


@pytest.fixture(scope="module")
def made(images: None) -> Iterator[Scaled]:
    with stack("scale") as one:
        scaled = Scaled(one)
        one.must("build", "haproxy", timeout=600)
        one.must("up", "--detach", "--no-build", "--scale", "server=3", "--scale", "worker=2")
        wait_until(
            lambda: scaled.users() == 3 * EACH,
            lambda: one.compose("logs", "--tail", "50").stdout,
        )
        yield scaled


@pytest.fixture
def scaled(made: Scaled) -> Scaled:
    """Three servers with the same number of connections each, and no failure yet."""
    made.start_all()
    made.end_load()
    made.load(3 * EACH)
    made.wait_for_held([EACH, EACH, EACH])
    assert made.statistics()["errors"] == []
    return made


def test_connections_are_shared_evenly_and_all_echoes_come_back(
    scaled: Scaled, report: Report
) -> None:
    def echoes() -> int:
        entries = scaled.statistics()["stats"]
        return sum(e["num_requests"] for e in entries if e["name"] == "response")

    wait_until(lambda: echoes() >= 3 * 3 * EACH, lambda: str(scaled.statistics()))
    assert scaled.statistics()["errors"] == []
    assert len(scaled.statistics()["workers"]) == 2
    report(f"3 servers behind HAProxy: {EACH} connections each, {echoes()} echoes, 0 failed")


def test_what_a_killed_server_had_is_lost_and_comes_back_to_the_others(scaled: Scaled) -> None:
    docker_says("kill", scaled.servers()[0])
    scaled.wait_for_held([EACH * 3 // 2, EACH * 3 // 2])
    # A client hears of it while idle, or has sent something and gets no answer.
    wait_until(
        lambda: scaled.failures("LOST") + scaled.failures("ECHO") == EACH,
        lambda: json.dumps(scaled.statistics()),
    )
    assert scaled.failures("CONNECT") == 0


def test_an_added_server_gets_new_connections_and_none_of_the_old(scaled: Scaled) -> None:
    name = scaled.servers()[0]
    docker_says("stop", name)
    scaled.wait_for_held([EACH * 3 // 2, EACH * 3 // 2])
    docker_says("start", name)
    scaled.wait_for_servers_up(3)
    scaled.wait_for_held([0, EACH * 3 // 2, EACH * 3 // 2])
    scaled.load(3 * EACH + 50)
    scaled.wait_for_held([50, EACH * 3 // 2, EACH * 3 // 2])
    assert scaled.failures("CONNECT") == 0


def test_a_drained_server_has_answered_all_that_it_received(scaled: Scaled) -> None:
    name = scaled.servers()[0]
    docker_says("stop", name)
    assert inspect(name)["State"]["ExitCode"] == 0
    stopped = json.loads(docker("logs", name).stderr.splitlines()[-1])
    assert stopped["message"] == "stopped"
    assert stopped["received"] == stopped["sent"]
    assert (stopped["aborted"], stopped["broken"], stopped["failed"]) == (0, 0, 0)
    scaled.wait_for_held([EACH * 3 // 2, EACH * 3 // 2])
    assert scaled.failures("CONNECT") == 0


def test_a_server_cut_off_without_a_word_is_given_up_in_half_a_minute(scaled: Scaled) -> None:
    """Its clients would else wait for their own patience, or for a quarter of an hour."""
    name = scaled.servers()[0]
    (network,) = inspect(name)["NetworkSettings"]["Networks"]
    docker_says("network", "disconnect", network, name)
    try:
        # It still holds its own: it has heard nothing either.
        scaled.wait_for_held([EACH, EACH * 3 // 2, EACH * 3 // 2])
        wait_until(lambda: scaled.failures("ECHO") == EACH, lambda: json.dumps(scaled.statistics()))
        # HAProxy ended them. Locust has 30 s of patience, and a failure of its own for it.
        assert {each["error"] for each in scaled.statistics()["errors"]} == {
            "PeerClosed('the server closed the connection before it answered')"
        }
    finally:
        docker_says("kill", name)
        docker_says("network", "connect", "--alias", "server", network, name)


def test_parts_are_confined(scaled: Scaled) -> None:
    for service in ("server", "haproxy", "locust", "worker"):
        for container in scaled.stack.containers(service):
            text = docker_says("exec", container, "cat", "/proc/self/status")
            status = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
            assert status["Uid"].split() == ["10001"] * 4
            assert status["NoNewPrivs"] == "1"
            assert int(status["CapBnd"], 16) == 0
            done = docker("exec", container, "touch", "/etc/x")
            assert "Read-only file system" in done.stderr
