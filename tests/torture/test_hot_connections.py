"""A few connections that want everything leave the others their turn."""

import pytest

from tests.server.conftest import Start
from tests.torture.client import Client
from tests.torture.conftest import Figures, Scale

pytestmark = pytest.mark.item(10)


@pytest.mark.parametrize(
    ("service", "message"), [("echo", "more"), ("sleep", "0\n")], ids=["echo", "sleep"]
)
def test_a_few_hot_connections_leave_the_quiet_their_turn(
    start: Start, scale: Scale, figure: Figures, service: str, message: str
) -> None:
    server = start()
    quiet, hot, seconds = scale(30, 1000), scale(4, 10), scale(0.12, 10.0)
    with (
        Client(
            "bystanders",
            port=server.port("echo"),
            count=quiet,
            message="in a quiet moment",
            seconds=seconds,
            pacing=scale(0.03, 1.0),
        ) as bystanders,
        Client(
            "floods", port=server.port(service), count=hot, message=message, times=8192
        ) as floods,
    ):
        assert bystanders.hear() == {"opened": quiet}
        bystanders.tell()
        calm = bystanders.hear(seconds + 30)
        assert floods.hear() == {"connected": hot}
        floods.tell()
        bystanders.tell()
        flooded = bystanders.hear(seconds + 60)
        floods.tell()
        books = floods.hear()
    assert books["received"] > 0
    figure(f"bytes of {service} floods that came back wrong", books["wrong"])
    figure("p99 of the quiet in calm", calm["p99"] * 1000)
    figure(f"quiet clients that lost an answer beside {service} floods", flooded["lost"])
    figure(
        f"p99 of the quiet beside {service} floods, by that in calm", flooded["p99"] / calm["p99"]
    )
    figure(f"p99 of the quiet beside {service} floods", flooded["p99"] * 1000)
