"""Out of file descriptors: nobody established notices, the server is quiet, and it passes.

``--max-connections`` is there so that it does not come to that. Here it is out of the way: the
limit on open files is lowered under the running server, so that ``accept`` really fails.
"""

import contextlib
import resource
import select
import socket
import time

import psutil
import pytest

from tests.server.conftest import Start
from tests.server.harness import eventually, receive
from tests.torture.client import take_all_descriptors
from tests.torture.conftest import Figures, Scale

pytestmark = pytest.mark.item(4)


def test_out_of_descriptors_the_server_is_quiet_and_recovers(
    start: Start, scale: Scale, figure: Figures
) -> None:
    limit, clients, seconds = scale((60, 120, 1.2), (1000, 2000, 5.0))
    take_all_descriptors()
    server = start()
    process = psutil.Process(server.process.pid)
    with contextlib.ExitStack() as stack:
        established = [stack.enter_context(server.connect("echo")) for _ in range(10)]
        for sock in established:
            ask(sock)
        process.rlimit(resource.RLIMIT_NOFILE, (limit, limit))
        others = [stack.enter_context(server.connect("echo")) for _ in range(clients)]
        for sock in others:
            with contextlib.suppress(ConnectionError):
                sock.sendall(b"ping")
        assert eventually(lambda: server.fds() >= limit - 1)  # libuv keeps a spare one

        lines, used, began = server.log().count("\n"), spent(process), time.monotonic()
        time.sleep(seconds)
        passed = time.monotonic() - began
        figure("CPU while out of descriptors", (spent(process) - used) / passed * 100)
        lines = server.log().count("\n") - lines
        figure("log lines while out of descriptors", lines / passed)
        assert lines <= passed + 1
        for sock in established:
            ask(sock)

        began = time.monotonic()
        rest = others[-clients // 3 :]  # of those that wait, as many as there is room for
        for sock in others[: -clients // 3]:
            sock.close()
        assert eventually(lambda: len(readable(rest)) == len(rest))
        figure("recovery", time.monotonic() - began)
        figure(
            "connections reset instead of kept waiting", sum(not is_answered(each) for each in rest)
        )
        for sock in established:
            ask(sock)
        assert eventually(server.echoes)


def ask(sock: socket.socket) -> None:
    sock.sendall(b"ping")
    assert receive(sock, 4) == b"ping"


def is_answered(sock: socket.socket) -> bool:
    with contextlib.suppress(ConnectionError):
        return receive(sock, 4) == b"ping"
    return False


def spent(process: psutil.Process) -> float:
    """Seconds of CPU."""
    times = process.cpu_times()
    return times.user + times.system


def readable(socks: list[socket.socket]) -> list[int]:
    """Those of the sockets that have something to say."""
    poller = select.poll()
    for sock in socks:
        poller.register(sock, select.POLLIN)
    return [fd for fd, _ in poller.poll(0)]
