"""TLS clients that stop in the middle of the handshake: no trace of them after the deadline."""

import pytest

from tests.server.conftest import Start
from tests.server.harness import Authority, eventually
from tests.torture.client import Client
from tests.torture.conftest import Figures, Scale

pytestmark = pytest.mark.item(8)


def test_handshakes_that_stop_at_any_byte_end_at_the_deadline(
    start: Start, authority: Authority, scale: Scale, figure: Figures
) -> None:
    count, timeout = scale(150, 5000), scale(0.5, 10.0)
    server = start("--handshake-timeout", str(timeout), authority=authority)
    others, seconds = 10, scale(0.2, 5.0)
    port = server.port("echo-tls")
    with Client(
        "bystanders",
        port=server.port("echo"),
        count=others,
        message="ping",
        seconds=seconds,
        pacing=0.02,
    ) as bystanders:
        assert bystanders.hear() == {"opened": others}
        bystanders.tell()
        calm = bystanders.hear(seconds + 30)
        with Client("stalls", port=port, count=count, ca=str(authority.ca_file)) as stalls:
            assert stalls.hear(40) == {"stalled": count}
            bystanders.tell()
            beside = bystanders.hear(seconds + 30)
            said = stalls.hear(timeout + 30)
            stalls.tell()
    assert eventually(server.is_idle)
    figure("descriptors left", server.fds() - server.idle_fds)
    # libuv counts in whole milliseconds.
    figure("cut off before the deadline", said["first"] < timeout - 0.002)
    figure("cut off after the deadline by", said["last"] - timeout)
    figure("plain echoes that were not answered", calm["lost"] + beside["lost"])
    figure("p99 of plain echoes, by that in calm", beside["p99"] / calm["p99"])
    server.stop()
    closed = server.closed()
    assert closed.pop("handshake_timeout") == count
    # The plain ones, and one on which a whole handshake was measured.
    assert set(closed) <= {"finished", "broken"}
    assert sum(closed.values()) == others + 1
