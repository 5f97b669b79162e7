"""The server's counters are its clients' books, to the byte and to the connection."""

import pytest

from tests.server.conftest import Start
from tests.server.harness import Authority, eventually
from tests.torture.client import Client
from tests.torture.conftest import Figures, Scale

pytestmark = pytest.mark.item(24)


def test_the_counters_are_those_of_the_clients(
    start: Start, authority: Authority, scale: Scale, figure: Figures
) -> None:
    connections, requests = scale((50, 20), (1200, 1000))
    server = start(authority=authority)
    ports = {name: server.port(name) for name in ("echo", "sleep", "echo-tls", "sleep-tls")}
    with Client(
        "ledger", ports=ports, connections=connections, requests=requests, ca=str(authority.ca_file)
    ) as client:
        books = client.hear(scale(30, 600))
        client.tell()
    assert books["requests"] == connections * requests * 9 // 10  # one in ten asks for nothing
    assert eventually(server.is_idle)
    server.stop()
    counted = server.figures()
    ping = len(b"ping")  # the harness's own connection
    closes = server.closed()
    reasons = closes.keys() | books["closes"].keys()
    figure("bytes received that differ", abs(counted["received"] - books["received"] - ping))
    figure("bytes sent that differ", abs(counted["sent"] - books["sent"] - ping))
    figure("connections that differ", abs(counted["connections"] - connections - 1))
    figure(
        "ends that are counted under another reason",
        sum(abs(closes.get(each, 0) - books["closes"].get(each, 0)) for each in reasons),
    )
