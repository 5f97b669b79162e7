"""Channels: every value arrives once and in order, whoever is cancelled or closed when."""

import threading
from math import inf
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import runtime
from runtime import (
    BrokenChannel,
    Cancelled,
    ClosedError,
    Deadlock,
    EndOfChannel,
    Receiver,
    Sender,
    TaskCancelled,
    TaskGroup,
    WouldBlock,
    channel,
    current_task,
    join_all,
    move_on_after,
    sleep,
    spawn,
    timeout,
)
from runtime.testing import VirtualClock

from .harness import Runner, turns
from .interleaving import Crew, Operation, operations, settle

Ends = tuple[Sender[int], Receiver[int]]
SIZES = pytest.mark.parametrize("size", [0, 1, 3, 100])


async def send_all(sender: Sender[int], *values: int) -> None:
    """Send them, and close."""
    with sender:
        for value in values:
            await sender.send(value)


async def drain(receiver: Receiver[int]) -> list[int]:
    """Everything up to the end."""
    with receiver:
        return [value async for value in receiver]


@SIZES
def test_what_one_task_sends_another_receives_in_order(run: Runner, size: int) -> None:
    async def main() -> list[int]:
        ends: Ends = channel(size)
        spawn(send_all(ends[0], *range(50)))
        return await drain(ends[1])

    assert run(main) == list(range(50))


@SIZES
def test_many_producers_and_many_consumers_lose_nothing(run: Runner, size: int) -> None:
    async def main() -> list[int]:
        sender: Sender[int]
        receiver: Receiver[int]
        sender, receiver = channel(size)
        received: list[list[int]] = []

        async def consume(receiver: Receiver[int]) -> None:
            received.append(await drain(receiver))

        async with TaskGroup() as group:
            with sender, receiver:
                for n in range(5):
                    group.spawn(send_all(sender.clone(), *range(n * 10, n * 10 + 10)))
                    group.spawn(consume(receiver.clone()))
        assert all(values for values in received)
        return sorted(value for values in received for value in values)

    assert run(main) == list(range(50))


def test_a_full_channel_makes_the_sender_wait(run: Runner) -> None:
    async def main() -> list[int]:
        ends: Ends = channel(2)
        sender, receiver = ends
        sent: list[int] = []

        async def produce() -> None:
            for n in range(5):
                await sender.send(n)
                sent.append(n)

        producer = spawn(produce())
        await settle()
        before = sent[:]
        assert repr(sender) == "<Sender open, 2 of 2 values in the channel>"
        assert await receiver.receive() == 0
        await settle()
        assert sent == [*before, before[-1] + 1]
        producer.cancel()
        return before

    assert run(main) == [0, 1]


def test_a_channel_of_size_0_is_a_rendezvous(run: Runner) -> None:
    async def main() -> None:
        ends: Ends = channel(0)
        sender, receiver = ends
        with pytest.raises(WouldBlock):
            sender.send_nowait(1)
        waiting = spawn(sender.send(2))
        await settle()
        assert not waiting.done
        assert receiver.receive_nowait() == 2
        await waiting
        with pytest.raises(WouldBlock):
            receiver.receive_nowait()
        receiving = spawn(receiver.receive())
        await settle()
        sender.send_nowait(3)
        with pytest.raises(WouldBlock):
            sender.send_nowait(4)
        assert await receiving == 3

    run(main)


def test_what_needs_no_wait_takes_no_turn(run: Runner) -> None:
    async def main() -> int:
        ends: Ends = channel(1)
        with runtime.CancelScope() as scope:
            scope.cancel()
            await ends[0].send(1)
            return await ends[1].receive()
        raise AssertionError("waited")

    assert run(main) == 1


def test_nowait_says_that_it_would_have_to_wait(run: Runner) -> None:
    async def main() -> None:
        ends: Ends = channel(1)
        sender, receiver = ends
        with pytest.raises(WouldBlock, match=r"empty: await receive\(\)"):
            receiver.receive_nowait()
        sender.send_nowait(1)
        with pytest.raises(WouldBlock, match=r"full: await send\(\)"):
            sender.send_nowait(2)
        assert receiver.receive_nowait() == 1

    run(main)


