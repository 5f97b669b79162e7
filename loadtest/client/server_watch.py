"""What the server takes, for those who look on: RSS, CPU and threads, or in words why not.

A server on this machine is found by who listens on the target, once: its processes are known from
then on. One elsewhere is asked at its admin port (`server_metrics.py`). Where neither works there
are no figures, and never zeros; `NotSeen` says why, and what would help.
"""

import socket
import time
from collections.abc import Callable, Iterable, Set
from dataclasses import dataclass
from typing import NoReturn, Protocol

import psutil

from loadtest.client.addresses import Target, resolve
from loadtest.host import kernel

# They listen in the name of a server in a container, whose process is another one.
FORWARDERS = {"docker-proxy", "rootlessport", "rootlesskit", "slirp4netns", "pasta", "conmon"}

ELSEWHERE = (
    "Start the server with --admin HOST:PORT and give Locust "
    "--server-metrics http://HOST:PORT/metrics."
)


class NotSeen(Exception):
    """No figures of the server: the message says why, and what would help."""


@dataclass(frozen=True)
class Totals:
    """One look: CPU in seconds since some moment, RSS in bytes; None is not measured."""

    cpu_seconds: float | None
    rss: int | None
    threads: int | None


class Source(Protocol):
    """Where the figures come from."""

    @property
    def name(self) -> str:
        """In words, for people."""
        ...

    def look(self) -> Totals:
        """Now; NotSeen says why not."""
        ...

    def doubt(self) -> None:
        """A test begins: the next look is to see to it that this is still the server."""
        ...


@dataclass(frozen=True)
class Reading:
    """What one look came to. CPU is in percent of a core, since the look before."""

    source: str
    problem: str | None
    cpu_percent: float | None = None
    rss: int | None = None
    threads: int | None = None


class Watch:
    """Makes readings of sums: CPU by difference, and what went wrong in words."""

    def __init__(self, source: Source, clock: Callable[[], float] = time.monotonic) -> None:
        self._source = source
        self._clock = clock
        self._before: tuple[float, float] | None = None

    def doubt(self) -> None:
        self._source.doubt()

    def read(self) -> Reading:
        try:
            totals = self._source.look()
        except NotSeen as reason:
            self._before = None
            return Reading(self._source.name, str(reason))
        return Reading(
            self._source.name, None, self._percent(totals.cpu_seconds), totals.rss, totals.threads
        )

    def _percent(self, cpu_seconds: float | None) -> float | None:
        now, before = self._clock(), self._before
        self._before = None if cpu_seconds is None else (now, cpu_seconds)
        if before is None or cpu_seconds is None or now <= before[0] or cpu_seconds < before[1]:
            return None  # a server that counts from the beginning again is another one
        return 100 * (cpu_seconds - before[1]) / (now - before[0])


