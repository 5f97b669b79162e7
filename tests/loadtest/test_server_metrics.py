"""A page of metrics is believed as far as it makes sense, and waited for until its deadline."""

import contextlib
import socket
import time
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.client.addresses import Target
from loadtest.client.server_metrics import MetricsPage, Page, parse_page, read_values
from loadtest.client.server_watch import NotSeen, Totals
from tests.loadtest.conftest import running_server
from tests.loadtest.harness import PATIENCE, Handler, HostileServer, silent

GOOD = """\
# TYPE process_cpu_seconds_total counter
process_cpu_seconds_total 12.5
process_resident_memory_bytes 2.5e+07
process_threads 4.0
something_else{label="x"} NaN
"""


def answering(body: str, status: str = "200 OK") -> Handler:
    def handle(conn: socket.socket) -> None:
        conn.recv(65536)
        conn.sendall(f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\n\r\n{body}".encode())
        conn.shutdown(socket.SHUT_RDWR)

    return handle


def saying(data: bytes) -> Handler:
    def handle(conn: socket.socket) -> None:
        conn.recv(65536)
        conn.sendall(data)
        conn.shutdown(socket.SHUT_RDWR)

    return handle


def dripping(conn: socket.socket) -> None:
    """Never silent for long, and never done."""
    with contextlib.suppress(OSError):
        while True:
            conn.sendall(b"H")
            time.sleep(0.02)


def endless(conn: socket.socket) -> None:
    with contextlib.suppress(OSError):
        conn.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
        while True:
            conn.sendall(b"# x\n" * 16384)


def look(handler: Handler, timeout: float = PATIENCE) -> Totals:
    with HostileServer(handler) as server:
        return MetricsPage(f"http://127.0.0.1:{server.port}/metrics", timeout).look()


def test_the_three_figures_are_read() -> None:
    assert look(answering(GOOD)) == Totals(12.5, 25_000_000, 4)


def test_what_a_page_does_not_have_is_not_measured() -> None:
    assert look(answering("process_threads 4\n")) == Totals(None, None, 4)
    strange = "process_threads 4\nprocess_resident_memory_bytes -1\nprocess_cpu_seconds_total NaN\n"
    assert look(answering(strange)) == Totals(None, None, 4)


@pytest.mark.parametrize(
    ("handler", "said"),
    [
        (answering("<html><p>Hello</p></html>"), "no page of metrics"),
        (answering("process_threads many\n"), "no page of metrics"),
        (answering("not found", "404 Not Found"), r"the answer is 404 Not Found\. Give the path"),
        (answering("", "302 Found"), "the answer is 302 Found"),
        (answering(""), "has metrics, but none of"),
        (answering("up 1\n"), "has metrics, but none of"),
        (answering("process_threads +Inf\n"), "has metrics, but none of"),
        (saying(b""), "the answer is no HTTP"),
        (saying(b"220 smtp ready\r\n"), "the answer is no HTTP"),
        (saying(b"HTTP/1.1 200 OK\r\n\r\n\xff\xfe"), "no page of metrics"),
        (saying(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\nup 1\n"), "the answer is no HTTP"),
        (saying(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000), "the answer is no HTTP"),
        (endless, "more than 4194304 bytes"),
    ],
)
def test_nonsense_is_told_and_yields_no_figures(handler: Handler, said: str) -> None:
    with pytest.raises(NotSeen, match=said):
        look(handler)


@pytest.mark.parametrize("handler", [silent, dripping])
def test_a_page_that_hangs_is_given_up_at_the_deadline(handler: Handler) -> None:
    with pytest.raises(NotSeen, match=r"did not answer within 0\.3 s"):
        look(handler, timeout=0.3)


def test_nobody_there_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(NotSeen, match=r"cannot be read: Connection refused\. .*--admin"):
        MetricsPage(f"http://127.0.0.1:{port}/metrics").look()


def test_the_server_s_own_page_tells_what_the_kernel_does(tmp_path: Path) -> None:
    with running_server("asyncio", tmp_path, "--admin", "127.0.0.1:0") as server:
        totals = MetricsPage(f"http://127.0.0.1:{server.admin}/metrics").look()
        process = psutil.Process(server.pid)
        assert totals.rss == pytest.approx(process.memory_info().rss, rel=0.2)
        assert totals.cpu_seconds is not None
        assert 0 < totals.cpu_seconds <= sum(process.cpu_times()[:2])
        assert totals.threads is not None
        assert totals.threads >= 2


@given(
    st.text() | st.lists(st.sampled_from('process_threads {}="\\,#\n1e'), max_size=40).map("".join)
)
def test_a_page_of_anything_is_values_or_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert all(value >= 0 for value in read_values(text).values())


@pytest.mark.parametrize(
    ("text", "page"),
    [
        ("http://10.0.0.1:7009/metrics", Page(Target("10.0.0.1", 7009), "/metrics")),
        ("http://server:7009", Page(Target("server", 7009), "/metrics")),
        ("http://[::1]:7009/m?x=1", Page(Target("::1", 7009), "/m?x=1")),
    ],
)
def test_addresses_of_pages(text: str, page: Page) -> None:
    assert parse_page(text) == page


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1:7009",
        "https://127.0.0.1:7009/metrics",
        "http://127.0.0.1/metrics",
        "http://:7009/metrics",
        "http://127.0.0.1:0/metrics",
        "http://127.0.0.1:70000/metrics",
        "http://127.0.0.1:x/metrics",
        "http://127.0.0.1:7009/a b",
        "http://127.0.0.1:7009/\r\nX: y",
        "http://127.0.0.1:7009/\u00fc",
        "http://[::1:7009/metrics",
        "nonsense",
    ],
)
def test_what_is_no_address_of_a_page_is_named(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no http://HOST:PORT/metrics"):
        parse_page(text)