@pytest.mark.parametrize("size", [-1, inf, 1.5, None])
def test_there_is_no_channel_without_a_bound(size: Any) -> None:
    with pytest.raises(ValueError, match="give a whole number, 0 or more"):
        channel(size)


@SIZES
def test_after_the_last_sender_what_is_left_is_received_and_then_the_end(
    run: Runner, size: int
) -> None:
    async def main() -> None:
        ends: Ends = channel(size)
        sender, receiver = ends
        other = sender.clone()
        for n in range(size):
            sender.send_nowait(n)
        sender.close()
        sender.close()
        assert repr(sender) == f"<Sender closed, {size} of {size} values in the channel>"
        for n in range(size):
            assert await receiver.receive() == n
        with pytest.raises(WouldBlock):
            receiver.receive_nowait()
        other.close()
        for _ in range(2):
            with pytest.raises(EndOfChannel, match="every sender"):
                await receiver.receive()
            with pytest.raises(EndOfChannel, match="every sender"):
                receiver.receive_nowait()

    run(main)


def test_the_end_reaches_everybody_who_waits(run: Runner) -> None:
    async def main() -> list[list[int]]:
        ends: Ends = channel(1)
        sender, receiver = ends
        tasks = [spawn(drain(receiver.clone())) for _ in range(3)]
        await settle()
        sender.send_nowait(1)
        sender.close()
        return await join_all(tasks)

    assert run(main) == [[1], [], []]


def test_without_a_receiver_sending_fails(run: Runner) -> None:
    async def main() -> None:
        ends: Ends = channel(1)
        sender, receiver = ends
        other = receiver.clone()
        await sender.send(1)
        broken: list[int] = []

        async def send(sender: Sender[int], value: int) -> None:
            with pytest.raises(BrokenChannel, match="every receiver"):
                await sender.send(value)
            broken.append(value)

        waiting = [spawn(send(sender, 2)), spawn(send(sender.clone(), 3))]
        await settle()
        receiver.close()
        receiver.close()
        await settle()
        assert broken == []
        other.close()
        await join_all(waiting)
        assert broken == [2, 3]
        with pytest.raises(BrokenChannel, match="every receiver"):
            await sender.send(4)
        with pytest.raises(BrokenChannel, match="every receiver"):
            sender.send_nowait(4)
        assert repr(receiver) == "<Receiver closed, 0 of 1 values in the channel>"

    run(main)


def test_an_end_that_is_closed_is_good_for_nothing(run: Runner) -> None:
    async def main() -> None:
        ends: Ends = channel(1)
        sender, receiver = ends
        live = sender.clone(), receiver.clone()
        sender.close()
        receiver.close()
        with pytest.raises(ClosedError, match="this sender was closed"):
            await sender.send(1)
        with pytest.raises(ClosedError, match="this sender was closed"):
            sender.send_nowait(1)
        with pytest.raises(ClosedError, match="this sender was closed"):
            sender.clone()
        with pytest.raises(ClosedError, match="this receiver was closed"):
            await receiver.receive()
        with pytest.raises(ClosedError, match="this receiver was closed"):
            receiver.receive_nowait()
        with pytest.raises(ClosedError, match="this receiver was closed"):
            receiver.clone()
        await live[0].send(1)
        assert await live[1].receive() == 1

    run(main)


def test_closing_an_end_ends_the_waits_there_and_no_others(run: Runner) -> None:
    async def main() -> None:
        ends: Ends = channel(0)
        sender, receiver = ends
        other = receiver.clone()
        here, there = spawn(receiver.receive()), spawn(other.receive())
        await settle()
        receiver.close()
        with pytest.raises(ClosedError):
            await here
        sender.send_nowait(1)
        assert await there == 1

        twin = sender.clone()
        one, two = spawn(sender.send(2)), spawn(twin.send(3))
        await settle()
        sender.close()
        with pytest.raises(ClosedError):
            await one
        assert await other.receive() == 3
        await two

    run(main)


def test_a_value_promised_to_a_receiver_that_is_closed_goes_to_the_next(run: Runner) -> None:
    async def main() -> None:
        ends: Ends = channel(0)
        sender, receiver = ends
        other = receiver.clone()
        here, there = spawn(receiver.receive()), spawn(other.receive())
        await settle()
        sender.send_nowait(1)
        receiver.close()
        with pytest.raises(ClosedError):
            await here
        assert await there == 1

    run(main)


