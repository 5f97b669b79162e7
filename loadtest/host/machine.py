"""Where and with what a measurement was made: without it the figures mean nothing."""

import datetime
import hashlib
import importlib.metadata
import os
import platform
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from loadtest.host.fds import fd_limit

PACKAGES = ("c10k", "uvloop", "locust", "gevent", "hdrhistogram", "psutil")
# What the load comes from besides Python, by what each says of its version in the first line.
TOOLS = ("redis-benchmark", "cc")
UNKNOWN_REVISION = "unknown"
SYSCTLS = (
    "net/core/somaxconn",
    "net/core/netdev_max_backlog",
    "net/ipv4/tcp_rmem",
    "net/ipv4/tcp_wmem",
    "net/ipv4/tcp_max_syn_backlog",
    "net/ipv4/ip_local_port_range",
    "kernel/threads-max",
    "kernel/pid_max",
    "vm/max_map_count",
)


@dataclass(frozen=True)
class Machine:
    """The machine, its limits and the versions of what ran."""

    cpu: str
    cores: int
    memory_bytes: int
    kernel: str
    open_files: int
    sysctls: dict[str, str]
    python: str
    git_revision: str
    versions: dict[str, str] = field(default_factory=dict)


def utc_now() -> str:
    """ISO 8601, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def describe_machine() -> Machine:
    return Machine(
        cpu=_cpu_model(),
        cores=len(os.sched_getaffinity(0)),
        memory_bytes=psutil.virtual_memory().total,
        kernel=platform.release(),
        open_files=fd_limit().hard,
        sysctls={name.replace("/", "."): _sysctl(name) for name in SYSCTLS},
        python=f"{platform.python_implementation()} {platform.python_version()}",
        git_revision=git_revision(Path(__file__).parent),
        versions={
            **{name: _version(name) for name in PACKAGES},
            **{name: _tool_version(name) for name in TOOLS},
        },
    )


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.machine()


def _sysctl(name: str) -> str:
    try:
        return " ".join(Path("/proc/sys", name).read_text().split())
    except OSError:
        return "unknown"


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _tool_version(name: str) -> str:
    said = _output([name, "--version"]).splitlines()
    return said[0].removeprefix(name).strip() if said else "not installed"


def git_revision(here: Path) -> str:
    """Of the sources there, "+changes" and a digest of them if they differ from it. Outside git it
    is what the container image was built from, or "unknown"."""
    revision = _git(here, "rev-parse", "--short=12", "HEAD")
    if not revision:
        return os.environ.get("SOURCE_REVISION", UNKNOWN_REVISION)
    if not _git(here, "status", "--porcelain"):
        return revision
    changes = _git(here, "diff", "HEAD") + _git(here, "ls-files", "--others", "--exclude-standard")
    return f"{revision}+changes-{hashlib.sha256(changes.encode()).hexdigest()[:8]}"


def _git(directory: Path, *arguments: str) -> str:
    return _output(["git", "-C", str(directory), *arguments])


def _output(command: list[str]) -> str:
    """What a command prints; nothing if it is not there, fails or hangs."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
