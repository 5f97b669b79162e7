"""Left running under a mixed load, the server neither grows nor loses anything.

An hour of it is `make soak MINUTES=60`; `make torture` leaves it out.
"""

import statistics
import time

import pytest

from tests.server.conftest import Start
from tests.server.harness import Authority, eventually
from tests.torture.client import Client
from tests.torture.conftest import Figures, Scale

pytestmark = pytest.mark.item(9)

MIB = 1 << 20


@pytest.fixture
def seconds(request: pytest.FixtureRequest, scale: Scale) -> float:
    """How long to soak."""
    minutes: float = request.config.getoption("minutes", default=0.0)
    if not minutes and scale(False, True):
        pytest.skip("takes a time of its own: make soak")
    return scale(0.3, minutes * 60)


def test_nothing_grows(
    start: Start, scale: Scale, figure: Figures, authority: Authority, seconds: float
) -> None:
    server = start(authority=authority)
    count = scale(60, 10_000)
    times: list[float] = []
    rss: list[float] = []
    fds: list[float] = []
    with Client(
        "mixed",
        echo=server.port("echo"),
        sleep=server.port("sleep"),
        echo_tls=server.port("echo-tls"),
        ca_file=str(authority.ca_file),
        count=count,
        pause=scale(0.1, 20.0),
        per_second=scale(50, 15),
    ) as mixed:
        assert mixed.hear(120) == {"standing": count}
        began = time.monotonic()
        while time.monotonic() < began + seconds:
            time.sleep(min(seconds / 20, 5.0))
            times.append(time.monotonic())
            rss.append(server.rss())
            fds.append(server.fds())
        assert min(fds) >= count
        mixed.tell()
        books = mixed.hear(60)
    assert books["answers"] > 0
    assert books["came"] > 0
    warm = len(times) // 4
    figure("answers wrong", books["wrong"])
    figure("connections lost or cut short", books["lost"])
    slope, _ = statistics.linear_regression(times[warm:], rss[warm:])
    figure("growth of memory after warm-up", slope * 3600 / MIB)
    figure("growth of descriptors after warm-up", grown(fds[warm:]))
    figure("answers", books["answers"])
    figure("connections that came and went beside", books["came"])
    assert eventually(server.is_idle)
    server.stop()
    assert server.closed().get("failed", 0) == 0


def grown(samples: list[float]) -> float:
    """By how much the mean of the last third is above that of the first."""
    third = max(1, len(samples) // 3)
    return statistics.mean(samples[-third:]) - statistics.mean(samples[:third])
