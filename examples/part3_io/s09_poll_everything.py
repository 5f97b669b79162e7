"""What one event costs while others wait: on our loop, the more of them the more it costs.

The loop of step 05 does three things for each wake-up, and each of them for everybody: it polls
every task, makes the list of all descriptors anew, and hands it to the kernel, which looks at all
of them.  That is O(n) for one event.  Ten clients hide it, and a thousand that all speak at once
do as well, because they share a turn.  It shows when few speak while many are silent, which is
what connections mostly do: n clients wait for their `end` here, while one task sleeps and wakes.

Two or three microseconds for each of ten thousand are 20 to 30 ms.  Then some forty events a
second, of all of them together, keep a core busy, and nobody is answered sooner than that.

The runtime is told which descriptors changed (epoll keeps the list in the kernel), wakes the tasks
that wait for them, and resumes those.  Nobody else is looked at.

The measurement is one coroutine, run on both loops; only the leaves differ.
Next, and last: where each of these steps is in the runtime.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, NamedTuple, TypeAlias

import runtime

from ..options import parser, whole
from ..part2_tasks.s02_async_def import Sleep
from ..part2_tasks.s06_join_handle import spawn
from .s01_server import Address, raise_descriptor_limit, serving
from .s05_poll import Recv, run
from .s08_ten_thousand import local_ports, shortage

#: What the clients have heard, all together.
Heard: TypeAlias = bytearray


async def client_on_our_loop(address: Address, heard: Heard) -> None:
    with socket.create_connection(address) as sock:
        sock.setblocking(False)
        while data := await Recv(sock):
            heard += data


async def client_on_the_runtime(address: Address, heard: Heard) -> None:
    async with await runtime.connect(*address) as stream:
        while data := await stream.recv(1024):
            heard += data


class Loop(NamedTuple):
    """What a program needs of a loop."""

    run: Callable[[Coroutine[Any, Any, Any]], Any]
    spawn: Callable[[Coroutine[Any, Any, None]], Awaitable[None]]
    sleep: Callable[[float], Awaitable[None]]
    client: Callable[[Address, Heard], Coroutine[Any, Any, None]]


OUR_LOOP = Loop(run, spawn, Sleep, client_on_our_loop)
THE_RUNTIME = Loop(runtime.run, runtime.spawn, runtime.sleep, client_on_the_runtime)


class Cost(NamedTuple):
    """CPU time, in microseconds."""

    client: float  # to connect, to hear two lines and the end
    event: float  # one wake-up while all clients wait


async def measure(loop: Loop, clients: int, events: int, address: Address) -> Cost:
    heard = Heard()
    began = time.process_time()
    handles = [loop.spawn(loop.client(address, heard)) for _ in range(clients)]
    while heard.count(b"start") < clients:
        await loop.sleep(0.01)
    all_wait = time.process_time()
    for _ in range(events):
        await loop.sleep(0.001)
    for_events = time.process_time() - all_wait
    if b"end" in heard:
        raise RuntimeError("the clients did not stay silent for long enough; give more --seconds")
    for handle in handles:
        await handle
    for_clients = time.process_time() - began - for_events
    return Cost(for_clients / clients * 1e6, for_events / events * 1e6)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parser(__doc__, events=100, seconds=2.0)
    arguments.add_argument("--clients", type=whole, nargs="+", default=[10, 100, 1000])
    options = arguments.parse_args(argv)
    lack = shortage(max(options.clients), raise_descriptor_limit(), local_ports())
    if lack is not None:
        arguments.error(lack)
    print("CPU        for an event while all wait       for a client, in all")
    print("clients      our loop    the runtime        our loop    the runtime")
    with serving(options.seconds) as address:
        for clients in options.clients:
            ours, real = (
                loop.run(measure(loop, clients, options.events, address))
                for loop in (OUR_LOOP, THE_RUNTIME)
            )
            print(
                f"{clients:7,}   {ours.event:8,.0f} us    {real.event:8,.0f} us"
                f"     {ours.client:8,.0f} us    {real.client:8,.0f} us"
            )


if __name__ == "__main__":
    main()
