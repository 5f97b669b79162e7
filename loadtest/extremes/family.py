"""A process and its children, looked at together: what a server with workers costs.

Its memory is the sum over all of them, the supervisor included. RSS counts a page for each who maps
it, and forked workers share many; PSS divides it among them, and costs the kernel a walk, so it is
read once, and not each second.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import psutil

from loadtest.host import kernel
from loadtest.runs.child import Child, RunFailed

KILL_PATIENCE = 5.0


@dataclass(frozen=True)
class Cost:
    """All processes of a family at one moment; CPU in seconds since each one's start."""

    rss: int
    cpu: float


class Family:
    """The members stay those of the beginning: one that ends is missed, and what replaces it is
    no member."""

    def __init__(self, child: Child, parent_name: str, child_name: str) -> None:
        self._child = child
        parent = psutil.Process(child.pid)
        children = sorted(parent.children(recursive=True), key=lambda each: each.pid)
        self._members = {parent_name: parent} | {
            f"{child_name} {number}": each for number, each in enumerate(children, start=1)
        }

    def check_alive(self, when: str) -> None:
        """RunFailed if the process has ended, or any of its children."""
        self._child.check_alive(when)
        for name, member in self._members.items():
            if not _alive(member):
                raise RunFailed(f"{name} of {self._child.name} (pid {member.pid}) died {when}")

    def cost(self) -> Cost:
        """RunFailed if one of them has just ended."""
        rss, cpu = 0, 0.0
        try:
            for member in self._members.values():
                with member.oneshot():
                    rss += member.memory_info().rss
                    times = member.cpu_times()
                    cpu += times.user + times.system
        except psutil.NoSuchProcess:
            self.check_alive("under load")
            raise
        return Cost(rss, cpu)

    def rss_by_process(self) -> dict[str, int]:
        return {name: int(each.memory_info().rss) for name, each in self._members.items()}

    def pss(self) -> int | None:
        """None where the kernel does not tell of one of them."""
        parts = [kernel.proportional_memory(each.pid) for each in self._members.values()]
        known = [part for part in parts if part is not None]
        return sum(known) if len(known) == len(parts) else None


def _alive(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    return False


@contextmanager
def session_ended(child: Child) -> Iterator[None]:
    """Whatever happens, those that a process has forked are gone when it is.

    They would leave by themselves, but a server's worker drains first, and one of Locust's waits a
    minute for a master that was killed. A child of ours has a session of its own, by which they
    are found even then.
    """
    try:
        yield
    finally:
        child.stop(KILL_PATIENCE)
        left = [found for pid in psutil.pids() if (found := _member(pid, child.pid))]
        for each in left:
            with suppress(psutil.NoSuchProcess):
                each.kill()
        psutil.wait_procs(left, KILL_PATIENCE)


def _member(pid: int, session: int) -> psutil.Process | None:
    """A process, if it is of that session, and still there."""
    with suppress(ProcessLookupError, psutil.NoSuchProcess):
        if os.getsid(pid) == session:
            return psutil.Process(pid)
    return None
