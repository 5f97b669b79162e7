"""A storm of resets: everybody goes at once, in the middle of an echo, and nothing is left."""

import time

import pytest

from tests.server.conftest import Start
from tests.server.harness import eventually
from tests.torture.client import Client
from tests.torture.conftest import Figures, Scale

pytestmark = pytest.mark.item(2)


def test_after_a_storm_of_resets_nothing_is_left(
    start: Start, scale: Scale, figure: Figures
) -> None:
    server = start()
    count, rounds = scale(100, 18_000), scale(2, 5)
    full: list[int] = []
    after: list[int] = []
    left = 0
    with Client("resets", port=server.port("echo"), count=count, rounds=rounds) as client:
        for _ in range(rounds):
            assert client.hear(60) == {"opened": count}
            assert eventually(lambda: server.fds() == server.idle_fds + count)
            full.append(server.rss())
            client.tell()
            assert client.hear(60) == {"reset": count}
            deadline = time.monotonic() + 5
            while not server.is_idle() and time.monotonic() < deadline:
                time.sleep(0.01)
            left = max(left, server.fds() - server.idle_fds)
            after.append(server.rss())
            client.tell()
    figure("descriptors left 5 s after a storm of resets", left)
    figure("memory with all open, the last time by the second", full[-1] / full[1])
    figure("memory after a storm, the last by the second", after[-1] / after[1])
    server.stop()
    closed = server.closed()
    assert sum(closed.values()) == count * rounds
