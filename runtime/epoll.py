"""A `selectors.BaseSelector` over epoll that is edge-triggered and does little.

epoll(7) offers two ways to hear of a socket.  *Level*: every poll repeats that it is readable
until it has been read dry, so interest has to be switched on and off around each wait: that is
what `selectors.EpollSelector` does, at 5 to 8 microseconds a switch.  *Edge*: each change is told
once.  Whoever listens must remember it, and in return a descriptor is registered once, for reading
and writing both, and never touched again.  This runtime remembers (`reactor.Source`), so it takes
the edge.

Three traps of epoll, and how they are met here:

* The end of a stream can arrive *together* with its last bytes, as one edge.  A reader that takes
  those bytes and then waits for the next edge waits for ever.  So EPOLLRDHUP is asked for and told
  as `EVENT_HANGUP`, a bit that `selectors` has no name for.
* epoll knows open file descriptions, not descriptors.  If a descriptor was duplicated (a fork will
  do), closing it does not unregister it and events go on coming under a number that may by now be
  somebody else's.  So: unregister first, close second; an event for an unknown number is dropped.
* A poll that may return ten thousand events starves timers and newcomers while those are served.
  `BATCH` bounds it.
"""

from __future__ import annotations

import select
import selectors
from collections.abc import Mapping
from contextlib import suppress
from selectors import EVENT_READ, EVENT_WRITE, SelectorKey
from typing import Any

#: Something else than bytes stands behind the next ones: the end, an error or urgent data.
EVENT_HANGUP = 4

#: The most events of one poll.  Small enough that what a poll touches is still in the CPU's cache
#: when the tasks run, large enough that epoll_wait's own cost vanishes (docs/performance.md).
BATCH = 256


class _Translation(dict[int, int]):
    """epoll's event bits -> EVENT_READ | EVENT_WRITE | EVENT_HANGUP, worked out once for each."""

    def __missing__(self, bits: int) -> int:
        end = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
        broken = select.EPOLLHUP | select.EPOLLERR
        events = 0
        if bits & (select.EPOLLIN | select.EPOLLPRI | end):
            events |= EVENT_READ
        if bits & (select.EPOLLOUT | broken):
            events |= EVENT_WRITE
        if bits & (end | select.EPOLLPRI):
            events |= EVENT_HANGUP
        self[bits] = events
        return events


class EdgeEpollSelector(selectors.BaseSelector):
    """Edge-triggered epoll: each change of readiness is reported once.

    Whatever interest is asked for, both directions are watched, so `modify` changes the data
    alone.  Linux only.
    """

    edge_triggered = True

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._keys: dict[int, SelectorKey] = {}
        self._translate = _Translation()

    def register(self, fileobj: Any, events: int, data: Any = None) -> SelectorKey:
        """Watch a descriptor (or an object with `fileno()`).  KeyError if it is watched already."""
        fd = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        if fd in self._keys:
            raise KeyError(f"descriptor {fd} is registered already")
        self._epoll.register(
            fd,
            select.EPOLLIN | select.EPOLLOUT | select.EPOLLPRI | select.EPOLLRDHUP | select.EPOLLET,
        )
        key = self._keys[fd] = SelectorKey(fileobj, fd, EVENT_READ | EVENT_WRITE, data)
        return key

    def unregister(self, fileobj: Any) -> SelectorKey:
        """Forget a descriptor, before it is closed.  KeyError if it is not watched."""
        fd = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        key = self._keys.pop(fd)
        with suppress(OSError):  # it may be closed, and then epoll has forgotten it by itself
            self._epoll.unregister(fd)
        return key

    def modify(self, fileobj: Any, events: int, data: Any = None) -> SelectorKey:
        """Change the data of a descriptor; its events are always both."""
        fd = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        key = self._keys[fd] = self._keys[fd]._replace(data=data)
        return key

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        """What changed, waiting up to `timeout` seconds for it; None waits without limit.

        epoll counts whole milliseconds.  Python rounds them up, so the loop does not spin through
        the last one before a timer.
        """
        if timeout is not None and timeout < 0:
            timeout = 0
        keys, translate = self._keys, self._translate
        return [
            (keys[fd], translate[bits])
            for fd, bits in self._epoll.poll(timeout, BATCH)
            if fd in keys
        ]

    def get_map(self) -> Mapping[Any, SelectorKey]:
        """Descriptor -> key."""
        return self._keys

    def get_key(self, fileobj: Any) -> SelectorKey:
        """The key of a descriptor.  KeyError if it is not watched."""
        return self._keys[fileobj if isinstance(fileobj, int) else fileobj.fileno()]

    def close(self) -> None:
        self._epoll.close()
        self._keys.clear()
