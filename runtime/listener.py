"""Listeners: sockets that turn into streams, and `serve`, which gives each of them a task.

Two things go wrong with accept(2) that are not the listener's fault.  A connection can die in the
backlog before it is taken; the next one is as good.  And the process can run out of descriptors;
then the connection stays where it is, the listener stays readable, and a loop that tries again at
once is a busy loop that serves nobody.  So the first is passed over, and for the second `serve`
waits a moment.  (The list of errors is the one that Trio keeps.)
"""

from __future__ import annotations

import logging
import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Generator
from errno import (
    EADDRINUSE,
    ECONNABORTED,
    EHOSTDOWN,
    EHOSTUNREACH,
    EINTR,
    EMFILE,
    ENETDOWN,
    ENETUNREACH,
    ENFILE,
    ENOBUFS,
    ENOMEM,
    ENOPROTOOPT,
    ENOSPC,
    EOPNOTSUPP,
    EPERM,
    EPROTO,
    ETIMEDOUT,
)
from math import inf
from typing import Any, Protocol, TypeVar

from .byte_stream import ByteStream
from .closing import AsyncClosing
from .errors import BrokenError, BusyError, ClosedError, closed
from .executor import Executor
from .groups import TaskGroup
from .leaf import leaf
from .reactor import Source
from .readiness import check_path, check_port, close_source, give_way, wait_readable
from .sealing import HandshakeError
from .sleep import now, sleep
from .stream import Stream
from .task import current_executor
from .tls import HANDSHAKE_TIMEOUT, TlsStream

S = TypeVar("S", bound=ByteStream)
S_co = TypeVar("S_co", covariant=True)

log = logging.getLogger("runtime")

#: What accept(2) reports of a connection that died in the backlog: on to the next one.
ACCEPT_NEXT = frozenset(
    {ECONNABORTED, EHOSTDOWN, EHOSTUNREACH, EINTR, ENETDOWN, ENETUNREACH}
    | {ENOPROTOOPT, EOPNOTSUPP, EPERM, EPROTO, ETIMEDOUT}
)
#: No room for one more connection; it stays in the backlog until there is.  (ENOSPC is epoll's
#: limit of watches: then that one connection is lost, and the next ones wait.)
ACCEPT_FULL = frozenset((EMFILE, ENFILE, ENOBUFS, ENOMEM, ENOSPC))

#: Connections that the kernel completes and holds until they are accepted.
BACKLOG = 4096

#: How long `serve` waits for room, and how often it says so, in seconds.
_PAUSE, _LOG_EVERY = 0.1, 1.0


class Listener(AsyncClosing, Source):
    """A listening socket.  Close it when done, or use it as `async with listener:`."""

    __slots__ = ("_accept", "_executor", "_handshake_timeout", "_socket", "_tcp", "_tls")

    def __init__(
        self,
        sock: socket.socket,
        *,
        tls: ssl.SSLContext | None = None,
        handshake_timeout: float = HANDSHAKE_TIMEOUT,
    ) -> None:
        """Take over a bound and listening socket; it becomes non-blocking.

        With `tls`, its streams are `TlsStream`s that have the handshake before them.
        """
        if tls is not None and tls.protocol is ssl.PROTOCOL_TLS_CLIENT:
            raise ValueError("this context is a client's; make one of ssl.PROTOCOL_TLS_SERVER")
        sock.setblocking(False)
        super().__init__(sock.fileno())
        self._executor: Executor = current_executor()
        self._socket = sock
        self._accept: Callable[[], tuple[socket.socket, Any]] = sock.accept
        self._tcp = sock.family in (socket.AF_INET, socket.AF_INET6)
        self._tls = tls
        self._handshake_timeout = handshake_timeout
        self._executor.reactor.register(self)

    def __repr__(self) -> str:
        return f"<Listener fd={self._socket.fileno()}>"

    @property
    def address(self) -> Any:
        """Where it listens, as the kernel says: with the port that it chose for port 0.

        Raises ClosedError if it is closed.
        """
        if self._accept is closed:
            closed()
        return self._socket.getsockname()

    def accept_nowait(self) -> Stream | None:
        """The next connection if one is there, else None; never waits.

        One that died in the backlog is passed over; more of them in a row than a backlog holds are
        the listener's own fault, and told.  OSError with an errno of `ACCEPT_FULL` means that there
        is no descriptor or memory for it now: it is still in the backlog.  Raises ClosedError if
        the listener is closed.
        """
        dead = 0
        while True:
            try:
                sock, _ = self._accept()
            except BlockingIOError:
                return None
            except OSError as error:
                dead += 1
                if error.errno not in ACCEPT_NEXT or dead > BACKLOG:
                    raise
            else:
                self._executor.budget -= 1
                return self._stream(sock)

    def _stream(self, sock: socket.socket) -> Stream:
        try:
            if self._tcp:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is None:
                return Stream(sock)
            return TlsStream(
                sock, self._tls, server_side=True, handshake_timeout=self._handshake_timeout
            )
        except BaseException:
            sock.close()
            raise

    @leaf
    def wait(self) -> Generator[None, None, None]:
        """Wait until another `accept_nowait` is worth a try, after one that returned None.

        Raises BusyError if another task waits here already, ClosedError if the listener is closed.
        """
        if self._accept is closed:
            closed()
        if self.reader is not None:
            raise BusyError("another task waits on this listener; one at a time")
        yield from wait_readable(self, self._executor)

    @leaf
    def accept(self) -> Generator[None, None, Stream]:
        """The next connection, waiting for it if need be.

        Raises as `accept_nowait` and `wait` do; ClosedError, too, if the listener is closed
        meanwhile.
        """
        executor = self._executor
        if executor.budget < 0:
            yield from give_way(executor)
        if self.reader is not None:
            raise BusyError("another task waits on this listener; one at a time")
        while (stream := self.accept_nowait()) is None:
            yield from wait_readable(self, executor)
        return stream

    def close(self) -> None:
        """Stop listening.  Connections in the backlog are reset; accepted ones live on."""
        if self._accept is closed:
            return
        self._accept = closed
        close_source(self, self._executor, self._socket)


