"""Where sealed bytes wait: a stream that opens what has come and sends what is sealed.

The fact that shaped this file: what has come is opened *at once and to the last record*, however
little was asked for.  So nothing can lie inside of OpenSSL that no edge will tell of, and the
socket's own rule stays sound: a read that came back short has emptied it.  The surplus waits in the
stream, at most a chunk.

A reader and a writer cannot ignore each other, because either may have to do the other's work:

* Reading can produce an answer (to a key update, to a handshake) that finds no room.  If nobody
  writes, the reader waits for room as well as for bytes.
* In TLS 1.2 a handshake in mid-connection can stand before the next record.  The writer is then
  *stalled* until more has come; if nobody reads, it reads.
"""

from __future__ import annotations

import socket
from collections.abc import Generator
from errno import EPIPE
from selectors import EVENT_READ, EVENT_WRITE
from typing import Any

from .errors import BrokenError
from .executor import Executor
from .reactor import BOTH
from .readiness import wait_writable
from .sealing import Sealing, TlsError, TruncatedError
from .stream import Stream, broken
from .task import Task

#: How many bytes are asked of the kernel, and how many are sealed, at a time.
CHUNK = 65_536
#: OpenSSL's work goes by bytes (and a byte may be a record): 512 of them count as one operation of
#: the budget, a chunk as all of it.
BUDGET_SHIFT = 9
#: How many bytes may be unsent: what a writer has sealed (a chunk and a little), and answers that a
#: peer demands by key updates, as many as it likes.  One that reads does not come near it.
_MOST_UNSENT = 4 * CHUNK
#: A size for the kernel's buffer that has room for more; the kernel cuts it down to what it allows.
_AMPLE = 1 << 20


class SealedStream(Stream):
    """The waiting under a `TlsStream`; nothing for users by itself."""

    __slots__ = ("_allow_truncation", "_opened", "_sealing", "_stalled")

    def __init__(self, sock: socket.socket, sealing: Sealing, *, allow_truncation: bool) -> None:
        self._sealing = sealing
        self._allow_truncation = allow_truncation
        #: Plain bytes that nobody has asked for yet.
        self._opened = bytearray()
        #: The writer, while it waits for bytes to come.
        self._stalled: Task[Any] | None = None
        super().__init__(sock)

    def _writing(self) -> bool:
        """Whether a task is sending.  A reader that waits for room, too, is not."""
        if self._stalled is not None:
            return True
        return self.writer is not None and self.writer is not self.reader

    def _hand_out(self, limit: int) -> bytes:
        """The oldest of the bytes that were opened and not asked for."""
        opened = self._opened
        data = bytes(opened[:limit])
        del opened[:limit]
        self._executor.budget -= 1
        if self._stalled is not None:
            self._stalled.wake()
        return data

    def _fetch(self) -> bytes:
        """Open what the kernel has; b"" if nothing has come of it, yet or ever."""
        sealing = self._sealing
        sealed = self._receive()
        if sealed is None:
            return b""
        if sealed:
            plain = sealing.open(sealed)
        else:
            plain = b""
            sealing.ended = True
            if not self._allow_truncation:
                cut = "TLS: the connection ended without a close_notify; data may be missing"
                sealing.fail(TruncatedError, cut)
        if sealing.unsent:
            self._flush()
            if len(sealing.unsent) > _MOST_UNSENT:
                sealing.fail(TlsError, "TLS: the peer wants answers and does not read them")
        return plain

    def _receive(self) -> bytes | None:
        """Sealed bytes, b"" at their end; None if there are none now."""
        try:
            sealed = self._input.recv(CHUNK)
        except BlockingIOError:
            self.readable = False
            return None
        except OSError as error:
            raise broken(error) from error
        if len(sealed) < CHUNK and not self.hangup:
            self.readable = False
        self._executor.budget -= len(sealed) >> BUDGET_SHIFT
        return sealed

    def _offer(self) -> None:
        """Have the kernel take what it has room for of what is unsent."""
        sealing = self._sealing
        if sealing.unsent:
            try:
                sealing.unsent = sealing.unsent[self._output.send(sealing.unsent) :]
            except BlockingIOError:
                self.writable = False

    def _offer_last(self) -> None:
        """The same for a close_notify, behind which nothing comes; if there is no room, make some.

        A send is done when its bytes have just fitted in, and nobody need be left to wait for more
        room.  But without the close_notify the peer takes all that it got for truncated.
        """
        self._offer()
        if self._sealing.unsent:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _AMPLE)
            self._offer()

    def _flush(self) -> None:
        """The same for what OpenSSL has to say by itself, which is no fault of the caller's."""
        try:
            self._offer()
        except OSError:
            self._sealing.unsent = b""  # the peer is gone: whoever sends next will hear of it

    def _wait(self, executor: Executor) -> Generator[None, None, None]:
        """Wait for bytes; for room, too, if something is unsent and nobody else is sending."""
        task = executor.current
        if self.writer is None:
            self._flush()
            self._want_room(executor)
        if self.interest != BOTH:
            executor.reactor.watch(self, EVENT_READ)
        self.reader = task
        try:
            yield
        finally:
            self.reader = None
            if self.writer is task:
                self.writer = None
            if self._stalled is not None:
                self._stalled.wake()

    def _want_room(self, executor: Executor) -> None:
        """Be woken when there is room for what is unsent, if anything is."""
        if self._sealing.unsent:
            if self.interest != BOTH:
                executor.reactor.watch(self, EVENT_WRITE)
            self.writer = executor.current

    def _drain(self, executor: Executor) -> Generator[None, None, None]:
        """Wait until the kernel has taken all that is unsent."""
        sealing = self._sealing
        try:
            while True:
                self._offer()
                if not sealing.unsent:
                    return
                yield from wait_writable(self, executor)
        except OSError as error:
            sealing.unsent = b""
            raise broken(error) from error
        finally:
            if sealing.unsent and self.reader is not None:
                self.reader.wake()  # it relied on us to send

    def _wait_stalled(self, executor: Executor) -> Generator[None, None, None]:
        """Wait, as the writer, until more has come; read it here if nobody else does."""
        task, sealing = executor.current, self._sealing
        self._flush()
        if sealing.ended:
            sealing.end()
            raise BrokenError(EPIPE, "TLS: the peer left in the middle of a handshake")
        reading = self.reader is None and len(self._opened) < CHUNK
        if reading and self.readable:
            self._opened += self._fetch()
            return
        if reading:
            if self.interest != BOTH:
                executor.reactor.watch(self, EVENT_READ)
            self.reader = task
        self._want_room(executor)
        self._stalled = task
        try:
            yield
        finally:
            self._stalled = self.writer = None
            if self.reader is task:
                self.reader = None
