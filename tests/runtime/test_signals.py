"""Signals: each is heard, by a loop that is asleep, too, and everything is put back after."""

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator

import pytest

import runtime
from runtime import BusyError, ClosedError, move_on_after, signals, sleep, spawn, timeout
from runtime.signals import _FLOOD

from .harness import PATIENCE, Runner, turns


@pytest.fixture(autouse=True)
def nothing_left_of_it() -> Iterator[None]:
    """The handlers and the wake-up descriptor are as they were before the test."""
    numbers = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM, signal.SIGINT)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    assert signal.set_wakeup_fd(-1) == -1
    assert {number: signal.getsignal(number) for number in numbers} == before


def kill_later(number: int, seconds: float) -> threading.Thread:
    def kill() -> None:
        time.sleep(seconds)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=kill)
    thread.start()
    return thread


def test_a_signal_wakes_a_loop_that_sleeps(run: Runner) -> None:
    async def main() -> int:
        with signals(signal.SIGUSR1) as caught:
            kill_later(signal.SIGUSR1, 0.01)
            async for signum in caught:
                return signum
        return 0

    assert run(main) == signal.SIGUSR1


def test_signals_that_came_before_anybody_waited_are_kept_in_order(run: Runner) -> None:
    async def main() -> list[int]:
        with signals(signal.SIGUSR1, signal.SIGUSR2) as caught:
            for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGUSR1):
                signal.raise_signal(number)
            await turns(2)
            return [await caught.__anext__() for _ in range(3)]

    assert run(main) == [signal.SIGUSR1, signal.SIGUSR2, signal.SIGUSR1]


def test_a_signal_that_comes_between_two_waits_is_not_lost(run: Runner) -> None:
    async def main() -> int:
        count = 0
        with signals(signal.SIGUSR1) as caught, timeout(PATIENCE):
            for _ in range(200):
                signal.raise_signal(signal.SIGUSR1)
                await caught.__anext__()
                count += 1
        return count

    assert run(main) == 200


def test_signals_race_the_loop_going_to_sleep(run: Runner) -> None:
    """A thread sends the next one when the last was heard: one that is slept through hangs."""
    rounds = 200
    heard = threading.Semaphore(0)

    def send() -> None:
        for _ in range(rounds):
            os.kill(os.getpid(), signal.SIGUSR1)
            if not heard.acquire(timeout=PATIENCE):
                return

    async def main() -> int:
        count = 0
        with signals(signal.SIGUSR1) as caught, timeout(PATIENCE):
            thread = threading.Thread(target=send)
            thread.start()
            async for _ in caught:
                count += 1
                heard.release()
                if count == rounds:
                    break
            thread.join(PATIENCE)
        return count

    assert run(main) == rounds


def test_a_signal_does_not_disturb_the_others(run: Runner) -> None:
    async def main() -> float:
        with signals(signal.SIGUSR1):
            kill_later(signal.SIGUSR1, 0.005)
            began = time.monotonic()
            await sleep(0.03)
            return time.monotonic() - began

    assert run(main) >= 0.03


def test_a_wait_for_a_signal_is_cancelled_and_begun_again(run: Runner) -> None:
    async def main() -> int:
        with signals(signal.SIGUSR1) as caught:
            with move_on_after(0.005) as scope:
                await caught.__anext__()
            assert scope.cancelled_caught
            signal.raise_signal(signal.SIGUSR1)
            return await caught.__anext__()

    assert run(main) == signal.SIGUSR1


def test_the_handlers_are_put_back_when_the_block_fails(run: Runner) -> None:
    async def main() -> None:
        with signals(signal.SIGUSR1, signal.SIGTERM):
            raise KeyError("block")

    with pytest.raises(KeyError, match="block"):
        run(main)


def test_closing_twice_puts_back_once(run: Runner) -> None:
    async def main() -> None:
        caught = signals(signal.SIGUSR1)
        caught.close()
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        caught.close()
        assert signal.getsignal(signal.SIGUSR1) == signal.SIG_IGN
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)

    run(main)


def test_signals_that_are_never_closed_end_with_the_run(run: Runner) -> None:
    async def main() -> None:
        signals(signal.SIGUSR1)

    run(main)  # the fixture looks at what is left


def test_a_signal_that_cannot_be_caught_leaves_nothing_behind(run: Runner) -> None:
    async def main() -> None:
        with pytest.raises(OSError, match="Invalid argument"):
            signals(signal.SIGUSR1, signal.SIGKILL)
        assert signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL

    run(main)
    assert signal.set_wakeup_fd(-1) == -1


def test_two_blocks_inside_one_another(run: Runner) -> None:
    async def main() -> list[int]:
        with signals(signal.SIGUSR1) as outer:
            with signals(signal.SIGUSR2) as inner:
                signal.raise_signal(signal.SIGUSR1)
                signal.raise_signal(signal.SIGUSR2)
                got: list[int] = [await outer.__anext__(), await inner.__anext__()]
            kill_later(signal.SIGUSR1, 0.005)
            with timeout(PATIENCE):
                got.append(await outer.__anext__())
            return got

    assert run(main) == [signal.SIGUSR1, signal.SIGUSR2, signal.SIGUSR1]


def test_a_signal_has_one_receiver_at_a_time(run: Runner) -> None:
    """Two of them, closed in the order they were made, left a dead handler behind."""

    async def main() -> int:
        first = signals(signal.SIGUSR1)
        with pytest.raises(BusyError, match="SIGUSR1 is caught already"):
            signals(signal.SIGUSR2, signal.SIGUSR1)
        signal.raise_signal(signal.SIGUSR1)
        received = await anext(first)
        first.close()
        signals(signal.SIGUSR1).close()
        return received

    assert run(main) == signal.SIGUSR1


