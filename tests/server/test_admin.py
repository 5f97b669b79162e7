"""The admin port: what it says is true, and nothing that anybody sends to it does harm."""

import contextlib
import http.client
import logging
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import Metric
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.parser import text_string_to_metric_families as parse_text

from runtime import Stream
from runtime.testing.leaks import Leaks, collect_errors, open_descriptors
from server import admin, config, listeners, logs
from server.admin import http as admin_http
from server.admin.http import HttpServer
from server.admin.server import AdminServer
from server.errors import UsageError
from server.instance import Instance, State
from server.listeners import Listener
from server.metrics import SECONDS, Closed, Counters, Snapshot
from server.source import InstanceSource, Source, SourceGone, WorkerState
from tests.server.conftest import Start
from tests.server.harness import (
    TIMEOUT,
    ServerProcess,
    clean_environment,
    eventually,
    receive,
    receive_line,
    receive_rest,
    reset,
)
from tests.server.scripted import announced, scripted

SETTINGS, _ = config.load(["--admin", "127.0.0.1:0"], {}, 20_000)


@dataclass
class Fake:
    """A server that is as the test says."""

    counters: Counters = field(default_factory=Counters)
    states: list[WorkerState] = field(default_factory=lambda: [WorkerState(1, State.SERVING, 0.1)])
    describe: Callable[[], str] = lambda: "3 tasks\n"

    def snapshots(self) -> Sequence[Snapshot]:
        return [self.counters.snapshot(), Counters().snapshot()]

    def workers(self) -> Sequence[WorkerState]:
        return self.states

    def processes(self) -> Sequence[int]:
        return [os.getpid()]

    def tasks(self) -> str:
        return self.describe()


@contextlib.contextmanager
def serving(source: Source) -> Iterator[AdminServer]:
    with contextlib.closing(admin.start(source, SETTINGS)) as server:
        yield server


@pytest.fixture
def source() -> Fake:
    return Fake()


@pytest.fixture
def server(source: Fake) -> Iterator[AdminServer]:
    """An admin port about ``source``, in which nothing goes wrong and of which nothing is left."""
    leaks, descriptors = Leaks(), open_descriptors()
    errors: list[logging.LogRecord] = []
    with collect_errors(errors), serving(source) as started:
        yield started
    assert [record.getMessage() for record in errors] == []
    assert leaks.left() == []
    assert open_descriptors() == descriptors


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: str


def ask(port: int, path: str, method: str = "GET", **headers: str) -> Answer:
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    with contextlib.closing(connection):
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read().decode())


def connect(server: AdminServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.address.port), TIMEOUT)


def exchange(server: AdminServer, data: bytes) -> bytes:
    """All that comes back for some bytes and the end of the stream."""
    with connect(server) as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        return receive_rest(sock)


class TestPages:
    def test_index_lists_the_pages(self, server: AdminServer) -> None:
        answer = ask(server.address.port, "/")
        assert answer.status == 200
        for line in answer.body.splitlines():
            assert ask(server.address.port, line.split()[0]).status == 200

    def test_another_path_is_not_found_and_told_what_there_is(self, server: AdminServer) -> None:
        for path in ("/livez/", "/LIVEZ", "//", "/%6civez", "/metrics/../livez"):
            answer = ask(server.address.port, path)
            assert answer.status == 404
            assert "/livez" in answer.body

    def test_a_query_is_left_out_of_account(self, server: AdminServer) -> None:
        assert ask(server.address.port, "/tasks?verbose=1").body == "3 tasks\n"

    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW"])
    def test_other_methods_are_told_which_are_allowed(
        self, server: AdminServer, method: str
    ) -> None:
        answer = ask(server.address.port, "/metrics", method)
        assert answer.status == 405
        assert answer.headers["Allow"] == "GET, HEAD"

    @pytest.mark.parametrize("path", ["/", "/livez", "/readyz", "/tasks", "/nowhere"])
    def test_head_is_get_without_the_body(self, server: AdminServer, path: str) -> None:
        got, head = (ask(server.address.port, path, method) for method in ("GET", "HEAD"))
        assert head.status == got.status
        assert head.body == ""
        assert head.headers["Content-Length"] == str(len(got.body)) != "0"
        assert set(head.headers) == set(got.headers)

    def test_tasks_are_text_whatever_is_in_them(self, server: AdminServer, source: Fake) -> None:
        source.describe = lambda: "task '\udcff\u2028'\n"
        answer = ask(server.address.port, "/tasks")
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert answer.body == "task '\\udcff\u2028'\n"

    def test_a_page_that_cannot_be_made_is_an_error_and_no_end(
        self, server: AdminServer, source: Fake, caplog: pytest.LogCaptureFixture
    ) -> None:
        source.describe = lambda: str(1 / 0)
        assert ask(server.address.port, "/tasks").status == 500
        (record,) = caplog.records
        assert record.exc_info is not None
        assert record.exc_info[0] is ZeroDivisionError
        assert ask(server.address.port, "/livez").status == 200


