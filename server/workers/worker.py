"""What runs in the processes that the supervisor forks: workers, and the admin port.

A worker is a server as any other, on listeners that it has inherited. Only the supervisor
stops it: SIGINT and SIGTERM are blocked in it, because Ctrl-C and a service manager send theirs to
all processes at once, and what follows from the supervisor would be the second signal, which does
not drain.

The admin port has a process of its own because it is a thread: the supervisor forks at any time,
and who forks must not have threads, as the child would inherit their locks.
"""

import contextlib
import json
import os
import select
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from typing import NoReturn

from server import admin, log_format, logs, signals
from server.config import Settings
from server.engines import Engine
from server.errors import UsageError
from server.instance import Instance, State
from server.listeners import Listener
from server.metrics import Snapshot
from server.source import SourceGone, WorkerState
from server.tls import Certificate
from server.workers.control import Message, WorkerControl, say

Body = Callable[[socket.socket], None]
"""What a process does, given its end of the control socket."""


def run(body: Body, sock: socket.socket) -> NoReturn:
    """All of a forked process: it never returns to what its parent was doing."""
    status = 1
    try:
        body(sock)
        status = 0
    except UsageError as error:
        say(sock, {"failed": str(error)})
        status = 2
    except BaseException:
        logs.logger.exception("process failed")
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()
        os._exit(status)


def serve(
    engine: Engine,
    settings: Settings,
    listeners: Sequence[Listener],
    certificate: Certificate | None,
    sock: socket.socket,
) -> None:
    """A worker: serve until the supervisor says to drain, or is gone."""
    log_format.common["worker"] = os.getpid()
    instance = Instance(settings, listeners, certificate, on_serving=lambda: control.serving())
    control = WorkerControl(sock, instance)
    control.start()
    signals.answer(signals.reporting(instance, lambda: signals.reload(certificate)))
    engine(instance)
    control.ended()


def serve_admin(settings: Settings, listeners: Sequence[Listener], sock: socket.socket) -> None:
    """The admin port, until the supervisor closes the control socket, or is gone."""
    for each in listeners:
        each.sock.close()  # connections would wait here when the workers have closed theirs
    with contextlib.closing(admin.start(SupervisorSource(sock), settings)) as server:
        say(sock, {"serving": str(server.address)})
        poller = select.poll()
        poller.register(sock, select.POLLRDHUP)
        poller.poll()  # no deadline: it is the supervisor's to end


class SupervisorSource:
    """What the admin port shows of many workers: it asks the supervisor, which asks them."""

    TIMEOUT = 5.0
    """Seconds for the supervisor, which itself waits for no worker as long."""

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(self.TIMEOUT)
        self._sock = sock
        self._supervisor = os.getppid()
        # Not a file of the socket's: after one timeout that would never read again.
        self._incoming = bytearray()
        self._number = 0
        self._lock = threading.Lock()

    def snapshots(self) -> Sequence[Snapshot]:
        found: list[Snapshot] = self._ask("snapshots")["snapshots"]
        return found

    def workers(self) -> Sequence[WorkerState]:
        return [
            WorkerState(pid, State(state), beat_age)
            for pid, state, beat_age in self._ask("workers")["workers"]
        ]

    def processes(self) -> Sequence[int]:
        return [self._supervisor, os.getpid(), *(each.pid for each in self.workers())]

    def tasks(self) -> str:
        return str(self._ask("tasks")["tasks"])

    def _ask(self, word: str) -> Message:
        with self._lock:
            self._number += 1
            try:
                say(self._sock, {"ask": word, "number": self._number})
            except (BrokenPipeError, ConnectionResetError):
                raise SourceGone("the supervisor has ended") from None
            while True:
                answer: Message = json.loads(self._read_line())
                if answer["number"] == self._number:  # else it was given up
                    return answer

    def _read_line(self) -> bytes:
        while b"\n" not in self._incoming:
            data = self._sock.recv(65536)
            if not data:
                raise SourceGone("the supervisor has ended")
            self._incoming += data
        line, _, self._incoming = self._incoming.partition(b"\n")
        return bytes(line)
