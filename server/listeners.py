"""Opens the sockets on which the server listens, before any engine runs.

All engines get the same plain non-blocking sockets, so an address that cannot be bound is
reported once, in one way, before the first connection. TCP_NODELAY is set on the listening
socket because on Linux accepted sockets inherit it: no engine pays a system call for it.
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


@dataclass(frozen=True, slots=True)
class Listener:
    """A bound, listening, non-blocking socket and the service behind it."""

    service: str
    """``echo`` or ``sleep``."""
    sock: socket.socket

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
        for service, address in settings.listeners():
            sock = stack.enter_context(_bind(service, address, settings.backlog))
            opened.append(Listener(service, sock))
        yield opened


def announce(listeners: Sequence[Listener]) -> None:
    """Tell whoever started the server where it listens, on standard output."""
    stdout.say("".join(f"listening {each.service} {each.address}\n" for each in listeners))


def _bind(service: str, address: Address, backlog: int) -> socket.socket:
    family, sockaddr = _resolve(service, address)
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.bind(sockaddr)
        sock.listen(backlog)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise UsageError(f"cannot listen on {service} {address}: {_explain(error)}") from None
    return sock


def _resolve(service: str, address: Address) -> tuple[int, tuple[Any, ...]]:
    """The first address of the name, IPv4 before IPv6: one listener is one socket."""
    try:
        found = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (OSError, ValueError) as error:
        # ValueError, or UnicodeError under it: a label too long for DNS, or a NUL.
        reason = error.strerror if isinstance(error, OSError) else "not a host name"
        raise UsageError(
            f"cannot resolve {service} {address}: {reason}; "
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
