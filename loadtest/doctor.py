"""What this machine can hold: each limit, what it allows, and what lifts it.

Limits bite in an order: file descriptors first (one process on each side holds all connections),
then ports, then threads, and the queues decide how fast connections may come. `compare` asks the
same questions before it starts, because 10,000 connections that fail one after another tell
nothing about the server.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import psutil
from rich.console import Console
from rich.table import Table

from loadtest.host import cgroups, kernel
from loadtest.host.fds import SPARE_FDS, fd_limit
from loadtest.host.pinning import choose_cores
from loadtest.host.thread_limits import MAPPINGS, shared_limits
from loadtest.split import Split, by_hand

# Both sides on this machine, the hungriest engine (a thread per connection) and the kernel's
# socket buffers: generous, measured at about 50 KB.
BYTES_PER_CONNECTION = 64 * 1024
# A process of the server's or of Locust's before its first connection; measured at 25 and 55 MB.
BYTES_PER_WORKER = 32 * 2**20
BYTES_PER_LOCUST = 64 * 2**20


@dataclass(frozen=True)
class Need:
    """What is going to be asked of the machine."""

    connections: int
    sources: int = 1
    threads: bool = True
    burst: int = 500
    # Processes of the server and of Locust that share the connections.
    workers: int = 1
    processes: int = 1

    @property
    def several(self) -> bool:
        return self.workers > 1 or self.processes > 1


@dataclass(frozen=True)
class Check:
    """One limit. `allows` is a number of connections, None where it limits their pace alone."""

    name: str
    value: str
    allows: int | None
    ok: bool
    remedy: str


def check_machine(need: Need) -> list[Check]:
    """Every limit against what is needed, the ones that bite first, first."""
    checks = [*_open_files(need), *_machine_files(need), _ports(need)]
    if need.threads:
        checks += _threads(need)
    checks += [*_queues(need), *_conntrack(need), _memory(need), _cores(need)]
    return checks


def short_of(checks: Sequence[Check]) -> list[Check]:
    return [check for check in checks if not check.ok]


def need_of(split: Split, burst: int) -> Need:
    """A crowd is held by the runtime engine, which has no threads."""
    return Need(
        connections=split.connections,
        sources=split.sources,
        threads=False,
        burst=burst,
        workers=split.workers,
        processes=split.processes,
    )


def explain_shortage(need: Need, checks: Sequence[Check]) -> str:
    """One line: what is short, and what can be done instead."""
    short = short_of(checks)
    limits = "; ".join(f"{check.name} {check.value}: {check.remedy}" for check in short)
    possible = min((check.allows for check in checks if check.allows is not None), default=0)
    instead = f"; or --connections {possible}" if possible > 0 else ""
    return f"{need.connections} connections do not fit this machine: {limits}{instead}"


def largest_fit(sources: int, threads: bool) -> int:
    """How many connections every limit of this machine allows; 1 where it is none."""
    return _most(check_machine(Need(1, sources=sources, threads=threads)))


def _most(checks: Sequence[Check]) -> int:
    return max(1, min(check.allows for check in checks if check.allows is not None))


def run_doctor(need: Need, console: Console, split: Split | None = None) -> int:
    """Print the table and the split, if any; 0 if all is there, 1 if something is short."""
    checks = check_machine(need)
    table = Table(title=f"{need.connections:,} connections on this machine")
    table.add_column("limit")
    table.add_column("value", justify="right")
    table.add_column("allows", justify="right")
    table.add_column("")
    table.add_column("remedy")
    for check in checks:
        allows = "" if check.allows is None else f"{check.allows:,}"
        verdict = "[green]ok[/]" if check.ok else "[red]short[/]"
        table.add_row(check.name, check.value, allows, verdict, "" if check.ok else check.remedy)
    console.print(table)
    short = short_of(checks)
    if short:
        shortage = explain_shortage(need, checks)
        console.print(shortage, markup=False, highlight=False, soft_wrap=True)
        return 1
    console.print(f"{need.connections:,} connections fit; {_most(checks):,} would, too.")
    if split is not None:
        for line in (split.describe(), *by_hand(split, need.burst)):
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    return 0


def _limit(need: Need, name: str, value: str, allows: int, remedy: str) -> Check:
    allows = max(0, allows)
    return Check(name, value, allows, allows >= need.connections, remedy)


def _open_files(need: Need) -> Iterator[Check]:
    """Of each process; one on each side unless there are several."""
    limit = fd_limit()
    value = f"{limit.hard:,}"
    if limit.soft < limit.hard:
        value += f" (soft {limit.soft:,} is raised at start)"
    remedy = "raise the hard limit (ulimit -Hn, or nofile in limits.conf or compose)"
    each = max(0, limit.hard - SPARE_FDS)
    if not need.several:
        yield _limit(need, "open files", value, each, remedy)
        return
    for side, count, flag in (
        ("server", need.workers, "--workers"),
        ("Locust", need.processes, "--processes"),
    ):
        enough = f"{flag} {-(-need.connections // each)}, or " if each else ""
        allows = each * count
        yield _limit(need, f"open files, {side}", f"{value} x {count}", allows, enough + remedy)


def _machine_files(need: Need) -> Iterator[Check]:
    """Of all processes together. Root may exceed it."""
    limit, used = kernel.read_int("/proc/sys/fs/file-max"), kernel.files_open()
    if limit is not None and used is not None:
        remedy = "raise it: sysctl fs.file-max"
        yield _limit(need, "file-max", f"{limit:,} ({used:,} open)", (limit - used) // 2, remedy)


def _ports(need: Need) -> Check:
    ports = kernel.port_range()
    wanted = -(-need.connections // ports)
    remedy = f"more sources: --source-addresses 127.0.0.2-127.0.0.{min(254, 1 + wanted)}"
    value = f"{ports:,}" if need.sources <= 1 else f"{ports:,} x {need.sources} sources"
    return _limit(need, "local ports", value, ports * max(1, need.sources), remedy)


def _threads(need: Need) -> Iterator[Check]:
    remedy = "leave out the threads engine (--modes runtime,uvloop)"
    for limit in shared_limits():
        yield _limit(need, limit.name, f"{limit.allows:,}", limit.room - SPARE_FDS, remedy)
    mappings = kernel.read_int("/proc/sys/vm/max_map_count")
    if mappings is not None:
        allows = mappings // MAPPINGS - SPARE_FDS
        yield _limit(need, "max_map_count", f"{mappings:,}", allows, remedy)


def _queues(need: Need) -> Iterator[Check]:
    for name, path in (
        ("accept queue", "/proc/sys/net/core/somaxconn"),
        ("SYN queue", "/proc/sys/net/ipv4/tcp_max_syn_backlog"),
    ):
        length = kernel.read_int(path)
        if length is not None:
            remedy = f"raise it, or come slower: --spawn-rate {max(1, length // 2)}"
            value = f"bursts of {length:,}"
            yield Check(name, value, None, length >= need.burst, remedy)


def _conntrack(need: Need) -> Iterator[Check]:
    """Where netfilter follows connections, one that finds its table full is not made at all."""
    room = kernel.conntrack_room()
    if room is not None:
        remedy = (
            "wait until old entries are gone, or raise it on the machine "
            "(sysctl net.netfilter.nf_conntrack_max)"
        )
        yield _limit(need, "conntrack", f"{room:,} left", room, remedy)


def _memory(need: Need) -> Check:
    available = psutil.virtual_memory().available
    value, remedy = "", "close what else is running"
    limit = cgroups.memory_left()
    if limit is not None and limit < available:
        available, value = limit, " left in the cgroup"
        remedy = "raise its limit (docker run --memory, mem_limit in compose)"
    value = f"{available / 2**30:.1f} GiB{value}"
    if need.several:
        available -= need.workers * BYTES_PER_WORKER + need.processes * BYTES_PER_LOCUST
    return _limit(need, "memory", value, available // BYTES_PER_CONNECTION, remedy)


def _cores(need: Need) -> Check:
    if need.several:
        return Check("cores", "shared by all processes", None, True, "")
    cores = choose_cores()
    remedy = "two cores keep server and client apart; with one, compare CPU and memory alone"
    value, quota = cores.describe(), cgroups.cpu_quota()
    if quota is not None and quota < len(cores.server | cores.client):
        value += f"; a quota of {quota:.3g} CPUs stops both now and then, whatever their times say"
    return Check("cores", value, None, True, remedy)
