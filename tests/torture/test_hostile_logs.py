"""Whatever a peer sends, the JSON log stays one valid object a line, and none of them is forged."""

import contextlib
import json
import socket
import ssl
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from tests.server.conftest import Start
from tests.server.harness import Authority, ServerProcess, eventually, receive_rest
from tests.torture.conftest import Figures, Scale

pytestmark = pytest.mark.item(25)

FORGED = "forged-by-a-peer"

HOSTILE = (
    f'\n{{"level": "info", "message": "{FORGED}"}}\n'.encode(),
    f'", "message": "{FORGED}"}}\n'.encode(),
    f"\r\n2026-01-01T00:00:00.000Z info {FORGED}\r\n".encode(),
    b"%s%d%n{0}{message}$(id)`id`",
    b"\x1b[2J\x1b]0;title\x07\x08\x08",
    "\u2028\u2029\u0085\x0b\x0c\x1c\x1d\x1e".encode(),
    b"\xff\xfe\xc0\x80\xed\xa0\x80\0",
)


def client_hello(name: bytes, protocol: bytes) -> bytes:
    """A TLS client's first record, with any bytes as the server's name and the protocol (ALPN)."""
    length = 40
    outgoing = ssl.MemoryBIO()
    context = ssl.create_default_context()
    context.set_alpn_protocols(["p" * length])
    client = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="n" * length)
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    hello = outgoing.read()
    for placeholder, chosen in ((b"n" * length, name), (b"p" * length, protocol)):
        assert hello.count(placeholder) == 1
        hello = hello.replace(placeholder, chosen[:length].ljust(length, b"\n"))
    return hello


def attacks(random: Random) -> Iterator[tuple[str, bytes]]:
    """A service and what to send to it, in every way that might reach the log."""
    hostile = random.choice(HOSTILE)
    yield "echo", hostile
    yield "sleep", hostile
    yield "sleep", hostile.replace(b"\n", b"") * 3000
    yield "echo-tls", hostile
    yield "echo-tls", b"\x16\x03\x01" + hostile
    yield "sleep-tls", client_hello(hostile, random.choice(HOSTILE))
    yield "echo-tls", client_hello(random.randbytes(40), random.randbytes(40)) + hostile


def send(server: ServerProcess, service: str, data: bytes) -> None:
    with server.connect(service) as sock, contextlib.suppress(OSError):  # cut off at will
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        receive_rest(sock)


def is_forged(event: dict[str, Any]) -> bool:
    """Whether a peer has said what happened, or added a field; what it sent may be shown."""
    return FORGED in f"{event['message']} {event['level']} {event['time']} {list(event)}"


def test_hostile_bytes_forge_no_line_and_break_none(
    start: Start, authority: Authority, scale: Scale, figure: Figures
) -> None:
    server = start("--log-format=json", authority=authority)
    random = Random(25)
    sent = 0
    for _ in range(scale(10, 1000)):
        for service, data in attacks(random):
            send(server, service, data)
            sent += 1
    assert eventually(server.is_idle)
    server.signal()
    assert server.wait() == 0
    lines = server.log().removesuffix("\n").split("\n")
    figure("log lines that are no JSON object", sum(not is_event(line) for line in lines))
    events = [json.loads(line) for line in lines if is_event(line)]
    figure("log lines that a peer has forged", sum(is_forged(event) for event in events))
    assert len(events) < sent  # what a peer can cause at will is limited
    (stopped,) = (event for event in events if event["message"] == "stopped")
    assert stopped["connections"] == sent + 1


def is_event(line: str) -> bool:
    """Whether it is an object with a time, a level and a message, in printable ASCII."""
    with contextlib.suppress(ValueError):
        event = json.loads(line)
        known = isinstance(event, dict) and {"time", "level", "message"} <= event.keys()
        return known and line.isascii() and line.isprintable()
    return False
