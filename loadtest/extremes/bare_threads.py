"""A program that starts threads until the kernel refuses one: `python -m ...bare_threads MOST`.

Each waits in recv() as a thread of the server's does, but all for one socket, so that they need no
descriptors. Each is counted when it runs, since a thread that was started has yet to get memory for
the frames of its code.

They are let go one by one, by a datagram each. A stream's end, or a byte in it, wakes all who wait
for it (the kernel queues them as exclusive for datagrams alone), and twenty thousand threads that
ask for the interpreter lock at the same time, each again after a switch interval, were still at it
five minutes later.

What it found is a line of JSON on standard output.
"""

import _thread
import ctypes
import dataclasses
import json
import os
import socket
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass

import psutil

from loadtest.host import thread_limits

# As the server's: less than the usual 8 MiB of addresses, which would be the limit on no machine of
# 64 bits, and the interpreter lock changes hands only where a thread waits.
STACK_SIZE = 128 * 1024
SWITCH_INTERVAL = 0.1
# For a thread to run, and for all to end.
RUN_PATIENCE = 10.0
END_PATIENCE = 60.0


@dataclass(frozen=True)
class Found:
    """`error` is how the next one was refused, by the system or else by Python; "" if none was."""

    threads: int
    errno: int
    error: str
    limit: str
    rss: int
    seconds: float


def main() -> int:
    most = int(sys.argv[1])
    threading.stack_size(STACK_SIZE)
    sys.setswitchinterval(SWITCH_INTERVAL)
    process = psutil.Process()
    alone = process.num_threads()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    began = time.monotonic()
    with ours, theirs:
        threads, refused = start(most, theirs)
        seconds = time.monotonic() - began
        number = refusal() if refused else 0
        found = Found(
            threads=threads,
            errno=number,
            error=os.strerror(number) if number else refused,
            limit=thread_limits.reached(process.pid) if refused else "",
            rss=process.memory_info().rss,
            seconds=round(seconds, 3),
        )
        sys.stdout.write(json.dumps(dataclasses.asdict(found)) + "\n")
        sys.stdout.flush()
        return end(process, alone, ours, threads)


def start(most: int, sock: socket.socket) -> tuple[int, str]:
    """How many threads wait for the socket, and Python's words when it could start no more."""
    running = threading.Semaphore(0)

    def wait() -> None:
        running.release()
        sock.recv(1)

    for threads in range(most):
        try:
            _thread.start_new_thread(wait, ())
        except (RuntimeError, MemoryError) as error:
            return threads, f"{type(error).__name__}: {error}"
        if not running.acquire(timeout=RUN_PATIENCE):
            return threads, "the next thread was started but did not come to run"
    return most, ""


def refusal() -> int:
    """The errno with which the system refuses a thread right now; 0 if it gives one.

    Python says that it cannot start a thread and drops the number. `pthread_create` returns it; if
    it works this time, the thread it makes calls `free(NULL)`, which does nothing.
    """
    libc = ctypes.CDLL(None)
    thread = ctypes.c_ulong()
    number = int(libc.pthread_create(ctypes.byref(thread), None, libc.free, None))
    if number == 0:
        libc.pthread_join(thread, None)
    return number


def end(process: psutil.Process, alone: int, sock: socket.socket, threads: int) -> int:
    """Let them go and wait until all have; the exit status."""
    deadline = time.monotonic() + END_PATIENCE
    sock.settimeout(END_PATIENCE)
    with suppress(TimeoutError):  # what is left then is counted below
        for _ in range(threads):
            sock.send(b"!")  # waits where a few hundred have not been taken
    while (left := process.num_threads() - alone) > 0:
        if time.monotonic() > deadline:
            sys.stderr.write(f"{left} threads did not end within {END_PATIENCE:.0f} s\n")
            return 1
        time.sleep(0.05)
    return 0


if __name__ == "__main__":
    sys.exit(main())
