"""One core for the server and another for the client, so that neither takes the other's time.

A child inherits the affinity of its parent from its first instruction on, threads included;
so we change our own around the start of each child rather than the child's after the fact. Two
CPUs of one physical core share its execution units: where there is a choice they are not paired.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

CpuSet = frozenset[int]


@dataclass(frozen=True)
class Cores:
    """Which CPUs each may use; `compare` itself stays off the server's, and off the client's too
    if there is a third."""

    server: CpuSet
    client: CpuSet
    observer: CpuSet

    @property
    def apart(self) -> bool:
        return self.server != self.client

    def describe(self) -> str:
        if not self.apart:
            return "one core, shared by server and client: rates and latencies affect each other"
        return f"server pinned to CPU {min(self.server)}, Locust to CPU {min(self.client)}"


def choose_cores() -> Cores:
    """A CPU each, of those we may use, on different physical cores if possible."""
    allowed = frozenset(os.sched_getaffinity(0))
    if len(allowed) < 2:
        return Cores(allowed, allowed, allowed)
    server, *others = sorted(allowed)
    client = next(
        (cpu for cpu in others if _physical_core(cpu) != _physical_core(server)), others[0]
    )
    rest = allowed - {server, client}
    return Cores(frozenset({server}), frozenset({client}), rest or frozenset({client}))


def _physical_core(cpu: int) -> tuple[str, str]:
    topology = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology")
    try:
        package = (topology / "physical_package_id").read_text()
        return package, (topology / "core_id").read_text()
    except OSError:
        return "", str(cpu)


def unpinned() -> CpuSet:
    """Every CPU that we may use."""
    return frozenset(os.sched_getaffinity(0))


@contextmanager
def pinned(cpus: CpuSet) -> Iterator[None]:
    """Run the block, and children started in it, on these CPUs only."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
