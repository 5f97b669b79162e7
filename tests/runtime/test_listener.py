"""Listeners and `serve`: what goes wrong with accept(2) must not stop the others from coming."""

import errno
import logging
import os
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
    BusyError,
    CancelScope,
    ClosedError,
    Listener,
    Stream,
    TaskCancelled,
    listen,
    listen_unix,
    move_on_after,
    now,
    serve,
    sleep,
    spawn,
    timeout,
)
from runtime.listener import ACCEPT_FULL, ACCEPT_NEXT
from runtime.testing import VirtualClock

from .harness import PATIENCE, Runner, forever, raw_pair, receive, turns


class ListeningSocket:
    """A listening socket, except that accept does what the test wrote down."""

    family = socket.AF_INET

    def __init__(self, *answers: int | socket.socket) -> None:
        self.answers = list(answers)
        self.calls = 0
        self.pair = socket.socketpair()

    def accept(self) -> tuple[socket.socket, Any]:
        self.calls += 1
        if not self.answers:
            raise BlockingIOError
        answer = self.answers.pop(0)
        if isinstance(answer, int):
            raise OSError(answer, os.strerror(answer))
        return answer, ("127.0.0.1", 1)

    def fileno(self) -> int:
        return self.pair[0].fileno()

    def setblocking(self, flag: bool) -> None:
        self.pair[0].setblocking(flag)

    def close(self) -> None:
        for sock in self.pair:
            sock.close()


def fake_listener(*answers: int | socket.socket) -> tuple[Listener, ListeningSocket]:
    sock = ListeningSocket(*answers)
    return Listener(cast(socket.socket, sock)), sock


def dial(listener: Listener) -> socket.socket:
    sock = socket.create_connection(listener.address, PATIENCE)
    sock.settimeout(PATIENCE)
    return sock


def test_accept_gives_the_connections_in_order(run: Runner) -> None:
    async def main() -> list[bytes]:
        async with listen("127.0.0.1", 0) as listener:
            clients = [dial(listener) for _ in range(5)]
            got = []
            for n, client in enumerate(clients):
                client.sendall(b"%d" % n)
                async with await listener.accept() as stream:
                    got.append(await stream.recv(10))
                    assert stream.peer_address == client.getsockname()
                client.close()
            return got

    assert run(main) == [b"0", b"1", b"2", b"3", b"4"]


def test_accept_waits_for_a_connection(run: Runner) -> None:
    async def main() -> bytes:
        async with listen("127.0.0.1", 0) as listener:
            assert listener.accept_nowait() is None
            accepting = spawn(cast(Awaitable[Stream], listener.accept()))
            await turns(3)
            assert not accepting.done
            with dial(listener) as client:
                client.sendall(b"hello")
                async with await accepting as stream:
                    return await stream.recv(10)

    assert run(main) == b"hello"


def test_waiting_and_then_accepting_without_waiting(run: Runner) -> None:
    async def main() -> int:
        async with listen("127.0.0.1", 0) as listener:
            waiting = spawn(cast(Awaitable[None], listener.wait()))
            await turns(3)
            clients = [dial(listener) for _ in range(3)]
            await waiting
            count = 0
            while (stream := listener.accept_nowait()) is not None:
                stream.close()
                count += 1
            for client in clients:
                client.close()
            return count

    assert run(main) == 3


@pytest.mark.parametrize("code", sorted(ACCEPT_NEXT), ids=lambda code: errno.errorcode[code])
def test_a_connection_that_died_in_the_backlog_is_passed_over(run: Runner, code: int) -> None:
    one, other = raw_pair()

    async def main() -> bytes:
        listener, _ = fake_listener(code, code, one)
        async with listener, await listener.accept() as stream:
            other.sendall(b"alive")
            return await stream.recv(10)

    with other:
        assert run(main) == b"alive"


@pytest.mark.parametrize(
    "code",
    [*sorted(ACCEPT_FULL), errno.EBADF, errno.EINVAL],
    ids=lambda code: errno.errorcode[code],
)
def test_other_faults_of_accept_are_told(run: Runner, code: int) -> None:
    async def main() -> int:
        listener, sock = fake_listener(code)
        async with listener:
            with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno is looked at below
                await listener.accept()
            assert caught.value.errno == code
        return sock.calls

    assert run(main) == 1


def test_the_errors_are_sorted_as_other_runtimes_do() -> None:
    assert {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM} == ACCEPT_FULL
    assert errno.ECONNABORTED in ACCEPT_NEXT
    assert errno.EPERM in ACCEPT_NEXT
    assert not ACCEPT_NEXT & ACCEPT_FULL
    assert errno.EBADF not in ACCEPT_NEXT | ACCEPT_FULL


@pytest.mark.parametrize("code", sorted(ACCEPT_FULL), ids=lambda code: errno.errorcode[code])
def test_serve_pauses_when_there_is_no_room_and_recovers(
    run: Runner, caplog: pytest.LogCaptureFixture, code: int
) -> None:
    one, other = raw_pair()

    async def main() -> tuple[float, int, bytes]:
        listener, sock = fake_listener(*[code] * 35, one)
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
        return at, sock.calls, other.recv(100)

    with other, caplog.at_level(logging.WARNING, "runtime"):
        at, calls, got = run(main, clock=VirtualClock())
    assert got == b"at last"
    assert calls <= 38
    assert 1 <= at <= 36  # it paused, and not for ever
    assert 1 <= len(caplog.records) <= at + 1  # it said so, and at most once a second
    assert "no room for new connections" in caplog.text


