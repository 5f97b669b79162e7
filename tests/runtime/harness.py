"""What the runtime's tests are made of: a runner that counts and checks, and connected sockets.

A test that passes proves little if it left a descriptor, a thread or a registration behind, or if
the loop turned a million times to get there. So each run goes through a selector that counts its
polls, and what is left over afterwards fails the test, whatever the test itself looked at.
"""

from __future__ import annotations

import logging
import selectors
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import runtime
from runtime.clock import Clock
from runtime.epoll import EdgeEpollSelector

T = TypeVar("T")

SELECTORS: tuple[type[selectors.BaseSelector], ...] = (
    EdgeEpollSelector,
    selectors.EpollSelector,
    selectors.PollSelector,
    selectors.SelectSelector,
)

PATIENCE = 10.0
"""Seconds after which something that should happen is held not to happen."""


class CountingSelector(selectors.BaseSelector):
    """Another selector, with a count of its polls and a list of what was never unregistered."""

    def __init__(self, inner: selectors.BaseSelector) -> None:
        self.inner = inner
        self.edge_triggered = getattr(inner, "edge_triggered", False)
        self.polls = 0
        self.left_registered: list[int] = []

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self.inner.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self.inner.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self.inner.modify(fileobj, events, data)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.polls += 1
        return self.inner.select(timeout)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self.inner.get_map()

    def close(self) -> None:
        self.left_registered += [key.fd for key in self.inner.get_map().values()]
        self.inner.close()


class Runner:
    """Runs coroutines on one kind of selector, and remembers what was wrong."""

    def __init__(self, selector_class: type[selectors.BaseSelector]) -> None:
        self.selector_class = selector_class
        self.errors: list[logging.LogRecord] = []
        self.left_registered: list[int] = []
        self.polls = 0
        """How often the last run polled."""

    @property
    def edge_triggered(self) -> bool:
        return self.selector_class is EdgeEpollSelector

    def __call__(
        self, main: Callable[[], Awaitable[T]] | Awaitable[T], *, clock: Clock | None = None
    ) -> T:
        awaitable = main() if callable(main) else main
        selector = CountingSelector(self.selector_class())
        try:
            return runtime.run(awaitable, clock=clock, selector=selector)
        finally:
            self.polls = selector.polls
            self.left_registered += selector.left_registered

    def expected_error(self) -> str:
        """The oldest error that was logged and not asked for yet, with its exception's type."""
        record = self.errors.pop(0)
        kind = record.exc_info[0] if record.exc_info else None
        return f"{record.getMessage()} ({kind.__name__ if kind else 'no exception'})"


def raw_pair(family: str = "tcp") -> tuple[socket.socket, socket.socket]:
    """Two connected blocking sockets."""
    if family == "unix":
        return socket.socketpair()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        one = socket.create_connection(listening.getsockname(), PATIENCE)
        listening.settimeout(PATIENCE)
        other, _ = listening.accept()
    for sock in one, other:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(PATIENCE)
    return one, other


def stream_pair(family: str = "tcp") -> tuple[runtime.Stream, runtime.Stream]:
    """Two connected streams."""
    one, other = raw_pair(family)
    return runtime.Stream(one), runtime.Stream(other)


def reset(sock: socket.socket) -> None:
    """Close so that the peer sees ECONNRESET and not an end."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


async def turns(count: int) -> None:
    """Let every other task run `count` times."""
    for _ in range(count):
        await runtime.yield_now()


async def forever() -> None:
    """Wait until cancelled."""
    while True:
        await runtime.park()


async def receive(stream: runtime.Stream, count: int) -> bytes:
    """`count` bytes, or fewer if the stream ends before."""
    data = bytearray()
    while len(data) < count:
        chunk = await stream.recv(count - len(data))
        if not chunk:
            break
        data += chunk
    return bytes(data)


def dial(listener: runtime.Listener) -> socket.socket:
    """A blocking client of a listener."""
    sock = socket.create_connection(listener.address, PATIENCE)
    sock.settimeout(PATIENCE)
    return sock


async def make_dry(left: runtime.Stream, right: runtime.Stream) -> bool:
    """After this the stream knows that it is dry."""
    await right.send_all(b"!")
    return await left.recv(100) == b"!"


async def fail_after(seconds: float, error: BaseException) -> None:
    """A task that fails."""
    await runtime.sleep(seconds)
    raise error


async def double(n: int, seconds: float = 0.0) -> int:
    """A task with a result."""
    await runtime.sleep(seconds)
    return 2 * n
