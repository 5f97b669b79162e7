"""What was called and not awaited is pointed out: nothing that was asked for vanishes silently."""

import gc
from collections.abc import Awaitable, Callable

import pytest

import runtime
from runtime import Stream

from .harness import Runner, stream_pair

CALLS: dict[str, Callable[[Stream], Awaitable[object]]] = {
    "recv": lambda stream: stream.recv(1),
    "recv_into": lambda stream: stream.recv_into(bytearray(1)),
    "send_all": lambda stream: stream.send_all(b"lost"),
    "sleep": lambda stream: runtime.sleep(1),
    "sleep_until": lambda stream: runtime.sleep_until(1),
    "park": lambda stream: runtime.park(),
    "yield_now": lambda stream: runtime.yield_now(),
    "wait": lambda stream: runtime.Event().wait(),
    "acquire": lambda stream: runtime.Semaphore(1).acquire(),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_call_that_was_never_awaited_is_warned_about(run: Runner, call: str) -> None:
    async def main() -> None:
        left, right = stream_pair()
        async with left, right:
            with pytest.warns(RuntimeWarning, match="was never awaited"):
                CALLS[call](left)

    run(main)


@pytest.mark.parametrize("call", ["recv", "send_all", "park"])
def test_a_leaf_is_a_coroutine_like_any_other(run: Runner, call: str) -> None:
    async def main() -> bool:
        left, right = stream_pair()
        async with left, right:
            await right.send_all(b"!")
            task = runtime.spawn(CALLS[call](left))
            await runtime.yield_now()
            task.wake()
            await task
        return task.name.endswith(call)

    assert run(main)


def test_a_sleep_that_was_awaited_is_not_warned_about(run: Runner) -> None:
    async def main() -> None:
        nap = runtime.sleep(0)
        await nap
        await nap  # over, and so no reason to wait
        del nap
        gc.collect()

    run(main)