def test_a_connection_that_cannot_be_taken_over_is_closed(run: Runner) -> None:
    """What was accepted and then not registered must not stay open without an owner."""

    async def main() -> None:
        async with listen("127.0.0.1", 0) as listener:
            reactor = runtime.task.current_executor().reactor
            real = reactor.register

            def refuse(source: Any) -> None:
                raise OSError(errno.ENOSPC, "no space for one more watch")

            reactor.register = refuse  # type: ignore[method-assign]
            with dial(listener) as client:
                with pytest.raises(OSError, match="one more watch"):
                    await listener.accept()
                reactor.register = real  # type: ignore[method-assign]
                try:
                    end = client.recv(1)
                except ConnectionResetError:
                    end = b""
                assert end == b""

    run(main)


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


def test_a_second_accept_is_refused_and_the_first_undisturbed(run: Runner) -> None:
    async def main() -> None:
        async with listen("127.0.0.1", 0) as listener:
            accepting = spawn(cast(Awaitable[Stream], listener.accept()))
            await turns(2)
            with pytest.raises(BusyError):
                await listener.accept()
            with pytest.raises(BusyError):
                await listener.wait()
            with dial(listener), timeout(PATIENCE):
                (await accepting).close()

    run(main)


def test_an_accept_that_gave_way_does_not_push_out_another(run: Runner) -> None:
    async def main() -> list[str]:
        async with listen("127.0.0.1", 0) as listener:

            async def accept() -> str:
                try:
                    with timeout(1):
                        (await listener.accept()).close()
                except (BusyError, TimeoutError) as error:
                    return type(error).__name__
                return "accepted"

            runtime.task.current_executor().budget = -1
            tasks = [spawn(accept()), spawn(accept())]
            await turns(4)
            with dial(listener), dial(listener):
                return sorted([await task for task in tasks])

    assert run(main) == ["BusyError", "accepted"]


def test_closing_lets_go_of_an_accept_that_waits(run: Runner) -> None:
    async def main() -> None:
        listener = listen("127.0.0.1", 0)
        accepting = spawn(cast(Awaitable[Stream], listener.accept()))
        await turns(2)
        listener.close()
        listener.close()
        with pytest.raises(ClosedError), timeout(PATIENCE):
            await accepting

    run(main)


def test_nothing_can_be_done_with_a_closed_listener(run: Runner) -> None:
    async def main() -> None:
        listener = listen("127.0.0.1", 0)
        listener.close()
        with pytest.raises(ClosedError):
            listener.accept_nowait()
        with pytest.raises(ClosedError), timeout(1):
            await listener.accept()
        # Waiting would register a number that is somebody else's by now.
        one, other = socket.socketpair()
        with one, other, pytest.raises(ClosedError), timeout(1):
            await listener.wait()
        assert "fd=-1" in repr(listener)

    run(main)


def test_a_flood_of_connections_does_not_starve_the_others(run: Runner) -> None:
    """accept never has to wait here, so it must give way by itself."""
    clients: list[socket.socket] = []

    async def main() -> int:
        most = count = 0
        async with listen("127.0.0.1", 0) as listener:
            clients.extend(dial(listener) for _ in range(300))

            async def other() -> None:
                nonlocal most, count
                while True:
                    most, count = max(most, count), 0
                    await runtime.yield_now()

            spawn(other())
            for _ in range(300):
                (await listener.accept()).close()
                count += 1
        return most

    try:
        assert 100 <= run(main) <= 130
    finally:
        for client in clients:
            client.close()


def test_port_0_is_a_port_of_the_kernels_choice(run: Runner) -> None:
    async def main() -> tuple[int, int]:
        async with listen("127.0.0.1", 0) as one, listen("127.0.0.1", 0) as two:
            return one.address[1], two.address[1]

    one, two = run(main)
    assert 0 < one != two > 0


def test_a_port_in_use_is_an_error_that_leaves_nothing_open(run: Runner) -> None:
    async def main() -> None:
        async with listen("127.0.0.1", 0) as listener:
            with pytest.raises(OSError, match="in use"):
                listen(*listener.address)

    run(main)


def test_two_listeners_share_a_port_if_both_say_so(run: Runner) -> None:
    async def main() -> bool:
        async with (
            listen("127.0.0.1", 0, reuse_port=True) as one,
            listen("127.0.0.1", one.address[1], reuse_port=True) as two,
        ):
            return bool(one.address == two.address)

    assert run(main)


def test_a_unix_listener_echoes_and_leaves_its_path_to_the_caller(
    run: Runner, tmp_path: Path
) -> None:
    path = tmp_path / "socket"

    async def echo(stream: Stream) -> None:
        while data := await stream.recv(100):
            await stream.send_all(data)

    async def main() -> bytes:
        async with listen_unix(str(path)) as listener:
            assert listener.address == str(path)
            with pytest.raises(OSError, match="in use"):
                listen_unix(str(path))
            server = spawn(serve(listener, echo))
            async with await runtime.connect_unix(str(path)) as stream:
                await stream.send_all(b"hello")
                got = await receive(stream, 5)
            listener.close()
            await server
            return got

    assert run(main) == b"hello"
    assert path.exists()


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
        listener, _ = fake_listener(errno.EINVAL)
        async with listener:
            await serve(listener, cast("Callable[[Stream], Awaitable[object]]", forever))

    with pytest.raises((OSError, ExceptionGroup)) as caught:
        run(main)
    error = caught.value
    if isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, OSError)
    assert error.errno == errno.EINVAL
