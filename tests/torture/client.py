"""A client in a process of its own: because its descriptors, and its share of a core, are its own.

Both ends of it are here. A test writes ``Client("resets", port=7007, count=100)``, which runs the
program ``tests/torture/clients/resets.py``; that is a coroutine with these arguments, given to
``main``. They talk in turns: the program says what it counted, as one line of JSON, and waits to
be told to go on.
"""

import json
import os
import resource
import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import runtime
from runtime import Stream

PATIENCE = 10.0
"""Seconds that a program has to say what is due. (Not the harness's, whose imports take long:
every program imports this file.)"""


class Client:
    """A running program, for the test."""

    def __init__(self, program: str, **arguments: object) -> None:
        self.program = program
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"tests.torture.clients.{program}", json.dumps(arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._heard = b""

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate(timeout=PATIENCE)

    def hear(self, seconds: float = PATIENCE) -> dict[str, Any]:
        """What the program says next; it has so many seconds."""
        assert self._process.stdout is not None
        fd = self._process.stdout.fileno()
        deadline = time.monotonic() + seconds
        while b"\n" not in self._heard:
            readable, _, _ = select.select([fd], [], [], max(0, deadline - time.monotonic()))
            assert readable, f"{self.program} says nothing within {seconds:g} seconds"
            data = os.read(fd, 65536)
            assert data, f"{self.program} ended with status {self._process.wait(PATIENCE)}"
            self._heard += data
        line, _, self._heard = self._heard.partition(b"\n")
        said: dict[str, Any] = json.loads(line)
        return said

    def tell(self) -> None:
        """Let the program go on."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()


def main(program: Callable[..., Coroutine[Any, Any, None]]) -> None:
    """Be such a program."""
    take_all_descriptors()
    runtime.run(program(**json.loads(sys.argv[1])))


def take_all_descriptors() -> None:
    """Let this process have as many as it may."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def say(**counted: object) -> None:
    """Tell the test what was counted."""
    sys.stdout.write(json.dumps(counted) + "\n")
    sys.stdout.flush()


async def told() -> None:
    """Wait until the test lets the program go on."""
    await runtime.run_in_thread(sys.stdin.readline)


def stand_back() -> None:
    """Leave the cores to the server and to those who measure it.

    In truth an attacker has a machine of its own, and never keeps anybody from running.
    """
    os.nice(19)


async def connect_all(port: int, count: int) -> list[Stream]:
    """So many connections, a limited number under way at a time: fewer than the backlog holds."""
    permits = runtime.Semaphore(CONNECTING)

    async def open_one(number: int) -> Stream:
        async with permits:
            return await runtime.connect("127.0.0.1", port, local_address=source(number))

    return await runtime.join_all(open_one(number) for number in range(count))


def reset_when_closed(stream: Stream) -> None:
    """Have the peer get a reset and not an end of stream."""
    stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


CONNECTING = 500

PER_ADDRESS = 20_000
"""Connections from one source address: the kernel has 28,232 ports for each by default."""


def source(number: int) -> str:
    """The loopback address that the client's connection of this number comes from."""
    return f"127.0.0.{2 + number // PER_ADDRESS}"


def percentile(samples: Sequence[float], part: float) -> float:
    """The sample that so large a part of them does not exceed."""
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]
