"""A server that speaks first: `start n`, a second of silence, `end n`; Enter or Ctrl-C ends it.

It is `foo(n)` at the other end of a connection.  The clients of this part only read what it says,
so whatever they wait for, they wait for a socket.

It has to hold as many connections as there are clients, so it is written on the runtime; what is of
interest here is how the clients wait.  The examples start it in a process of its own (`serving`),
since a process may have only so many descriptors open and each connection takes one at both ends.
It ends with its standard input: should an example be killed, no server is left behind.

Try it: `python -m examples server --port 7000` here, `nc 127.0.0.1 7000` there.
Next: ten clients, one after the other.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TypeAlias

import runtime

from ..options import parser

Address: TypeAlias = tuple[str, int]

ROOT = Path(__file__).parents[2]


async def serve(port: int, seconds: float) -> None:
    """Until there is a line on standard input, or its end."""
    numbers = count(1)

    async def speak(stream: runtime.Stream) -> None:
        n = next(numbers)
        await stream.send_all(b"start %d\n" % n)
        await runtime.sleep(seconds)
        await stream.send_all(b"end %d\n" % n)

    listener = runtime.listen("127.0.0.1", port)
    print("listening 127.0.0.1", listener.address[1], flush=True)
    await runtime.race(runtime.serve(listener, speak), runtime.run_in_thread(os.read, 0, 1))
    listener.close()


@contextmanager
def serving(seconds: float) -> Iterator[Address]:
    """A server in a process of its own, for the length of a block."""
    command = [sys.executable, "-m", __spec__.name, "--seconds", str(seconds)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as server:
        assert server.stdout is not None
        line = server.stdout.readline()
        if not line:
            raise RuntimeError("the server did not start; it has said why")
        _, host, port = line.split()
        yield host, int(port)
        # Leaving this block closes the server's standard input and waits for its end.


def raise_descriptor_limit() -> int:
    """Have as many descriptors as the system allows; how many that is."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def port(text: str) -> int:
    """The number of a port."""
    if not text.isdecimal() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; give 0 to 65535")
    return int(text)


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parser(__doc__, seconds=1.0)
    arguments.add_argument("--port", type=port, default=0, help="default: one that is free")
    options = arguments.parse_args(argv)
    raise_descriptor_limit()
    try:
        runtime.run(serve(options.port, options.seconds))
    except KeyboardInterrupt:
        pass  # it is how one ends it
    except OSError as error:
        arguments.error(f"cannot listen on port {options.port}: {error.strerror}; try another")


if __name__ == "__main__":
    main()
