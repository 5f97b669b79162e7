"""Lines that trickle: each byte is in time, the line is not. They are cut off, and nobody else."""

import pytest

from tests.server.conftest import Start
from tests.torture.client import Client
from tests.torture.conftest import Figures, Scale

pytestmark = pytest.mark.item(7)


def test_lines_that_trickle_are_cut_off_and_nobody_else(
    start: Start, scale: Scale, figure: Figures
) -> None:
    count, every, deadline = scale(60, 10_000), scale(0.06, 5.0), scale(0.2, 10.0)
    seconds = scale(0.12, 7.0)
    server = start("--line-timeout", str(deadline))
    normal = scale(20, 500)
    with Client(
        "bystanders",
        port=server.port("sleep"),
        count=normal,
        message="0.0\n",
        seconds=seconds,
        pacing=scale(0.03, 0.5),
    ) as bystanders:
        assert bystanders.hear() == {"opened": normal}
        bystanders.tell()
        calm = bystanders.hear(seconds + 30)
        with Client(
            "drips",
            port=server.port("sleep"),
            count=count,
            every=every,
            deadline=deadline,
            give_up_after=3 * deadline + 10,
        ) as drips:
            assert drips.hear(60) == {"dripping": count}
            bystanders.tell()
            attacked = bystanders.hear(seconds + 60)
            dripped = drips.hear(3 * deadline + 60)
    figure("attackers that were not cut off", count - dripped["closed"])
    figure("cut off before the deadline", dripped["early"])
    figure("time until the last was cut off, by the deadline", dripped["longest"] / deadline)
    figure("normal clients that lost an answer", calm["lost"] + attacked["lost"])
    figure("p99 of normal clients in calm", calm["p99"] * 1000)
    figure("p99 of normal clients, by that in calm", attacked["p99"] / calm["p99"])
    server.stop()
    closed = server.closed()
    figure("attackers not counted as line_timeout", count - closed.get("line_timeout", 0))
    assert closed["finished"] == normal
