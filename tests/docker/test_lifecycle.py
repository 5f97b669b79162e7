"""From up to down: stopping in the middle of a load, starting again, and what is left."""

import json
import os
import re
from pathlib import Path

import pytest

from tests.docker.engine import Stack, ask, docker, inspect, post, stack, wait_until

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("images")]


def last_log(stack: Stack, service: str) -> list[dict[str, object]]:
    lines = docker("logs", stack.container(service)).stderr.splitlines()
    return [json.loads(line) for line in lines]


def test_a_server_drains_live_connections_within_the_grace_period_and_starts_again() -> None:
    with stack("stop") as made:
        made.up("runtime", "locust")
        made.wait_for_health("locust", "healthy")
        where = "tcp://runtime:7007"
        post(made.web_port, "/swarm", user_count=500, spawn_rate=500, pacing="0.5", host=where)
        made.wait_for_users(made.web_port, 500)
        made.wait_for_connections("runtime", 500)
        made.must("stop", "runtime")
        state = inspect(made.container("runtime"))["State"]
        assert (state["ExitCode"], state["OOMKilled"]) == (0, False)
        draining, stopped = last_log(made, "runtime")[-2:]
        assert draining["message"] == "draining"
        assert draining["connections"] == 500
        assert stopped["message"] == "stopped"
        assert (stopped["aborted"], stopped["failed"]) == (0, 0)
        post(made.web_port, "/stop")
        made.must("start", "runtime")
        made.wait_for_health("runtime", "healthy")
        assert inspect(made.container("runtime"))["RestartCount"] == 0
        assert made.load("runtime", 100, hold=1, pacing=0.5).result.failures == []


def test_a_container_that_was_replaced_is_found_by_the_next_test_of_the_web_ui() -> None:
    with stack("move") as made:
        made.up("runtime", "locust")
        made.wait_for_health("locust", "healthy")

        def swarm() -> None:
            post(made.web_port, "/swarm", user_count=20, spawn_rate=20, host="tcp://runtime:7007")
            made.wait_for_users(made.web_port, 20)
            made.wait_for_connections("runtime", 20)
            post(made.web_port, "/stop")

        swarm()
        before = made.address("runtime")
        made.must("rm", "--stop", "--force", "runtime")
        # Somebody else gets its address.
        made.settings["COMPOSE_PROFILES"] = "asyncio"
        made.up("asyncio")
        made.up("runtime")
        made.wait_for_health("runtime", "healthy")
        assert made.address("runtime") != before
        swarm()


def test_two_workers_share_a_load_and_the_master_adds_it_up() -> None:
    with stack("many") as made:
        made.settings["COMPOSE_PROFILES"] = "distributed"
        made.up("--scale", "worker=2", "master", "worker")
        wait_until(
            lambda: made.workers() == 2, lambda: docker("logs", made.container("master")).stderr
        )
        post(made.master_port, "/swarm", user_count=600, spawn_rate=300, host="tcp://runtime:7007")
        made.wait_for_users(made.master_port, 600)
        made.wait_for_connections("runtime", 600)
        stats = json.loads(ask(made.master_port, "/stats/requests"))
        assert [worker["user_count"] for worker in stats["workers"]] == [300, 300]
        assert stats["fail_ratio"] == 0
        post(made.master_port, "/stop")


def test_a_comparison_leaves_its_report_to_the_one_who_asked(tmp_path: Path) -> None:
    """Who is somebody without a name in the image, as everybody's user is."""
    user = os.getuid() or 12345
    out = tmp_path / "results"
    out.mkdir()
    if os.getuid() == 0:
        os.chown(out, user, user)
    with stack("compare") as made:
        done = made.compose(
            *("run", "--rm", "-T", "--user", f"{user}:{user}", "compare"),
            *("--modes", "runtime,threads,uvloop", "--connections", "200", "--duration", "2"),
            STACK_RESULTS=str(out),
        )
        assert done.returncode == 0, done.stdout + done.stderr
        for engine in ("runtime", "threads", "uvloop"):
            assert re.search(rf"(?m)^{engine} +1/1 +200 ", done.stdout)
        assert {path.stat().st_uid for path in out.rglob("*")} == {user}
        assert (out / "report.html").stat().st_size > 1000
        results = json.loads((out / "results.json").read_text())
        assert results["machine"]["versions"]["locust"] != "not installed"


def test_nothing_is_left_when_it_is_taken_down() -> None:
    with stack("down") as made:
        made.up()
        assert {thing.split()[0] for thing in made.remains()} == {"container", "network"}
        made.must("down")
        assert made.remains() == []
