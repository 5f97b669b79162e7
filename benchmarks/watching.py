"""What it costs an echo server to be watched: the watchdog and the loop's counters, on and off.

    python -m benchmarks.watching
    python -m benchmarks.watching --clients 10000 --windows 60 --seconds 0.5

Two per cent are less than two runs differ by on a shared machine.  So this is one run: a server
under a closed loop of 64-byte echoes (redis-benchmark, on the other core) switches both off and on
again, window after window, and notes its CPU seconds and its echoes for each.  Every window is
compared with the two around it, so that a machine which grows slower or faster favours neither.

"Off" is the loop without its counters (its own source, with those lines taken out) and no watchdog.

Needs redis-benchmark (Debian: apt-get install redis-tools).  Linux only.
"""

import argparse
import inspect
import json
import os
import resource
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from statistics import median, quantiles
from typing import Any, cast

import runtime
from runtime import executor
from runtime.task import current_executor

HOST = "127.0.0.1"
CHUNK = 65_536
# With its Redis framing this makes 64 bytes.
PAYLOAD = "x" * 43
COUNTERS = {"_run_ready": "self.resumed += left", "_resume": "task.since = now"}


@contextmanager
def without_counters(loop: executor.Executor) -> Iterator[None]:
    """The loop runs as it would if nobody ever asked what it did."""
    for name, counter in COUNTERS.items():
        setattr(loop, name, partial(_without(name, counter), loop))
    try:
        yield
    finally:
        for name in COUNTERS:
            delattr(loop, name)


def _without(name: str, counter: str) -> Callable[..., Any]:
    """A method of the loop's without one of its lines."""
    source = textwrap.dedent(inspect.getsource(getattr(executor.Executor, name)))
    lines = source.splitlines()
    kept = [line for line in lines if line.strip() != counter]
    if len(lines) - len(kept) != 1:
        raise SystemExit("the loop counts otherwise than this benchmark believes: mend COUNTERS")
    scope: dict[str, Any] = {}
    exec(compile("\n".join(kept), "without_counters", "exec"), vars(executor), scope)
    return cast("Callable[..., Any]", scope[name])


class Server:
    """An echo server that counts, and that watches itself or not."""

    def __init__(self) -> None:
        self.echoes = 0
        self.connections = 0

    async def echo(self, stream: runtime.Stream) -> None:
        self.connections += 1
        try:
            while data := await stream.recv(CHUNK):
                await stream.send_all(data)
                self.echoes += 1
        except runtime.BrokenError:
            pass  # the client was told to end
        finally:
            self.connections -= 1

    async def measure(self, clients: int, windows: int, seconds: float) -> list[float]:
        """CPU microseconds an echo of each window: watched, not watched, watched ..."""
        while self.connections < clients:
            await runtime.sleep(0.05)
        await runtime.sleep(2 * seconds)
        figures: list[float] = []
        for window in range(2 * windows + 1):
            if window % 2 == 0:
                with runtime.detect_blocking():
                    figures.append(await self.one_window(seconds))
            else:
                with without_counters(current_executor()):
                    figures.append(await self.one_window(seconds))
        return figures

    async def one_window(self, seconds: float) -> float:
        cpu, echoes = time.process_time(), self.echoes
        await runtime.sleep(seconds)
        return (time.process_time() - cpu) / (self.echoes - echoes) * 1e6


async def serve(clients: int, windows: int, seconds: float) -> None:
    server = Server()
    listener = runtime.listen(HOST, 0)
    say(listener.address[1])
    serving = runtime.spawn(runtime.serve(listener, server.echo))
    say(json.dumps(await server.measure(clients, windows, seconds)))
    listener.close()
    serving.cancel()


def say(word: object) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def cores() -> tuple[set[int], set[int]]:
    """A core for the server and one for its client."""
    first, *others = sorted(os.sched_getaffinity(0))
    return {first}, {others[0] if others else first}


def run_server(clients: int, windows: int, seconds: float) -> list[float]:
    """Start the server and its client, and wait for the figures."""
    arguments = map(str, ("serve", clients, windows, seconds))
    server = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.watching", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, cores()[0]),
    )
    assert server.stdout is not None
    port = server.stdout.readline().strip()
    command = ["redis-benchmark", "-h", HOST, "-p", port, "-c", str(clients), "-n", str(10**9)]
    client = subprocess.Popen(
        [*command, "--csv", "ECHO", PAYLOAD],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: os.sched_setaffinity(0, cores()[1]),
    )
    try:
        figures: list[float] = json.loads(server.stdout.readline())
        return figures
    finally:
        client.terminate()
        client.wait()
        server.terminate()
        server.communicate()


def report(figures: list[float]) -> None:
    """The ratios of each unwatched window's neighbours to it."""
    watched, bare = figures[0::2], figures[1::2]
    ratios = [
        (before + after) / 2 / between
        for before, between, after in zip(watched, bare, watched[1:], strict=False)
    ]
    lower, _, upper = quantiles(ratios, n=4)
    say(f"watched      {median(watched):6.2f} us an echo, median of {len(watched)} windows")
    say(f"not watched  {median(bare):6.2f} us an echo, median of {len(bare)} windows")
    say(f"ratio        {median(ratios):6.3f} (half of them between {lower:.3f} and {upper:.3f})")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.watching",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--clients", type=int, default=1000, help="connections (default 1000)")
    add("--windows", type=int, default=60, help="windows of each kind (default 60)")
    add("--seconds", type=float, default=0.5, help="length of a window (default 0.5)")
    parsed = parser.parse_args()
    if shutil.which("redis-benchmark") is None:
        parser.error("redis-benchmark is not installed; on Debian: apt-get install redis-tools")
    if parsed.windows < 2:
        parser.error("a ratio needs at least 2 windows of each kind")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    sys.stderr.write(
        f"{(2 * parsed.windows + 3) * parsed.seconds:.0f} s of load, and the connects\n"
    )
    report(run_server(parsed.clients, parsed.windows, parsed.seconds))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", clients, windows, seconds]:
            runtime.run(serve(int(clients), int(windows), float(seconds)))
        case _:
            main()
