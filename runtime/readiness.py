"""Waiting for a source, and giving way to the others.

The leaves that streams, listeners and connects are made of.  They are plain generators, to be used
with `yield from` by a `@leaf`; each yields once for each time it is resumed, and looks again.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Generator
from operator import index
from selectors import EVENT_READ, EVENT_WRITE

from .executor import BUDGET, Executor
from .reactor import BOTH, Source


def wait_readable(source: Source, executor: Executor) -> Generator[None, None, None]:
    """Wait for the next sign that `source` is worth reading, after a read that found it dry."""
    source.readable = False
    if source.interest != BOTH:
        executor.reactor.watch(source, EVENT_READ)
    source.reader = executor.current
    try:
        while not source.readable:
            yield
    finally:
        source.reader = None


def wait_writable(source: Source, executor: Executor) -> Generator[None, None, None]:
    """Wait for the next sign that there is room, after a write that found none."""
    source.writable = False
    if source.interest != BOTH:
        executor.reactor.watch(source, EVENT_WRITE)
    source.writer = executor.current
    try:
        while not source.writable:
            yield
    finally:
        source.writer = None


def give_way(executor: Executor) -> Generator[None, None, None]:
    """Let the loop poll and the other tasks run: too many operations went through at once.

    It stands *before* an operation, never after one: a task that is cancelled here has lost
    nothing that it already received.
    """
    executor.budget = BUDGET
    executor.poll_at = 0
    assert executor.current is not None
    executor.current.wake()
    yield


def close_source(source: Source, executor: Executor, sock: socket.socket) -> None:
    """Deregister first, close second, then let go of whoever waits: it finds out by trying."""
    executor.reactor.deregister(source)
    sock.close()
    source.readable = source.writable = True
    for waiter in (source.reader, source.writer):
        if waiter is not None:
            waiter.wake()
    source.reader = source.writer = None  # what is closed is busy no more


def check_port(port: int) -> int:
    """The port as the plain int that getaddrinfo insists on, and no IntEnum.

    ValueError for what is no port: getaddrinfo would take it modulo 65,536.  TypeError for what is
    no integer: getaddrinfo would say OSError, as if the network were at fault.
    """
    plain = int(index(port))
    if not 0 <= plain <= 65535:
        raise ValueError(f"{plain} is no port; it must be from 0 to 65535")
    return plain


def check_path(path: str | bytes | os.PathLike[str]) -> str | bytes:
    """The path of a Unix socket as the socket module takes it.

    ValueError for an empty one, which the kernel would take for "any name", and for an abstract
    name where the system has none.
    """
    plain = os.fspath(path)
    if not plain:
        raise ValueError("the path of a Unix socket cannot be empty")
    if plain[:1] in ("\0", b"\0") and sys.platform != "linux":
        raise ValueError(f"{plain!r} is an abstract name, which only Linux has; give a path")
    return plain
