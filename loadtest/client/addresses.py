"""Where connections go to, and where they come from.

Ports are short before anything else is: one source address has about 28,000 of them towards one
destination. So sources may be a list or a range (`127.0.0.2-127.0.0.5`), bound with
IP_BIND_ADDRESS_NO_PORT: the kernel then picks the port at connect(), when it knows the
destination, instead of at bind(), when each port can be used only once.
"""

import functools
import ipaddress
import socket
import threading
from dataclasses import dataclass

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

# Linux's number for it; the socket module names it only from Python 3.12 on.
IP_BIND_ADDRESS_NO_PORT = 24
MAX_SOURCES = 65_536

_resolving = threading.Lock()


@dataclass(frozen=True)
class Target:
    """A host (a name or an address) and a port, as given by the user."""

    host: str
    port: int


def parse_target(text: str) -> Target:
    """Read `tcp://HOST:PORT` or `HOST:PORT`; an IPv6 address stands in brackets."""
    rest = text.removeprefix("tcp://").rstrip("/")
    host, colon, port_text = rest.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        colon = ""
    if not colon or not host or "/" in host or not port_text.isascii() or not port_text.isdigit():
        raise ValueError(f"{text!r} is no tcp://HOST:PORT")
    port = int(port_text)
    if not 1 <= port <= 65535:
        raise ValueError(f"{text!r}: the port must be from 1 to 65535")
    return Target(host, port)


def resolve(target: Target) -> tuple[str, ...]:
    """All numeric addresses of a target, looked up once in a test.

    Under gevent names go through a pool of ten threads. One lookup at a time is let through, so
    that the users who start in the same second share its answer.
    """
    with _resolving:
        return _resolve_once(target)


def forget() -> None:
    """Look names up anew: a container that was replaced has another address under its name."""
    _resolve_once.cache_clear()


@functools.lru_cache(maxsize=16)
def _resolve_once(target: Target) -> tuple[str, ...]:
    found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))


@functools.lru_cache(maxsize=16)
def parse_sources(text: str) -> tuple[str, ...]:
    """Read a comma-separated list of addresses and ranges of them; "" means no choice."""
    addresses: list[str] = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        first_text, dash, last_text = part.partition("-")
        first = ipaddress.ip_address(first_text.strip())
        last = ipaddress.ip_address(last_text.strip()) if dash else first
        addresses.extend(_span(first, last, room=MAX_SOURCES - len(addresses)))
    return tuple(addresses)


def _span(first: IPAddress, last: IPAddress, room: int) -> list[str]:
    if first.version != last.version or int(last) < int(first):
        raise ValueError(f"{first}-{last} is no range of addresses")
    size = int(last) - int(first) + 1
    if size > room:
        raise ValueError(f"more than {MAX_SOURCES} source addresses")
    return [str(first + offset) for offset in range(size)]


def dial(address: str, port: int, source: str | None, timeout: float) -> socket.socket:
    """Connect to a numeric address, from `source` if given; OSError says why it failed."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.settimeout(timeout)
        if source is not None:
            sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
            sock.bind((source, 0))
        sock.connect((address, port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        sock.close()
        raise
    return sock