def test_an_end_that_is_dropped_is_closed(run: Runner) -> None:
    async def main() -> None:
        ends: Ends = channel(1)
        sender, receiver = ends
        consumer = spawn(drain(receiver.clone()))

        async def fails(sender: Sender[int]) -> None:
            await sender.send(1)
            raise KeyError

        producer = spawn(fails(sender))
        del ends, sender
        with pytest.raises(KeyError):
            await producer
        del producer
        assert await consumer == [1]

        ends = channel(1)
        sender, receiver = ends
        del ends, receiver
        with pytest.raises(BrokenChannel):
            await sender.send(1)

    run(main)


def test_a_sender_that_another_thread_drops_ends_the_channel(run: Runner) -> None:
    """The cyclic collector runs in any thread, and the loop may be asleep then."""

    async def main() -> list[int]:
        ends: Ends = channel(1)
        holder = [ends[0]]
        receiver = ends[1]
        del ends
        executor = current_task().executor

        def drop() -> None:
            for _ in range(10_000_000):
                if executor._asleep:
                    break
            holder.clear()

        thread = threading.Thread(target=drop)
        with move_on_after(10) as deadline:
            consumer = spawn(drain(receiver))
            await settle()
            thread.start()
            values = await consumer
        thread.join()
        assert not deadline.cancelled_caught
        return values

    assert run(main) == []


def test_a_value_that_comes_in_the_turn_of_the_deadline_is_not_lost(run: Runner) -> None:
    async def main() -> tuple[bool, int]:
        ends: Ends = channel(0)
        sender, receiver = ends

        async def send_later() -> None:
            await sleep(5)
            sender.send_nowait(1)

        later = spawn(send_later())
        await turns(1)  # it sets its timer first, so it sends before the deadline strikes
        with move_on_after(5) as scope:
            await receiver.receive()
        await later
        return scope.cancelled_caught, receiver.receive_nowait()

    assert run(main, clock=VirtualClock()) == (True, 1)


def test_a_promise_to_one_that_is_cancelled_goes_to_the_next(run: Runner) -> None:
    async def main() -> int:
        ends: Ends = channel(1)
        sender, receiver = ends
        first, second = spawn(receiver.receive()), spawn(receiver.receive())
        await settle()
        sender.send_nowait(1)
        first.cancel()
        with pytest.raises(TaskCancelled):
            await first
        with timeout(1):
            return await second

    assert run(main, clock=VirtualClock()) == 1


def test_a_promised_value_takes_no_room_and_leaves_none(run: Runner) -> None:
    async def main() -> None:
        ends: Ends = channel(1)
        sender, receiver = ends
        receiving = spawn(receiver.receive())
        await settle()
        sender.send_nowait(1)  # as good as received
        sender.send_nowait(2)
        with pytest.raises(WouldBlock):
            sender.send_nowait(3)
        sending: Any = sender.send(3)
        sending.send(None)  # by hand, so that it waits before the receiver runs
        assert await receiving == 1
        assert repr(receiver) == "<Receiver open, 1 of 1 values in the channel>"
        assert await receiver.receive() == 2
        with pytest.raises(StopIteration):
            sending.send(None)
        assert receiver.receive_nowait() == 3

    run(main)


def test_nobody_overtakes_a_receiver_that_was_promised_a_value(run: Runner) -> None:
    async def main() -> int:
        ends: Ends = channel(1)
        sender, receiver = ends
        waiting = spawn(receiver.receive())
        await settle()
        sender.send_nowait(1)
        with pytest.raises(WouldBlock):
            receiver.receive_nowait()
        return await waiting

    assert run(main) == 1


def test_the_end_waits_for_a_value_that_may_still_be_passed_on(run: Runner) -> None:
    """The second receiver runs first, and must not see the end while a value is on its way."""

    async def main() -> int:
        ends: Ends = channel(1)
        sender, receiver = ends
        first, second = spawn(receiver.receive()), spawn(receiver.receive())
        await settle()
        second.wake()
        sender.send_nowait(1)
        sender.close()
        first.cancel()
        with pytest.raises(TaskCancelled):
            await first
        return await second

    assert run(main) == 1


