"""A connection of the asyncio engines: what it owes the server, whichever service it gives.

It is a protocol with slots, because that object exists ten thousand times. From its accept on it
stands in ``Acceptor.live``, and it ends under one reason, which mostly follows from what the
transport says in ``connection_lost``; only who is cut off from outside is told the reason before.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from server.drain import shut_reading
from server.engines.asyncio_tls import reason_over_tls
from server.metrics import Closed, reason_for
from server.protocol import SleepProtocol

if TYPE_CHECKING:
    from server.engines.asyncio_accept import Acceptor

NATIVE = -1
"""The descriptor of a connection that the event loop accepts, until it says which it is."""


class Connection(asyncio.Protocol):
    """One connection: where it stands, and why it is being cut off, if it is."""

    __slots__ = ("acceptor", "fd", "reason", "transport")

    lines: SleepProtocol | None = None
    """Where the sleep service stands; it has its own."""

    def __init__(self, acceptor: Acceptor) -> None:
        self.acceptor = acceptor
        self.fd = NATIVE
        self.reason: Closed | None = None
        self.transport: asyncio.Transport | None = None
        """None until there is one: for TLS that is at the end of the handshake."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.acceptor.opened(self)

    def connection_lost(self, error: Exception | None) -> None:
        self.acceptor.closed(self, self.reason or self._outcome(error))

    def _outcome(self, error: Exception | None) -> Closed:
        lines = self.lines
        if error is not None:
            if (reason := reason_over_tls(error, ending=bool(lines and lines.closed))) is None:
                # What is no network error was raised by one of our callbacks, and is logged.
                return reason_for(error) if isinstance(error, OSError) else Closed.FAILED
            if reason is not Closed.FINISHED:
                return reason
        if lines and lines.failed:
            return Closed.BAD_LINE
        return Closed.BROKEN if self.owes() else Closed.FINISHED

    def cut_off(self, reason: Closed) -> None:
        """End it from outside."""
        if self.reason is None:
            self.reason = reason
            if self.transport is None:
                self.acceptor.starting[self].cancel()
            else:
                self.transport.abort()

    def shut_reading(self) -> bool:
        """Take nothing more from the peer, as if it had ended its side, and answer what came.

        Returns whether that is all. A TLS transport whose socket ends would close at once, so it is
        asked to stop first; when it has said goodbye, its peer's is not waited for.
        """
        transport = self.transport
        if transport is None or transport.is_closing() or not self.secure:
            return shut_reading(self.fd)
        transport.pause_reading()
        self.end_of_input()
        return False

    @property
    def secure(self) -> bool:
        """Whether TLS is spoken on it."""
        assert self.transport is not None
        return self.transport.get_extra_info("sslcontext") is not None

    # For each service to say.

    def end_of_input(self) -> None:
        """Nothing more will be received: close after the last answer."""
        raise NotImplementedError

    def owes(self) -> bool:
        """Whether something that was received has not been answered."""
        raise NotImplementedError

    def describe(self) -> str | None:
        """What it waits for, in words; None if a task of its own tells."""
        raise NotImplementedError
