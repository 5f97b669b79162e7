"""More clients than the maximum: no more than that are served, and the others in their turn."""

import contextlib

import pytest

from tests.server.conftest import Start
from tests.server.harness import eventually
from tests.torture.client import take_all_descriptors
from tests.torture.conftest import Figures, Scale
from tests.torture.test_descriptors import is_answered, readable

pytestmark = pytest.mark.item(13)


def test_at_the_maximum_clients_wait_for_a_place(
    start: Start, scale: Scale, figure: Figures
) -> None:
    maximum, waiting = scale((50, 20), (5000, 2000))
    take_all_descriptors()
    server = start("--max-connections", str(maximum))
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(server.connect("echo")) for _ in range(maximum + waiting)]
        for sock in socks:
            sock.sendall(b"ping")
        assert eventually(lambda: len(readable(socks)) >= maximum)
        most = server.fds()
        unserved = 0
        for number, sock in enumerate(socks):  # each place that is left is another's
            unserved += not is_answered(sock)
            if number % 10 == 0:
                most = max(most, server.fds())
            sock.close()
    figure("connections open beyond the maximum", max(0, most - server.idle_fds - maximum))
    figure("connections that waited and were not served", unserved)
    # uvloop had descriptors of its own for accepting while the maximum was far away.
    assert eventually(lambda: server.fds() <= server.idle_fds)
    server.stop()
    figure(
        "connections that are not counted once",
        abs(sum(server.closed().values()) - maximum - waiting),
    )
