"""TLS as asyncio and uvloop speak it, and what that means for a connection's end.

Both are used as they come: ``ssl=`` on ``connect_accepted_socket``. The other candidates are
``create_server(ssl=...)``, which says nothing of a connection before its handshake is made, so
nobody could count it, hold it against the maximum, or tell why there is none; and OpenSSL on memory
BIOs in a protocol of our own, which would no longer be those libraries. So what their transport
does is what these engines do, and it differs from the others in this:

- **A client that says close_notify has ended both ways.** The transport closes as soon as it sees
  one, or the end of the socket, and drops what is written afterwards. Answers still to come are
  lost: those of ``sleep``, and on streams an echo that the handler had not got to. The connection
  counts as ``broken``. In ``uvloop-protocol`` an echo is written before the close_notify behind it
  is looked at, so there it loses nothing. uvloop says nothing of what it had not yet opened when
  the socket ended without one; such a connection counts as ``finished``.
- **After our close_notify we wait for the client's**, or for its end, up to
  ``--half-close-timeout``, which is the reason then. What a slow reader has not taken by that time
  is cut off. A drain waits only until the connection is quiet.
- **A failed handshake ends without an alert**: the transport does not send OpenSSL's last bytes.
- **Memory**: asyncio's transport makes and clears a buffer of 256 KiB for each connection, 288 kB
  resident in all; uvloop reserves as much, but the kernel gives it page by page when it is used,
  and 24 kB (protocol) to 28 kB (streams) are resident.
"""

import logging
import ssl
from typing import TypedDict

from server import logs
from server.config import WEEK, Settings
from server.metrics import Closed


class Arguments(TypedDict, total=False):
    """What ``connect_accepted_socket`` is told: nothing without TLS."""

    ssl: ssl.SSLContext
    ssl_handshake_timeout: float
    ssl_shutdown_timeout: float


def arguments(settings: Settings, context: ssl.SSLContext) -> Arguments:
    """Those of a TLS listener."""
    return {
        "ssl": context,
        "ssl_handshake_timeout": settings.handshake_timeout,
        "ssl_shutdown_timeout": settings.half_close_timeout or WEEK,
    }


def handshake_failed(error: OSError | None) -> Closed:
    """Why there was no handshake; it is logged, unless it only took too long."""
    # The transport's own error has no number, unlike an ECONNABORTED of the kernel's.
    if isinstance(error, ConnectionAbortedError) and error.errno is None:
        return Closed.HANDSHAKE_TIMEOUT
    logs.often(logging.INFO, "handshake failed", error=str(error or "") or "the peer has gone")
    return Closed.HANDSHAKE_FAILED


def reason_over_tls(error: Exception, *, ending: bool) -> Closed | None:
    """What an error says that only a TLS transport has; None for any other."""
    if isinstance(error, TimeoutError) and error.errno is None:
        return Closed.HALF_CLOSE_TIMEOUT  # we have said close_notify, and the peer nothing
    if isinstance(error, ssl.SSLError) and ending:
        return Closed.FINISHED  # bytes behind our close_notify, which nobody wants any more
    return None
