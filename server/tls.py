"""The server's certificate, and how it is exchanged for a new one while the server runs.

One ``SSLContext`` for all TLS listeners, until a reload puts another in its place. A context that
connections are made from is never written to. OpenSSL has no lock around a context's certificate,
Python releases its own while it loads one, and the reload runs in the thread of the signals:
loading it into the context in use freed memory that a handshake was copying, and the process died
of it. So whoever begins a connection asks for ``context`` anew; a connection keeps the one that it
began with.
"""

import errno
import logging
import ssl

from server import logs
from server.config import Settings
from server.errors import UsageError

ACCEPTED_PER_TURN = 2
"""Connections that a TLS listener of an event loop accepts before the others get their turn. A
handshake is a millisecond of arithmetic; in a flood of them the established wait for two."""


class Certificate:
    """The certificate and key files of the settings, and the context that holds them."""

    def __init__(self, settings: Settings) -> None:
        assert settings.tls_cert is not None
        self._cert = settings.tls_cert
        self._key = settings.tls_key or settings.tls_cert
        try:
            self.context = self._load()
            """For the next connection alone: after a reload it is another one."""
        except OSError as error:  # SSLError is one
            raise UsageError(
                f"cannot use the certificate: {self._explain(error)}; "
                "--tls-cert and --tls-key name PEM files that belong together"
            ) from None

    def reload(self) -> bool:
        """Read the files again. On any fault the old ones stay in use, and the log says why."""
        try:
            self.context = self._load()
        except OSError as error:
            logs.event(
                logging.ERROR,
                "cannot reload the certificate, the old one stays in use",
                error=self._explain(error),
            )
            return False
        logs.event(logging.INFO, "certificate reloaded", file=self._cert)
        return True

    def _load(self) -> ssl.SSLContext:
        context = _context()
        # Without a callback OpenSSL would ask for the passphrase on the terminal.
        context.load_cert_chain(self._cert, self._key, password=_no_passphrase)
        return context

    def _explain(self, error: OSError) -> str:
        reason = error.reason if isinstance(error, ssl.SSLError) else error.strerror
        return f"{self._cert!a} with {self._key!a}: {reason or error}"


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A peer must not make us do the costly part again and again; Python leaves it allowed.
    context.options |= ssl.OP_NO_RENEGOTIATION
    # Of the groups that OpenSSL offers, a client chooses: over ffdhe8192 a handshake takes 125 ms
    # of our time, over this curve 1 ms. Python can name a single one; every client knows this one
    # (RFC 8446, 9.1), and who expected another needs one more round trip.
    context.set_ecdh_curve("prime256v1")
    return context


def _no_passphrase() -> str:
    raise OSError(errno.EACCES, "the key is encrypted, and there is nobody to ask; decrypt it")
