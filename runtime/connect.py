"""Connecting: from an address to a stream."""

from __future__ import annotations

import os
import socket
from collections.abc import Generator
from errno import EINPROGRESS
from typing import Any

from .leaf import leaf
from .reactor import Source
from .readiness import check_port, wait_writable
from .stream import Stream
from .task import current_executor
from .threads import run_in_thread


async def connect(host: str, port: int) -> Stream:
    """A stream to a TCP server, given by numeric address or by name.

    The addresses of a name are looked up in a thread and tried one after the other.  Raises
    OSError if none answers: the last failure, with the others as its notes.  ValueError for a port
    that is not from 0 to 65535.
    """
    try:
        addresses = _look_up(host, port, socket.AI_NUMERICHOST)  # asks nobody, so cannot block
    except socket.gaierror:
        addresses = await run_in_thread(_look_up, host, port)
    failure: OSError | None = None
    for family, address in addresses:
        try:
            return await _connect(family, address)
        except OSError as error:
            if failure is not None:
                error.add_note(f"before that: {failure}")
            failure = error
    assert failure is not None  # getaddrinfo returns an address or raises
    try:
        raise failure
    finally:
        del failure  # a frame that its own exception refers to is a cycle


async def connect_unix(path: str) -> Stream:
    """A stream to a Unix socket.

    Raises OSError if nobody listens there; BlockingIOError, which is one, if the backlog is full.
    """
    return await _connect(socket.AF_UNIX, path)


def _look_up(host: str, port: int, flags: int = 0) -> list[tuple[int, Any]]:
    check_port(port)
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    return [(family, address) for family, _, _, _, address in found]


async def _connect(family: int, address: Any) -> Stream:
    """Connect a new socket; it is closed if that fails or is cancelled."""
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        if family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            sock.connect(address)
        except BlockingIOError as error:
            if error.errno != EINPROGRESS:
                raise
            await _established(sock)
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                raise OSError(code, f"{os.strerror(code)}: {address}") from None
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
