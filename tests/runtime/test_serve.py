"""`serve`: a connection's fault is its own, a full process recovers, a closed listener drains."""

import errno
import logging
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest

import runtime
from runtime import (
    CancelScope,
    ClosedError,
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
from runtime.listener import ACCEPT_FULL
from runtime.testing import FaultyListener, MemoryStream, VirtualClock, memory_stream_pair

from .harness import PATIENCE, Runner, dial, forever, receive, reset, turns


@pytest.mark.parametrize("code", sorted(ACCEPT_FULL), ids=lambda code: errno.errorcode[code])
def test_serve_pauses_when_there_is_no_room_and_recovers(
    run: Runner, caplog: pytest.LogCaptureFixture, code: int
) -> None:
    async def main() -> tuple[float, int, bytes]:
        listener = FaultyListener(*[code] * 35)
        client = dial(listener)
        answered = runtime.Event()

        async def handler(stream: Stream) -> None:
            await stream.send_all(b"at last")
            answered.set()

        server = spawn(serve(listener, handler))
        with timeout(60):
            await answered.wait()
        at = now()
        listener.close()
        await server
        with client:
            return at, listener.calls, client.recv(100)

    with caplog.at_level(logging.WARNING, "runtime"):
        at, calls, got = run(main, clock=VirtualClock())
    assert got == b"at last"
    assert calls <= 38
    assert 1 <= at <= 36  # it paused, and not for ever
    assert 1 <= len(caplog.records) <= at + 1  # it said so, and at most once a second
    assert "no room for new connections" in caplog.text


def test_a_failing_handler_ends_its_connection_alone(run: Runner) -> None:
    async def handler(stream: Stream) -> None:
        word = await stream.recv(100)
        if word == b"bad":
            raise ValueError("bad word")
        await stream.send_all(word)

    async def main() -> list[bytes]:
        async with listen("127.0.0.1", 0) as listener:
            server = spawn(serve(listener, handler))
            got = []
            for word in (b"one", b"bad", b"two"):
                stream = await runtime.connect(*listener.address)
                async with stream:
                    await stream.send_all(word)
                    got.append(await receive(stream, 3))
            listener.close()
            await server
            return got

    assert run(main) == [b"one", b"", b"two"]
    assert "handler failed; the other connections go on (ValueError)" in run.expected_error()


def test_a_connection_that_breaks_is_a_line_of_level_info(
    run: Runner, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "runtime")

    async def handler(stream: Stream) -> None:
        while await stream.recv(100):
            pass

    async def main() -> None:
        async with listen("127.0.0.1", 0) as listener:
            server = spawn(serve(listener, handler))
            client = dial(listener)
            client.sendall(b"!")
            await turns(3)
            reset(client)
            listener.close()
            await server

    run(main)
    (record,) = caplog.records
    assert (record.levelname, record.exc_info) == ("INFO", None)
    assert record.getMessage() == "a connection is gone: [Errno 104] Connection reset by peer"


def test_a_handler_that_is_no_coroutine_function_is_reported_and_survived(run: Runner) -> None:
    def handler(stream: Stream) -> Any:
        return None

    async def main() -> list[bytes]:
        async with listen("127.0.0.1", 0) as listener:
            server = spawn(serve(listener, handler))
            got = []
            for _ in range(2):
                async with await runtime.connect(*listener.address) as stream:
                    got.append(await stream.recv(1))
            listener.close()
            await server
            return got

    assert run(main) == [b"", b""]
    assert [run.expected_error() for _ in range(2)]


def test_the_stream_is_closed_after_the_handler_even_if_that_closed_it(run: Runner) -> None:
    async def handler(stream: Stream) -> None:
        await stream.send_all(b"bye")
        stream.close()

    async def main() -> bytes:
        async with listen("127.0.0.1", 0) as listener:
            server = spawn(serve(listener, handler))
            async with await runtime.connect(*listener.address) as stream:
                got = await receive(stream, 100)
            listener.close()
            await server
            return got

    assert run(main) == b"bye"


def test_closing_the_listener_drains_the_handlers(run: Runner) -> None:
    ends: list[float] = []

    async def handler(stream: Stream) -> None:
        await sleep(5)
        await stream.send_all(b"finished")
        ends.append(now())

    async def main() -> tuple[float, list[bytes]]:
        async with listen("127.0.0.1", 0) as listener:
            server = spawn(serve(listener, handler))
            clients = [dial(listener) for _ in range(3)]
            await sleep(1)
            listener.close()
            await server
            got = []
            for client in clients:
                with client:
                    got.append(client.recv(100))
            return now(), got

    assert run(main, clock=VirtualClock(patience=0.005)) == (5.0, [b"finished"] * 3)
    assert ends == [5.0] * 3


@pytest.mark.parametrize("how", ["handle", "deadline"])
def test_cancelling_serve_cancels_the_handlers_and_waits_for_them(run: Runner, how: str) -> None:
    ends: list[float] = []

    async def handler(stream: Stream) -> None:
        try:
            await forever()
        finally:
            with CancelScope(shield=True):
                await sleep(2)
            ends.append(now())

    async def main() -> float:
        async with listen("127.0.0.1", 0) as listener:

            async def bounded() -> None:
                with move_on_after(1 if how == "deadline" else 1000):
                    await serve(listener, handler)
                await runtime.yield_now()

            server = spawn(bounded())
            clients = [dial(listener) for _ in range(3)]
            await sleep(1)
            if how == "handle":
                server.cancel()
            try:
                await server
            except TaskCancelled:
                assert how == "handle"
            for client in clients:
                with client:
                    assert client.recv(1) == b""
            return now()

    assert run(main, clock=VirtualClock(patience=0.005)) == 3.0
    assert ends == [3.0] * 3


def test_a_connection_accepted_in_the_turn_of_the_cancellation_is_closed(run: Runner) -> None:
    seen: list[str] = []

    async def handler(stream: Stream) -> None:
        seen.append("served")
        await forever()

    async def main() -> bytes:
        async with listen("127.0.0.1", 0) as listener:
            server = spawn(serve(listener, handler))
            await turns(2)
            with dial(listener) as client:
                for _ in range(3):
                    await turns(1)
                    if len(list(server.executor.tasks())) > 2:
                        break  # the handler's task is there and has not run
                server.cancel()
                with pytest.raises(TaskCancelled):
                    await server
                listener.close()
                try:
                    return client.recv(1)
                except ConnectionResetError:  # it had not been accepted yet
                    return b""

    assert run(main) == b""


FEW_DESCRIPTORS = """
import logging, resource, socket, sys, time
import runtime

logging.basicConfig(format="%(relativeCreated)d %(message)s", stream=sys.stderr)

async def echo(stream):
    while data := await stream.recv(100):
        await stream.send_all(data)

def client(address):
    sock = socket.create_connection(address, 5)
    sock.settimeout(5)
    sock.sendall(b"hi")
    return sock

async def main():
    listener = runtime.listen("127.0.0.1", 0)
    sys.stdout.write(f"{listener.address[1]}\\n")
    sys.stdout.flush()
    server = runtime.spawn(runtime.serve(listener, echo))
    with runtime.signals(15) as caught:
        async for _ in caught:
            break
    listener.close()
    await server
    cpu = time.process_time()
    sys.stdout.write(f"{cpu}\\n")

resource.setrlimit(resource.RLIMIT_NOFILE, (20, 20))
runtime.run(main())
"""


def test_a_process_out_of_descriptors_serves_the_rest_later(anything_left: None) -> None:
    """The real thing: EMFILE from the kernel, a second's worth of it, and then room again."""
    process = subprocess.Popen(
        [sys.executable, "-c", FEW_DESCRIPTORS],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    clients: list[socket.socket] = []
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        for _ in range(30):
            client = socket.create_connection(("127.0.0.1", port), PATIENCE)
            client.settimeout(PATIENCE)
            client.sendall(b"hi")
            clients.append(client)
        # The first ones are served; then there is no room, and each that leaves lets one in.
        for client in clients:
            assert client.recv(10) == b"hi"
            client.close()
        process.terminate()
        out, err = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
        for client in clients:
            client.close()
        process.wait(PATIENCE)
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
    assert process.returncode == 0, err
    lines = err.splitlines()
    assert all("no room for new connections" in line for line in lines), err
    at = [int(line.split()[0]) for line in lines]
    assert at
    assert all(later - sooner >= 990 for sooner, later in pairwise(at))
    assert float(out) < 2  # it waited, and did not spin


def test_serve_with_a_broken_listener_tells(run: Runner) -> None:
    async def main() -> None:
        async with FaultyListener(errno.EINVAL) as listener:
            await serve(listener, cast("Callable[[Stream], Awaitable[object]]", forever))

    with pytest.raises((OSError, ExceptionGroup)) as caught:
        run(main)
    error = caught.value
    if isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, OSError)
    assert error.errno == errno.EINVAL


class NotClosing(MemoryStream):
    """A stream whose goodbye fails, as one that has something to say at the end can."""

    __slots__ = ()

    async def __aexit__(self, *_: object) -> None:
        self.close()
        raise OSError(errno.EIO, "the goodbye failed")


class Accepting:
    """A listener of those streams."""

    def __init__(self, *streams: MemoryStream) -> None:
        self._streams = list(streams)

    async def accept(self) -> MemoryStream:
        if not self._streams:
            raise ClosedError("no more")
        return self._streams.pop(0)


def test_a_stream_that_cannot_be_closed_well_ends_its_connection_alone(run: Runner) -> None:
    async def handler(stream: MemoryStream) -> None:
        await stream.send_all(b"hello")

    async def main() -> bytes:
        left, right = memory_stream_pair()
        bad, _ = memory_stream_pair()
        bad.__class__ = NotClosing
        async with right:
            await serve(Accepting(bad, left), handler)
            return await right.recv(100)

    assert run(main) == b"hello"
    assert "handler failed" in run.expected_error()


def test_a_handler_that_closes_the_socket_itself_ends_its_connection_alone(run: Runner) -> None:
    async def handler(stream: Stream) -> None:
        if await stream.recv(1) == b"c":
            stream.socket.close()
        else:
            await stream.send_all(b"served")

    async def main() -> bytes:
        async with listen("127.0.0.1", 0) as listener:
            server = spawn(serve(listener, handler))
            async with await connect(*listener.address) as client:
                await client.send_all(b"c")
                assert await client.recv(100) == b""
            async with await connect(*listener.address) as client:
                await client.send_all(b"x")
                got = await client.recv(100)
            listener.close()
            await server
            return got

    assert run(main) == b"served"
