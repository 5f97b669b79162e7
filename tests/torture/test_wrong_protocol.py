"""Anything but TLS at the TLS ports, and TLS at the plain ones: refused in order, and counted."""

import pytest

from tests.server.conftest import Start
from tests.server.harness import Authority, eventually
from tests.torture.client import Client
from tests.torture.conftest import Figures, Scale

pytestmark = pytest.mark.item(22)

SERVICES = ("echo", "sleep", "echo-tls", "sleep-tls")


def test_every_wrong_beginning_is_answered_in_order_and_counted(
    start: Start, authority: Authority, scale: Scale, figure: Figures
) -> None:
    count = scale(110, 5000)
    server = start(authority=authority)
    ports = {service: server.port(service) for service in SERVICES}
    with Client("wrong_protocol", ports=ports, count=count) as client:
        said = client.hear(120)
        client.tell()
    figure("replies that are no refusal", sum(said.values()) - 4 * count)
    assert said == {f"{service}: right": count for service in SERVICES}
    assert eventually(server.is_idle)
    assert server.echoes()
    server.stop()
    closed = server.closed()
    figure("connections that are counted wrongly", abs(closed["handshake_failed"] - 2 * count))
    assert sum(closed.values()) == 4 * count + 1
    assert "Traceback" not in server.log()
