"""Connecting: from an address to a stream.

A name often has several addresses, and the first of them may be dead: an IPv6 route that leads
nowhere is the usual one.  To try them one after the other means to wait, a minute and more, for
each that does not answer; to try all at once is unkind to the server.  RFC 8305 ("Happy Eyeballs")
stands between: families take turns, the next attempt begins a quarter of a second after the one
before, or at once when one fails, and the first that is established wins.

That is a task group: an attempt is a child, the winner cancels the group, and an attempt that is
cancelled closes its socket.  Whatever ends a connect, no descriptor outlives it but the winner's.
"""

from __future__ import annotations

import os
import socket
import ssl
import sys
from collections.abc import Generator, Iterable
from errno import EINPROGRESS
from itertools import zip_longest
from typing import Any, NamedTuple

from .dns import AddressInfo, getaddrinfo
from .groups import TaskGroup
from .leaf import leaf
from .reactor import Source
from .readiness import check_path, check_port, wait_writable
from .scopes import CancelScope, move_on_after
from .sleep import now, sleep
from .stream import Stream
from .task import current_executor, current_task, park
from .tls import default_context, start_tls

#: Seconds from one attempt to the next: the Connection Attempt Delay that RFC 8305 recommends.
ATTEMPT_DELAY = 0.25

#: Seconds that a connect may take altogether, unless the caller says otherwise.
TIMEOUT = 60.0

#: Seconds until the first and at the most until each further try when a backlog is full.
_PAUSE, _LONGEST_PAUSE = 0.001, 0.1

#: Linux: the source port is chosen when the destination is known, so one address has 28,000 for
#: *each* destination.  The socket module of Python 3.11 has no name for it.
_BIND_ADDRESS_NO_PORT = 24


class Target(NamedTuple):
    """Where an attempt goes, and the address to go from if that matters."""

    family: int
    address: Any
    local: Any = None


class Failure(NamedTuple):
    """What became of an attempt.  Not the exception: that would keep the frames of its task."""

    errno: int | None
    story: str


async def connect(
    host: str,
    port: int,
    *,
    timeout: float = TIMEOUT,
    local_address: str | None = None,
    tls: ssl.SSLContext | bool | None = None,
    server_hostname: str | None = None,
) -> Stream:
    """A stream to a TCP server, given by numeric address or by name.

    A name is looked up without blocking the loop, and its addresses are tried as RFC 8305 says.
    `timeout` is in seconds and spans the lookup and all attempts; infinity is no limit.
    `local_address`, a numeric address, is where the connection comes from.

    Raises TimeoutError; OSError if every address fails, with each one's reason in its text and the
    errno of the last failure (all refused: ConnectionRefusedError); socket.gaierror, which is one,
    if there is no such name; ValueError for a port that is not from 0 to 65535.

    With `tls`, a context or True for the system's default, it is a `TlsStream` whose handshake is
    made, with a server that has proved to be `server_hostname` (`host` if not given); the handshake
    has a deadline of its own.  HandshakeError if it fails.
    """
    stream = await _connect_tcp(host, port, timeout, local_address)
    if not tls:
        return stream
    context = default_context() if tls is True else tls
    return await start_tls(stream, context, server_hostname=server_hostname or host)


async def _connect_tcp(host: str, port: int, timeout: float, local_address: str | None) -> Stream:
    port = check_port(port)
    targets: list[Target] = []
    failures: list[Failure] = []
    with CancelScope(deadline=now() + timeout):
        targets += await _look_up(host, port, local_address)
        if len(targets) == 1:
            stream = await _attempt(targets[0], failures)
        else:
            stream = await _race(targets, failures)
        if stream is None:
            raise unreachable(f"{host} port {port}", failures)
        return stream
    stories = "; ".join(failure.story for failure in failures)
    doing = "no answer" if targets else "still looking the name up"
    raise TimeoutError(
        f"cannot connect to {host} port {port} within {timeout} seconds: {stories or doing}"
    )


