"""Listening sockets that systemd opened for us: socket activation, sd_listen_fds(3).

They come as descriptors from 3 up, counted by ``LISTEN_FDS`` and named by ``LISTEN_FDNAMES``, and
stay open while the server is restarted, so that no client is ever refused. Our names are those of
the listeners (``FileDescriptorName=echo`` in the socket unit). Sockets that nobody has named, for
which systemd writes the unit's name or "unknown", are echo, sleep, echo-tls and sleep-tls in that
order. What is opened here is not opened by ``--echo`` and its like as well: that is a fault.
"""

import contextlib
import os
import re
import socket
from collections.abc import Iterator, MutableMapping, Sequence

from server import listeners
from server.config import LISTENERS, Settings
from server.errors import UsageError
from server.listeners import Listener

FIRST_FD = 3

_REMEDY = f"name the sockets by FileDescriptorName=: {', '.join(LISTENERS)}"


def names(environ: MutableMapping[str, str]) -> list[str]:
    """The names of the sockets that were handed to this process, which takes them off ``environ``.

    The first belongs to descriptor 3, the next to 4. Empty without socket activation.
    """
    pid, count, given = (
        environ.pop(key, "") for key in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
    )
    if pid != str(os.getpid()) or not count:
        return []
    if re.fullmatch("[0-9]{1,5}", count) is None:
        raise UsageError(f"LISTEN_FDS: {count!a} is not a number of sockets; leave that to systemd")
    found = given.split(":") if given else ["unknown"] * int(count)
    if len(found) != int(count):
        raise UsageError(
            f"LISTEN_FDNAMES has {len(found)} names for {count} sockets; leave that to systemd"
        )
    if all(_unnamed(name) for name in found):
        if len(found) > len(LISTENERS):
            raise UsageError(f"{count} sockets without names are too many; {_REMEDY}")
        return list(LISTENERS[: len(found)])
    for name in found:
        if name not in LISTENERS:
            raise UsageError(f"a socket of LISTEN_FDS is named {name!a}; {_REMEDY}")
    return found


def _unnamed(name: str) -> bool:
    return name in ("", "unknown") or name.endswith(".socket")


@contextlib.contextmanager
def adopt_listeners(settings: Settings, given: Sequence[str]) -> Iterator[Sequence[Listener]]:
    """The sockets of those names, set up as our own would be; closes them on the way out."""
    with contextlib.ExitStack() as stack:
        opened = []
        for fd, name in enumerate(given, FIRST_FD):
            sock = stack.enter_context(_adopt(fd, name, settings))
            opened.append(Listener(name, sock))
        yield opened


def _adopt(fd: int, name: str, settings: Settings) -> socket.socket:
    if name.endswith("-tls") and settings.tls_cert is None:
        raise UsageError(f"{name} needs a certificate; name its PEM file by --tls-cert")
    try:
        sock = socket.socket(fileno=fd)
    except OSError as error:
        raise UsageError(f"descriptor {fd}, for {name}, is no socket: {error.strerror}") from None
    listening = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    if sock.family not in (socket.AF_INET, socket.AF_INET6) or not listening:
        sock.close()
        raise UsageError(
            f"descriptor {fd}, for {name}, does not listen on TCP; "
            "use ListenStream= with a port, and Accept=no"
        )
    os.set_inheritable(fd, False)
    listeners.set_up(sock, settings)
    return sock
