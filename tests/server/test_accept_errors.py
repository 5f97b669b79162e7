"""Out of file descriptors: established connections go on, the log is quiet, it passes."""

import contextlib
import errno
import logging
import resource
import time

import psutil
import pytest

from server import accepting, logs
from server.accepting import AcceptErrors
from server.metrics import Counters
from tests.server.conftest import Start
from tests.server.harness import eventually, receive


def test_running_out_of_fds_disturbs_nobody_and_passes(start: Start) -> None:
    server = start()
    process = psutil.Process(server.process.pid)
    with contextlib.ExitStack() as stack:
        established = stack.enter_context(server.connect("echo"))
        established.sendall(b"1")
        assert receive(established, 1) == b"1"
        before = process.rlimit(resource.RLIMIT_NOFILE)
        process.rlimit(resource.RLIMIT_NOFILE, (server.fds(), before[1]))
        for _ in range(5):
            stack.enter_context(server.connect("echo"))
        began = process.cpu_times()
        for _ in range(5):  # for 250 ms, which is two or three pauses
            established.sendall(b"2")
            assert receive(established, 1) == b"2"
            time.sleep(0.05)
        used = process.cpu_times()
        assert used.user + used.system - began.user - began.system < 0.1
        assert server.log().count("\n") <= 1
        process.rlimit(resource.RLIMIT_NOFILE, before)
        assert eventually(server.echoes)


def test_a_connection_that_died_in_the_backlog_costs_no_pause() -> None:
    counters = Counters()
    errors = AcceptErrors(counters)
    for number in (errno.ECONNABORTED, errno.EPROTO, errno.EINTR):
        assert errors.pause_after(OSError(number, "gone")) == 0
    assert counters.accept_errors == {"ECONNABORTED": 1, "EPROTO": 1, "EINTR": 1}


@pytest.mark.parametrize(
    "number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EBADF]
)
def test_a_failure_that_would_repeat_pauses_and_is_logged_once_a_second(
    number: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.setattr(logs, "limits", {})
    errors = AcceptErrors(Counters())
    with caplog.at_level(logging.WARNING):
        for _ in range(15):
            assert errors.pause_after(OSError(number, "short")) == accepting.PAUSE
            now += 0.1
    assert len(caplog.records) == 2
    assert caplog.records[1].__dict__["fields"]["left_out"] == 9
