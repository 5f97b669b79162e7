"""The figures of a server elsewhere, from the page that it has for Prometheus.

A page may hang, drip or be endless, and it is asked once a second: so one deadline holds for the
whole exchange, and there is a limit to what is read. The request is HTTP/1.0, whose answer ends
with the connection; what arrived by then goes through the standard library's parser.
"""

import http.client
import io
import math
import socket
import time
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit

import gevent
from prometheus_client.parser import text_string_to_metric_families

from loadtest.client.addresses import Target
from loadtest.client.server_watch import NotSeen, Totals

TIMEOUT = 2.0
MAX_PAGE = 4 * 1024 * 1024

CPU = "process_cpu_seconds_total"
RSS = "process_resident_memory_bytes"
THREADS = "process_threads"


@dataclass(frozen=True)
class Page:
    """Where the metrics are."""

    target: Target
    path: str


def parse_page(text: str) -> Page:
    """Read `http://HOST:PORT/metrics`; ValueError names what is wrong."""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or port is None or not text.startswith("http://") or not text.isprintable():
        raise ValueError(f"{text!r} is no http://HOST:PORT/metrics")
    path = (parts.path or "/metrics") + (f"?{parts.query}" if parts.query else "")
    if not 1 <= port <= 65535 or not path.isascii() or " " in path:
        raise ValueError(f"{text!r} is no http://HOST:PORT/metrics")
    return Page(Target(host, port), path)


class MetricsPage:
    """One such page, asked anew at each look."""

    def __init__(self, url: str, timeout: float = TIMEOUT) -> None:
        self._url = url
        self._page = parse_page(url)
        self._timeout = timeout

    @property
    def name(self) -> str:
        return f"what {self._url} says"

    def doubt(self) -> None:
        """Each look asks whoever is there."""

    def look(self) -> Totals:
        try:
            # Inside of Locust this bounds all of it: the name, each address of it, the request.
            with gevent.Timeout(self._timeout, TimeoutError()):
                values = read_values(self._fetch().decode())
        except TimeoutError as error:
            raise NotSeen(f"{self._url} did not answer within {self._timeout:g} s.") from error
        except OSError as error:
            reason = error.strerror or error
            raise NotSeen(
                f"{self._url} cannot be read: {reason}. Is the server there, with --admin?"
            ) from error
        except ValueError as error:
            raise NotSeen(
                f"{self._url} is no page of metrics: {str(error)[:200]}. Give the path as well, "
                "mostly /metrics."
            ) from error
        if not values.keys() & {CPU, RSS, THREADS}:
            raise NotSeen(f"{self._url} has metrics, but none of {CPU}, {RSS} and {THREADS}.")
        rss, threads = values.get(RSS), values.get(THREADS)
        return Totals(
            values.get(CPU),
            None if rss is None else int(rss),
            None if threads is None else int(threads),
        )

    def _fetch(self) -> bytes:
        host, port = self._page.target.host, self._page.target.port
        deadline = time.monotonic() + self._timeout
        with socket.create_connection((host, port), self._timeout) as sock:
            named = f"[{host}]" if ":" in host else host
            request = f"GET {self._page.path} HTTP/1.0\r\nHost: {named}:{port}\r\n"
            sock.sendall(f"{request}Accept: text/plain\r\n\r\n".encode())
            return _body(_read_all(sock, deadline))


def _read_all(sock: socket.socket, deadline: float) -> bytes:
    pieces: list[bytes] = []
    size = 0
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        sock.settimeout(left)
        piece = sock.recv(65536)
        if not piece:
            return b"".join(pieces)
        pieces.append(piece)
        size += len(piece)
        if size > MAX_PAGE:
            raise ValueError(f"it has more than {MAX_PAGE} bytes")


class _Answered:
    """What http.client reads a response from, of a socket."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._data)


def _body(answer: bytes) -> bytes:
    response = http.client.HTTPResponse(cast(socket.socket, _Answered(answer)))
    try:
        response.begin()
        body = response.read()
    except http.client.HTTPException as error:
        raise ValueError(f"the answer is no HTTP ({type(error).__name__})") from error
    if response.status != http.HTTPStatus.OK:
        raise ValueError(f"the answer is {response.status} {response.reason}")
    return body


def read_values(text: str) -> dict[str, float]:
    """The three figures, as far as they are there, finite and not negative."""
    wanted = (CPU, RSS, THREADS)
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name in wanted and math.isfinite(sample.value) and sample.value >= 0:
                found[sample.name] = found.get(sample.name, 0.0) + sample.value
    return found
