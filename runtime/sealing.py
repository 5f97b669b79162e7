"""Sealing and opening: TLS without a socket, bytes in and bytes out.

OpenSSL can be given the socket, or be given memory.  Here it is memory, for two reasons that were
found by experiment:

* With a socket, OpenSSL reads the five bytes of each record's header first, then the record, and
  only a read that fails proves the socket dry: three system calls where a stream needs one.
* `SSL_shutdown`, as Python calls it, sends our close_notify and then looks for the peer's.  If it
  meets data that was on its way, the connection is lost.  In memory that is empty it meets nothing,
  so one half can be closed while the other goes on.

Memory has a price: a BIO keeps the size of the most that ever lay in it, and there would be two for
each connection.  But bytes lie there only during a call.  What OpenSSL does not finish it takes
inside (part of a record), and what it puts out is taken away at once.  So one pair serves all the
connections of a thread: a desk, cleared after each use.  An idle connection then holds no buffer
at all.
"""

from __future__ import annotations

import re
import ssl
import threading
from typing import Final

from .errors import BrokenError, closed
from .stream import Buffer

#: The most plain bytes that one record holds (RFC 8446, 5.1).
RECORD = 16_384


class TlsError(BrokenError):
    """What came was not what TLS allows, or the peer says so of ours.

    `__cause__` is OpenSSL's own error, if it had one.
    """


class HandshakeError(TlsError):
    """The handshake failed: the certificate, nothing in common, no TLS at all, or no time."""


class TruncatedError(TlsError):
    """The connection ended and the peer had not said that it would: bytes may be missing."""


class _Desk(threading.local):
    """Where sealed bytes lie while OpenSSL works on them; one for all connections of a thread."""

    def __init__(self) -> None:
        self.incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()


_desk: Final = _Desk()


#: What OpenSSL says that a reader cannot be expected to understand, in other words.
_IN_OTHER_WORDS: Final = {
    "HTTP_REQUEST": "the peer speaks plain HTTP",
    "NO_SHARED_CIPHER": "no cipher in common; does this side have a certificate?",
    "UNSUPPORTED_PROTOCOL": "no version of TLS in common",
    "WRONG_VERSION_NUMBER": "the peer does not speak TLS, or no version in common",
}


def explain(error: ssl.SSLError) -> str:
    """What was wrong, on one line."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the peer's certificate is not accepted: {error.verify_message.rstrip('.')}"
    reason = error.reason
    if not reason:
        return str(error)
    if alert := re.fullmatch("[A-Z0-9]+_ALERT_(.+)", reason):
        return f"the peer ended it with the alert {_words(alert[1])!r}"
    return _IN_OTHER_WORDS.get(reason) or _words(reason)


def _words(reason: str) -> str:
    return reason.lower().replace("_", " ")


class Sealing:
    """One connection's keys and state.

    A fault is kept until `end` raises it: what was opened before comes first, and so does the
    alert that tells the peer.  A callback of the context's (SNI, say) runs in the middle of a call,
    with the desk in use, so it must leave other connections alone.
    """

    __slots__ = ("_cause", "_fault", "_incoming", "_outgoing", "ended", "ssl_object", "unsent")

    def __init__(
        self, context: ssl.SSLContext, *, server_side: bool, server_hostname: str | None
    ) -> None:
        """Raises ValueError or ssl.SSLError for a context or a name that will not do."""
        if context.check_hostname and not server_side and not server_hostname:
            # `wrap_bio` would take this, and check no name at all.
            raise ValueError("the context checks the peer's name: give a server_hostname")
        self._incoming, self._outgoing = _desk.incoming, _desk.outgoing
        self.ssl_object = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_side, server_hostname=server_hostname
        )
        #: Sealed bytes that go before any others: answers, and what found no room.
        self.unsent = b""
        #: Whether nothing more can be opened: a fault, or the peer's close_notify.
        self.ended = False
        self._fault: tuple[type[TlsError], str] | None = None
        self._cause: BaseException | None = None

    def shake_hands(self, sealed: bytes) -> bool:
        """Take the handshake on with what the peer has sent; whether this was its last step.

        Plain bytes may come right behind it: `open(b"")` has them, and must be called then.
        """
        try:
            self._incoming.write(sealed)
            self.ssl_object.do_handshake()
        except ssl.SSLWantReadError:
            self._clear()
            return False
        except BaseException as error:
            self._failed(HandshakeError, error)
            return False
        self.unsent += self._outgoing.read()
        return True

    def open(self, sealed: bytes) -> bytes:
        """The plain bytes of all the records that `sealed` completes, which may be none."""
        incoming, read = self._incoming, self.ssl_object.read
        parts = []
        try:
            incoming.write(sealed)
            while part := read(RECORD):
                parts.append(part)
                if not incoming.pending:
                    break
            else:
                self.ended = True
        except ssl.SSLWantReadError:
            pass  # it took part of a record inside, or a message that was not for us
        except ssl.SSLZeroReturnError:
            self.ended = True
        except BaseException as error:
            self._failed(TlsError, error)
        if incoming.pending or self._outgoing.pending:
            self._clear()
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def seal(self, data: Buffer) -> bytes | None:
        """`data` as records.

        None if a handshake in mid-connection (TLS 1.2) must come to its end before: feed `open`,
        and try again.  Raises ClosedError after `close_notify`, TlsError after a fault.
        """
        try:
            self.ssl_object.write(data)
            return self._outgoing.read()
        except ssl.SSLWantReadError:
            self._clear()
            return None
        except ssl.SSLError as error:
            if error.reason == "PROTOCOL_IS_SHUTDOWN" and not self._fault:
                closed()
            self._failed(TlsError, error)
            self.end()
            raise  # not reached
        except BaseException:
            self._clear()
            raise

    def close_notify(self) -> None:
        """Say that nothing more will be sent.  More can be opened.

        Of all calls this one may come in the middle of another connection's, because the collector
        may end an abandoned generator between any two lines, and that closes its stream: what lies
        on the desk is put aside meanwhile.  On another thread's desk nothing is said at all.
        """
        incoming, outgoing = self._incoming, self._outgoing
        if incoming is not _desk.incoming:
            return
        aside = incoming.read(), outgoing.read()
        try:
            self.ssl_object.unwrap()
        except ssl.SSLError:
            pass  # the peer has not said it yet; or there was a fault, and no more to be said
        finally:
            self._clear()
            incoming.write(aside[0])
            outgoing.write(aside[1])

    def fail(self, kind: type[TlsError], why: str, cause: BaseException | None = None) -> None:
        """Nothing more can be opened, and why.  The first reason stands."""
        self.ended = True
        if self._fault is None:
            self._fault, self._cause = (kind, why), cause

    def end(self) -> bytes:
        """The end of the stream, b"", or the fault that stands in its place."""
        if self._fault is not None:
            kind, why = self._fault
            raise kind(why) from self._cause
        return b""

    def _failed(self, kind: type[TlsError], error: BaseException) -> None:
        self._clear()
        if not isinstance(error, ssl.SSLError):
            self.fail(kind, f"TLS was interrupted by {type(error).__name__}")
            raise error
        # Its frames refer to this object, which is to keep it.
        self.fail(kind, f"TLS: {explain(error)}", error.with_traceback(None))

    def _clear(self) -> None:
        """Clear the desk: send what OpenSSL put there, drop what it will never take."""
        self.unsent += self._outgoing.read()
        self._incoming.read()
