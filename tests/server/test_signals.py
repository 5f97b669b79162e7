"""SIGHUP, SIGUSR1 and the second SIGTERM: at any moment, on every engine, whatever it is doing."""

import json
import signal
from pathlib import Path

import pytest

from tests.server.conftest import Start
from tests.server.harness import TIMEOUT, Authority, ServerProcess, eventually, receive
from tests.server.scripted import WAIT_FOR_TERM, announced, outcome, scripted


def test_sighup_shows_the_new_certificate_to_those_who_come_and_leaves_the_others(
    start: Start, tmp_path: Path
) -> None:
    own = Authority(tmp_path)
    server = start(authority=own)
    with server.connect_tls("echo") as before:
        own.renew()
        server.signal(signal.SIGHUP)  # the loop is idle
        assert eventually(lambda: "certificate reloaded" in server.log())
        with server.connect_tls("echo") as after:
            assert before.getpeercert() != after.getpeercert()
        before.sendall(b"ping")
        assert receive(before, 4) == b"ping"


def test_sighup_without_a_certificate_is_one_log_line(start: Start) -> None:
    server = start()
    server.signal(signal.SIGHUP)
    assert eventually(lambda: "nothing to reload: there is no certificate" in server.log())
    assert server.echoes()
    server.stop()
    assert server.log().count("nothing to reload") == 1


def test_sigusr1_logs_the_tasks_while_the_loop_is_idle(start: Start) -> None:
    server = start()
    for count in (1, 2):
        server.signal(signal.SIGUSR1)
        assert eventually(lambda count=count: server.log().count(" info tasks\n") == count)  # type: ignore[misc]
    assert server.echoes()


def test_a_list_of_tasks_is_one_object_in_the_json_log(start: Start) -> None:
    server = start("--log-format=json")
    server.signal(signal.SIGUSR1)
    assert eventually(lambda: '"message": "tasks"' in server.log())
    server.stop()
    events = [json.loads(line) for line in server.log().splitlines()]
    (tasks,) = (event for event in events if event["message"] == "tasks")
    assert tasks["text"]


HANGS = """
instance.describe_tasks = lambda: "line one\\nline two\\n"
instance.serving()
lock = threading.Lock()
lock.acquire()
lock.acquire()
"""


def test_sigusr1_is_answered_while_the_engine_hangs() -> None:
    with scripted(HANGS) as process:
        announced(process)
        process.send_signal(signal.SIGUSR1)
        assert process.stderr is not None
        assert process.stderr.readline().endswith(" info tasks\n")
        assert process.stderr.readline().strip() == "line one"
        assert process.stderr.readline().strip() == "line two"


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_the_second_signal_ends_an_engine_that_hangs(second: signal.Signals) -> None:
    with scripted(HANGS) as process:
        announced(process)
        # The same signal twice may be one to the kernel, if nobody takes the first in between.
        process.send_signal(signal.SIGINT if second == signal.SIGTERM else signal.SIGTERM)
        process.send_signal(second)
        status, _ = outcome(process)
        assert status in (128 + signal.SIGTERM, 128 + signal.SIGINT)


def test_the_second_signal_exits_at_once_even_when_the_engine_has_put_handlers_back() -> None:
    engine = WAIT_FOR_TERM + (
        "signal.signal(signal.SIGTERM, signal.SIG_DFL)\nprint('drained', flush=True)\n"
        "time.sleep(60)\n"
    )
    with scripted(engine) as process:
        announced(process)
        process.send_signal(signal.SIGTERM)
        assert process.stdout is not None
        assert process.stdout.readline() == "drained\n"
        process.send_signal(signal.SIGTERM)
        assert outcome(process) == (128 + signal.SIGTERM, "")


def test_the_first_signal_exits_at_once_before_there_is_anything_to_drain() -> None:
    with scripted("print('listening not yet', flush=True)\ntime.sleep(60)") as process:
        announced(process)
        process.send_signal(signal.SIGTERM)
        assert outcome(process) == (128 + signal.SIGTERM, "")


def test_a_fault_in_an_answer_is_logged_and_the_next_signal_is_answered() -> None:
    with scripted("instance.describe_tasks = lambda: 1 / 0\n" + WAIT_FOR_TERM) as process:
        announced(process)
        process.send_signal(signal.SIGUSR1)
        assert process.stderr is not None
        assert process.stderr.readline().endswith(" error signal not answered\n")
        process.send_signal(signal.SIGTERM)
        status, log = outcome(process)
        assert status == 0
        assert "ZeroDivisionError" in log


def test_a_report_that_takes_for_ever_holds_up_no_end() -> None:
    # Written to a pipe, say, that nobody reads.
    report = """
def describe():
    print("reporting", flush=True)
    time.sleep(60)
instance.describe_tasks = describe
"""
    with scripted(report + WAIT_FOR_TERM) as process:
        announced(process)
        process.send_signal(signal.SIGUSR1)
        assert process.stdout is not None
        assert process.stdout.readline() == "reporting\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT) == 0


def test_signals_during_the_start_wait_for_their_answer() -> None:
    # They would kill by default, and the certificate may be exchanged while a server starts.
    before = "os.kill(os.getpid(), signal.SIGHUP)"
    block = "from server import signals; signals.block_reporting()\n"
    with scripted(WAIT_FOR_TERM, before=block + before) as process:
        announced(process)
        assert process.stderr is not None
        assert "nothing to reload" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        assert outcome(process)[0] == 0


def test_one_process_serves_alone_unless_asked_for_workers(start: Start) -> None:
    server: ServerProcess = start()
    assert server.workers() == []