def test_the_same_signal_named_twice_is_put_back_once(run: Runner) -> None:
    async def main() -> None:
        signals(signal.SIGUSR1, signal.SIGUSR1).close()
        assert signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL

    run(main)


def test_no_signal_is_nothing_to_wait_for(run: Runner) -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match="name at least one"):
            signals()

    run(main)


@pytest.mark.parametrize("number", [0, -1, signal.SIGRTMIN + 1, 1000])
def test_a_number_without_a_name_is_refused_before_a_handler_would_fail(
    run: Runner, number: int
) -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match="is not a valid Signals"):
            signals(signal.SIGUSR1, number)

    run(main)


def test_after_closing_what_has_arrived_is_told_and_then_an_error(run: Runner) -> None:
    async def main() -> None:
        with signals(signal.SIGUSR1) as caught:
            signal.raise_signal(signal.SIGUSR1)
        assert await anext(caught) == signal.SIGUSR1
        with pytest.raises(ClosedError, match="not caught any more"), timeout(5):
            await anext(caught)

    run(main)


def test_closing_lets_go_of_a_task_that_waits(run: Runner) -> None:
    async def main() -> None:
        caught = signals(signal.SIGUSR1)
        waiting = spawn(anext(caught))
        await turns(2)
        caught.close()
        with pytest.raises(ClosedError), timeout(5):
            await waiting

    run(main)


def test_a_flood_of_signals_is_bounded_and_loses_no_other_signal(run: Runner) -> None:
    async def main() -> list[int]:
        with signals(signal.SIGUSR1, signal.SIGTERM) as caught:
            for _ in range(_FLOOD + 100):
                signal.raise_signal(signal.SIGUSR1)
            signal.raise_signal(signal.SIGTERM)
            return [await anext(caught) for _ in range(_FLOOD + 1)]

    got = run(main)
    assert got == [signal.SIGUSR1] * _FLOOD + [signal.SIGTERM]


def test_a_handler_that_python_does_not_know_becomes_the_default(
    run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`signal.signal` returns None for one that was set in C, and does not take it back."""
    real = signal.signal

    async def main() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(signal, "signal", lambda *given: [real(*given), None][1])
            caught = signals(signal.SIGUSR1)
        caught.close()

    run(main)  # the fixture looks at what is left


def test_one_task_waits_for_signals_at_a_time(run: Runner) -> None:
    async def main() -> int:
        with signals(signal.SIGUSR1) as caught:
            waiting = spawn(caught.__anext__())
            await turns(2)
            with pytest.raises(BusyError):
                await caught.__anext__()
            signal.raise_signal(signal.SIGUSR1)
            with timeout(PATIENCE):
                return await waiting
        raise AssertionError("not reached")

    assert run(main) == signal.SIGUSR1


def test_only_the_main_thread_gets_signals(run: Runner) -> None:
    errors: list[str] = []

    async def main() -> None:
        with pytest.raises(ValueError, match="main thread") as caught:
            signals(signal.SIGUSR1)
        errors.append(str(caught.value))

    thread = threading.Thread(target=lambda: run(main))
    thread.start()
    thread.join(PATIENCE)
    assert len(errors) == 1


def test_ctrl_c_in_a_sleeping_loop_interrupts_it_and_cleans_up(run: Runner) -> None:
    cleaned: list[str] = []

    async def main() -> None:
        try:
            kill_later(signal.SIGINT, 0.01)
            await sleep(PATIENCE)
        finally:
            cleaned.append("main")

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run(main)
    assert cleaned == ["main"]
    assert time.monotonic() - began < PATIENCE / 2


def test_a_signal_drains_a_server(run: Runner) -> None:
    """What a server does with SIGTERM, in small."""

    async def echo(stream: runtime.Stream) -> None:
        while data := await stream.recv(100):
            await stream.send_all(data)

    async def main() -> str:
        async with runtime.listen("127.0.0.1", 0) as listener:
            server = spawn(runtime.serve(listener, echo))
            stream = await runtime.connect(*listener.address)
            async with stream:
                await stream.send_all(b"hello")
                assert await stream.recv(10) == b"hello"
                with signals(signal.SIGTERM) as caught:
                    kill_later(signal.SIGTERM, 0.005)
                    async for _ in caught:
                        break
                address = listener.address
                listener.close()
                with pytest.raises(ConnectionRefusedError):
                    socket.create_connection(address, PATIENCE)
                with pytest.raises(ClosedError):
                    listener.accept_nowait()
            await server
        return "drained"

    assert run(main) == "drained"


def test_the_handlers_of_a_run_are_put_back_in_the_reverse_of_their_order(run: Runner) -> None:
    """Signals that are never closed stand on the run's own Ctrl-C, which stands on Python's."""

    async def main(kept: list[object]) -> None:
        kept.append(signals(signal.SIGINT))

    kept: list[object] = []
    for _ in range(20):
        run(main(kept))
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_wakeup_descriptor_that_was_closed_meanwhile_is_not_put_back(run: Runner) -> None:
    async def main(*socks: socket.socket) -> str:
        for sock in socks:
            sock.close()
        return "well"

    pair = socket.socketpair()
    for sock in pair:
        sock.setblocking(False)
    signal.set_wakeup_fd(pair[0].fileno())
    assert run(main(*pair)) == "well"
    assert signal.set_wakeup_fd(-1) == -1
