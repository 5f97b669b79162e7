"""Why there is no more room for a thread: every limit that could be the reason, and what is used.

The kernel has one answer, EAGAIN, for a quota that is used up, for thread numbers that have run out
and for an address space without room for one more stack.  (The C library turns the ENOMEM of the
last into EAGAIN, too.)  So the errno does not tell which limit it was; but all of them can be
read, and the one that has no room for what a thread needs is the one that bit.

Read it *while* the threads are there: afterwards there is room everywhere.
"""

from __future__ import annotations

import ctypes
import os
import resource
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

#: A thread's stack and the guard page below it are a mapping each; without room for them there is
#: no thread.  (CPython 3.11 takes a third for the frames of its Python code, once the thread runs.)
MAPPINGS = 2
DEFAULT_STACK = 8 << 20


@dataclass(frozen=True)
class Limit:
    """What a limit allows, what is used of it, and what one more thread would need of it."""

    name: str
    allows: int
    used: int
    needs: int = 1

    @property
    def is_reached(self) -> bool:
        return self.used + self.needs > self.allows


class Machine(NamedTuple):
    """Where the kernel tells of its limits; tests have files of their own."""

    proc: Path = Path("/proc")
    cgroup: Path = Path("/sys/fs/cgroup")


def thread_limits(machine: Machine | None = None) -> list[Limit]:
    """Every limit on threads that is in force and can be read here."""
    proc, cgroup = machine or Machine()
    return [
        *_kernel_limits(proc),
        *_user_limit(proc),
        *_cgroup_limits(proc, cgroup),
        *_mappings(proc),
        *_address_space(proc),
    ]


def _kernel_limits(proc: Path) -> Iterator[Limit]:
    """The two that count all threads of the machine, whoever they belong to."""
    with suppress(OSError):
        threads = int((proc / "loadavg").read_text().split()[3].split("/")[1])
        for name in ("threads-max", "pid_max"):
            allows = int((proc / "sys/kernel" / name).read_text())
            yield Limit(f"kernel.{name}", allows, threads)


def _user_limit(proc: Path) -> Iterator[Limit]:
    """The quota of a user, which does not hold for root."""
    allows, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    user = os.getuid()
    if allows == resource.RLIM_INFINITY or user == 0:
        return
    used = 0
    for status in proc.glob("[0-9]*/status"):
        with suppress(OSError):  # a process that has ended meanwhile
            lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
            if int(lines["Uid"].split()[0]) == user:
                used += int(lines["Threads"])
    yield Limit("RLIMIT_NPROC (ulimit -u)", allows, used)


def _cgroup_limits(proc: Path, mount: Path) -> Iterator[Limit]:
    """A container's quota, and that of every group around it."""
    with suppress(OSError):
        for line in (proc / "self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers not in ("", "pids"):
                continue
            root = mount / controllers  # version 2 has one tree and no name for it
            group = root / path.lstrip("/")
            for directory in (group, *group.parents):
                with suppress(OSError, ValueError):  # "max" is no number
                    allows = int((directory / "pids.max").read_text())
                    used = int((directory / "pids.current").read_text())
                    yield Limit(f"cgroup pids.max of {directory}", allows, used)
                if directory == root:
                    break


def _mappings(proc: Path) -> Iterator[Limit]:
    """How many separate pieces of memory a process may have."""
    with suppress(OSError):
        allows = int((proc / "sys/vm/max_map_count").read_text())
        with (proc / "self/maps").open("rb") as lines:
            yield Limit("vm.max_map_count", allows, sum(1 for _ in lines), MAPPINGS)


def _address_space(proc: Path) -> Iterator[Limit]:
    """How much memory a process may reserve.  A stack is reserved whole, used or not."""
    allows, _ = resource.getrlimit(resource.RLIMIT_AS)
    if allows == resource.RLIM_INFINITY:
        return
    with suppress(OSError):
        pages = int((proc / "self/statm").read_text().split()[0])
        used = pages * os.sysconf("SC_PAGE_SIZE")
        yield Limit("RLIMIT_AS (ulimit -v), bytes", allows, used, stack_size())


def stack_size() -> int:
    """How much address space each thread reserves for its stack."""
    stack, _ = resource.getrlimit(resource.RLIMIT_STACK)
    return DEFAULT_STACK if stack == resource.RLIM_INFINITY else stack


def refusal() -> int:
    """The errno with which the system refuses a thread right now; 0 if it gives one.

    Python says "can't start new thread" and drops the number.  So here is the same call once more,
    past Python: `pthread_create` returns its errno.  If it works this time, the thread it makes
    calls `free(NULL)`, which does nothing, and is waited for.
    """
    libc = ctypes.CDLL(None)
    thread = ctypes.c_ulong()
    error = int(libc.pthread_create(ctypes.byref(thread), None, libc.free, None))
    if error == 0:
        libc.pthread_join(thread, None)
    return error
