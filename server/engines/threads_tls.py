"""TLS on a blocking socket that one thread reads and writes, and another may shut down.

Four things that ``ssl.SSLSocket`` does are not what a server of threads wants.

``wrap_socket`` closes the descriptor when it fails, and then the kernel may give the number to the
next connection at once. So it is for the thread that accepts, before anybody knows the number.

``shutdown`` throws the TLS away: whoever called it from another thread would have the connection's
own go on in plaintext, and take ciphertext for what the peer says. ``shut_down`` goes past it.

``recv`` on a socket at its end without a close_notify is, to OpenSSL 3, an error after which it
says goodbye by a fatal alert. Our own shutdown for the drain makes such an end; so the context is
told that an end is an end. What a client sends is its own affair.

``unwrap`` sends a close_notify and waits for the peer's, for ever. ``say_goodbye`` has it find the
end of the stream instead.
"""

import contextlib
import logging
import socket
import ssl

from server import logs
from server.metrics import Closed


class HandshakeError(Exception):
    """There was no handshake, and this is why."""

    def __init__(self, reason: Closed) -> None:
        self.reason = reason


def wrap(sock: socket.socket, context: ssl.SSLContext) -> ssl.SSLSocket:
    """Take over the socket, which is closed if that fails. Makes no handshake."""
    # OpenSSL 1.1.1 has no such option, and does not need it.
    context.options |= getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
    try:
        # If the peer is gone, wrap_socket leaves the descriptor to the garbage collector.
        sock.getpeername()
        return context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
    except OSError as error:  # SSLError is one
        sock.close()
        raise failed(error) from None


def handshake(sock: socket.socket, seconds: float) -> None:
    """Make the handshake within a time."""
    assert isinstance(sock, ssl.SSLSocket)
    try:
        # For the handshake, other than for recv and send, this is the time for the whole of it.
        sock.settimeout(seconds)
        sock.do_handshake()
        sock.settimeout(None)
    except TimeoutError:
        raise HandshakeError(Closed.HANDSHAKE_TIMEOUT) from None
    except OSError as error:
        raise failed(error) from None


def failed(error: OSError) -> HandshakeError:
    """Log the failure; it is the peer's."""
    logs.often(logging.INFO, "handshake failed", error=str(error))
    return HandshakeError(Closed.HANDSHAKE_FAILED)


def say_goodbye(sock: socket.socket) -> None:
    """Send a close_notify behind the last answer, without which the peer may think it cut short.

    Waits for room in the kernel's buffer as any answer does, and is cut off as any answer is.
    """
    assert isinstance(sock, ssl.SSLSocket)
    # A peer that is gone has no use for it; what it was owed has been given to the kernel.
    with contextlib.suppress(OSError):
        shut_down(sock, socket.SHUT_RD)
        sock.unwrap()


def shut_down(sock: socket.socket, how: int) -> None:
    """``shutdown`` for sockets with TLS and without, from any thread."""
    socket.socket.shutdown(sock, how)
