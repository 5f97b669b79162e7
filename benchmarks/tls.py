"""What TLS costs a server: memory of an idle connection, CPU of an echo; ours, uvloop's, asyncio's.

    python -m benchmarks.tls
    python -m benchmarks.tls --connections 2000 --clients 100 --echoes 100000 --rounds 5

**Memory.** A server serves and drops a few connections, so that what it sets up once is there. Then
a client opens the connections, sends 64 bytes on each, has them back, and holds still. The server's
growth, divided by the connections, is the figure.

**CPU.** redis-benchmark keeps its connections in a closed loop of 64-byte echoes (a Redis request
happens to be a valid Redis reply). It runs twice, with few echoes and with many, and the
difference of the server's CPU seconds is divided by the difference of the echoes: handshakes, which
cost as much as a hundred echoes, are in both and cancel out. Rates are made in the same way.

The servers take turns (A B C, C B A, ...), ratios are made within each round, and medians taken
last: on a machine that is shared the rounds differ more than the servers.

Needs uvloop, trustme and redis-benchmark (Debian: apt-get install redis-tools). Linux only.
"""

import argparse
import asyncio
import gc
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import trustme

import runtime

HOST = "127.0.0.1"
CHUNK = 65_536
SERVERS = ("runtime", "uvloop", "asyncio")
# With its Redis framing this makes 64 bytes.
PAYLOAD = "x" * 43
# Echoes of the short run, for each client.
SHORT = 20
# Connections that a server has served before its memory is looked at.
WARM_UP = 20
# Seconds for 2,000 handshakes and more on a slow machine.
PATIENCE = 120.0
# From the kernel's include/linux/posix-timers.h: all threads of a process, as scheduled.
CPUCLOCK_SCHED = 2


# The servers, each as its own documentation would write it.


async def serve_runtime(context: ssl.SSLContext) -> None:
    async def echo(stream: runtime.Stream) -> None:
        try:
            while data := await stream.recv(CHUNK):
                await stream.send_all(data)
        except runtime.BrokenError:
            pass  # redis-benchmark goes without a close_notify

    listener = runtime.listen(HOST, 0, tls=context)
    announce(listener.address[1])
    await runtime.serve(listener, echo)


async def serve_asyncio(context: ssl.SSLContext) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(CHUNK):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(echo, HOST, 0, ssl=context, backlog=4096)
    announce(server.sockets[0].getsockname()[1])
    await server.serve_forever()


def serve(kind: str, certificate: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    gc.freeze()
    if kind == "runtime":
        runtime.run(serve_runtime(context))
    elif kind == "asyncio":
        asyncio.run(serve_asyncio(context))
    else:
        import uvloop

        uvloop.run(serve_asyncio(context))


def announce(word: object) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


# The client that holds connections.


async def hold(port: int, count: int, authority: str) -> None:
    """Open connections, echo once on each, say so, and hold them until standard input ends."""
    context = ssl.create_default_context(cafile=authority)
    streams = []
    for _ in range(count):
        stream = await runtime.connect(HOST, port, tls=context)
        await stream.send_all(b"x" * 64)
        received = 0
        while received < 64:
            received += len(await stream.recv(64))
        streams.append(stream)
    announce("ready")
    await runtime.run_in_thread(sys.stdin.read)
    for stream in streams:
        stream.close()


# The measurement.


@dataclass(frozen=True)
class Plan:
    connections: int
    clients: int
    echoes: int
    rounds: int
    servers: tuple[str, ...]
    certificate: str
    authority: str


@dataclass(frozen=True)
class Figures:
    memory: float  # bytes a connection
    cpu: float  # microseconds an echo
    rate: float  # echoes a second


def cores() -> tuple[set[int], set[int]]:
    """A core for the server and one for its clients."""
    first, *others = sorted(os.sched_getaffinity(0))
    return {first}, {others[0] if others else first}


@contextmanager
def child(cpus: set[int], *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A process that runs this file, on its core, and ends with the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.tls", *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, cpus),
    )
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE)


