"""What a cgroup allows: the limits of a container, of a service, of a login session.

They are why a container holds less than the machine it is on, and no other file says so:
/proc/meminfo and /proc/cpuinfo tell of the machine. The second version of cgroups has one tree, the
first has one for each controller; a limit may stand at any height of it. A container sees its own
cgroup as the root of the tree, though in the first version its path is still the machine's:
directories that are not there are passed over.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from loadtest.host.kernel import read_int


@dataclass(frozen=True)
class Files:
    """Where the kernel tells of them."""

    tree: Path = Path("/sys/fs/cgroup")
    own: Path = Path("/proc/self/cgroup")


HERE = Files()


@dataclass(frozen=True)
class Pids:
    """A limit on processes, to which threads count, and how many there are."""

    limit: int
    used: int

    @property
    def room(self) -> int:
        return max(0, self.limit - self.used)


def pids(files: Files = HERE) -> Pids | None:
    """The limit that leaves the least room; None if there is none."""
    return min(_pids(files), key=lambda each: each.room, default=None)


def _pids(files: Files) -> Iterator[Pids]:
    for directory in _directories("pids", files):
        limit = read_int(directory / "pids.max")
        if limit is not None:
            yield Pids(limit, read_int(directory / "pids.current") or 0)


def memory_left(files: Files = HERE) -> int | None:
    """Bytes until the nearest limit, the cache of files not counted, which gives way."""
    rooms = [
        max(0, limit - used + _reclaimable(directory))
        for directory in _directories("memory", files)
        for limit_name, used_name in (
            ("memory.max", "memory.current"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        )
        if (limit := read_int(directory / limit_name)) is not None
        and (used := read_int(directory / used_name)) is not None
    ]
    return min(rooms, default=None)


def cpu_quota(files: Files = HERE) -> float | None:
    """How many CPUs' time may be used; who has used it is stopped to the end of the period."""
    quotas = (_quota(directory) for directory in _directories("cpu", files))
    return min((quota for quota in quotas if quota is not None), default=None)


def _quota(directory: Path) -> float | None:
    try:
        quota, period = (directory / "cpu.max").read_text().split()
    except (OSError, ValueError):
        pass
    else:
        return int(quota) / int(period) if quota != "max" else None
    # -1 for none, which read_int takes for no number.
    first = read_int(directory / "cpu.cfs_quota_us")
    every = read_int(directory / "cpu.cfs_period_us")
    return first / every if first is not None and every else None


def _reclaimable(directory: Path) -> int:
    try:
        lines = (directory / "memory.stat").read_text().splitlines()
    except OSError:
        return 0
    counts = dict(line.split() for line in lines)
    return int(counts.get("total_inactive_file", counts.get("inactive_file", 0)))


def _directories(controller: str, files: Files) -> Iterator[Path]:
    """From our own cgroup up to the root of its tree."""
    try:
        lines = files.own.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        root = files.tree / controller if controllers else files.tree
        directory = root / path.lstrip("/")
        while True:
            yield directory
            if directory == root:
                break
            directory = directory.parent
