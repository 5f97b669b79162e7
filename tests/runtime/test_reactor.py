"""The reactor on every selector: the right task is woken, and nothing spins."""

import errno
import selectors
import socket
from collections.abc import Iterator
from selectors import EVENT_READ, EVENT_WRITE
from typing import Any

import pytest

import runtime
from runtime import Stream, sleep, spawn
from runtime.reactor import BOTH, Reactor, Source
from runtime.testing import VirtualClock

from .harness import CountingSelector, Runner, raw_pair, receive, stream_pair, turns


class Waiter:
    def __init__(self) -> None:
        self.woken = 0

    def wake(self) -> None:
        self.woken += 1


@pytest.fixture
def reactor(anything_left: None, selector_class: type[selectors.BaseSelector]) -> Iterator[Reactor]:
    reactor = Reactor(CountingSelector(selector_class()))
    yield reactor
    reactor.close()


def edge_triggered(reactor: Reactor) -> bool:
    return bool(getattr(reactor.selector, "edge_triggered", False))


def test_an_event_wakes_the_reader_and_marks_the_source(reactor: Reactor) -> None:
    one, other = raw_pair()
    with one, other:
        source, reader = Source(one.fileno()), Waiter()
        reactor.register(source)
        reactor.poll(0)
        source.readable, source.reader = False, reader
        reactor.watch(source, EVENT_READ)
        assert reactor.poll(0) == 0
        other.send(b"x")
        assert reactor.poll(1) == 1
        assert source.readable
        assert reader.woken == 1
        reactor.deregister(source)


def test_a_reused_descriptor_number_never_wakes_the_wrong_source(reactor: Reactor) -> None:
    one, other = raw_pair("unix")
    old, old_reader = Source(one.fileno()), Waiter()
    reactor.register(old)
    old.reader = old_reader
    other.send(b"for the old one")
    reactor.deregister(old)
    one.close()
    old_reader.woken = 0

    two, peer = raw_pair("unix")
    with other, two, peer:
        assert two.fileno() == old.fd  # the number is handed out again
        new, new_reader = Source(two.fileno()), Waiter()
        new.readable = False
        new.reader = new_reader
        reactor.register(new)
        reactor.poll(0)
        assert (old_reader.woken, new_reader.woken) == (0, 0)
        assert not new.readable
        peer.send(b"for the new one")
        assert reactor.poll(1) >= 1
        assert (old_reader.woken, new_reader.woken) == (0, 1)
        reactor.deregister(new)


def test_an_interest_that_nobody_has_is_dropped_instead_of_spinning(reactor: Reactor) -> None:
    one, other = raw_pair()
    with one, other:
        source = Source(one.fileno())
        reactor.register(source)
        reactor.poll(0)
        other.send(b"x")
        total = reactor.poll(1)
        for _ in range(10):
            total += reactor.poll(0)
        assert 1 <= total <= 2
        assert source.readable
        # The interest is restored when somebody wants to wait.
        reader = Waiter()
        source.readable, source.reader = False, reader
        reactor.watch(source, EVENT_READ)
        other.send(b"y")
        reactor.poll(1)
        assert source.readable
        assert reader.woken == 1
        reactor.deregister(source)


def test_a_reader_does_not_make_the_writers_side_spin(reactor: Reactor) -> None:
    one, other = raw_pair()
    with one, other:
        source = Source(one.fileno())
        reactor.register(source)
        source.reader = Waiter()
        reactor.watch(source, EVENT_WRITE)  # writable at once, and nobody waits for that
        total = sum(reactor.poll(0) for _ in range(10))
        assert total == 1
        assert source.writable
        reactor.deregister(source)


def test_both_sides_wait_at_the_same_time(reactor: Reactor) -> None:
    one, other = raw_pair("unix")
    with one, other:
        source, reader, writer = Source(one.fileno()), Waiter(), Waiter()
        one.setblocking(False)
        try:
            while True:
                one.send(bytes(65536))
        except BlockingIOError:
            pass
        reactor.register(source)
        reactor.poll(0)
        source.readable = source.writable = False
        source.reader, source.writer = reader, writer
        reactor.watch(source, EVENT_READ)
        reactor.watch(source, EVENT_WRITE)
        assert source.interest == BOTH
        assert reactor.poll(0) == 0
        other.send(b"x")
        reactor.poll(1)
        assert (reader.woken > 0, writer.woken) == (True, 0)
        source.reader = None
        one.recv(10)
        other.setblocking(False)
        try:
            while other.recv(1 << 20):
                pass
        except BlockingIOError:
            pass
        while not source.writable:
            assert reactor.poll(1)
        assert writer.woken > 0
        reactor.deregister(source)