def test_those_who_wait_for_a_value_to_be_passed_on_hear_that_it_was_taken(run: Runner) -> None:
    async def main() -> None:
        ends: Ends = channel(1)
        sender, receiver = ends
        first, second = spawn(receiver.receive()), spawn(receiver.receive())
        await settle()
        second.wake()
        sender.send_nowait(1)
        sender.close()
        assert await first == 1
        with pytest.raises(EndOfChannel):
            await second

    run(main)


def test_a_send_that_was_cancelled_has_sent_nothing_and_one_that_has_returns(run: Runner) -> None:
    async def main() -> tuple[list[str], int]:
        ends: Ends = channel(0)
        sender, receiver = ends
        log: list[str] = []

        async def produce() -> None:
            for n in range(3):
                try:
                    await sender.send(n)
                    log.append(f"sent {n}")
                except Cancelled:
                    log.append(f"{n} not sent")
                    raise

        producer = spawn(produce())
        await settle()
        value = receiver.receive_nowait()
        producer.cancel()
        await settle()
        with pytest.raises(WouldBlock):
            receiver.receive_nowait()
        return log, value

    assert run(main) == (["sent 0", "1 not sent"], 0)


def test_nothing_but_a_cancellation_gives_way_to_a_value_that_was_taken(run: Runner) -> None:
    async def main() -> None:
        ends: Ends = channel(0)
        sender, receiver = ends
        waiting: Any = sender.send(1)
        waiting.send(None)
        assert receiver.receive_nowait() == 1
        with pytest.raises(KeyboardInterrupt):
            waiting.throw(KeyboardInterrupt())

    run(main)


def test_a_wait_that_is_dropped_leaves_the_queue_and_breaks_its_promise(run: Runner) -> None:
    async def main() -> int:
        ends: Ends = channel(0)
        sender, receiver = ends
        waits: list[Any] = [sender.send(1)]
        waits[0].send(None)
        waits.clear()
        waits = [receiver.receive(), receiver.receive()]
        for wait in waits:
            wait.send(None)
        del wait
        sender.send_nowait(2)
        del waits[0]
        with pytest.raises(StopIteration) as stop:
            waits[0].send(None)
        value: int = stop.value.value
        return value

    assert run(main) == 2


def test_a_lively_receiver_does_not_keep_a_cancelled_sender_going(run: Runner) -> None:
    async def main() -> int:
        ends: Ends = channel(0)
        sender, receiver = ends
        sent = 0

        async def produce() -> None:
            nonlocal sent
            while True:
                await sender.send(sent)
                sent += 1

        producer = spawn(produce())
        consumer = spawn(drain(receiver))
        await turns(10)
        before = sent
        producer.cancel()
        await turns(10)
        assert producer.done
        consumer.cancel()
        return sent - before

    assert run(main) <= 2  # one that was taken already, and one that a receiver waited for


def test_a_receiver_left_waiting_is_a_deadlock_with_the_line_that_waits(run: Runner) -> None:
    async def main() -> None:
        ends: Ends = channel(1)
        sender, receiver = ends
        with sender:  # the mistake: nobody sends, and it is not closed either
            await drain(receiver)

    with pytest.raises(
        Deadlock, match=r"'main' in Receiver.__anext__ .*awaited by drain.* \(.*test_channels"
    ):
        run(main)


def test_closing_one_of_many_clones_wakes_nobody_who_waits_at_another(run: Runner) -> None:
    """Else ten thousand producers that end one by one wake one another ten thousand times."""

    async def main() -> None:
        ends: Ends = channel(0)
        sender, receiver = ends
        sending = spawn(sender.send(1))
        await settle()
        sender.clone().close()
        assert not current_task().executor._from_outside
        assert await receiver.receive() == 1
        await sending
        receiving = spawn(receiver.receive())
        await settle()
        receiver.clone().close()
        assert not current_task().executor._from_outside
        sender.send_nowait(2)
        assert await receiving == 2

    run(main)


class Log:
    """What has happened on a channel, to be compared with what should."""

    def __init__(self) -> None:
        self.arrivals = 0
        self.sent: set[int] = set()
        self.unsent: set[int] = set()
        self.sending: set[int] = set()
        self.received: list[int] = []
        self.served: list[int] = []
        self.receiving: set[int] = set()
        self.dropped: set[int] = set()

    def arrive(self) -> int:
        self.arrivals += 1
        return self.arrivals


