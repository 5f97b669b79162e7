"""No byte crosses from one connection to another, however they come and go.

It is the worst that can go wrong, because nobody notices. Descriptors are what makes it possible:
the number of a connection that was closed is given to the next, and an event, a callback or a
buffer of the first may still be under way.
"""

import pytest

from tests.server.conftest import Start
from tests.server.harness import Authority, eventually
from tests.torture.client import Client
from tests.torture.conftest import Figures, Scale

pytestmark = pytest.mark.item(1)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_every_byte_comes_back_to_whom_it_belongs(
    start: Start, scale: Scale, figure: Figures, authority: Authority, tls: bool
) -> None:
    server = start(authority=authority) if tls else start()
    seconds = scale(0.3, 60.0)
    with Client(
        "churn",
        port=server.port("echo-tls" if tls else "echo"),
        seconds=seconds,
        per_second=scale(250, 500),
        ca_file=str(authority.ca_file) if tls else None,
        seed=7,
    ) as client:
        books = client.hear(seconds + 60)
    kind = "over TLS" if tls else "plain"
    figure(f"foreign, doubled or reordered bytes, {kind}", books["wrong"])
    figure(f"streams cut short, {kind}", books["lost"])
    figure(f"connections a second, {kind}", books["opened"] / seconds)
    assert books["received"] > books["opened"] > 20  # of whom 20 stay
    assert eventually(server.is_idle)
    server.stop()
    assert server.closed().get("failed", 0) == 0
