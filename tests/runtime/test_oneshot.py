"""oneshot: one value or one error, and neither end waits for one that is gone."""

import threading

import pytest
from hypothesis import given, settings

import runtime
from runtime import (
    BrokenChannel,
    BusyError,
    Cancelled,
    ClosedError,
    Deadlock,
    EndOfChannel,
    OneshotReceiver,
    OneshotSender,
    current_task,
    join_all,
    move_on_after,
    oneshot,
    sleep,
    spawn,
)
from runtime.testing import VirtualClock

from .harness import Runner, turns
from .interleaving import Crew, Operation, operations, settle

Ends = tuple[OneshotSender[int], OneshotReceiver[int]]


async def take(receiver: OneshotReceiver[int]) -> int:
    return await receiver


@pytest.mark.parametrize("early", [False, True], ids=["sent later", "sent before"])
def test_the_value_arrives(run: Runner, early: bool) -> None:
    async def main() -> int:
        ends: Ends = oneshot()
        sender, receiver = ends
        if early:
            sender.send(42)
        waiting = spawn(take(receiver))
        await settle()
        assert waiting.done == early
        if not early:
            sender.send(42)
        return await waiting

    assert run(main) == 42


def test_none_is_a_value(run: Runner) -> None:
    async def main() -> object:
        ends: tuple[OneshotSender[None], OneshotReceiver[None]] = oneshot()
        ends[0].send(None)
        with move_on_after(1):
            await ends[1]
            return "came"
        return "never came"

    assert run(main, clock=VirtualClock()) == "came"


def test_a_value_that_is_there_is_taken_without_a_turn(run: Runner) -> None:
    async def main() -> int:
        ends: Ends = oneshot()
        ends[0].send(1)
        with runtime.CancelScope() as scope:
            scope.cancel()
            return await ends[1]
        raise AssertionError("waited")

    assert run(main) == 1


def test_there_is_one_value_and_it_is_received_once(run: Runner) -> None:
    async def main() -> None:
        ends: Ends = oneshot()
        sender, receiver = ends
        sender.send(1)
        with pytest.raises(RuntimeError, match="takes one value, and it was sent"):
            sender.send(2)
        sender.close()
        assert await receiver == 1
        for _ in range(2):
            with pytest.raises(RuntimeError, match="received already; there is only one"):
                await receiver
        with pytest.raises(RuntimeError, match="takes one value, and it was sent"):
            sender.send(3)

    run(main)


def test_a_sender_that_gives_up_is_an_end_for_the_receiver(run: Runner) -> None:
    async def main() -> None:
        ends: Ends = oneshot()
        sender, receiver = ends
        waiting = spawn(take(receiver))
        await settle()
        with sender:
            pass
        with pytest.raises(EndOfChannel, match="closed without sending a value"):
            await waiting
        with pytest.raises(EndOfChannel, match="closed without sending a value"):
            await receiver
        with pytest.raises(ClosedError, match="this sender was closed"):
            sender.send(1)

    run(main)


def test_a_task_that_fails_before_it_answers_lets_go_of_the_one_who_asked(run: Runner) -> None:
    async def main() -> None:
        ends: Ends = oneshot()
        sender, receiver = ends

        async def answer(sender: OneshotSender[int]) -> None:
            await sleep(1)
            raise KeyError

        answering = spawn(answer(sender))
        del ends, sender
        waiting = spawn(take(receiver))
        with pytest.raises(KeyError):
            await answering
        del answering
        with pytest.raises(EndOfChannel):
            await waiting

    run(main, clock=VirtualClock())


def test_a_sender_that_another_thread_drops_is_closed(run: Runner) -> None:
    """The cyclic collector runs in any thread, and the loop may be asleep then."""

    async def main() -> bool:
        ends: Ends = oneshot()
        holder, receiver = [ends[0]], ends[1]
        del ends
        executor = current_task().executor

        def drop() -> None:
            for _ in range(10_000_000):
                if executor._asleep:
                    break
            holder.clear()

        thread = threading.Thread(target=drop)
        with move_on_after(10) as deadline:
            waiting = spawn(take(receiver))
            await settle()
            thread.start()
            with pytest.raises(EndOfChannel):
                await waiting
        thread.join()
        return deadline.cancelled_caught

    assert not run(main)