class TestProbes:
    @pytest.mark.parametrize(
        ("ages", "status"),
        [([], 200), ([4.9], 200), ([5.1], 503), ([0.1, 0.2], 200), ([0.1, 60.0], 503)],
    )
    def test_alive_while_every_loop_beats(
        self, server: AdminServer, source: Fake, ages: list[float], status: int
    ) -> None:
        source.states = [WorkerState(pid, State.SERVING, age) for pid, age in enumerate(ages)]
        answer = ask(server.address.port, "/livez")
        assert answer.status == status
        for pid, age in enumerate(ages):
            assert f"process {pid} serving, heartbeat {age} s ago\n" in answer.body

    @pytest.mark.parametrize(
        ("states", "status"),
        [
            ("", 503),
            ("starting", 503),
            ("serving", 200),
            ("starting serving", 200),
            ("serving serving", 200),
            ("draining serving", 503),
            ("draining", 503),
        ],
    )
    def test_ready_while_one_serves_and_none_drains(
        self, server: AdminServer, source: Fake, states: str, status: int
    ) -> None:
        source.states = [WorkerState(1, State(state), 60.0) for state in states.split()]
        assert ask(server.address.port, "/readyz").status == status

    def test_an_instance_is_ready_from_its_first_accept_to_its_signal(self) -> None:
        instance = Instance(SETTINGS, [], None, on_serving=lambda: None)
        with serving(InstanceSource(instance)) as server:
            assert ask(server.address.port, "/readyz").status == 503
            instance.serving()
            assert ask(server.address.port, "/readyz").status == 200
            instance.draining()
            assert ask(server.address.port, "/readyz").status == 503
            assert ask(server.address.port, "/livez").status == 200

    def test_ready_ends_with_the_signal_and_alive_with_the_drain(self, start: Start) -> None:
        server = start("--admin=127.0.0.1:0")
        port = server.port("admin")
        assert ask(port, "/readyz").status == 200
        with server.connect("sleep") as sock:
            sock.sendall(b"0\n1\n")
            assert receive_line(sock) == b"0\n"
            server.signal()
            assert eventually(lambda: ask(port, "/readyz").status == 503)
            assert ask(port, "/livez").status == 200
            assert receive_line(sock) == b"1\n"
        assert server.wait() == 0
        with pytest.raises(ConnectionRefusedError):
            ask(port, "/livez")

    def test_a_server_that_hangs_says_so_itself(self) -> None:
        engine = "instance.serving()\ninstance.beat_at -= 60\nwhile True: pass"
        with scripted(engine, "--admin", "127.0.0.1:0") as process:
            announced(process)
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("listening admin 127.0.0.1:")
            port = int(line.rpartition(":")[2])
            assert eventually(lambda: ask(port, "/livez").status == 503)
            answer = ask(port, "/livez")
        assert re.search(r"process \d+ serving, heartbeat 6\d\.\d s ago\n", answer.body)