async def connect_unix(path: str | bytes | os.PathLike[str], *, timeout: float = TIMEOUT) -> Stream:
    """A stream to a Unix socket; on Linux also by an abstract name, which begins with a zero byte.

    A backlog that is full gives EAGAIN and no event when there is room again, so the connect is
    tried anew, at growing intervals, for up to `timeout` seconds.  Raises TimeoutError after that;
    FileNotFoundError, ConnectionRefusedError or another OSError if nobody listens there.
    """
    path = check_path(path)
    pause = _PAUSE
    with CancelScope(deadline=now() + timeout):
        while True:
            try:
                return await _dial(Target(socket.AF_UNIX, path))
            except BlockingIOError:
                pass
            except OSError as error:
                raise unreachable(f"the Unix socket {path!r}", [failed(error)]) from None
            await sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
    raise TimeoutError(
        f"cannot connect to the Unix socket {path!r}: its backlog was full for {timeout} seconds"
    )


def interleave(found: Iterable[AddressInfo]) -> list[AddressInfo]:
    """The resolver's order, but families take turns (RFC 8305, section 4); nothing twice."""
    families: dict[int, list[AddressInfo]] = {}
    for info in dict.fromkeys(found):
        families.setdefault(info[0], []).append(info)
    return [info for turn in zip_longest(*families.values()) for info in turn if info is not None]


def failed(error: OSError, address: Any = None) -> Failure:
    """What to remember of an attempt that failed."""
    story = error.strerror or str(error)
    return Failure(error.errno, f"{address[0]}: {story}" if address else story)


def unreachable(where: str, failures: list[Failure]) -> OSError:
    """One error for all attempts that failed."""
    story = f"cannot connect to {where}: {'; '.join(failure.story for failure in failures)}"
    code = failures[-1].errno
    return OSError(story) if code is None else OSError(code, story)


async def _look_up(host: str, port: int, local_address: str | None) -> list[Target]:
    family, local = 0, None
    if local_address is not None:
        family, *_, local = (
            await getaddrinfo(
                local_address, 0, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
            )
        )[0]
    found = await getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
    return [Target(family, address, local) for family, *_, address in interleave(found)]


async def _race(targets: list[Target], failures: list[Failure]) -> Stream | None:
    """The first of the targets that answers; None if all have failed."""
    winner: Stream | None = None
    starter = current_task()

    async def attempt(target: Target) -> None:
        nonlocal winner
        stream = await _attempt(target, failures)
        if stream is None:
            starter.wake()
        elif winner is None:
            winner = stream
            group.cancel_scope.cancel()
        else:
            stream.close()  # a photo finish

    try:
        async with TaskGroup() as group:
            for target in targets:
                known = len(failures)
                group.spawn(attempt(target), name=f"connect to {target.address[0]}")
                with move_on_after(ATTEMPT_DELAY):
                    while len(failures) == known:
                        await park()
    except BaseException:
        if winner is not None:
            winner.close()
        raise
    return winner


async def _attempt(target: Target, failures: list[Failure]) -> Stream | None:
    """A stream to the target; None if that failed, and then one more failure."""
    try:
        return await _dial(target)
    except OSError as error:
        failures.append(failed(error, target.address))
        return None


async def _dial(target: Target) -> Stream:
    """Connect a new socket; it is closed if that fails or is cancelled."""
    sock = socket.socket(target.family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        if target.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if target.local is not None:
            if sys.platform == "linux":
                sock.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
            sock.bind(target.local)
        try:
            sock.connect(target.address)
        except BlockingIOError as error:
            if error.errno != EINPROGRESS:
                raise
            await _established(sock)
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                raise OSError(code, os.strerror(code)) from None
        return Stream(sock)
    except BaseException:
        sock.close()
        raise


@leaf
def _established(sock: socket.socket) -> Generator[None, None, None]:
    """Wait until a connect that is under way has come to an end, good or bad."""
    executor = current_executor()
    source = Source(sock.fileno())
    executor.reactor.register(source)
    try:
        yield from wait_writable(source, executor)
    finally:
        executor.reactor.deregister(source)
