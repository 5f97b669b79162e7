"""What outlives a run, and what was made for another one: each gets an answer, none a wrong one."""

import signal
import threading

import pytest

import runtime
from tests.runtime.harness import PATIENCE, Runner


def test_streams_and_listeners_that_outlive_the_run_close_as_ever(run: Runner) -> None:
    async def main() -> tuple[runtime.Stream, runtime.Listener]:
        listener = runtime.listen("127.0.0.1", 0)
        return await runtime.connect(*listener.address), listener

    stream, listener = run(main)
    run.left_registered.clear()  # on purpose, here
    stream.close()
    listener.close()
    assert stream.socket.fileno() == -1


def test_two_receivers_of_signals_may_close_in_any_order() -> None:
    async def main() -> int:
        first = runtime.signals(signal.SIGUSR1)
        second = runtime.signals(signal.SIGUSR2)
        first.close()
        signal.raise_signal(signal.SIGUSR2)
        received = await anext(second)
        second.close()
        return received

    assert runtime.run(main()) == signal.SIGUSR2
    assert signal.set_wakeup_fd(-1) == -1  # what was there before the run


def test_a_task_of_another_thread_cannot_be_awaited() -> None:
    handles: list[runtime.JoinHandle[None]] = []
    ready, over = threading.Event(), threading.Event()

    async def elsewhere() -> None:
        handles.append(runtime.current_task())
        ready.set()
        while not over.is_set():
            await runtime.sleep(0.001)

    async def here() -> None:
        with pytest.raises(RuntimeError, match="belongs to the runtime of another thread"):
            await handles[0]

    thread = threading.Thread(target=lambda: runtime.run(elsewhere()))
    thread.start()
    assert ready.wait(PATIENCE)
    try:
        runtime.run(here())
    finally:
        over.set()
        thread.join(PATIENCE)


@pytest.mark.parametrize("port", [-1, 65536, 99999])
def test_a_number_that_is_no_port_is_refused_and_not_wrapped(run: Runner, port: int) -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match="is no port"):
            await runtime.connect("127.0.0.1", port)
        with pytest.raises(ValueError, match="is no port"):
            runtime.listen("127.0.0.1", port)

    run(main)


def test_what_fails_at_the_end_of_a_run_keeps_nothing_else_open(run: Runner) -> None:
    def fail() -> None:
        raise ValueError("cannot be undone")

    async def main() -> None:
        runtime.task.current_executor().at_exit[fail] = None
        await runtime.run_in_thread(int)

    with pytest.raises(ValueError, match="cannot be undone"):
        run(main)
