"""What the server process costs: CPU, memory, threads, file descriptors, context switches.

A sample costs well under a millisecond, whatever the number of connections: it is taken about
once a second, on a machine where it may take that time from Locust. Context switches of 10,000
threads are not so cheap; they are read separately, before and after what is measured.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import psutil

from loadtest.host import kernel
from loadtest.results.figures import Phase


@dataclass(frozen=True)
class Sample:
    """One look at the server. CPU is in seconds since its start, RSS in bytes."""

    at: float
    phase: Phase | None
    cpu_user: float
    cpu_system: float
    rss: int
    threads: int
    fds: int


@dataclass(frozen=True)
class CpuUse:
    """CPU seconds of the server over some seconds."""

    seconds: float
    user: float
    system: float


class Sampler:
    """Looks at one process; psutil.Error says that it is gone."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self.samples: list[Sample] = []

    def take(self, phase: Phase | None) -> Sample:
        with self._process.oneshot():
            cpu = self._process.cpu_times()
            sample = Sample(
                at=time.monotonic(),
                phase=phase,
                cpu_user=cpu.user,
                cpu_system=cpu.system,
                rss=self._process.memory_info().rss,
                threads=self._process.num_threads(),
                fds=kernel.descriptors(self._process.pid),
            )
        self.samples.append(sample)
        return sample


def cpu_use(samples: Sequence[Sample]) -> CpuUse:
    """From the first of the samples to the last."""
    if len(samples) < 2:
        return CpuUse(0.0, 0.0, 0.0)
    first, last = samples[0], samples[-1]
    return CpuUse(
        seconds=last.at - first.at,
        user=last.cpu_user - first.cpu_user,
        system=last.cpu_system - first.cpu_system,
    )