def test_registering_a_descriptor_twice_is_refused_and_harmless(reactor: Reactor) -> None:
    one, other = raw_pair()
    with one, other:
        first, second = Source(one.fileno()), Source(one.fileno())
        reactor.register(first)
        with pytest.raises(KeyError):
            reactor.register(second)
        reactor.deregister(second)  # was never in: must not take the first one out
        reader = Waiter()
        first.readable, first.reader = False, reader
        reactor.watch(first, EVENT_READ)
        other.send(b"x")
        reactor.poll(1)
        assert reader.woken == 1
        reactor.deregister(first)


def test_deregistering_twice_or_after_the_interest_was_dropped_is_fine(reactor: Reactor) -> None:
    one, other = raw_pair()
    with one, other:
        source = Source(one.fileno())
        reactor.register(source)
        other.send(b"x")
        for _ in range(3):
            reactor.poll(0.01)
        reactor.deregister(source)
        reactor.deregister(source)
        assert not reactor.selector.get_map()
        reactor.register(source)  # and it can come back
        reactor.deregister(source)


def test_only_edge_triggered_selectors_tell_of_a_hangup(reactor: Reactor) -> None:
    one, other = raw_pair()
    with one:
        source = Source(one.fileno())
        reactor.register(source)
        other.close()
        reactor.poll(1)
        reactor.poll(0)
        assert source.readable
        assert source.hangup == edge_triggered(reactor)
        reactor.deregister(source)


def test_an_idle_loop_with_open_connections_does_not_poll_around(run: Runner) -> None:
    """Every stream has room to write and unread bytes: a level-triggered poll would not block."""

    async def main() -> None:
        pairs = [stream_pair() for _ in range(5)]
        for left, right in pairs:
            await left.send_all(b"unread")
            await right.send_all(b"unread")
        await sleep(0.03)
        for left, right in pairs:
            left.close()
            right.close()

    run(main)
    assert run.polls < 15


def test_a_peer_that_hangs_up_does_not_make_an_idle_loop_spin(run: Runner) -> None:
    async def main() -> None:
        left, right = stream_pair()
        right.close()
        await sleep(0.03)
        left.close()

    run(main)
    assert run.polls < 12


def test_a_waiting_writer_whose_peer_sends_does_not_spin(run: Runner) -> None:
    async def main() -> None:
        one, other = raw_pair("unix")
        other.setblocking(False)
        async with Stream(one) as stream:
            writer = spawn(stream.send_all(bytes(4 << 20)))
            await turns(3)
            other.send(b"nobody reads this")
            await sleep(0.03)
            writer.cancel()
            await turns(3)
        other.close()

    run(main)
    assert run.polls < 25


def test_streams_whose_numbers_are_reused_in_one_turn_keep_apart(run: Runner) -> None:
    """A batch holds an event for a descriptor that an earlier task of the turn closes."""

    async def main() -> list[bytes]:
        got = []
        for n in range(50):
            one, other = raw_pair("unix")
            stream = Stream(one)
            waiting = spawn(receive(stream, 100))
            await turns(2)
            other.send(b"old")
            stream.close()  # before the event is polled
            two, peer = raw_pair("unix")
            async with Stream(two) as newer:
                reader = spawn(newer.recv(100))
                await turns(2)
                assert not reader.done
                peer.send(b"new %d" % n)
                got.append(await reader)
            other.close()
            peer.close()
            with pytest.raises(runtime.ClosedError):
                await waiting
        return got

    got = run(main)
    assert got == [b"new %d" % n for n in range(50)]
    # The first reader of each round ended before anybody awaited it.
    for _ in range(50):
        assert "ClosedError" in run.expected_error()


def test_virtual_time_does_not_jump_while_bytes_are_on_their_way(run: Runner) -> None:
    async def main() -> float:
        left, right = stream_pair("unix")
        async with left, right:

            async def echo() -> None:
                for _ in range(100):
                    await right.send_all(await right.recv(10))

            task = spawn(echo())
            with runtime.timeout(1):
                for _ in range(100):
                    await left.send_all(b"ping")
                    assert await left.recv(10) == b"ping"
            await task
        return runtime.now()

    assert run(main, clock=VirtualClock()) == 0.0


def test_a_listening_socket_nobody_accepts_from_does_not_spin(run: Runner) -> None:
    async def main() -> None:
        async with runtime.listen("127.0.0.1", 0) as listener:
            with socket.create_connection(listener.address, 5):
                await sleep(0.03)

    run(main)
    assert run.polls < 12


def test_a_change_of_interest_that_fails_leaves_nothing_to_undo() -> None:
    """The selectors of the standard library have forgotten the descriptor by then."""

    class Failing(selectors.PollSelector):
        def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
            self.unregister(fileobj)
            raise OSError(errno.ENOMEM, "no memory")

    reactor = Reactor(Failing())
    one, other = socket.socketpair()
    with one, other:
        source = Source(one.fileno())
        reactor.register(source)
        with pytest.raises(OSError, match="no memory"):
            reactor.watch(source, selectors.EVENT_WRITE)
        reactor.deregister(source)
    reactor.close()
