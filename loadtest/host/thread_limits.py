"""Which limit leaves a process no room for another thread or descriptor.

The kernel has one answer, EAGAIN, for a quota that is used up, for thread numbers that have run out
and for an address space without room for a stack. So the errno does not tell which it was, but all
of them can be read *while* the process is there: the one without room is the one that bit. Some
belong to the machine: whoever takes the last of those takes it from everybody.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from loadtest.host import cgroups, kernel
from loadtest.host.fds import SPARE_FDS

# A thread's stack and the guard page below it. CPython 3.11 takes a third for the frames of its
# code, once the thread runs (measured: 65,530 mappings end at 22,332 threads).
MAPPINGS = 3
# Address space of a stack as the server asks for it, with a malloc arena's smallest growth.
STACK_BYTES = 1 << 20


@dataclass(frozen=True)
class ThreadLimit:
    """What a limit allows, what is used of it, and what one more would need."""

    name: str
    allows: int
    used: int
    needs: int = 1

    @property
    def room(self) -> int:
        return max(0, self.allows - self.used)

    @property
    def is_reached(self) -> bool:
        return self.used + self.needs > self.allows

    def __str__(self) -> str:
        return f"{self.name} {self.allows:,}"


def reached(pid: int) -> str:
    """The limits of threads that a process has come up against; "" if it is none of these."""
    return ", ".join(str(limit) for limit in thread_limits(pid) if limit.is_reached)


def out_of_descriptors(pid: int) -> str:
    """The limit on open files, if it leaves nothing but what servers keep for themselves."""
    allows, used = _own(pid, "Max open files"), psutil.Process(pid).num_fds()
    if allows is None:
        return ""
    limit = ThreadLimit("open files", allows, used, needs=SPARE_FDS)
    return str(limit) if limit.is_reached else ""


def _own(pid: int, name: str) -> int | None:
    """A soft limit of a process; None for "unlimited". To ask by prlimit() takes a privilege, where
    the process is another user's."""
    for line in Path(f"/proc/{pid}/limits").read_text().splitlines():
        if line.startswith(name):
            soft = line.removeprefix(name).split()[0]
            return int(soft) if soft.isdigit() else None
    return None


def thread_limits(pid: int) -> list[ThreadLimit]:
    """Every limit on the threads of a process that is in force and can be read."""
    return [*shared_limits(), *_user(pid), *_mappings(pid), *_address_space(pid)]


def shared_limits() -> Iterator[ThreadLimit]:
    """Those of the whole machine or of a cgroup, of which others need some, too."""
    running = kernel.threads_running()
    for name in ("threads-max", "pid_max"):
        allows = kernel.read_int(Path("/proc/sys/kernel", name))
        if allows is not None:
            yield ThreadLimit(f"kernel.{name}", allows, running)
    pids = cgroups.pids()
    if pids is not None:
        yield ThreadLimit("cgroup pids.max", pids.limit, pids.used)


def _user(pid: int) -> Iterator[ThreadLimit]:
    """The quota of a user, which does not hold for root."""
    user = psutil.Process(pid).uids().real
    allows = _own(pid, "Max processes")
    if user == 0 or allows is None:
        return
    used = 0
    for each in psutil.process_iter():
        with suppress(psutil.Error):
            if each.uids().real == user:
                used += each.num_threads()
    yield ThreadLimit("RLIMIT_NPROC (ulimit -u)", allows, used)


def _mappings(pid: int) -> Iterator[ThreadLimit]:
    """How many separate pieces of memory a process may have."""
    allows = kernel.read_int("/proc/sys/vm/max_map_count")
    if allows is not None:
        with Path(f"/proc/{pid}/maps").open("rb") as lines:
            yield ThreadLimit("vm.max_map_count", allows, sum(1 for _ in lines), MAPPINGS)


def _address_space(pid: int) -> Iterator[ThreadLimit]:
    """How much memory a process may reserve; a stack is reserved whole, used or not."""
    allows = _own(pid, "Max address space")
    if allows is not None:
        used = psutil.Process(pid).memory_info().vms
        yield ThreadLimit("RLIMIT_AS (ulimit -v), bytes", allows, used, STACK_BYTES)