def heard(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    if not line:
        raise SystemExit("a child process failed; what it said is above")
    return line


def resident(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Rss:"):
            return int(line.split()[1]) * 1024
    raise SystemExit("the kernel does not say how much memory a process has")


def cpu_seconds(pid: int) -> float:
    """The CPU time of a process and all its threads, in nanosecond steps.

    /proc/PID/stat counts in hundredths of a second, in which a short run costs nothing at all. This
    is the number that clock_getcpuclockid(3) gives for a process, which Python does not wrap.
    """
    return time.clock_gettime((~pid << 3) | CPUCLOCK_SCHED)


def hold_connections(plan: Plan, pid: int, port: str, count: int) -> int:
    """The server's memory while so many connections are held."""
    with child(cores()[1], "hold", port, count, plan.authority) as client:
        heard(client)
        time.sleep(0.3)
        return resident(pid)


def echo(plan: Plan, pid: int, port: str, count: int) -> tuple[float, float]:
    """The server's CPU seconds and the time for so many echoes and the handshakes."""
    began, cpu = time.monotonic(), cpu_seconds(pid)
    command = ["redis-benchmark", "--tls", "--cacert", plan.authority, "--sni", "localhost"]
    command += ["-h", HOST, "-p", port, "-c", str(plan.clients), "-n", str(count)]
    subprocess.run(
        [*command, "--csv", "ECHO", PAYLOAD],
        check=True,
        stdout=subprocess.DEVNULL,
        timeout=PATIENCE,
        preexec_fn=lambda: os.sched_setaffinity(0, cores()[1]),
    )
    return cpu_seconds(pid) - cpu, time.monotonic() - began


def measure(plan: Plan, kind: str) -> Figures:
    with child(cores()[0], "serve", kind, plan.certificate) as server:
        port = heard(server)
        hold_connections(plan, server.pid, port, WARM_UP)
        time.sleep(0.3)
        before = resident(server.pid)
        held = hold_connections(plan, server.pid, port, plan.connections)
    with child(cores()[0], "serve", kind, plan.certificate) as server:
        port = heard(server)
        few = plan.clients * SHORT
        cpu_few, time_few = echo(plan, server.pid, port, few)
        cpu_many, time_many = echo(plan, server.pid, port, few + plan.echoes)
    return Figures(
        memory=(held - before) / plan.connections,
        cpu=(cpu_many - cpu_few) / plan.echoes * 1e6,
        rate=plan.echoes / (time_many - time_few),
    )


def report(plan: Plan, rounds: list[dict[str, Figures]]) -> None:
    announce(f"{'server':10} {'KiB a connection':>17} {'CPU, us an echo':>24} {'echoes/s':>10}")
    for kind in plan.servers:
        cpu = [figures[kind].cpu for figures in rounds]
        announce(
            f"{kind:10} {median(f[kind].memory for f in rounds) / 1024:17.1f} "
            f"{median(cpu):10.1f} ({min(cpu):.1f}-{max(cpu):.1f})".ljust(53)
            + f" {median(f[kind].rate for f in rounds):10,.0f}"
        )
    first = plan.servers[0]
    for kind in plan.servers[1:]:
        memory = median(f[first].memory / f[kind].memory for f in rounds)
        cpu_ratio = median(f[first].cpu / f[kind].cpu for f in rounds)
        rate = median(f[first].rate / f[kind].rate for f in rounds)
        announce(f"{first} by {kind}: memory {memory:.2f}, CPU {cpu_ratio:.2f}, rate {rate:.2f}")


def compare(plan: Plan) -> None:
    rounds = []
    for number in range(plan.rounds):
        order = plan.servers if number % 2 == 0 else plan.servers[::-1]
        rounds.append({kind: measure(plan, kind) for kind in order})
        sys.stderr.write(f"round {number + 1} of {plan.rounds} is done\n")
    report(plan, rounds)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.tls",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--connections", type=int, default=2000, help="idle ones, for memory (default 2000)")
    add("--clients", type=int, default=100, help="busy ones, for CPU (default 100)")
    add("--echoes", type=int, default=100_000, help="echoes a run (default 100000)")
    add("--rounds", type=int, default=3, help="rounds (default 3)")
    add("--servers", default=",".join(SERVERS), help="of %(default)s; ratios are by the first")
    parsed = parser.parse_args()
    servers = tuple(parsed.servers.split(","))
    if unknown := set(servers) - set(SERVERS):
        parser.error(f"unknown servers: {', '.join(unknown)}")
    if shutil.which("redis-benchmark") is None:
        parser.error("redis-benchmark is not installed; on Debian: apt-get install redis-tools")
    with tempfile.TemporaryDirectory() as folder:
        authority, certificate = Path(folder) / "authority.pem", Path(folder) / "server.pem"
        ca = trustme.CA()
        ca.cert_pem.write_to_path(authority)
        ca.issue_cert("localhost", HOST).private_key_and_cert_chain_pem.write_to_path(certificate)
        compare(
            Plan(
                connections=parsed.connections,
                clients=parsed.clients,
                echoes=parsed.echoes,
                rounds=parsed.rounds,
                servers=servers,
                certificate=str(certificate),
                authority=str(authority),
            )
        )


if __name__ == "__main__":
    # Its own children: a server, and the client that holds connections.
    match sys.argv[1:]:
        case ["serve", kind, certificate]:
            serve(kind, certificate)
        case ["hold", port, count, authority]:
            runtime.run(hold(int(port), int(count), authority))
        case _:
            main()