SENDING = ("send", "send", "send_nowait", "close sender", "clone sender")
RECEIVING = ("receive", "receive", "receive_nowait", "close receiver", "clone receiver")


@given(st.integers(0, 3), operations(*SENDING, *RECEIVING))
@settings(deadline=None, max_examples=500)
def test_nothing_is_lost_or_doubled_or_overtaken(size: int, operations: list[Operation]) -> None:
    """Values are numbered in the order of the sends, so they must come out in rising order."""

    async def main() -> None:
        log = Log()
        ends: Ends = channel(size)
        senders, receivers = [ends[0]], [ends[1]]
        shared = ends[0]._shared
        crew = Crew()

        async def send(sender: Sender[int], nowait: bool) -> None:
            value = log.arrive()
            log.sending.add(value)
            log.unsent.add(value)
            try:
                if nowait:
                    sender.send_nowait(value)
                else:
                    await sender.send(value)
                log.unsent.remove(value)
                log.sent.add(value)
            except ClosedError:
                assert not sender._open
            except BrokenChannel:
                assert not shared.open_receivers
            except WouldBlock:
                assert len(shared.buffer) - shared.promised >= size
            finally:
                log.sending.remove(value)

        async def receive(receiver: Receiver[int], nowait: bool) -> None:
            n = log.arrive()
            log.receiving.add(n)
            try:
                value = receiver.receive_nowait() if nowait else await receiver.receive()
            except ClosedError:
                assert not receiver._open
            except EndOfChannel:
                assert not shared.open_senders
                assert not shared.buffer
            except WouldBlock:
                assert len(shared.buffer) == shared.promised
            else:
                log.received.append(value)
                log.served.append(n)
            finally:
                log.receiving.remove(n)

        def check() -> None:
            # Conservation.
            assert log.received == sorted(set(log.received))
            inside = set(shared.buffer)
            assert log.sent == set(log.received) | inside | log.dropped
            assert len(log.sent) == len(log.received) + len(shared.buffer) + len(log.dropped)
            assert not (log.unsent - log.sending) & (set(log.received) | inside)
            # Nobody waits who need not, and nobody is in a queue who does not wait.
            assert not shared.promised
            assert len(shared.senders) == len(log.sending)
            assert len(shared.receivers) == len(log.receiving)
            assert not log.sending or (len(shared.buffer) >= size and shared.open_receivers)
            assert not log.receiving or (not shared.buffer and shared.open_senders)
            assert not (log.sending and log.receiving)
            # First come, first served.
            assert all(first < later for first in log.sent for later in log.sending)
            assert all(first < later for first in log.served for later in log.receiving)
            assert sum(sender._waiting for sender in senders) == len(log.sending)
            assert sum(receiver._waiting for receiver in receivers) == len(log.receiving)

        undisturbed = not {"cancel", "close receiver"} & dict(operations).keys()
        for operation, choice in operations:
            sender = senders[choice % len(senders)]
            receiver = receivers[choice % len(receivers)]
            if operation == "send":
                crew.start(send(sender, nowait=False))
            elif operation == "send_nowait":
                await send(sender, nowait=True)
            elif operation == "receive":
                crew.start(receive(receiver, nowait=False))
            elif operation == "receive_nowait":
                await receive(receiver, nowait=True)
            elif operation == "close sender":
                sender.close()
            elif operation == "close receiver":
                if receiver._open and shared.open_receivers == 1:
                    log.dropped |= set(shared.buffer)
                receiver.close()
            elif operation == "clone sender" and sender._open:
                senders.append(sender.clone())
            elif operation == "clone receiver" and receiver._open:
                receivers.append(receiver.clone())
            else:
                await crew.disturb(operation, choice)
            if undisturbed:
                assert len(shared.buffer) - shared.promised <= size
            if operation == "settle":
                check()
        await settle()
        check()
        await crew.dismiss()
        check()
        for sender in senders:
            sender.close()
        if shared.open_receivers:
            last = next(receiver for receiver in receivers if receiver._open)
            with timeout(1):
                log.received += [value async for value in last]
        check()

    runtime.run(main(), clock=VirtualClock())