def test_a_sender_learns_that_nobody_wants_the_value(run: Runner) -> None:
    async def main() -> None:
        ends: Ends = oneshot()
        sender, receiver = ends
        with receiver:
            pass
        with pytest.raises(BrokenChannel, match="the receiver of this oneshot is closed"):
            sender.send(1)
        with pytest.raises(ClosedError, match="this receiver was closed"):
            await receiver

        ends = oneshot()
        sender, receiver = ends
        del ends, receiver
        with pytest.raises(BrokenChannel):
            sender.send(1)

    run(main)


def test_closing_the_receiver_ends_the_wait_there_and_drops_the_value(run: Runner) -> None:
    async def main() -> None:
        ends: Ends = oneshot()
        waiting = spawn(take(ends[1]))
        await settle()
        ends[1].close()
        with pytest.raises(ClosedError):
            await waiting

        ends = oneshot()
        ends[0].send(1)
        ends[1].close()
        ends[1].close()
        assert ends[1]._shared.value is None
        with pytest.raises(ClosedError):
            await ends[1]

    run(main)


def test_only_one_task_waits_for_it(run: Runner) -> None:
    async def main() -> int:
        ends: Ends = oneshot()
        sender, receiver = ends
        waiting = spawn(take(receiver))
        await settle()
        with pytest.raises(BusyError, match="another task waits for this oneshot"):
            await receiver
        sender.send(1)
        return await waiting

    assert run(main) == 1


def test_a_value_in_the_turn_of_the_deadline_is_there_afterwards(run: Runner) -> None:
    async def main() -> tuple[bool, int]:
        ends: Ends = oneshot()
        sender, receiver = ends

        async def send_later() -> None:
            await sleep(5)
            sender.send(1)

        later = spawn(send_later())
        await turns(1)  # it sets its timer first, so it sends before the deadline strikes
        with move_on_after(5) as scope:
            await receiver
        await later
        return scope.cancelled_caught, await receiver

    assert run(main, clock=VirtualClock()) == (True, 1)


def test_a_value_that_nobody_sends_is_a_deadlock_with_the_line_that_waits(run: Runner) -> None:
    async def main() -> int:
        ends: Ends = oneshot()
        return await ends[1]

    with pytest.raises(Deadlock, match=r"OneshotReceiver.__await__ .*main \(.*test_oneshot"):
        run(main)


@given(operations("await", "await", "send", "close sender", "close receiver"))
@settings(deadline=None, max_examples=400)
def test_one_value_or_one_error_whatever_happens_when(operations: list[Operation]) -> None:
    async def main() -> None:
        ends: Ends = oneshot()
        sender, receiver = ends
        crew = Crew()
        sent = sender_closed = receiver_closed = False
        received: list[int] = []
        waiting = 0

        async def receive() -> None:
            nonlocal waiting
            waiting += 1
            try:
                value = await receiver
                assert sent
                assert not receiver_closed
                received.append(value)
            except BusyError:
                assert waiting > 1
            except ClosedError:
                assert receiver_closed
            except EndOfChannel:
                assert sender_closed
                assert not sent
            except RuntimeError:
                assert received
            finally:
                waiting -= 1

        for operation, choice in operations:
            if operation == "await":
                crew.start(receive())
            elif operation == "send":
                try:
                    sender.send(7)
                    assert not any((sent, sender_closed, receiver_closed))
                    sent = True
                except RuntimeError:
                    assert sent
                except ClosedError:
                    assert sender_closed
                except BrokenChannel:
                    assert receiver_closed
            elif operation == "close sender":
                sender.close()
                sender_closed = True
            elif operation == "close receiver":
                receiver.close()
                receiver_closed = True
            else:
                await crew.disturb(operation, choice)
            if operation == "settle":
                assert not (waiting and (sent or sender_closed or receiver_closed))
        await settle()
        assert not (waiting and (sent or sender_closed or receiver_closed))
        await crew.dismiss()
        assert received in ([], [7])
        if sent and not received and not receiver_closed:
            received.append(await receiver)  # every wait was cancelled, and the value is there
            assert received == [7]

    runtime.run(main())


def test_a_cancelled_wait_makes_room_for_another(run: Runner) -> None:
    async def main() -> list[str]:
        log: list[str] = []
        ends: Ends = oneshot()
        sender, receiver = ends

        async def impatient() -> None:
            try:
                await receiver
            except Cancelled:
                log.append("cancelled")
                raise

        first = spawn(impatient())
        await settle()
        first.cancel()
        await settle()
        second = spawn(take(receiver))
        await settle()
        sender.send(1)
        log.append(str((await join_all(second))[0]))
        return log

    assert run(main) == ["cancelled", "1"]
