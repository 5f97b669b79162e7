"""Several workers: one set of listeners, no orphans, no zombies; a crash costs what it served."""

import contextlib
import json
import os
import re
import select
import signal
import socket
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from server import config, limits
from server.errors import UsageError
from server.source import SourceGone
from server.workers import worker
from server.workers.children import Backoff
from tests.server.conftest import Start
from tests.server.harness import (
    Authority,
    ServerProcess,
    eventually,
    is_alive,
    receive,
    receive_line,
    receive_rest,
    send_until_stuck,
    sending,
)
from tests.server.scripted import WAIT_FOR_TERM, announced, outcome, scripted

MIB = 1 << 20


def fds(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def connected(
    server: ServerProcess, count: int, stack: contextlib.ExitStack
) -> list[socket.socket]:
    """Connections that are served: each has had an echo."""
    socks = [stack.enter_context(server.connect("echo")) for _ in range(count)]
    for sock in socks:
        sock.sendall(b"ping")
    assert [receive(sock, 4) for sock in socks] == [b"ping"] * count
    return socks


def is_dropped(sock: socket.socket) -> bool:
    try:
        sock.sendall(b"ping")
        return receive(sock, 4) != b"ping"
    except ConnectionError:
        return True


# Sharing.


def test_all_workers_get_connections(start: Start) -> None:
    server = start("--workers=2")
    first, second = server.workers()
    idle = {pid: fds(pid) for pid in (first, second)}
    with contextlib.ExitStack() as stack:
        # Who is awake first takes more; in the end each is once the first.
        assert eventually(
            lambda: bool(connected(server, 8, stack)) and all(fds(p) > idle[p] + 2 for p in idle)
        )


def test_the_maximum_is_that_of_the_server(start: Start) -> None:
    server = start("--workers=2", "--max-connections=5")
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(server.connect("echo")) for _ in range(7)]
        for sock in socks:
            sock.sendall(b"ping")

        def served() -> list[socket.socket]:
            return select.select(socks, [], [], 0)[0]

        assert eventually(lambda: len(served()) == 5)
        time.sleep(0.05)
        assert len(served()) == 5
        for sock in served():
            sock.close()
            socks.remove(sock)
        assert eventually(lambda: len(served()) == 2)


@pytest.mark.parametrize(("total", "workers"), [(5, 1), (5, 2), (7, 7), (100, 7)])
def test_shares_are_fair_and_add_up(total: int, workers: int) -> None:
    shares = limits.shares(total, workers)
    assert sum(shares) == total
    assert len(shares) == workers
    assert max(shares) - min(shares) <= 1


def test_the_limit_on_files_is_one_of_each_worker() -> None:
    reserved = limits.RESERVED_FDS
    assert limits.max_connections(None, reserved + 10, 3) == 30
    assert limits.max_connections(30, reserved + 10, 3) == 30
    with pytest.raises(UsageError, match=rf"31 needs {reserved + 11} open files in each worker"):
        limits.max_connections(31, reserved + 10, 3)


def test_a_worker_without_any_connection_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="leaves some of 3 workers without any"):
        config.load(["--workers=3", "--max-connections=2"], {}, 1000)


# Crashes.


def test_a_killed_worker_costs_its_own_connections_and_is_replaced(start: Start) -> None:
    server = start("--workers=2")
    with contextlib.ExitStack() as stack:
        socks = connected(server, 20, stack)
        victim, other = server.workers()
        had = established(victim)
        os.kill(victim, signal.SIGKILL)
        assert eventually(lambda: victim not in server.workers() and len(server.workers()) == 2)
        assert other in server.workers()
        assert sum(is_dropped(sock) for sock in socks) == had
        assert server.echoes()
        (new,) = set(server.workers()) - {other}
        assert eventually(lambda: bool(connected(server, 8, stack)) and established(new) > 0)
    server.stop()
    assert re.search(rf"error worker died pid={victim} by=SIGKILL restart_in=0.0", server.log())
    figures = server.figures()
    assert figures.get("worker_died", 0) <= had  # the last second may be missing
    assert figures["connections"] == sum(
        count for name, count in figures.items() if name not in ("connections", "received", "sent")
    )