def listen(
    host: str | None,
    port: int,
    *,
    backlog: int = BACKLOG,
    tls: ssl.SSLContext | None = None,
    reuse_port: bool = False,
    handshake_timeout: float = HANDSHAKE_TIMEOUT,
) -> Listener:
    """Listen on a TCP port: numeric address or name, port 0 for one that the kernel chooses.

    `host=None` is every IPv4 address of the machine, "::" every address.  A name is looked up on
    the spot, which blocks: listeners are made when a program starts.  Raises OSError if the address
    cannot be had.

    With `tls`, the streams are `TlsStream`s.  Accepting does not wait for a handshake: each stream
    makes its own, in the task that uses it, within `handshake_timeout` seconds.
    """
    port = check_port(port)
    family, _, _, _, address = socket.getaddrinfo(
        host or "0.0.0.0", port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(address)
        sock.listen(backlog)
        return Listener(sock, tls=tls, handshake_timeout=handshake_timeout)
    except BaseException:
        sock.close()
        raise


def listen_unix(path: str | bytes | os.PathLike[str], *, backlog: int = BACKLOG) -> Listener:
    """Listen on a Unix socket at `path`, which must not exist; the caller removes it afterwards.

    On Linux also on an abstract name, which begins with a zero byte and leaves no file.  Raises
    OSError (EADDRINUSE) if the path exists: whether a server listens there or left it behind only
    a connection to it would tell, and that is for the caller to decide.
    """
    path = check_path(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        try:
            sock.bind(path)
        except OSError as error:
            if error.errno != EADDRINUSE:
                raise
            raise OSError(
                EADDRINUSE,
                f"the Unix socket {path!r} is in use, or left behind by a server that is gone; "
                "remove it if nobody listens there",
            ) from None
        sock.listen(backlog)
        return Listener(sock)
    except BaseException:
        sock.close()
        raise


class Acceptor(Protocol[S_co]):
    """What `serve` needs of a listener."""

    def accept(self) -> Awaitable[S_co]:
        """The next connection, waiting for it if need be."""


async def serve(listener: Acceptor[S], handler: Callable[[S], Awaitable[object]]) -> None:
    """Run `handler(stream)` in a task for each connection, and close the stream after it.

    Returns when the listener has been closed and the last handler has ended, which is how a server
    drains.  Cancelling it cancels the handlers.  What a handler raises is logged and ends that
    connection alone; a BrokenError, which is daily bread, is a line of level INFO.  On a TLS
    listener the handler gets streams whose handshake is made; one that fails is one line in the
    log.
    """

    async def handle(stream: S) -> None:
        try:
            async with stream:
                if await _let_in(stream):
                    await handler(stream)
        except Exception as error:  # the handler's, or that of a goodbye which the stream says
            if isinstance(error, BrokenError) and not isinstance(error, HandshakeError):
                log.info("a connection is gone: %s", error)
            else:
                log.exception("a connection's handler failed; the other connections go on")

    said = -inf
    async with TaskGroup() as group:
        while True:
            try:
                stream = await listener.accept()
            except ClosedError:
                return
            except OSError as error:
                if error.errno not in ACCEPT_FULL:
                    raise
                if now() - said >= _LOG_EVERY:
                    said = now()
                    log.warning("no room for new connections: %s; they wait in the backlog", error)
                await sleep(_PAUSE)
            else:
                group.spawn(handle(stream))


async def _let_in(stream: ByteStream) -> bool:
    """Make the handshake, if there is one to be made; whether it went well."""
    if isinstance(stream, TlsStream):
        peer = stream.peer_address
        try:
            await stream.handshake()
        except HandshakeError as error:
            log.warning("refused a connection from %s: %s", peer, error)
            return False
    return True
