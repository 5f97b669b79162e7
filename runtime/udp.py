"""UDP: a socket for datagrams.

An endpoint is a `Source` like a stream, and keeps the same rules: one reader, one writer, the
system call first and the reactor only when the kernel says "not now".  But a datagram is not a
piece of a stream, and that shaped this file:

* A short read says nothing of what comes next, so readiness ends with the kernel's "not now" alone.
* An empty datagram is data.  There is no end: who is done closes.
* What does not fit into the buffer is gone, and `recv` says nothing of it.  So one byte more than
  asked for is read, and a datagram that fills that, too, is told as an error.
* An error tells of an *earlier* datagram.  It is raised once, and the endpoint is as good as ever.

UDP itself loses, repeats and reorders datagrams, and nothing here hides that.
"""

from __future__ import annotations

import socket
from collections.abc import Generator
from errno import ECONNREFUSED, EMSGSIZE
from typing import Any

from .closing import AsyncClosing
from .connect import Failure, failed, unreachable
from .dns import getaddrinfo
from .errors import BusyError, closed
from .executor import Executor
from .leaf import leaf
from .reactor import Source
from .readiness import close_source, give_way, wait_readable, wait_writable
from .stream import Buffer
from .task import current_executor

#: The most bytes that the length field of UDP can tell of.
LARGEST = 65_535

_BUSY_READING = "another task is reading this endpoint; one reader at a time"
_BUSY_WRITING = "another task is writing to this endpoint; one writer at a time"


class UdpEndpoint(AsyncClosing, Source):
    """A socket for datagrams.  One task may receive and one may send at the same time.

    Made by `udp_endpoint`.  Close it when done, or use it as `async with endpoint:`.
    """

    __slots__ = ("_executor", "_family", "_socket")

    def __init__(self, sock: socket.socket) -> None:
        """Take over a datagram socket; it becomes non-blocking."""
        sock.setblocking(False)
        super().__init__(sock.fileno())
        self._executor: Executor = current_executor()
        self._socket = sock
        self._family = sock.family
        self._executor.reactor.register(self)

    def __repr__(self) -> str:
        return f"<UdpEndpoint fd={self._socket.fileno()}>"

    @property
    def socket(self) -> socket.socket:
        """The socket, for options; reading or writing it directly confuses the endpoint."""
        return self._socket

    @property
    def address(self) -> Any:
        """Where it receives, as the kernel says: with the port that it chose for port 0."""
        return self._socket.getsockname()

    @property
    def remote_address(self) -> Any:
        """The one address that it talks to; None if it talks to anybody, or is closed."""
        try:
            return self._socket.getpeername()
        except OSError:
            return None

    @leaf
    def recv_from(self, limit: int = LARGEST) -> Generator[None, None, tuple[bytes, Any]]:
        """The next datagram, which may be empty, and where it came from; waits for it if need be.

        Raises OSError (EMSGSIZE) if it was longer than `limit` bytes, and then it is lost;
        ConnectionRefusedError if the host of `remote_address` told that nobody receives there;
        ClosedError if the endpoint is closed (while waiting, too); BusyError if another task is
        receiving; ValueError for a limit below 1.
        """
        if limit < 1:
            raise ValueError(f"cannot receive a datagram of up to {limit} bytes; give 1 or more")
        executor = self._executor
        if executor.budget < 0:
            yield from give_way(executor)
        if self.reader is not None:
            raise BusyError(_BUSY_READING)
        while True:
            try:
                data, address = self._socket.recvfrom(limit + 1)
            except BlockingIOError:
                yield from wait_readable(self, executor)
            except OSError as error:
                self._explain(error)
                raise
            else:
                executor.budget -= 1
                if len(data) > limit:
                    raise OSError(
                        EMSGSIZE,
                        f"a datagram from {address} was longer than {limit} bytes and is lost; "
                        "receive with a higher limit",
                    )
                return data, address

    async def recv(self, limit: int = LARGEST) -> bytes:
        """The next datagram by itself, for an endpoint with a remote address.  As `recv_from`."""
        data, _ = await self.recv_from(limit)
        return data

    async def send_to(self, data: Buffer, address: Any) -> None:
        """Send a datagram to `address`, waiting if the kernel has no room for it.

        That it was sent does not mean that it arrives.  `address` has the form that `recv_from`
        returns; its host is numeric (ValueError), because looking a name up would block.  Raises
        OSError (EMSGSIZE) for a datagram that is too long, or whatever else the kernel has against
        it; ConnectionRefusedError and ClosedError as `recv_from` does; BusyError if another task
        is sending.
        """
        # Without the zone of a link-local address, whose number is the fourth part of the address:
        # the socket module would look it up as if it were a name.
        host, *rest = address
        host, _, zone = host.partition("%")
        if zone and len(rest) < 3:
            raise ValueError(
                f"the zone {zone!r} of {host!r} wants its number as the fourth part of the "
                "address; getaddrinfo finds it"
            )
        try:
            socket.inet_pton(self._family, host)
        except OSError:
            raise ValueError(
                f"{host!r} is no numeric address of this endpoint's family; "
                "look a name up with getaddrinfo"
            ) from None
        await self._send(data, (host, *rest))

    async def send(self, data: Buffer) -> None:
        """Send a datagram to the remote address.  As `send_to`."""
        await self._send(data, None)

    @leaf
    def _send(self, data: Buffer, address: Any) -> Generator[None, None, None]:
        executor = self._executor
        if executor.budget < 0:
            yield from give_way(executor)
        if self.writer is not None:
            raise BusyError(_BUSY_WRITING)
        while True:
            try:
                if address is None:
                    self._socket.send(data)
                else:
                    self._socket.sendto(data, address)
            except BlockingIOError:
                yield from wait_writable(self, executor)
            except OSError as error:
                self._explain(error)
                raise
            else:
                executor.budget -= 1
                return

    def _explain(self, error: OSError) -> None:
        """Raise what an error means, where the kernel's words for it do not say that."""
        if self._socket.fileno() < 0:
            closed()
        if error.errno == ECONNREFUSED:
            raise ConnectionRefusedError(
                ECONNREFUSED, f"nobody receives on {self.remote_address}: a datagram was refused"
            ) from error

    def close(self) -> None:
        """Close it.  Tasks that wait on the endpoint get ClosedError; again: nothing."""
        if self._socket.fileno() >= 0:
            close_source(self, self._executor, self._socket)


