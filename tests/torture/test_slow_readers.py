"""Who sends and never reads costs a bounded amount of memory, and nobody else's time."""

import pytest

from tests.server.conftest import Start
from tests.torture.client import Client
from tests.torture.conftest import Figures, Scale

pytestmark = pytest.mark.item(3)

KIB = 1 << 10


def test_slow_readers_cost_little_memory_and_nobody_else_time(
    start: Start, scale: Scale, figure: Figures
) -> None:
    server = start()
    count, seconds = scale(60, 2000), scale(0.12, 8.0)
    with Client(
        "bystanders",
        port=server.port("echo"),
        count=scale(20, 500),
        message="as if nothing were",
        seconds=seconds,
        pacing=scale(0.03, 0.5),
    ) as bystanders:
        assert bystanders.hear()["opened"]
        bystanders.tell()
        calm = bystanders.hear(seconds + 30)
        before = server.rss()
        with Client("sinks", port=server.port("echo"), count=count, size=8192 * KIB) as sinks:
            assert sinks.hear(30) == {"opened": count}
            bystanders.tell()
            filling = bystanders.hear(seconds + 60)
            bystanders.tell()
            attacked = bystanders.hear(seconds + 60)
            grown = server.rss() - before
            assert server.fds() >= server.idle_fds + count
            sinks.tell()
    figure("memory for each client that never reads", grown / KIB / count)
    figure("p99 of the others in calm", calm["p99"] * 1000)
    figure("p99 of the others while all fill their buffers at once", filling["p99"] * 1000)
    figure("p99 of the others from then on, by that in calm", attacked["p99"] / calm["p99"])
    figure("others that lost an answer", calm["lost"] + filling["lost"] + attacked["lost"])
    assert attacked["answered"] > 0