class TestMetrics:
    def test_are_the_snapshots_added_up(self, server: AdminServer, source: Fake) -> None:
        source.counters = counters = Counters(connections=7, received=2**40 + 1, sent=3)
        counters.closes[Closed.BROKEN] += 2
        counters.accept_failed(OSError(24, "too many"))
        counters.reject("per_address")
        for seconds in (0.001, 0.002, 11.0):
            counters.handshake_seconds.observe(seconds)
        found = samples(ask(server.address.port, "/metrics").body)
        assert found["c10k_connections_total"] == 7
        assert found["c10k_connections_current"] == 5
        assert found["c10k_bytes_received_total"] == 2**40 + 1
        assert found["c10k_bytes_sent_total"] == 3
        assert found['c10k_closes_total{reason="broken"}'] == 2
        assert found['c10k_closes_total{reason="finished"}'] == 0
        assert found['c10k_accept_errors_total{errno="EMFILE"}'] == 1
        assert found['c10k_rejected_connections_total{reason="per_address"}'] == 1
        buckets = [found[f'c10k_tls_handshake_seconds_bucket{{le="{le}"}}'] for le in SECONDS]
        assert buckets == [1, *[2] * (len(SECONDS) - 1)]
        assert found['c10k_tls_handshake_seconds_bucket{le="+Inf"}'] == 3
        assert found["c10k_tls_handshake_seconds_count"] == 3
        assert found["c10k_tls_handshake_seconds_sum"] == pytest.approx(11.003)
        assert found["c10k_loop_lag_seconds_count"] == 0
        assert found['c10k_workers{state="serving"}'] == 1
        assert found["c10k_heartbeat_age_seconds"] == 0.1
        (build,) = (name for name in found if name.startswith("c10k_build_info"))
        assert 'mode="runtime"' in build
        assert found["process_open_fds"] > 3

    def test_every_reason_is_there_from_the_start(self, server: AdminServer) -> None:
        found = samples(ask(server.address.port, "/metrics").body)
        for reason in Closed:
            assert found[f'c10k_closes_total{{reason="{reason}"}}'] == 0

    def test_come_as_openmetrics_to_who_asks_for_it(self, server: AdminServer) -> None:
        answer = ask(server.address.port, "/metrics", Accept="application/openmetrics-text")
        assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
        names = {family.name for family in openmetrics(answer.body)}
        assert {"c10k_connections", "c10k_loop_lag_seconds", "c10k_build"} <= names

    @pytest.mark.parametrize(
        "accept",
        [
            "application/openmetrics-text; version=x",
            "application/openmetrics-text; version=1.x",
            "application/openmetrics-text; version=9.9.9; escaping=x",
            "text/plain; version=1.0.0; escaping=allow-utf-8",
            "text/plain; version=\xff\xfe",
            "text/plain; version=",
            "text/plain; version=1.0.0\x01",
            "application/openmetrics-text; version=2.\xff",
            "application/openmetrics-text; version=2.\x01",
            "application/openmetrics-text; version=2.<script>",
            "application/openmetrics-text; version=2." + "9" * 9999,
            ";;,,==",
            "image/png",
        ],
    )
    def test_a_strange_wish_gets_them_in_one_of_the_formats(
        self, server: AdminServer, accept: str
    ) -> None:
        answer = ask(server.address.port, "/metrics", Accept=accept)
        assert answer.status == 200
        assert "c10k_connections_total 0.0\n" in answer.body
        assert answer.headers["Content-Type"].isprintable()

    def test_promtool_finds_nothing_to_say(self, server: AdminServer, source: Fake) -> None:
        promtool = shutil.which("promtool")
        if promtool is None:
            pytest.skip("promtool is not installed (Debian: prometheus)")
        source.counters.accept_failed(OSError(24, "too many"))
        source.counters.reject("per_address")
        text = ask(server.address.port, "/metrics").body
        done = subprocess.run(
            [promtool, "check", "metrics"],
            input=text,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

    def test_are_what_the_clients_did(self, start: Start) -> None:
        server = start("--admin=127.0.0.1:0")
        port = server.port("admin")
        before = when_idle(port)
        with contextlib.ExitStack() as stack:
            echo = [stack.enter_context(server.connect("echo")) for _ in range(4)]
            sleep = [stack.enter_context(server.connect("sleep")) for _ in range(3)]
            for sock in echo:
                sock.sendall(b"x" * 1000)
                assert receive(sock, 1000) == b"x" * 1000
            for sock in sleep:
                sock.sendall(b"0\n")
                assert receive_line(sock) == b"0\n"
            found = samples(ask(port, "/metrics").body)
            assert found["c10k_connections_current"] == 7
            reset(echo[0])
            sleep[0].sendall(b"1" * 65537)
            error = receive_rest(sleep[0])
        after = when_idle(port)
        grown = {name: after[name] - before[name] for name in before if name.startswith("c10k_")}
        changed = {
            name: value
            for name, value in grown.items()
            if value and "loop_lag" not in name and "heartbeat" not in name
        }
        assert changed == {
            "c10k_connections_total": 7,
            "c10k_bytes_received_total": 4 * 1000 + 3 * 2 + 65537,
            "c10k_bytes_sent_total": 4 * 1000 + 3 * 2 + len(error),
            'c10k_closes_total{reason="finished"}': 5,
            'c10k_closes_total{reason="broken"}': 1,
            'c10k_closes_total{reason="bad_line"}': 1,
        }


def tree(server: ServerProcess) -> list[psutil.Process]:
    root = psutil.Process(server.process.pid)
    return [root, *root.children(recursive=True)]


class TestProcesses:
    @pytest.mark.parametrize("workers", [1, 2])
    def test_memory_and_threads_are_those_of_all_processes(
        self, start: Start, workers: int
    ) -> None:
        server = start(f"--workers={workers}", "--admin=127.0.0.1:0")
        found = samples(ask(server.port("admin"), "/metrics").body)
        processes = tree(server)
        assert len(processes) == (4 if workers == 2 else 1)
        rss = sum(each.memory_info().rss for each in processes)
        assert found["process_resident_memory_bytes"] == pytest.approx(rss, rel=0.1)
        threads = sum(len(os.listdir(f"/proc/{each.pid}/task")) for each in processes)
        # The thread in which a page is made may come or go between the two looks.
        assert abs(found["process_threads"] - threads) <= 2

    def test_cpu_of_a_worker_that_has_ended_stays_in_the_sum(self, start: Start) -> None:
        server = start("--workers=2", "--admin=127.0.0.1:0")
        port = server.port("admin")

        def total() -> float:
            return samples(ask(port, "/metrics").body)["process_cpu_seconds_total"]

        def work(seconds: float) -> int:
            """Have one worker spend so much, and say which it was."""
            before = {pid: cpu_of(pid) for pid in server.workers()}
            with server.connect("echo") as sock:
                while True:
                    sock.sendall(b"x" * 65536)
                    receive(sock, 65536)
                    spent = {pid: cpu_of(pid) - cpu for pid, cpu in before.items()}
                    if max(spent.values()) >= seconds:
                        return max(spent, key=lambda pid: spent[pid])

        victim = work(0.3)
        before = total()
        os.kill(victim, signal.SIGKILL)
        assert eventually(lambda: victim not in server.workers() and len(server.workers()) == 3)
        assert total() >= before
        work(0.2)
        assert total() >= before + 0.2


def cpu_of(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def when_idle(port: int) -> dict[str, float]:
    """What a server counts when all its connections have ended."""
    found: dict[str, float] = {}

    def idle() -> bool:
        found.update(samples(ask(port, "/metrics").body))
        return found["c10k_connections_current"] == 0

    assert eventually(idle)
    return found


def openmetrics(text: str) -> list[Metric]:
    return list(openmetrics_parser.text_string_to_metric_families(text))  # type: ignore[no-untyped-call]


def samples(text: str) -> dict[str, float]:
    """The values by name and labels, as they are written."""
    families: list[Metric] = list(parse_text(text))
    return {
        sample.name
        + (
            "{" + ",".join(f'{key}="{value}"' for key, value in sample.labels.items()) + "}"
            if sample.labels
            else ""
        ): sample.value
        for family in families
        for sample in family.samples
    }


def sockets_of(server: AdminServer) -> int:
    """How many the port has on this side: one listens, the others are connections."""
    ours = psutil.Process().net_connections("tcp")
    return sum(each.laddr.port == server.address.port for each in ours)


GET = b"GET /livez HTTP/1.1\r\nHost: x\r\n"


class TestConnections:
    def test_one_connection_serves_many_requests(self, server: AdminServer) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.address.port, timeout=TIMEOUT)
        with contextlib.closing(connection):
            connection.connect()
            sock = connection.sock
            for method in ("GET", "HEAD", "GET"):
                connection.request(method, "/livez")
                response = connection.getresponse()
                response.read()
                assert response.status == 200
                assert connection.sock is sock

    def test_requests_may_come_before_the_answers(self, server: AdminServer) -> None:
        answers = exchange(server, (GET + b"\r\n") * 50 + GET.replace(b"livez", b"none") + b"\r\n")
        assert answers.count(b"HTTP/1.1 200 OK\r\n") == 50
        assert answers.count(b"HTTP/1.1 404 Not Found\r\n") == 1

    def test_a_request_may_come_in_pieces(self, server: AdminServer) -> None:
        with connect(server) as sock:
            for byte in GET + b"\r\n":
                sock.sendall(bytes([byte]))
            assert receive_line(sock) == b"HTTP/1.1 200 OK\r\n"

    @pytest.mark.parametrize(
        "request_", [GET + b"Connection: close\r\n\r\n", b"GET /livez HTTP/1.0\r\n\r\n"]
    )
    def test_ends_when_the_peer_wants_no_more(self, server: AdminServer, request_: bytes) -> None:
        with connect(server) as sock:
            sock.sendall(request_)
            answer = receive_rest(sock)
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"\r\nConnection: close\r\n" in answer

    def test_a_body_that_nobody_reads_does_not_destroy_the_answer(
        self, server: AdminServer
    ) -> None:
        with connect(server) as sock:
            sock.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
            sock.sendall(bytes(1_000_000))
            answer = receive_rest(sock)
        assert answer.startswith(b"HTTP/1.1 405 ")
        assert b"\r\nConnection: close\r\n" in answer
        assert answer.endswith(b"405 Method Not Allowed\n")

    def test_the_silent_keep_nobody_out(self, server: AdminServer) -> None:
        with contextlib.ExitStack() as stack:
            silent = [stack.enter_context(connect(server)) for _ in range(100)]
            assert ask(server.address.port, "/livez").status == 200
            for sock in silent[: -admin_http.MOST_CONNECTIONS]:
                assert sock.recv(1) == b""
            silent[-1].sendall(GET + b"\r\n")
            assert receive_line(silent[-1]) == b"HTTP/1.1 200 OK\r\n"

    def test_a_crowd_that_comes_at_once_does_not_use_up_the_descriptors(
        self, source: Fake, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        counts = []
        accept = HttpServer.accept

        async def counted(server: HttpServer) -> Stream:
            stream = await accept(server)
            counts.append(len(open_descriptors()))
            return stream

        monkeypatch.setattr(HttpServer, "accept", counted)
        assert SETTINGS.admin is not None
        sock = listeners.bind("admin", SETTINGS.admin, SETTINGS)
        with contextlib.ExitStack() as stack:
            for _ in range(100):
                stack.enter_context(socket.create_connection(sock.getsockname(), TIMEOUT))
            server = AdminServer(Listener("admin", sock), source, "runtime")
            stack.enter_context(contextlib.closing(server))
            assert ask(server.address.port, "/livez").status == 200
        assert len(counts) == 101
        assert max(counts) - counts[0] <= admin_http.MOST_CONNECTIONS + 4

    def test_the_one_that_asked_last_stays_longest(self, server: AdminServer) -> None:
        with contextlib.ExitStack() as stack:
            asking = stack.enter_context(connect(server))
            asking.sendall(GET + b"\r\n")
            assert receive_line(asking) == b"HTTP/1.1 200 OK\r\n"
            silent = []
            for _ in range(2 * admin_http.MOST_CONNECTIONS):
                silent.append(stack.enter_context(connect(server)))
                asking.sendall(GET + b"\r\n")
                while receive_line(asking) != b"HTTP/1.1 200 OK\r\n":
                    pass
            assert silent[0].recv(1) == b""

    def test_half_a_request_is_not_waited_for(
        self, server: AdminServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(admin_http, "REQUEST_TIMEOUT", 0.03)
        with connect(server) as sock:
            sock.sendall(GET)
            assert receive_rest(sock) == b""

    def test_a_request_that_trickles_is_not_waited_for_any_longer(
        self, server: AdminServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(admin_http, "REQUEST_TIMEOUT", 0.5)
        with connect(server) as sock:
            sock.sendall(GET + b"X: ")

            def is_cut_off() -> bool:
                try:
                    sock.sendall(b"x")
                except ConnectionError:
                    return True
                return False

            assert eventually(is_cut_off)

    def test_a_connection_that_is_idle_for_long_is_closed(
        self, server: AdminServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(admin_http, "IDLE_TIMEOUT", 0.03)
        with connect(server) as sock:
            sock.sendall(GET + b"\r\n")
            assert receive_rest(sock).startswith(b"HTTP/1.1 200 OK\r\n")

    def test_a_page_that_takes_for_ever_holds_up_no_probe(
        self, server: AdminServer, source: Fake, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        go_on = threading.Event()
        source.describe = lambda: str(go_on.wait(TIMEOUT))
        monkeypatch.setattr(admin_http, "REQUEST_TIMEOUT", 0.1)
        with connect(server) as sock:
            sock.sendall(b"GET /tasks HTTP/1.1\r\nHost: x\r\n\r\n")
            assert ask(server.address.port, "/livez").status == 200
            assert receive_rest(sock) == b""
        go_on.set()


class TestHostileInput:
    @pytest.mark.parametrize(
        ("data", "status"),
        [
            (b"\0", 400),
            (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500), 400),
            (b"GET /livez\r\n\r\n", 400),
            (b"GET /livez HTTP/1.1\r\n\r\n", 400),
            (b"GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
            (b"GET  /livez HTTP/1.1\r\nHost: x\r\n\r\n", 400),
            (b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n", 400),
            (b"GET /livez HTTP/1.1\r\nHost : x\r\n\r\n", 400),
            (GET + b"a\0b: c\r\n\r\n", 400),
            (GET + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx", 400),
            (GET + b"Content-Length: -1\r\n\r\n", 400),
            (GET + b"Transfer-Encoding: gzip\r\n\r\n", 501),
            (GET + b"X: " + b"x" * 20_000, 431),
            (b"G" * 20_000, 431),
            (GET, 400),
            (b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", 405),
            (GET + b"Upgrade: h2c\r\nConnection: upgrade\r\n\r\n", 200),
            (GET + b"Expect: 100-continue\r\nContent-Length: 9\r\n\r\n", 200),
            (GET + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 200),
            (b"HEAD /livez HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 200),
        ],
    )
    def test_gets_a_status_and_an_end(self, server: AdminServer, data: bytes, status: int) -> None:
        answer = exchange(server, data)
        assert answer.startswith(b"HTTP/1.1 %d " % status), answer
        assert b"\r\nConnection: close\r\n" in answer
        assert ask(server.address.port, "/livez").status == 200

    def test_is_logged_once_a_second(
        self,
        server: AdminServer,
        caplog: pytest.LogCaptureFixture,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        caplog.set_level("INFO", "c10k.server")
        monkeypatch.setattr(logs, "limits", {})
        for _ in range(20):
            exchange(server, b"\0\r\n\r\n")
        assert 1 <= len(caplog.records) <= 5

    def test_a_reset_is_no_news(
        self, server: AdminServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("INFO")
        for data in (b"", GET, GET + b"\r\n"):
            sock = connect(server)
            sock.sendall(data)
            reset(sock)
        assert ask(server.address.port, "/livez").status == 200
        assert caplog.records == []

    def test_a_peer_that_reads_nothing_is_given_up(
        self, server: AdminServer, source: Fake, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(admin_http, "REQUEST_TIMEOUT", 0.1)
        source.describe = lambda: "x" * 20_000_000
        with connect(server) as sock:
            sock.sendall(b"GET /tasks HTTP/1.1\r\nHost: x\r\n\r\n")
            assert select.select([sock], [], [], TIMEOUT)[0]  # so it has been accepted
            assert eventually(lambda: sockets_of(server) == 1)
            assert len(receive_rest(sock)) < 20_000_000

    def test_a_source_that_is_gone_is_no_fault(
        self, server: AdminServer, source: Fake, caplog: pytest.LogCaptureFixture
    ) -> None:
        def gone() -> str:
            raise SourceGone("the supervisor has ended")

        source.describe = gone
        answer = ask(server.address.port, "/tasks")
        assert (answer.status, answer.body) == (503, "the supervisor has ended\n")
        assert not caplog.records

    def test_no_bytes_whatever_end_the_server(self, source: Fake) -> None:
        pieces = st.sampled_from(
            [GET, b"\r\n", b"\n", b"HEAD / HTTP/1.1\r\n", b"Content-Length: 3\r\n", b":", b"\0"]
        )
        errors: list[logging.LogRecord] = []
        with collect_errors(errors), serving(source) as server:

            @settings(max_examples=100, deadline=None)
            @given(st.lists(pieces | st.binary(max_size=20), max_size=8).map(b"".join))
            def attack(data: bytes) -> None:
                with contextlib.suppress(ConnectionError):
                    answer = exchange(server, data)
                    assert answer == b"" or answer.startswith(b"HTTP/1.1 ")
                assert ask(server.address.port, "/livez").status == 200

            attack()
        assert errors == []


class TestStartAndEnd:
    def test_closing_ends_the_thread_and_the_port_and_may_be_repeated(self, source: Fake) -> None:
        server = admin.start(source, SETTINGS)
        with connect(server) as sock:
            server.close()
            server.close()
            with contextlib.suppress(ConnectionResetError):
                assert sock.recv(1) == b""
        assert "admin" not in [thread.name for thread in threading.enumerate()]
        with pytest.raises(ConnectionRefusedError):
            connect(server)

    def test_its_thread_takes_no_signals(self, server: AdminServer) -> None:
        (thread,) = (each for each in threading.enumerate() if each.name == "admin")
        with open(f"/proc/self/task/{thread.native_id}/status") as file:
            blocked = int(next(line for line in file if line.startswith("SigBlk")).split()[1], 16)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
            assert blocked >> (number - 1) & 1

    def test_a_port_in_use_is_told(self, source: Fake) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            taken_settings, _ = config.load(["--admin", address], {}, 20_000)
            with pytest.raises(UsageError, match=f"cannot listen on admin {address}: the port is"):
                admin.start(source, taken_settings)

    @pytest.mark.parametrize("library", ["h11", "prometheus_client"])
    def test_a_library_that_is_missing_is_told(self, library: str) -> None:
        # None in sys.modules makes the import fail as it does where it is not installed.
        program = (
            f"import sys; sys.modules['{library}'] = None; "
            "from server.__main__ import main; sys.exit(main())"
        )
        done = subprocess.run(
            [sys.executable, "-c", program, "--echo=127.0.0.1:0", "--admin=127.0.0.1:0"],
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            env=clean_environment(),
        )
        assert done.returncode == 2
        assert done.stdout == ""
        assert "pip install 'c10k[admin]'" in done.stderr
        assert done.stderr.count("\n") == 1

    def test_who_does_not_ask_for_it_does_not_import_it(self) -> None:
        engine = (
            "instance.serving()\n"
            "known = {'h11', 'prometheus_client', 'server.admin.server', 'runtime'}\n"
            "assert not known & set(sys.modules), known & set(sys.modules)\n"
        )
        with scripted(engine) as process:
            _, log = process.communicate(timeout=TIMEOUT)
        assert (process.returncode, log) == (0, "")

    def test_is_announced_after_the_others(self, start: Start) -> None:
        server: ServerProcess = start("--admin=127.0.0.1:0")
        assert ask(server.port("admin"), "/readyz").status == 200
