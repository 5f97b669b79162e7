"""Opens the sockets on which the server listens, before any engine runs.

All engines get the same plain non-blocking sockets, so an address that cannot be bound is
reported once, in one way, before the first connection. TCP_NODELAY, keepalive, the write
timeout and the bound of what is unsent are set on the listening socket, because on Linux accepted
sockets inherit them: no engine pays a system call for them.
"""

import contextlib
import errno
import os
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from server import stdout
from server.config import Settings
from server.errors import UsageError
from server.parsers import Address

PROBES = 4
"""So many questions without an answer, and a silent peer is taken for gone."""

PROBED_AFTER = 60
"""Seconds of silence before the first of them; all are asked within as long again."""

MAX_UNSENT = 131072
"""Bytes that the kernel takes for a connection beyond those on their way. Left alone it takes up
to 4 MiB (tcp_wmem), which a few thousand peers that never read turn into all the memory that TCP
has on the machine. A fast peer is not slowed down: its bytes are on their way."""


@dataclass(frozen=True, slots=True)
class Listener:
    """A bound, listening, non-blocking socket and what is behind it."""

    name: str
    """As on the command line: ``echo``, ``sleep``, ``echo-tls``, ``sleep-tls`` or ``admin``."""
    sock: socket.socket

    @property
    def service(self) -> str:
        """``echo`` or ``sleep``."""
        return self.name.removesuffix("-tls")

    @property
    def secure(self) -> bool:
        """Whether TLS is spoken here."""
        return self.name.endswith("-tls")

    @property
    def address(self) -> Address:
        """Where it really listens: port 0 has become the kernel's choice."""
        host, port = self.sock.getsockname()[:2]
        return Address(host, port)


@contextlib.contextmanager
def open_listeners(settings: Settings) -> Iterator[Sequence[Listener]]:
    """Bind every listener that the settings name; closes them all on the way out."""
    with contextlib.ExitStack() as stack:
        opened = []
        for name, address in settings.listeners():
            sock = stack.enter_context(bind(name, address, settings))
            opened.append(Listener(name, sock))
        yield opened


def announce(listeners: Sequence[Listener]) -> None:
    """Tell whoever started the server where it listens, on standard output."""
    stdout.say("".join(f"listening {each.name} {each.address}\n" for each in listeners))


def bind(name: str, address: Address, settings: Settings) -> socket.socket:
    """A listening socket; a UsageError if the address cannot be had."""
    family, sockaddr = _resolve(name, address)
    with contextlib.ExitStack() as stack:
        try:
            sock = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            set_up(sock, settings)
            sock.bind(sockaddr)
            sock.listen(settings.backlog)
        except OSError as error:
            raise UsageError(f"cannot listen on {name} {address}: {_explain(error)}") from None
        stack.pop_all()  # it is open, and the caller's
    return sock


def set_up(sock: socket.socket, settings: Settings) -> None:
    """What the engines and the connections rely on, whoever has opened the socket."""
    for option, value in inherited(settings):
        sock.setsockopt(*option, value)
    sock.setblocking(False)


def inherited(settings: Settings) -> Iterator[tuple[tuple[int, int], int]]:
    """The socket options of every connection: on Linux they come from the listener."""
    yield (socket.IPPROTO_TCP, socket.TCP_NODELAY), 1
    yield (socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT), MAX_UNSENT
    yield from _keepalive(settings)
    if settings.write_timeout:
        milliseconds = max(1, round(settings.write_timeout * 1000))
        yield (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT), milliseconds


def _keepalive(settings: Settings) -> Iterator[tuple[tuple[int, int], int]]:
    """Only where no deadline on idleness finds the peers that are gone.

    With a write timeout Linux counts no probes: once a peer has been silent for as long as that,
    one probe without an answer is the end, and a busy machine drops one now and then. (Of 100,000
    connections that were idle for a minute, with a write timeout of 30 s, 4,000 were lost so.) So
    all probes must have their time before it.
    """
    if settings.idle_timeout:
        return
    after = (
        min(PROBED_AFTER, settings.write_timeout / 2) if settings.write_timeout else PROBED_AFTER
    )
    yield (socket.SOL_SOCKET, socket.SO_KEEPALIVE), 1
    yield (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE), max(1, int(after))
    yield (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL), max(1, int(after / PROBES))
    yield (socket.IPPROTO_TCP, socket.TCP_KEEPCNT), PROBES


def _resolve(name: str, address: Address) -> tuple[int, tuple[Any, ...]]:
    """The first address of the name, IPv4 before IPv6: one listener is one socket."""
    try:
        found = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (OSError, ValueError) as error:
        # ValueError, or UnicodeError under it: a label too long for DNS, or a NUL.
        reason = error.strerror if isinstance(error, OSError) else "not a host name"
        raise UsageError(
            f"cannot resolve {name} {address}: {reason}; "
            "give a local address, such as 127.0.0.1 or 0.0.0.0"
        ) from None
    family, _, _, _, sockaddr = min(found, key=lambda entry: entry[0] != socket.AF_INET)
    return family, sockaddr


def _explain(error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return "the port is in use; stop what listens there or choose another (0 for any)"
        case errno.EADDRNOTAVAIL:
            return "the address is not local; use one of this machine, or 0.0.0.0 for all"
        case errno.EACCES:
            return "no permission; choose a port from 1024 up"
        case number:
            return f"{os.strerror(number or 0)}; choose another address"
