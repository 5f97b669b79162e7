"""Names to addresses.

The system's resolver is a function that blocks, for ten seconds and more when a name server is
down.  It runs in threads of its own kind: where it shares a pool with everything else that blocks,
a program whose pool is busy sees its connects time out "in DNS", though no name server was ever
asked (cpython#112169).  And it runs there only for names; an address in digits is just read.
"""

from __future__ import annotations

import socket
from typing import Any, TypeAlias

from .readiness import check_port
from .threads import pool

#: What a lookup finds: family, type, protocol, canonical name, and the address for `connect`.
AddressInfo: TypeAlias = tuple[int, int, int, str, Any]

#: The most lookups at a time; further ones wait for their turn.
LOOKUPS = 32


async def getaddrinfo(
    host: str | None,
    port: int | str | None,
    *,
    family: int = 0,
    type: int = 0,  # noqa: A002 - these are the names that socket.getaddrinfo gives them
    proto: int = 0,
    flags: int = 0,
) -> list[AddressInfo]:
    """`socket.getaddrinfo`, without blocking the loop.

    A lookup is not bounded in time except by the system's resolver: put a `timeout` around it.  One
    that is given up goes on in its thread.  Raises socket.gaierror, an OSError, which names the
    host; ValueError for a number that is no port, and for a host that can be no name.

    >>> async def main():
    ...     found = await getaddrinfo("127.0.0.1", 7007, type=socket.SOCK_STREAM)
    ...     return [address for *_, address in found]
    >>> run(main())
    [('127.0.0.1', 7007)]
    """
    if not isinstance(port, str | None):
        port = check_port(port)
    try:
        return _look_up(host, port, family, type, proto, flags | _IN_DIGITS)
    except socket.gaierror:
        pass  # a name, or a fault that the resolver words better
    try:
        found: list[AddressInfo] = await pool("dns", LOOKUPS).call(
            _look_up, (host, port, family, type, proto, flags)
        )
    except socket.gaierror as error:
        raise socket.gaierror(
            error.errno, f"cannot look up {host!r}, port {port!r}: {error.strerror}"
        ) from None
    return found


_IN_DIGITS = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV


def _look_up(
    host: str | None, port: int | str | None, family: int, kind: int, proto: int, flags: int
) -> list[AddressInfo]:
    return list(socket.getaddrinfo(host, port, family, kind, proto, flags=flags))
