"""`EdgeEpollSelector`: each change is told once, and only for what is registered."""

import os
import select
import selectors
import socket
from collections.abc import Iterator
from selectors import EVENT_READ, EVENT_WRITE

import pytest

from runtime.epoll import BATCH, EVENT_HANGUP, EdgeEpollSelector

from .harness import raw_pair, reset

BOTH = EVENT_READ | EVENT_WRITE


@pytest.fixture
def selector(anything_left: None) -> Iterator[EdgeEpollSelector]:
    selector = EdgeEpollSelector()
    yield selector
    selector.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = raw_pair()
    yield one, other
    one.close()
    other.close()


Pair = tuple[socket.socket, socket.socket]


def events(selector: EdgeEpollSelector, timeout: float = 0) -> list[tuple[object, int]]:
    return [(key.data, mask) for key, mask in selector.select(timeout)]


def test_a_change_is_told_once(selector: EdgeEpollSelector, pair: Pair) -> None:
    one, other = pair
    selector.register(one, BOTH, "one")
    assert events(selector) == [("one", EVENT_WRITE)]
    assert events(selector) == []
    other.send(b"x")
    assert events(selector, 1) == [("one", BOTH)]
    assert events(selector) == []  # although nobody has read it
    other.send(b"y")
    assert events(selector, 1) == [("one", BOTH)]


def test_the_end_comes_with_the_bytes_and_says_so(selector: EdgeEpollSelector, pair: Pair) -> None:
    one, other = pair
    selector.register(one, BOTH, "one")
    events(selector)
    other.send(b"last words")
    other.shutdown(socket.SHUT_WR)
    ((data, mask),) = events(selector, 1)
    assert data == "one"
    assert mask & EVENT_READ
    assert mask & EVENT_HANGUP


def test_a_reset_is_told_to_both_sides(selector: EdgeEpollSelector, pair: Pair) -> None:
    one, other = pair
    selector.register(one, BOTH, "one")
    events(selector)
    reset(other)
    assert events(selector, 1) == [("one", BOTH | EVENT_HANGUP)]


def test_bytes_without_an_end_are_no_hangup(selector: EdgeEpollSelector, pair: Pair) -> None:
    one, other = pair
    selector.register(one, BOTH, "one")
    other.send(b"x")
    ((_, mask),) = events(selector, 1)
    assert not mask & EVENT_HANGUP


def test_registering_twice_is_refused(selector: EdgeEpollSelector, pair: Pair) -> None:
    one, _ = pair
    selector.register(one, BOTH, "first")
    with pytest.raises(KeyError, match="registered already"):
        selector.register(one.fileno(), BOTH, "second")
    assert selector.get_key(one).data == "first"


def test_what_epoll_refuses_is_not_registered(selector: EdgeEpollSelector) -> None:
    with open(__file__, "rb") as file:
        with pytest.raises(PermissionError):
            selector.register(file, BOTH)
        with pytest.raises(KeyError):
            selector.get_key(file)
        assert not selector.get_map()


def test_unregistering_ends_it_and_twice_is_an_error(
    selector: EdgeEpollSelector, pair: Pair
) -> None:
    one, other = pair
    selector.register(one, BOTH, "one")
    assert selector.unregister(one).data == "one"
    other.send(b"x")
    assert events(selector, 0.01) == []
    with pytest.raises(KeyError):
        selector.unregister(one)
    selector.register(one, BOTH, "again")
    assert events(selector) == [("again", BOTH)]


def test_modify_changes_the_data_alone(selector: EdgeEpollSelector, pair: Pair) -> None:
    one, _ = pair
    selector.register(one, BOTH, "before")
    assert selector.modify(one, EVENT_READ, "after").data == "after"
    assert events(selector) == [("after", EVENT_WRITE)]
    with pytest.raises(KeyError):
        selector.modify(99_999, BOTH, "unknown")


def test_an_event_of_a_duplicate_that_lives_on_is_dropped(
    selector: EdgeEpollSelector, pair: Pair
) -> None:
    """epoll knows open files: closing one descriptor of two does not unregister it."""
    one, other = pair
    number = one.fileno()
    selector.register(one, BOTH, "one")
    duplicate = os.dup(number)
    try:
        # As if the unregistration had failed: epoll has it still, the selector does not.
        del selector._keys[number]
        one.close()
        other.send(b"x")
        assert selector._epoll.poll(0.1)  # epoll does tell of it, under the old number ...
        other.send(b"y")
        assert events(selector, 0.1) == []  # ... and the selector does not pass it on
    finally:
        os.close(duplicate)


def test_one_poll_returns_a_batch_at_most(selector: EdgeEpollSelector) -> None:
    count = BATCH + 44
    sockets = [socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(count)]
    try:
        for sock in sockets:
            selector.register(sock, BOTH, sock)
        first, second = events(selector), events(selector)
        assert (len(first), len(second)) == (BATCH, count - BATCH)
        assert {data for data, _ in first + second} == set(sockets)
    finally:
        for sock in sockets:
            sock.close()


def test_a_timeout_below_a_millisecond_is_waited_for(selector: EdgeEpollSelector) -> None:
    """Rounded down to 0 it would be a busy loop before each timer."""
    polls: list[float] = []

    class Watched:
        def poll(self, timeout: float | None, most: int) -> list[tuple[int, int]]:
            assert timeout is not None
            polls.append(timeout)
            return []

        def close(self) -> None: ...

    real, selector._epoll = selector._epoll, Watched()  # type: ignore[assignment]
    try:
        selector.select(0.0001)
        selector.select(-1)
        selector.select(0)
    finally:
        selector._epoll = real
    assert polls == [0.0001, 0, 0]


def test_every_combination_of_bits_is_translated_as_the_standard_library_does(
    selector: EdgeEpollSelector,
) -> None:
    """EVENT_READ and EVENT_WRITE agree with selectors.EpollSelector, except that an end alone
    (EPOLLRDHUP), which that one does not ask for, is something to read."""
    names = ("EPOLLIN", "EPOLLPRI", "EPOLLOUT", "EPOLLERR", "EPOLLHUP", "EPOLLRDHUP")
    bits = [getattr(select, name) for name in names]
    for combination in range(1 << len(bits)):
        flags = sum(bit for n, bit in enumerate(bits) if combination >> n & 1)
        mask = selector._translate[flags]
        end = flags & (select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR)
        readable = flags & (select.EPOLLIN | select.EPOLLPRI) or end
        writable = flags & (select.EPOLLOUT | select.EPOLLHUP | select.EPOLLERR)
        assert bool(mask & EVENT_READ) == bool(readable)
        assert bool(mask & EVENT_WRITE) == bool(writable)
        if end:
            assert mask & EVENT_HANGUP


def test_it_is_a_selector_like_the_others(selector: EdgeEpollSelector, pair: Pair) -> None:
    one, _ = pair
    assert isinstance(selector, selectors.BaseSelector)
    key = selector.register(one, EVENT_READ, "data")
    assert (key.fileobj, key.fd, key.data) == (one, one.fileno(), "data")
    assert dict(selector.get_map()) == {one.fileno(): key}
    with EdgeEpollSelector() as other:
        assert not other.get_map()
