"""What the tests of the three parts have in common: the steps, what `foo` says, and its server."""

from __future__ import annotations

import importlib
import pkgutil
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import ModuleType

from examples import part1_futures, part2_tasks, part3_io
from examples.part3_io.s01_server import Address

#: Seconds after which something that should happen is held not to happen.
PATIENCE = 10.0

#: Name -> module of each step, in reading order.
STEPS: dict[str, ModuleType] = {
    found.name.rpartition(".")[2][4:]: importlib.import_module(found.name)
    for part in (part1_futures, part2_tasks, part3_io)
    for found in pkgutil.iter_modules(part.__path__, f"{part.__name__}.")
    if re.fullmatch(r"s\d\d_.*", found.name.rpartition(".")[2])
}


def starts(count: int) -> list[str]:
    return [f"start {n}" for n in range(1, count + 1)]


def ends(count: int) -> list[str]:
    return [f"end {n}" for n in range(1, count + 1)]


def all_at_once(count: int) -> list[str]:
    """What so many `foo`s say that sleep at the same time."""
    return starts(count) + ends(count)


def at_once(lines: list[str], count: int) -> bool:
    """The same of real time, which passes while they are polled: a later one may end before."""
    return lines[:count] == starts(count) and sorted(lines[count:]) == sorted(ends(count))


def each_in_order(lines: list[str], count: int) -> bool:
    """Whether every one of them said when it started, and when it ended, and nobody else spoke."""
    return sorted(lines) == sorted(all_at_once(count)) and all(
        lines.index(f"start {n}") < lines.index(f"end {n}") for n in range(1, count + 1)
    )


class Bell:
    """A waker that counts how often it is called, from any thread."""

    def __init__(self) -> None:
        self.called = 0
        self.rung = threading.Event()

    def wake(self) -> None:
        self.called += 1
        self.rung.set()


def a_server_that_waits_for(
    count: int, hold: threading.Event | None = None
) -> Callable[[float], AbstractContextManager[Address]]:
    """`serving` with a server that ends no client before all have come, and `hold` is set.

    So clients that come one after the other are never served: no clock has to prove that they came
    at the same time.  It serves as many once more when those have gone.
    """

    @contextmanager
    def serving(seconds: float) -> Iterator[Address]:
        listener = socket.create_server(("127.0.0.1", 0), backlog=count)
        over = threading.Event()
        thread = threading.Thread(target=serve, args=(listener, over))
        thread.start()
        try:
            yield listener.getsockname()
        finally:
            over.set()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            listener.close()

    def serve(listener: socket.socket, over: threading.Event) -> None:
        while not over.is_set():
            streams: list[socket.socket] = []
            try:
                for n in range(1, count + 1):
                    streams.append(listener.accept()[0])
                    streams[-1].sendall(b"start %d\n" % n)
                if hold is not None:
                    hold.wait(PATIENCE)
                for n, stream in enumerate(streams, 1):
                    stream.sendall(b"end %d\n" % n)
            except OSError:
                if not over.is_set():
                    raise
            finally:
                for stream in streams:
                    stream.close()

    return serving
