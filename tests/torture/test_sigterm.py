"""SIGTERM in the middle of it all: no answer is lost or cut short, and the exit status is 0."""

import time

import pytest

from tests.server.conftest import Start
from tests.server.harness import Authority, eventually
from tests.torture.client import Client
from tests.torture.conftest import Figures, Scale

pytestmark = pytest.mark.item(5)


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_what_was_asked_before_the_signal_is_answered(
    start: Start, authority: Authority, scale: Scale, figure: Figures, secure: bool
) -> None:
    # Who does not stop asking is cut off after half of it.
    server = start("--drain-timeout", scale("2", "8"), authority=authority)
    echo, sleep = (server.port(name + "-tls" * secure) for name in ("echo", "sleep"))
    count = scale(60, 1500)
    with Client(
        "under_way",
        echo=echo,
        sleep=sleep,
        count=count,
        ca=str(authority.ca_file) if secure else None,
    ) as client:
        assert client.hear(60) == {"opened": count}
        began = time.monotonic()  # one clock for all processes
        server.signal()
        assert eventually(server.refuses)
        figure("time until new connections are refused", (time.monotonic() - began) * 1000)
        client.tell()
        said = client.hear(30)
        assert server.wait() == 0
        figure("drain", time.monotonic() - began)
    # What is asked after the signal may meet a closed door, but not half an answer.
    missing = sum(asked < began for asked in said["missing"])
    wrong = sum(said["found"].values())
    figure("answers missing, cut short or followed by a reset", missing + wrong)
    assert said["answers"] >= count
    assert "aborted=0" in server.log()
