"""TLS streams: what is sent is sealed, what has come is opened, and the rest is a `Stream`.

`sealing.py` turns bytes into records and back, `sealed_stream.py` knows when they must wait.  Here
is what a user sees: the handshake, receiving, sending, and the two ways to end.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Generator
from contextlib import suppress
from functools import cache
from operator import index
from selectors import EVENT_READ
from typing import Any, NoReturn

from .errors import BrokenError, BusyError, closed
from .executor import Executor
from .leaf import leaf
from .locks import Lock
from .reactor import BOTH
from .readiness import give_way
from .scopes import timeout
from .sealed_stream import BUDGET_SHIFT, CHUNK, SealedStream
from .sealing import HandshakeError, Sealing
from .stream import BUSY_READING, BUSY_WRITING, CLOSED, NO_BYTES, Buffer, Stream, broken

#: How long a handshake may take unless the caller says otherwise, in seconds.
HANDSHAKE_TIMEOUT = 30.0


class TlsStream(SealedStream):
    """A stream over TLS.  One task may read it and one may write to it at the same time.

    The first use makes the handshake, or `handshake` does.  Close it when done, or use it as
    `async with stream:`.  A receive that is cancelled loses nothing; after a send that is
    cancelled the stream is still good, but it is not known how much of the data will arrive.

    A peer that is gone without a close_notify is a TruncatedError in place of the end, unless
    `allow_truncation` is given (some protocols have an end of their own).
    """

    __slots__ = ("_cut", "_finished", "_gate", "_handshake_timeout", "_secured")

    def __init__(
        self,
        transport: Stream | socket.socket,
        context: ssl.SSLContext,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
        handshake_timeout: float = HANDSHAKE_TIMEOUT,
        allow_truncation: bool = False,
    ) -> None:
        """Take over a connected socket, or a stream that no task waits on.

        `server_hostname` is the name that the peer is asked for (SNI) and that its certificate must
        be for.  Raises ValueError or ssl.SSLError, and takes nothing over, if the context does not
        suit.
        """
        sealing = Sealing(context, server_side=server_side, server_hostname=server_hostname)
        self._handshake_timeout = handshake_timeout
        self._secured = False
        #: Whether nothing more may be sent: after `send_eof`, or closed.
        self._finished = False
        #: Whether a send ended before its data did.
        self._cut = False
        #: Held by the task that makes the handshake.
        self._gate: Lock | None = None
        sock = transport.detach() if isinstance(transport, Stream) else transport
        super().__init__(sock, sealing, allow_truncation=allow_truncation)

    @property
    def ssl_object(self) -> ssl.SSLObject:
        """OpenSSL's side of it, for what has no property here.

        It is what `SSLContext.sni_callback` is called with, and may be given attributes there.
        """
        return self._sealing.ssl_object

    @property
    def version(self) -> str | None:
        """The protocol, such as "TLSv1.3"; None before the handshake."""
        return self.ssl_object.version()

    @property
    def cipher(self) -> tuple[str, str, int] | None:
        """The cipher, the protocol that defines it, its secret bits; None before the handshake."""
        return self.ssl_object.cipher()

    @property
    def selected_alpn_protocol(self) -> str | None:
        """What both sides agreed to speak over it, if they did."""
        return self.ssl_object.selected_alpn_protocol()

    @property
    def peer_certificate(self) -> dict[str, Any] | None:
        """The peer's certificate, in the form of `ssl.SSLSocket.getpeercert`.

        None if it showed none, empty if it was not verified.  ValueError before the handshake.
        """
        return self.ssl_object.getpeercert()

    def detach(self) -> NoReturn:
        """Not to be had: TypeError.  There is no TLS inside of TLS."""
        raise TypeError("a TLS stream cannot give its socket up; TLS inside of TLS is not there")

    async def handshake(self) -> None:
        """Prove who is who and agree on keys, unless that is done.

        Raises HandshakeError if it fails or takes longer than the stream's `handshake_timeout`;
        ClosedError if the stream is closed meanwhile.
        """
        if self._secured:
            return
        if self._gate is None:
            self._gate = Lock()
        async with self._gate:
            if self._secured:
                return
            try:
                with timeout(self._handshake_timeout):
                    await self._shake_hands()
            except TimeoutError:
                late = f"TLS: the handshake was not done within {self._handshake_timeout:g} seconds"
                self._sealing.fail(HandshakeError, late)
                self._sealing.end()
            self._secured = True
        self._gate = None

    @leaf
    def _shake_hands(self) -> Generator[None, None, None]:
        sealing, executor = self._sealing, self._executor
        try:
            sealing.end()  # one that failed stays failed
            sealed = b""
            while not sealing.shake_hands(sealed):
                if sealing.ended:
                    self._flush()  # the alert that tells the peer why
                    sealing.end()
                while (received := self._receive()) is None:
                    yield from self._wait(executor)
                sealed = received
                if not sealed:
                    sealing.fail(HandshakeError, "TLS: the peer went away during the handshake")
            self._opened += sealing.open(b"")
            yield from self._drain(executor)
        except HandshakeError:
            raise
        except BrokenError as error:
            broke = f"TLS: the handshake broke off: {error.strerror}"
            raise HandshakeError(error.errno, broke) from error

    @leaf
    def recv(self, limit: int) -> Generator[None, None, bytes]:
        """What has come, 1 to `limit` bytes, waiting for it if need be; b"" at the end.

        Raises as `Stream.recv` and `handshake` do; TlsError for what is no proper TLS, or for an
        alert of the peer's; TruncatedError.
        """
        if index(limit) < 1:
            raise ValueError(NO_BYTES)
        if not self._secured:
            yield from self.handshake().__await__()
        executor, sealing = self._executor, self._sealing
        while True:
            if executor.budget < 0:
                yield from give_way(executor)
            if self.reader is not None and self.reader is not self._stalled:
                raise BusyError(BUSY_READING)
            if self._opened:
                return self._hand_out(limit)
            if sealing.ended:
                return sealing.end()
            if self.readable:
                plain = self._fetch()
                if plain:
                    if len(plain) <= limit:
                        return plain
                    self._opened += plain
            elif sealing.unsent:
                yield from self._wait(executor)
            else:
                # What `_wait` does, without one more frame to resume.
                if self.interest != BOTH:
                    executor.reactor.watch(self, EVENT_READ)
                self.reader = executor.current
                try:
                    yield
                finally:
                    self.reader = None
                    if self._stalled is not None:
                        self._stalled.wake()  # it relied on us to read

    async def recv_into(self, buffer: bytearray | memoryview) -> int:
        """Like `recv`, into memory of the caller's; how many bytes came, 0 at the end."""
        room = memoryview(buffer).cast("B")
        if room.readonly:
            raise TypeError("this memory cannot be written to")  # and what had come would be lost
        data = await self.recv(len(room))
        room[: len(data)] = data
        return len(data)

    @leaf
    def send_all(self, data: Buffer) -> Generator[None, None, None]:
        """Seal all of `data` and hand it to the kernel, waiting for room when its buffer is full.

        Raises as `recv` does.  After an exception it is not known how much the peer will get.
        """
        if not self._secured:
            yield from self.handshake().__await__()
        executor = self._executor
        if executor.budget < 0:
            yield from give_way(executor)
        if (self.writer is not None or self._stalled is not None) and self._writing():
            raise BusyError(BUSY_WRITING)
        if self._finished:
            closed()
        sealing, sent = self._sealing, 0
        # The length of a memoryview counts items, and those need not be bytes.
        if not 0 < len(data) <= CHUNK or sealing.unsent or type(data) is memoryview:
            return (yield from self._send_pieces(memoryview(data).cast("B"), executor))
        sealed = sealing.seal(data)
        if sealed is None:
            return (yield from self._send_pieces(memoryview(data), executor))
        try:
            sent = self._output.send(sealed)
        except BlockingIOError:
            pass
        except OSError as error:
            raise broken(error) from error
        executor.budget -= 1 + (len(sealed) >> BUDGET_SHIFT)
        if sent != len(sealed):
            sealing.unsent = sealed[sent:]
            yield from self._send_pieces(memoryview(b""), executor)
        return None

    def _send_pieces(self, data: memoryview, executor: Executor) -> Generator[None, None, None]:
        """The long way: a chunk at a time, behind what is unsent."""
        sealing = self._sealing
        try:
            yield from self._drain(executor)
            for start in range(0, len(data), CHUNK):
                if executor.budget < 0:
                    self.writer = executor.current
                    try:
                        yield from give_way(executor)
                    finally:
                        self.writer = None
                        if sealing.unsent and self.reader is not None:
                            self.reader.wake()  # it relied on us to send
                while (sealed := sealing.seal(data[start : start + CHUNK])) is None:
                    yield from self._wait_stalled(executor)
                sealing.unsent += sealed
                executor.budget -= 1 + (len(sealed) >> BUDGET_SHIFT)
                yield from self._drain(executor)
        except BaseException:
            self._cut = True
            raise

    def send_eof(self) -> None:
        """Tell the peer by a close_notify that nothing more will come; reading goes on.

        Again: nothing.  From then on `send_all` raises ClosedError.  If there is no room for it
        now, the next receive takes it along.  Raises BrokenError if the connection is gone,
        BusyError if another task is writing, RuntimeError before the handshake.
        """
        if self._writing():
            raise BusyError(BUSY_WRITING)
        if self._input is CLOSED:
            closed()
        if not self._secured:
            raise RuntimeError("no handshake has been made: await stream.handshake() before")
        if self._finished:
            return
        self._finished = True
        self._sealing.close_notify()
        try:
            self._offer_last()
        except OSError as error:
            raise broken(error) from error

    def close(self) -> None:
        """Send a close_notify if there is room for it, and close both directions.

        But not if a send is under way or was cut short (cancelled, say): half of the data and
        then a regular end would be a lie.  Tasks that wait on the stream get ClosedError.  Again:
        nothing.
        """
        if self._input is CLOSED:
            return
        if self._secured and not self._cut and not self._writing():
            self._sealing.close_notify()
            with suppress(OSError):
                self._offer_last()
        # Bytes that lie unread in the kernel turn the close into a reset, which can destroy what
        # was just sent.  In TLS 1.3 there are such bytes: session tickets, unasked for.
        with suppress(OSError):
            self._input.recv(CHUNK)
        self._finished = True
        self._opened.clear()
        self._sealing.ended = False  # so that a reader gets to the socket, and finds it closed
        super().close()
        if self._stalled is not None:
            self._stalled.wake()


async def start_tls(
    stream: Stream,
    context: ssl.SSLContext,
    *,
    server_side: bool = False,
    server_hostname: str | None = None,
    handshake_timeout: float = HANDSHAKE_TIMEOUT,
) -> TlsStream:
    """Go on over TLS, with the handshake made; for protocols that begin in the clear (STARTTLS).

    The plain stream is used up: if this fails or is cancelled, the connection is closed.  Raises
    what `TlsStream` and its `handshake` raise; BusyError if a task waits on the stream.
    """
    try:
        secure = TlsStream(
            stream,
            context,
            server_side=server_side,
            server_hostname=server_hostname,
            handshake_timeout=handshake_timeout,
        )
    except BaseException:
        stream.close()
        raise
    try:
        await secure.handshake()
    except BaseException:
        secure.close()
        raise
    return secure


@cache
def default_context() -> ssl.SSLContext:
    """A client's context that trusts whom the system trusts; read once, because that blocks."""
    return ssl.create_default_context()