class LocalServer:
    """The processes behind a target on this machine: whoever has its listener, and descendants."""

    def __init__(
        self, target: Target, holders: Callable[[Set[int]], set[int]] = kernel.holders
    ) -> None:
        self._target = target
        self._holders = holders
        self._inodes: Set[int] = set()
        self._doubted = False
        self._processes: dict[int, psutil.Process] = {}
        self._spent: dict[psutil.Process, float] = {}
        self._cpu_seconds = 0.0
        # Listeners whose owner is no use, and why: to look for it each second would cost.
        self._hidden: dict[int, str] = {}

    @property
    def name(self) -> str:
        if not self._processes:
            return f"whoever listens on {self._where}"
        first, *others = self._processes
        also = f" and {len(others)} more" if others else ""
        return f"process {first}{also}, listening on {self._where}"

    @property
    def _where(self) -> str:
        host = f"[{self._target.host}]" if ":" in self._target.host else self._target.host
        return f"{host}:{self._target.port}"

    def doubt(self) -> None:
        self._doubted = True

    def look(self) -> Totals:
        if self._doubted:
            self._reconsider()
        if not self._processes:
            self._find()
        self._add_children()
        totals = [each for each in map(self._look_at, list(self._processes.values())) if each]
        if not totals:
            raise NotSeen(f"The server that listened on {self._where} has ended.")
        return Totals(
            self._cpu_seconds,
            sum(each.rss for each in totals),
            sum(each.threads for each in totals),
        )

    def _reconsider(self) -> None:
        """One that drains, or has closed its listener, may live on while another serves."""
        self._doubted = False
        self._hidden.clear()
        before, self._processes = self._processes, {}
        if self._listeners() == self._inodes:
            self._processes = before

    def _find(self) -> None:
        inodes = self._listeners()
        for inode in inodes & self._hidden.keys():
            raise NotSeen(self._hidden[inode])
        processes = [found for pid in self._holders(inodes) if (found := _process(pid))]
        names = {_name(process) for process in processes}
        if not processes:
            self._hide(
                inodes,
                f"Whoever listens on {self._where} is another user's process, or in a container, "
                f"and closed to this one. Run Locust as the same user, or: {ELSEWHERE}",
            )
        for name in names & FORWARDERS:
            self._hide(
                inodes,
                f"{name} listens on {self._where}, for a server in a container. {ELSEWHERE}",
            )
        self._inodes = inodes
        # The eldest first, after which it is called: numbers begin anew when they run out.
        processes.sort(key=psutil.Process.create_time)
        self._processes = {process.pid: process for process in processes}

    def _hide(self, inodes: Set[int], reason: str) -> NoReturn:
        self._hidden.update(dict.fromkeys(inodes, reason))
        raise NotSeen(reason)

    def _listeners(self) -> set[int]:
        try:
            addresses = resolve(self._target)
        except OSError as error:
            raise NotSeen(f"{self._target.host} has no address: {error.strerror}.") from error
        ours = [address for address in addresses if _is_ours(address)]
        if not ours:
            raise NotSeen(f"The server is not on this machine. {ELSEWHERE}")
        found = kernel.listening_on(self._target.port)
        inodes = _those_who_accept(ours, found)
        if not inodes:
            raise NotSeen(
                f"Nobody listens on {self._where}. Start the server there, or, if it is elsewhere: "
                + ELSEWHERE
            )
        return inodes

    def _add_children(self) -> None:
        """Workers that have come since; the processes that are known are their ancestors."""
        waiting = list(self._processes)
        while waiting:
            for pid in kernel.children(waiting.pop()):
                if pid not in self._processes and (process := _process(pid)):
                    self._processes[pid] = process
                    waiting.append(pid)

    def _look_at(self, process: psutil.Process) -> "_Use | None":
        """One of them; it is forgotten if it is gone, or its number is another's now."""
        try:
            with process.oneshot():
                if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
                    raise psutil.NoSuchProcess(process.pid)
                times = process.cpu_times()
                use = _Use(process.memory_info().rss, process.num_threads())
        except psutil.NoSuchProcess:
            del self._processes[process.pid]
            self._spent.pop(process, None)
            return None
        spent = times.user + times.system
        self._cpu_seconds += spent - self._spent.get(process, spent)
        self._spent[process] = spent
        return use


@dataclass(frozen=True)
class _Use:
    rss: int
    threads: int


def _process(pid: int) -> psutil.Process | None:
    try:
        return psutil.Process(pid)
    except psutil.NoSuchProcess:
        return None


def _name(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.NoSuchProcess:
        return ""


def _is_ours(address: str) -> bool:
    """Whether a numeric address is this machine's: only such can be bound."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        try:
            sock.bind((address, 0))
        except OSError:
            return False
    return True


def _those_who_accept(
    addresses: Iterable[str], found: Iterable[kernel.ListeningSocket]
) -> set[int]:
    """The kernel gives a connection to whoever listens on its very address, then to those who
    listen on any of its kind, then on any at all."""
    for address in addresses:
        for candidate in (address, "::" if ":" in address else "0.0.0.0", "::"):
            if inodes := {each.inode for each in found if each.address == candidate}:
                return inodes
    return set()
