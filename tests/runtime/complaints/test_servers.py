"""Complaints about servers: how they end, how they run out of descriptors, who floods whom."""

import errno
import logging
import socket
import tracemalloc

import pytest

import runtime
from runtime import (
    CancelScope,
    Stream,
    TaskCancelled,
    connect,
    listen,
    move_on_after,
    now,
    serve,
    sleep,
    spawn,
    timeout,
)
from runtime.executor import BUDGET
from runtime.testing import FaultyListener, VirtualClock, wait_all_tasks_blocked

from ..harness import PATIENCE, Runner, dial, receive, stream_pair


def test_cpython_104344_a_server_ends_though_a_handler_did_not_close_its_connection(
    run: Runner,
) -> None:
    """`wait_closed` hangs for ever if a handler has returned and its connection is still open.

    Ours closes the connection of every handler that returns, so a listener that is closed ends
    `serve` with the last handler. In depth: `test_serve.py`.
    """
    served = runtime.Event()

    async def forgets_to_close(stream: Stream) -> None:
        served.set()

    async def main() -> bytes:
        listener = listen("127.0.0.1", 0)
        server = spawn(serve(listener, forgets_to_close))
        with dial(listener) as client, timeout(PATIENCE):
            await served.wait()
            listener.close()
            await server
            return client.recv(1)

    assert run(main) == b""


def test_cpython_113538_a_server_ends_though_its_clients_never_leave(run: Runner) -> None:
    """A server cannot be shut down while clients that it does not trust stay connected, because
    nothing ends their handlers.

    Ours cancels the handlers with `serve`, which closes their connections after the cleanup. In
    depth: `test_serve.py`.
    """
    said: list[str] = []

    async def waits_for_the_client(stream: Stream) -> None:
        try:
            await stream.recv(1)
        finally:
            said.append("goodbye")

    async def main() -> bytes:
        listener = listen("127.0.0.1", 0)
        server = spawn(serve(listener, waits_for_the_client))
        async with await connect(*listener.address) as idle:
            await wait_all_tasks_blocked()
            listener.close()
            server.cancel()
            with pytest.raises(TaskCancelled):
                await server
            return await idle.recv(1)

    assert run(main) == b""
    assert said == ["goodbye"]


def test_trio_147_a_server_that_ends_gives_its_handlers_a_grace_period(run: Runner) -> None:
    """Shutting down gracefully means: no new work, some time for what is under way, and then
    cancellation, in which a goodbye may take a moment of its own.

    Ours closes the listener, bounds the wait, cancels; and a shield with a deadline is the moment.
    In depth: `test_serve.py`, `test_scopes.py`.
    """

    async def works(stream: Stream) -> None:
        seconds = int(await stream.recv(10))
        try:
            await sleep(seconds)
            await stream.send_all(b"done")
        finally:
            with CancelScope(shield=True, deadline=now() + 2):
                await sleep(1)
                await stream.send_all(b", goodbye")

    async def main() -> tuple[list[bytes], float]:
        listener = listen("127.0.0.1", 0)
        server = spawn(serve(listener, works))
        clients = [await connect(*listener.address) for _ in range(2)]
        for client, seconds in zip(clients, (b"3", b"3000"), strict=True):
            await client.send_all(seconds)
        await sleep(1)
        listener.close()
        with move_on_after(5):
            await server
        server.cancel()
        with pytest.raises(TaskCancelled):
            await server
        ended = now()
        got = []
        for client in clients:
            async with client:
                got.append(await receive(client, 100))
        return got, ended

    assert run(main, clock=VirtualClock()) == ([b"done, goodbye", b", goodbye"], 7.0)


def test_python_asyncio_78_a_process_out_of_descriptors_goes_on_serving(
    run: Runner, caplog: pytest.LogCaptureFixture
) -> None:
    """When accept fails because all descriptors are used, the listener is closed, and everybody is
    refused from then on, though descriptors come free again.

    Ours leaves the connection in the backlog, says so, and takes it when there is room. In depth,
    and with the kernel's own EMFILE: `test_serve.py`.
    """
    caplog.set_level(logging.WARNING, "runtime")

    async def greets(stream: Stream) -> None:
        await stream.send_all(b"hello")

    async def main() -> list[bytes]:
        listener = FaultyListener(errno.EMFILE, errno.ENFILE)
        server = spawn(serve(listener, greets))
        got = []
        for _ in range(2):
            async with await connect(*listener.address) as client:
                with timeout(PATIENCE):
                    got.append(await receive(client, 5))
        listener.close()
        await server
        return got

    assert run(main, clock=VirtualClock()) == [b"hello", b"hello"]
    assert "no room for new connections" in caplog.text


def test_cpython_151615_a_listener_without_descriptors_pauses(
    run: Runner, caplog: pytest.LogCaptureFixture
) -> None:
    """After accept failed for want of a descriptor, the loop over the backlog goes on to call it a
    hundred times more, and each time arranges for one more try later.

    Ours calls it once per pause, ten times a second, and logs that once a second. In depth:
    `test_serve.py`.
    """
    caplog.set_level(logging.WARNING, "runtime")
    seconds = 10

    async def never(stream: Stream) -> None:
        raise AssertionError("unreached")

    async def main() -> int:
        async with FaultyListener(*[errno.EMFILE] * 10_000) as listener:
            server = spawn(serve(listener, never))
            with dial(listener):
                await sleep(seconds)
            server.cancel()
            with pytest.raises(TaskCancelled):
                await server
            return listener.calls

    assert 5 * seconds <= run(main, clock=VirtualClock()) <= 10 * seconds + 1
    assert len(caplog.messages) <= seconds + 1


def test_curio_106_a_stream_that_is_always_ready_starves_nobody(run: Runner) -> None:
    """If a read or a write that can be done at once is done at once, a task whose stream is always
    ready never lets the others run.

    Ours gives way after so many operations in a row. In depth: `test_fairness.py`.
    """

    async def main() -> int:
        left, right = stream_pair("unix")
        others_ran = 0

        async def other() -> None:
            nonlocal others_ran
            while True:
                others_ran += 1
                await runtime.yield_now()

        async with left, right:
            spawn(other())
            for _ in range(4 * BUDGET):
                await left.send_all(b"x")
                await right.recv(1)
        return others_ran

    # Eight budgets of operations, and a turn after each.
    assert 7 <= run(main) <= 20


def test_cpython_116279_a_peer_that_does_not_read_costs_no_memory(run: Runner) -> None:
    """`write` never waits, so a sender that forgets to drain fills the memory with what a slow peer
    has not taken.

    Ours has no such call: `send_all` waits for the kernel to have it all, and keeps no copy. In
    depth: `test_stream.py`, `test_buffers.py`.
    """
    chunk = 65_536

    async def main() -> tuple[int, int]:
        left, right = stream_pair()
        sent = 0

        async def sends() -> None:
            nonlocal sent
            data = bytes(chunk)
            while True:
                await left.send_all(data)
                sent += chunk

        async with left, right:
            left.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, chunk)
            tracemalloc.start()
            try:
                sender = spawn(sends())
                with timeout(PATIENCE):
                    await wait_all_tasks_blocked()
                _, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
            assert not sender.done
            sender.cancel()
            return sent, peak

    sent, peak = run(main)
    assert sent < 64 << 20  # what the kernel holds for both ends, and no more
    assert peak < 4 * chunk
