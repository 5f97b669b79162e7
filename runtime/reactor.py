"""The reactor: what the kernel says of descriptors becomes wake-ups of tasks.

It speaks `selectors.BaseSelector` and nothing else, so any selector of the standard library works
in place of our own.  Between the two kinds there is one difference, and it is kept in this file:

* An **edge-triggered** selector tells each change once.  `Source` remembers it until a read or a
  write finds the descriptor dry.
* A **level-triggered** one repeats itself at every poll.  An event that nobody waits for would
  turn the loop into a busy one, so the reactor then drops that interest, and `watch` restores it
  when a task wants to wait.

A registration is an object, and wake-ups go by its identity.  A descriptor's *number* may be
closed and handed out again between two polls; an event for the old one then has no object to go
to, and the new one cannot be mistaken for it.
"""

from __future__ import annotations

import selectors
import sys
from selectors import EVENT_READ, EVENT_WRITE
from typing import Protocol

from .epoll import EVENT_HANGUP, EdgeEpollSelector

BOTH = EVENT_READ | EVENT_WRITE


class Wakeable(Protocol):
    def wake(self) -> None: ...


class Source:
    """A descriptor, what is known of its readiness, and the task that waits on each side of it.

    `readable` and `writable` mean "worth a try"; only a system call knows.  `hangup` means that
    something else than bytes stands behind the next ones (the end of the stream, an error, urgent
    data): then a short read proves nothing.
    """

    __slots__ = ("fd", "hangup", "interest", "readable", "reader", "writable", "writer")

    def __init__(self, fd: int) -> None:
        self.fd = fd
        # A new descriptor is worth one try: what it holds may have come before we listened.
        self.readable = True
        self.writable = True
        self.hangup = False
        self.reader: Wakeable | None = None
        self.writer: Wakeable | None = None
        self.interest = 0


def default_selector() -> selectors.BaseSelector:
    """Edge-triggered epoll on Linux, the best that the standard library has elsewhere."""
    if sys.platform == "linux":
        return EdgeEpollSelector()
    return selectors.DefaultSelector()


class Reactor:
    """Sources, and the selector that watches them."""

    def __init__(self, selector: selectors.BaseSelector) -> None:
        self.selector = selector
        self._closed = False
        self._edge_triggered = getattr(selector, "edge_triggered", False)

    def register(self, source: Source) -> None:
        """Begin to watch a source; edge-triggered, both sides at once and for good."""
        interest = BOTH if self._edge_triggered else EVENT_READ
        self.selector.register(source.fd, interest, source)
        source.interest = interest

    def deregister(self, source: Source) -> None:
        """Forget a source.  Call this before its descriptor is closed."""
        if source.interest and not self._closed:
            source.interest = 0
            self.selector.unregister(source.fd)

    def watch(self, source: Source, event: int) -> None:
        """Restore an interest that was dropped, because a task is about to wait for it."""
        self._set_interest(source, source.interest | event)

    def poll(self, timeout: float | None) -> int:
        """Wait up to `timeout` seconds and wake whom it concerns; the number of events."""
        events = self.selector.select(timeout)
        for key, mask in events:
            source = key.data
            if mask & EVENT_READ:
                source.readable = True
                if source.reader is not None:
                    source.reader.wake()
                elif not self._edge_triggered:
                    self._set_interest(source, source.interest & ~EVENT_READ)
            if mask & EVENT_WRITE:
                source.writable = True
                if source.writer is not None:
                    source.writer.wake()
                elif not self._edge_triggered:
                    self._set_interest(source, source.interest & ~EVENT_WRITE)
            if mask & EVENT_HANGUP:
                source.hangup = True
        return len(events)

    def waited_for(self, aside: Wakeable) -> bool:
        """Whether anybody but `aside` waits for a descriptor."""
        return any(
            key.data.writer is not None or key.data.reader not in (None, aside)
            for key in self.selector.get_map().values()
        )

    def aims_at(self, target: Wakeable) -> bool:
        """Whether `target` waits for a descriptor."""
        return any(
            target in (key.data.reader, key.data.writer) for key in self.selector.get_map().values()
        )

    def close(self) -> None:
        """Let go of every source; what is closed after this has nothing left to deregister."""
        self._closed = True
        self.selector.close()

    def _set_interest(self, source: Source, interest: int) -> None:
        if interest == source.interest:
            return
        before, source.interest = source.interest, 0  # a change that fails leaves none
        if not interest:
            self.selector.unregister(source.fd)
        elif not before:
            self.selector.register(source.fd, interest, source)
        else:
            self.selector.modify(source.fd, interest, source)
        source.interest = interest
