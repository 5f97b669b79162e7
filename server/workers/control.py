"""The line between the supervisor and a process that it has forked: a socket pair for each.

Requests are words and answers are objects of JSON, one a line either way. The end of the stream
says as much as any of them: that the other one is gone, even if by SIGKILL. The supervisor's end
never blocks, for it has other processes to look after; in a worker a thread of its own answers, so
that a loop that hangs can still be asked.
"""

import contextlib
import json
import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from typing import Any

from server import logs, signals
from server.instance import Instance, State

GRACE = 3.0
"""Seconds for a process to come to its end after the drain's own time is over."""

Message = dict[str, Any]


class Channel:
    """The supervisor's end. What cannot be sent yet waits here."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.ended = False
        self._incoming = bytearray()
        self._outgoing = bytearray()

    @property
    def full(self) -> bool:
        """Whether ``flush`` is to be called when the socket is writable."""
        return bool(self._outgoing)

    def request(self, word: str) -> None:
        self._outgoing += word.encode() + b"\n"
        self.flush()

    def flush(self) -> None:
        try:
            while self._outgoing:
                del self._outgoing[: self.sock.send(self._outgoing)]
        except BlockingIOError:
            return
        except OSError:
            self._outgoing.clear()  # it is gone, and reading says so

    def receive(self) -> Iterator[Message]:
        """The messages that have come, without waiting; sets ``ended`` at the end of the stream."""
        while True:
            try:
                data = self.sock.recv(65536)
            except BlockingIOError:
                return
            except OSError:
                data = b""  # a reset: it went without reading everything
            if not data:
                self.ended = True
                return
            self._incoming += data
            if b"\n" in data:
                *lines, self._incoming = self._incoming.split(b"\n")
                for line in lines:
                    yield json.loads(line)


def say(sock: socket.socket, message: Message) -> None:
    """One message to the supervisor; nothing if it is gone, which is for others to notice."""
    with contextlib.suppress(OSError):
        sock.sendall(json.dumps(message).encode() + b"\n")


class WorkerControl:
    """The worker's end, and the thread that answers."""

    def __init__(self, sock: socket.socket, instance: Instance) -> None:
        self._sock = sock
        self._instance = instance
        self._lock = threading.Lock()
        """Two threads write: the one that answers, and the engine's."""

    def start(self) -> None:
        threading.Thread(target=self._answer_all, name="control", daemon=True).start()

    def serving(self) -> None:
        self._say({"serving": ""})

    def ended(self) -> None:
        """Hand over the last figures."""
        self._say({**self._report(), "final": True})

    def _say(self, message: Message) -> None:
        with self._lock:
            say(self._sock, message)

    def _report(self) -> Message:
        instance = self._instance
        return {
            "snapshot": instance.snapshot(),
            "state": instance.state,
            "beat_at": instance.beat_at,  # the monotonic clock is the machine's
        }

    def _answer_all(self) -> None:
        with contextlib.suppress(OSError), self._sock.makefile() as requests:
            for line in requests:
                try:
                    self._answer(line.strip())
                except Exception:
                    logs.logger.exception("supervisor not answered")
        self._orphaned()

    def _answer(self, word: str) -> None:
        if word == "snapshot":
            self._say(self._report())
        elif word == "tasks":
            self._say({"tasks": self._instance.describe_tasks()})
        elif word == "drain":
            self._drain()

    def _drain(self) -> None:
        if self._instance.state is State.STARTING:
            os._exit(0)  # there is nothing to drain, and no handler yet that would
        signals.drain(signal.SIGTERM)

    def _orphaned(self) -> None:
        """The supervisor is gone: nobody would replace this worker, or stop it."""
        # The kernel's timer, as even the next line may wait for ever: who reads the log may hang.
        signal.setitimer(signal.ITIMER_REAL, self._instance.settings.drain_timeout + GRACE)
        logs.event(logging.ERROR, "the supervisor is gone")
        self._drain()