async def udp_endpoint(
    local_address: tuple[str | None, int] | None = None,
    remote_address: tuple[str, int] | None = None,
    *,
    reuse_port: bool = False,
) -> UdpEndpoint:
    """An endpoint that receives on `local_address`, or talks to `remote_address` alone, or both.

    Addresses are (host, port), the host numeric or a name; port 0 is one that the kernel chooses,
    a local host of None is every address of the machine.  With a remote address, datagrams from
    elsewhere are not received, and refusals are told.  Raises OSError if an address cannot be had;
    ValueError if neither is given.

    >>> async def main():
    ...     server = await udp_endpoint(("127.0.0.1", 0))
    ...     client = await udp_endpoint(remote_address=server.address)
    ...     async with server, client:
    ...         await client.send(b"ping")
    ...         data, address = await server.recv_from()
    ...         await server.send_to(data.upper(), address)
    ...         return await client.recv()
    >>> run(main())
    b'PING'
    """
    if local_address is None and remote_address is None:
        raise ValueError("an endpoint needs a local_address, a remote_address or both")
    family, local = 0, None
    if local_address is not None:
        found = await getaddrinfo(*local_address, type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE)
        family, *_, local = found[0]
    if remote_address is None:
        return _open(family, local, None, reuse_port)
    failures: list[Failure] = []
    found = await getaddrinfo(*remote_address, family=family, type=socket.SOCK_DGRAM)
    for family, *_, remote in found:
        try:
            return _open(family, local, remote, reuse_port)
        except OSError as error:
            failures.append(failed(error, remote))
    raise unreachable(f"{remote_address[0]} port {remote_address[1]}", failures)


def _open(family: int, local: Any, remote: Any, reuse_port: bool) -> UdpEndpoint:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if local is not None:
            try:
                sock.bind(local)
            except OSError as error:
                raise OSError(
                    error.errno, f"cannot receive on {local[0]} port {local[1]}: {error.strerror}"
                ) from None
        if remote is not None:
            sock.connect(remote)  # asks nobody: it looks up the route and sets the address
        return UdpEndpoint(sock)
    except BaseException:
        sock.close()
        raise