def established(pid: int) -> int:
    return sum(
        each.status == psutil.CONN_ESTABLISHED
        for each in psutil.Process(pid).net_connections("tcp4")
    )


def test_who_keeps_dying_is_replaced_more_and_more_slowly(start: Start) -> None:
    server = start("--workers=2")
    steady, _ = server.workers()
    for deaths in range(1, 5):
        assert eventually(lambda: len(server.workers()) == 2)
        (mortal,) = set(server.workers()) - {steady}
        os.kill(mortal, signal.SIGKILL)
        assert eventually(lambda deaths=deaths: server.log().count("worker died") == deaths)  # type: ignore[misc]
    pauses = re.findall(r"restart_in=([0-9.]+)", server.log())
    assert pauses == ["0.0", "0.1", "0.2", "0.4"]
    assert server.echoes()


def test_back_off_doubles_up_to_a_limit_and_forgets_after_a_good_while() -> None:
    backoff = Backoff()
    assert [backoff.after(0.1) for _ in range(9)] == [0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5, 5]
    assert [backoff.after(Backoff.WELL), backoff.after(0.1)] == [0, 0.1]


def test_a_worker_that_ends_by_itself_is_replaced_though_it_ended_well() -> None:
    engine = "instance.serving()\ntime.sleep(0.05)"
    with scripted(engine, "--workers=2") as process:
        announced(process)
        assert process.stderr is not None
        assert 'by="exit status 0"' in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        assert outcome(process)[0] == 0


def test_the_supervisor_leaks_neither_descriptors_nor_zombies(start: Start) -> None:
    server = start("--workers=2")
    before = server.fds()
    for _ in range(3):
        victim = server.workers()[0]
        os.kill(victim, signal.SIGKILL)
        assert eventually(lambda gone=victim: not psutil.pid_exists(gone))  # type: ignore[misc]
        assert eventually(lambda: len(server.workers()) == 2)
    assert server.fds() == before
    assert len(psutil.Process(server.process.pid).children()) == 2
    assert psutil.Process(server.process.pid).num_threads() == 1


def test_a_replacement_has_no_more_open_than_the_first_had() -> None:
    # Neither the supervisor's control sockets nor other workers'.
    with scripted(WAIT_FOR_TERM, "--workers=3") as process:
        announced(process)
        supervisor = psutil.Process(process.pid)
        first = {fds(each.pid) for each in supervisor.children()}
        assert len(first) == 1
        os.kill(supervisor.children()[0].pid, signal.SIGKILL)
        assert process.stderr is not None
        assert "worker died" in process.stderr.readline()
        assert eventually(lambda: len(supervisor.children()) == 3)
        assert eventually(lambda: {fds(each.pid) for each in supervisor.children()} == first)


# Starting.


@pytest.mark.parametrize(
    ("engine", "status", "reason"),
    [
        ("raise UsageError('no; do')", 2, "c10k-server: no; do\n"),
        ("raise ValueError('a bug')", 1, "ended before it served: exit status 1\n"),
        ("os.kill(os.getpid(), 9)", 1, "ended before it served: SIGKILL\n"),
    ],
)
def test_a_worker_that_cannot_begin_ends_the_server(engine: str, status: int, reason: str) -> None:
    # The second alone, when the first already serves.
    lone = f"if instance.settings.max_connections == 2:\n    {engine}\n" + WAIT_FOR_TERM
    with scripted(lone, "--workers=2", "--max-connections=5", before="") as process:
        assert process.stdout is not None
        assert process.stdout.read() == ""
        code, log = outcome(process)
    assert code == status
    assert log.endswith(reason)


