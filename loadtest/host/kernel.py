"""What the kernel tells under /proc and /sys about limits, queues and sockets.

Only reading and parsing, no judgement: `doctor` judges the limits, `compare` the counters.
Missing files mean an older kernel or a stricter container, and read as None or nothing.
"""

import os
import socket
import sys
from collections.abc import Iterator, Set
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

TCP_ESTABLISHED = "01"
TCP_LISTEN = "0A"


@dataclass(frozen=True)
class ListenCounters:
    """How often, since boot and for all listeners, a connection found no room in a queue."""

    overflows: int
    drops: int

    def since(self, earlier: "ListenCounters") -> "ListenCounters":
        return ListenCounters(self.overflows - earlier.overflows, self.drops - earlier.drops)


def read_int(path: str | Path) -> int | None:
    """The number in a file; None where there is none ("max", or no such file)."""
    try:
        text = Path(path).read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def listen_counters() -> ListenCounters:
    """ListenOverflows and ListenDrops of this network namespace."""
    names: list[str] = []
    for line in Path("/proc/net/netstat").read_text().splitlines():
        head, *fields = line.split()
        if head != "TcpExt:":
            continue
        if not names:
            names = fields
            continue
        values = dict(zip(names, map(int, fields), strict=True))
        return ListenCounters(values.get("ListenOverflows", 0), values.get("ListenDrops", 0))
    return ListenCounters(0, 0)


def port_range() -> int:
    """How many local ports the kernel picks from: towards one destination, for one source."""
    first, last = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    return int(last) - int(first) + 1


def descriptors(pid: int) -> int:
    """How many a process has. Linux 6.2 and later tell it as the size of a directory; before, it is
    listed."""
    directory = f"/proc/{pid}/fd"
    return os.stat(directory).st_size or len(os.listdir(directory))


def accepted(pid: int, host: str, port: int) -> int:
    """Established connections on a local IPv4 address and port that have been accepted, as seen by
    `pid`'s namespace.

    Both ends of a loopback connection are in the table; only one has this local address. Those that
    wait in a listen queue are established too, but have no inode yet.
    """
    address = int.from_bytes(socket.inet_aton(host), sys.byteorder)
    wanted = f"{address:08X}:{port:04X}"
    count = 0
    with Path(f"/proc/{pid}/net/tcp").open() as lines:
        for line in lines:
            _, local, _, state, rest = line.split(maxsplit=4)
            if local == wanted and state == TCP_ESTABLISHED:
                count += rest.split(maxsplit=6)[5] != "0"
    return count


@dataclass(frozen=True)
class ListeningSocket:
    """A numeric address that is listened on, and the number by which /proc/PID/fd names the
    socket; 0 if the kernel keeps it to itself."""

    address: str
    inode: int


def listening_on(port: int) -> list[ListeningSocket]:
    """Who listens on a TCP port, in this network namespace.

    The kernel lists those who listen before all other sockets (its documentation of
    /proc/net/tcp says so), so that with 10,000 connections this reads no more than with none.
    """
    return [*_listening(Path("/proc/net/tcp"), port), *_listening(Path("/proc/net/tcp6"), port)]


def _listening(table: Path, port: int) -> Iterator[ListeningSocket]:
    try:
        lines = table.open()
    except FileNotFoundError:
        return  # no IPv6 here
    with lines:
        next(lines)
        for line in lines:
            fields = line.split()
            if fields[3] != TCP_LISTEN:
                return
            address, _, number = fields[1].partition(":")
            if int(number, 16) == port:
                yield ListeningSocket(_numeric(address), int(fields[9]))


def _numeric(text: str) -> str:
    """An address as /proc/net has it: words of 32 bits in the machine's own order."""
    words = [int(text[start : start + 8], 16) for start in range(0, len(text), 8)]
    packed = b"".join(word.to_bytes(4, sys.byteorder) for word in words)
    return socket.inet_ntop(socket.AF_INET if len(words) == 1 else socket.AF_INET6, packed)


def holders(inodes: Set[int]) -> set[int]:
    """The processes that have one of these sockets, as far as we may look: those of other users
    are closed to all but root. This reads a link for each descriptor of each process."""
    names = {f"socket:[{inode}]" for inode in inodes}
    return {int(pid) for pid in os.listdir("/proc") if pid.isdigit() and _has_one(pid, names)}


def _has_one(pid: str, names: Set[str]) -> bool:
    directory = f"/proc/{pid}/fd"
    try:
        for fd in os.listdir(directory):
            # A descriptor may be closed, and a process gone, while we are on our way to it.
            with suppress(FileNotFoundError):
                if os.readlink(f"{directory}/{fd}") in names:
                    return True
    except (FileNotFoundError, PermissionError, ProcessLookupError):
        pass
    return False


def children(pid: int) -> list[int]:
    """The processes that the main thread of one has forked and that are still there."""
    try:
        return [
            int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        ]
    except (FileNotFoundError, ProcessLookupError):
        return []


def context_switches(pid: int) -> tuple[int, int]:
    """Voluntary and involuntary switches of all threads alive in a process.

    /proc/PID/status, and psutil with it, counts the main thread alone. With 10,000 threads this
    reads 10,000 files, a few hundred milliseconds: not for the middle of a measurement.
    """
    voluntary = involuntary = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            status = Path(f"/proc/{pid}/task/{task}/status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue  # The thread ended while we were on our way to it.
        for line in status.splitlines():
            if line.startswith("voluntary_ctxt_switches:"):
                voluntary += int(line.split()[1])
            elif line.startswith("nonvoluntary_ctxt_switches:"):
                involuntary += int(line.split()[1])
    return voluntary, involuntary


def proportional_memory(pid: int) -> int | None:
    """PSS of a process, pages that it shares being divided among those who share them.

    The kernel walks all mappings for it: with 10,000 threads, not in the middle of a measurement.
    """
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), None)


def tcp_buffers() -> int | None:
    """Bytes that TCP sockets of the whole machine have in their buffers."""
    try:
        lines = Path("/proc/net/sockstat").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        name, *fields = line.split()
        if name == "TCP:":
            pairs = dict(zip(fields[::2], fields[1::2], strict=True))
            return int(pairs["mem"]) * os.sysconf("SC_PAGE_SIZE") if "mem" in pairs else None
    return None


def slab() -> int | None:
    """Bytes of the kernel's own objects, sockets among them, of the whole machine."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("Slab:"):
            return int(line.split()[1]) * 1024
    return None


def files_open() -> int | None:
    """Open files of the whole machine."""
    try:
        return int(Path("/proc/sys/fs/file-nr").read_text().split()[0])
    except OSError:
        return None


def softnet_drops() -> int | None:
    """Packets since boot that found the queue of a CPU full before the network stack saw them."""
    try:
        lines = Path("/proc/net/softnet_stat").read_text().splitlines()
    except OSError:
        return None
    return sum(int(line.split()[1], 16) for line in lines)


def threads_running() -> int:
    """Threads in the system now, ours and everybody's."""
    return int(Path("/proc/loadavg").read_text().split()[3].split("/")[1])


def conntrack_room() -> int | None:
    """How many connections the kernel's firewall can still keep in mind; None where it tracks none.

    The limit is the machine's; the count is of this network namespace, which is all we may see.
    """
    most = read_int("/proc/sys/net/netfilter/nf_conntrack_max")
    count = read_int("/proc/sys/net/netfilter/nf_conntrack_count")
    return None if not most or count is None else max(0, most - count)