def test_a_worker_that_cannot_begin_again_is_tried_again(tmp_path: Path) -> None:
    fault = tmp_path / "fault"
    engine = f"if os.path.exists({str(fault)!r}):\n    raise UsageError('not now')\n"
    with scripted(engine + WAIT_FOR_TERM, "--workers=2") as process:
        announced(process)
        fault.touch()
        os.kill(psutil.Process(process.pid).children()[0].pid, signal.SIGKILL)
        assert process.stderr is not None
        assert "by=SIGKILL restart_in=0.0" in process.stderr.readline()
        assert 'by="not now" restart_in=0.1' in process.stderr.readline()
        fault.unlink()
        assert eventually(lambda: len(psutil.Process(process.pid).children()) == 2)
        process.send_signal(signal.SIGTERM)
        assert outcome(process)[0] == 0


def test_a_server_that_cannot_announce_itself_ends_with_one_line() -> None:
    before = "sys.stdout = open('/dev/full', 'w')"
    with scripted(WAIT_FOR_TERM, "--workers=2", before=before) as process:
        status, log = outcome(process)
    assert status == 2
    assert log.startswith("c10k-server: cannot write to standard output: ")
    assert log.count("\n") == 1


# Stopping.


def test_sigterm_drains_all_workers(start: Start) -> None:
    server = start("--workers=2")
    payload = bytes(range(256)) * (4 * MIB // 256)
    with contextlib.ExitStack() as stack:
        sleepers = [stack.enter_context(server.connect("sleep")) for _ in range(16)]
        for sleeper in sleepers:
            sleeper.sendall(b"0\n0.3\n")
            assert receive_line(sleeper) == b"0\n"
        echoes = [stack.enter_context(server.connect("echo")) for _ in range(4)]
        senders = [stack.enter_context(sending(sock, iter([payload]))) for sock in echoes]
        received = [bytearray() for _ in echoes]
        while any(sender.is_alive() for sender in senders):
            for sock, data, sender in zip(echoes, received, senders, strict=True):
                if sender.is_alive():
                    data += receive(sock, MIB // 4)
                    sender.join(0.001)
        server.signal()
        assert eventually(server.refuses)
        for sock, data in zip(echoes, received, strict=True):
            data += receive_rest(sock)
            assert data == payload
        assert [receive_rest(sleeper) for sleeper in sleepers] == [b"0.3\n"] * 16
    assert server.wait() == 0
    assert server.log().count(" stopped worker=") == 2


def test_ctrl_c_reaches_the_whole_group_and_drains_all_the_same(start: Start) -> None:
    server = start("--workers=2")
    with server.connect("sleep") as sock:
        sock.sendall(b"0\n0.3\n")
        assert receive_line(sock) == b"0\n"
        os.killpg(server.process.pid, signal.SIGINT)
        assert receive_rest(sock) == b"0.3\n"
    assert server.wait() == 0


def test_a_service_manager_may_send_sigterm_to_all_at_once(start: Start) -> None:
    server = start("--workers=2")
    with server.connect("sleep") as sock:
        sock.sendall(b"0\n0.3\n")
        assert receive_line(sock) == b"0\n"
        os.killpg(server.process.pid, signal.SIGTERM)
        assert receive_rest(sock) == b"0.3\n"
    assert server.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_all_at_once(start: Start, number: signal.Signals) -> None:
    server = start("--workers=2", "--drain-timeout=60")
    workers = server.workers()
    with server.connect("sleep") as sock:
        sock.sendall(b"0\n3600\n")
        assert receive_line(sock) == b"0\n"
        server.signal(signal.SIGTERM)
        assert eventually(server.refuses)
        server.signal(number)
        assert server.wait() == 128 + number
    assert not any(is_alive(pid) for pid in workers)


def test_what_is_open_at_the_deadline_is_cut_off_in_all_workers(start: Start) -> None:
    server = start("--workers=2", "--drain-timeout=0.1")
    with contextlib.ExitStack() as stack:
        for sock in connected(server, 4, stack):
            send_until_stuck(sock, bytes(65536), 64 * MIB)
        server.signal()
        assert server.wait() == 0
    assert server.figures()["aborted"] == 4


def test_a_worker_that_does_not_drain_is_killed() -> None:
    engine = "signal.signal(signal.SIGTERM, lambda *_: None)\ninstance.serving()\ntime.sleep(60)"
    with scripted(
        engine, "--workers=2", "--drain-timeout=0.1", before="supervisor.GRACE = 0.1"
    ) as process:
        announced(process)
        process.send_signal(signal.SIGTERM)
        status, log = outcome(process)
    assert status == 1
    assert log.count("killed: it did not end in time") == 2
    assert log.count("worker ended badly") == 2


def test_sigterm_while_the_workers_begin_ends_them() -> None:
    with scripted(
        "print('listening not yet', flush=True)\ntime.sleep(60)", "--workers=2"
    ) as process:
        announced(process)
        process.send_signal(signal.SIGTERM)
        assert outcome(process)[0] == 0


def test_a_worker_may_say_that_it_serves_when_the_server_is_to_end() -> None:
    engine = """
from server.instance import State
stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
instance.state = State.SERVING
if instance.settings.max_connections == 2:
    os.kill(os.getppid(), signal.SIGTERM)
while not stop.wait(0.01):
    pass
instance.serving()
"""
    # The second alone sends it.
    with scripted(engine, "--workers=2", "--max-connections=5") as process:
        assert process.stdout is not None
        assert process.stdout.read() == ""
        status, log = outcome(process)
    assert status == 0
    assert " stopped connections=0 " in log


def test_sigterm_while_a_crashed_worker_is_waited_for_ends_the_server() -> None:
    with scripted("instance.serving()\ntime.sleep(0.05)\nos._exit(3)", "--workers=2") as process:
        announced(process)
        assert process.stderr is not None
        for _ in range(6):
            assert 'by="exit status 3"' in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        assert outcome(process)[0] in (0, 1)  # 1 if one died in the drain


# Orphans.


def test_workers_drain_and_end_when_the_supervisor_is_killed(start: Start) -> None:
    server = start("--workers=2")
    workers = server.workers()
    with server.connect("sleep") as sock:
        sock.sendall(b"0\n0.3\n")
        assert receive_line(sock) == b"0\n"
        server.process.kill()
        assert receive_rest(sock) == b"0.3\n"
    assert eventually(lambda: not any(is_alive(pid) for pid in workers))
    assert server.log().count("the supervisor is gone") == 2


def test_an_orphan_that_hangs_ends_all_the_same() -> None:
    engine = "instance.serving()\nlock = threading.Lock()\nlock.acquire()\nlock.acquire()"
    with scripted(
        engine, "--workers=2", "--drain-timeout=0.1", before="control.GRACE = 0.1"
    ) as process:
        announced(process)
        workers = [each.pid for each in psutil.Process(process.pid).children()]
        process.kill()
        assert len(workers) == 2
        assert eventually(lambda: not any(is_alive(pid) for pid in workers))


# Signals that are passed on.


def test_sighup_reaches_all_workers_and_those_to_come(start: Start, own: Authority) -> None:
    server = start("--workers=2", authority=own)
    before = serials(server)
    assert len(before) == 1
    own.renew()
    server.signal(signal.SIGHUP)
    assert eventually(lambda: server.log().count("certificate reloaded") == 3)
    renewed = serials(server)
    assert len(renewed) == 1
    assert renewed != before
    workers = server.workers()
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    assert eventually(lambda: len(server.workers()) == 2 and not {*workers} & {*server.workers()})
    assert serials(server) == renewed


def test_a_bad_certificate_is_told_once_and_the_old_one_stays(start: Start, own: Authority) -> None:
    server = start("--workers=2", authority=own)
    before = serials(server)
    own.file.write_text("nothing of use")
    server.signal(signal.SIGHUP)
    assert eventually(lambda: "the old one stays in use" in server.log())
    assert serials(server) == before
    server.stop()
    assert server.log().count("the old one stays in use") == 1


def serials(server: ServerProcess) -> set[str]:
    """The serial numbers of the certificates that are shown to ten clients."""
    shown = set()
    for _ in range(10):
        with server.connect_tls("echo") as sock:
            certificate = sock.getpeercert()
            assert certificate is not None
            shown.add(str(certificate["serialNumber"]))
    return shown


@pytest.fixture
def own(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def test_sigusr1_makes_every_worker_write_its_tasks(start: Start) -> None:
    server = start("--workers=2")
    server.signal(signal.SIGUSR1)
    for pid in server.workers():
        assert eventually(lambda pid=pid: f"tasks worker={pid}\n" in server.log())  # type: ignore[misc]
    assert server.echoes()


# The admin port, as far as the supervisor has part in it.

ADMIN = """
import json, socket
from server import admin
from server.listeners import Listener
class Admin:
    def __init__(self, source, settings):
        self.source = source
        sock = socket.create_server((settings.admin.host, settings.admin.port))
        self.listener = Listener("admin", sock)
        self.address = self.listener.address
        threading.Thread(target=self.serve, daemon=True).start()
    def serve(self):
        while True:
            sock, _ = self.listener.sock.accept()
            answer = {
                "pid": os.getpid(),
                "snapshots": list(self.source.snapshots()),
                "workers": [(w.pid, w.state, w.beat_age) for w in self.source.workers()],
                "tasks": self.source.tasks(),
            }
            sock.sendall(json.dumps(answer).encode())
            sock.close()
    def close(self):
        self.listener.sock.close()
admin.start = Admin
"""

COUNTS = "instance.describe_tasks = lambda: 'task ' * 100000\ninstance.counters.connections += 1\n"


class Admin:
    """A server with a port that shows what its ``Source`` says."""

    def __init__(self, process: Any) -> None:
        self.process = process
        line = process.stdout.readline()
        assert line.startswith("listening echo ")
        self.echo = ("127.0.0.1", int(line.rpartition(":")[2]))
        line = process.stdout.readline()
        assert line.startswith("listening admin ")
        self.port = int(line.rpartition(":")[2])

    def ask(self) -> dict[str, Any]:
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as sock:
            answer: dict[str, Any] = json.loads(receive_rest(sock))
            return answer

    def total(self) -> int:
        return sum(each["connections"] for each in self.ask()["snapshots"])


@contextlib.contextmanager
def administered(engine: str, *arguments: str) -> Iterator[Admin]:
    with scripted(engine, "--admin=127.0.0.1:0", *arguments, before=ADMIN) as process:
        admin = Admin(process)
        yield admin
        process.send_signal(signal.SIGTERM)
        assert outcome(process)[0] == 0


def test_the_admin_port_shows_one_process_that_serves_alone() -> None:
    with administered(COUNTS + WAIT_FOR_TERM) as admin:
        answer = admin.ask()
        (worker,) = answer["workers"]
        assert worker[0] == answer["pid"] == admin.process.pid
        assert worker[1] == "serving"
        assert admin.total() == 1


def test_the_admin_port_shows_every_worker() -> None:
    with administered(COUNTS + WAIT_FOR_TERM, "--workers=3") as admin:
        answer = admin.ask()
        pids = sorted(pid for pid, _, _ in answer["workers"])
        children = sorted(each.pid for each in psutil.Process(admin.process.pid).children())
        assert sorted([*pids, answer["pid"]]) == children
        assert {state for _, state, _ in answer["workers"]} == {"serving"}
        assert all(0 <= age < 60 for _, _, age in answer["workers"])
        assert answer["tasks"] == "".join(f"worker {pid}\n{'task ' * 100000}\n" for pid in pids)
        assert admin.total() == 3


def test_totals_keep_what_a_killed_worker_had_counted() -> None:
    with administered(COUNTS + WAIT_FOR_TERM, "--workers=2") as admin:
        assert admin.total() == 2
        os.kill(admin.ask()["workers"][0][0], signal.SIGKILL)
        assert eventually(lambda: admin.total() == 3)
        answer = admin.ask()
        past = answer["snapshots"][0]
        assert (past["connections"], past["current"]) == (1, 0)
        assert past["closes"]["worker_died"] == 1
        assert len(answer["workers"]) == 2


def test_a_worker_that_does_not_answer_holds_nobody_up_and_shows_its_age() -> None:
    with administered(COUNTS + WAIT_FOR_TERM, "--workers=2") as admin:
        assert admin.total() == 2
        stopped = admin.ask()["workers"][0][0]
        os.kill(stopped, signal.SIGSTOP)
        try:
            answer = admin.ask()
            assert f"worker {stopped}\nno answer\n" in answer["tasks"]
            assert sum(each["connections"] for each in answer["snapshots"]) == 2
            (age,) = (age for pid, _, age in answer["workers"] if pid == stopped)
            assert age > 1
        finally:
            os.kill(stopped, signal.SIGCONT)


def test_the_admin_port_is_replaced_and_ends_with_the_last_worker() -> None:
    with administered(COUNTS + WAIT_FOR_TERM, "--workers=2") as admin:
        os.kill(admin.ask()["pid"], signal.SIGKILL)
        assert "admin port died" in admin.process.stderr.readline()
        assert eventually(lambda: answers(admin))
        assert admin.total() == 2


def answers(admin: Admin) -> bool:
    with contextlib.suppress(ConnectionError):
        return bool(admin.ask())
    return False


def test_the_admin_port_answers_while_the_workers_drain_and_keeps_no_listener_open() -> None:
    engine = (
        WAIT_FOR_TERM + "for each in instance.listeners:\n    each.sock.close()\ntime.sleep(60)"
    )
    with scripted(engine, "--admin=127.0.0.1:0", "--workers=2", before=ADMIN) as process:
        admin = Admin(process)
        socket.create_connection(admin.echo, timeout=10).close()
        assert [state for _, state, _ in admin.ask()["workers"]] == ["serving"] * 2
        process.send_signal(signal.SIGTERM)
        assert eventually(lambda: refused(admin.echo))
        assert [state for _, state, _ in admin.ask()["workers"]] == ["draining"] * 2
        process.send_signal(signal.SIGTERM)
        assert outcome(process)[0] == 128 + signal.SIGTERM


def refused(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, timeout=10).close()
    except ConnectionError:
        return True
    return False


def test_a_worker_that_hangs_is_said_to_drain_when_the_server_does() -> None:
    engine = "signal.signal(signal.SIGTERM, lambda *_: None)\ninstance.serving()\ntime.sleep(60)"
    with scripted(engine, "--admin=127.0.0.1:0", "--workers=2", before=ADMIN) as process:
        admin = Admin(process)
        process.send_signal(signal.SIGTERM)
        assert eventually(
            lambda: [state for _, state, _ in admin.ask()["workers"]] == ["draining"] * 2
        )
        process.send_signal(signal.SIGTERM)
        assert outcome(process)[0] == 128 + signal.SIGTERM


def test_the_pages_are_about_all_workers(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path, "runtime", "--workers=2", "--admin=127.0.0.1:0")
    try:
        with contextlib.ExitStack() as stack:
            connected(server, 10, stack)
            metrics = page(server, "metrics")
            assert "\nc10k_connections_current 10.0\n" in metrics
            assert '\nc10k_workers{state="serving"} 2.0\n' in metrics
            tasks = page(server, "tasks")
            assert all(f"worker {pid}\n" in tasks for pid in server.workers()[:2])
            assert page(server, "readyz").startswith("ready\n")
    finally:
        server.stop()


def test_a_worker_that_hangs_and_a_crowd_that_asks_keep_no_probe_waiting(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path, "runtime", "--workers=2", "--admin=127.0.0.1:0")
    hanging = server.workers()[0]
    try:
        os.kill(hanging, signal.SIGSTOP)
        with contextlib.ExitStack() as stack:
            for _ in range(12):
                sock = stack.enter_context(server.connect("admin"))
                sock.sendall(b"GET /livez HTTP/1.1\r\nHost: crowd\r\n\r\n" * 30)
            assert page(server, "readyz").startswith("ready\n")
    finally:
        os.kill(hanging, signal.SIGCONT)
        server.stop()


def page(server: ServerProcess, name: str) -> str:
    url = f"http://127.0.0.1:{server.port('admin')}/{name}"
    with urllib.request.urlopen(url, timeout=10) as answer:
        return bytes(answer.read()).decode()


def test_the_admin_port_ends_when_the_supervisor_is_killed() -> None:
    with scripted(
        COUNTS + WAIT_FOR_TERM, "--admin=127.0.0.1:0", "--workers=2", before=ADMIN
    ) as process:
        admin = Admin(process)
        children = [each.pid for each in psutil.Process(process.pid).children()]
        assert admin.ask()["pid"] in children
        process.kill()
        assert eventually(lambda: not any(is_alive(pid) for pid in children))


def test_an_admin_port_that_cannot_begin_ends_the_server() -> None:
    before = (
        "def fail(source, settings): raise UsageError('the port is in use; choose another')\n"
        "from server import admin; admin.start = fail"
    )
    for arguments in (["--workers=2"], []):
        with scripted(WAIT_FOR_TERM, "--admin=127.0.0.1:0", *arguments, before=before) as process:
            status, log = outcome(process)
        assert status == 2
        assert log.endswith("c10k-server: the port is in use; choose another\n")


def test_a_worker_may_die_of_a_signal_that_has_no_name(start: Start) -> None:
    server = start("--workers=2")
    victim, other = server.workers()
    os.kill(victim, signal.SIGRTMIN + 1)  # Python names the first and the last of these alone
    assert eventually(lambda: victim not in server.workers() and len(server.workers()) == 2)
    assert other in server.workers()
    assert f'worker died pid={victim} by="signal {signal.SIGRTMIN + 1}"' in server.log()


def test_a_supervisor_that_was_stopped_answers_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker.SupervisorSource, "TIMEOUT", 0.05)
    ours, theirs = socket.socketpair()
    with ours, theirs, ours.makefile("rb") as questions:
        source = worker.SupervisorSource(theirs)
        with pytest.raises(TimeoutError):
            source.workers()
        first = json.loads(questions.readline())
        late = {"number": first["number"], "snapshots": [], "workers": [(1, "serving", 0.0)]}
        ours.sendall(json.dumps(late).encode() + b"\n")
        # What comes too late is the answer to nothing that is asked later.
        answer = {"number": first["number"] + 1, "tasks": "none"}
        ours.sendall(json.dumps(answer).encode() + b"\n")
        assert source.tasks() == "none"


def test_the_admin_port_knows_when_the_supervisor_is_gone() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        source = worker.SupervisorSource(theirs)
        ours.close()
        with pytest.raises(SourceGone, match="supervisor has ended"):
            source.tasks()


STUCK_STDERR = """
import fcntl
read, write = os.pipe()
fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)
os.write(write, b"x" * 4096)
control.GRACE = 0.1
os.dup2(write, 2)
"""


def test_an_orphan_whose_log_nobody_reads_ends_all_the_same() -> None:
    with scripted(
        WAIT_FOR_TERM, "--workers=2", "--drain-timeout=0", before=STUCK_STDERR
    ) as process:
        announced(process)
        children = [each.pid for each in psutil.Process(process.pid).children()]
        assert len(children) == 2
        process.kill()
        assert eventually(lambda: not any(is_alive(pid) for pid in children))


def test_no_flood_of_signals_hides_another() -> None:
    # While the supervisor is busy nobody reads the wakeup descriptor, which holds some hundreds.
    before = """
def reload(certificate):
    if not flooded:
        flooded.append(1)
        for _ in range(2000):
            signal.raise_signal(signal.SIGUSR1)
        signal.raise_signal(signal.SIGTERM)
flooded = []
from server import signals
signals.reload = reload
"""
    with scripted(WAIT_FOR_TERM, "--workers=2", before=before) as process:
        announced(process)
        process.send_signal(signal.SIGHUP)
        assert process.wait(10) == 0
