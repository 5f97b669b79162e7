"""Which limit on threads is reached, worked out from files as the kernel writes them."""

import os
import resource
from pathlib import Path

import pytest

from examples.part0_introduction.thread_limits import (
    DEFAULT_STACK,
    Limit,
    Machine,
    stack_size,
    thread_limits,
)


class Files:
    """A machine of files: 250 threads in all, and nothing limits anything."""

    def __init__(self, root: Path) -> None:
        self.machine = Machine(root / "proc", root / "cgroup")
        self.proc("loadavg", "0.10 0.20 0.30 2/250 4711\n")
        self.proc("sys/kernel/threads-max", "9000\n")
        self.proc("sys/kernel/pid_max", "8000\n")
        self.proc("sys/vm/max_map_count", "700\n")
        self.proc("self/maps", "a line for each\n" * 50)
        self.proc("self/statm", "1000 1 1 1 1 1 1\n")
        self.proc("self/cgroup", "0::/\n")

    def proc(self, name: str, text: str) -> None:
        self._write(self.machine.proc / name, text)

    def cgroup(self, directory: str, allows: str, used: int) -> None:
        self._write(self.machine.cgroup / directory / "pids.max", f"{allows}\n")
        self._write(self.machine.cgroup / directory / "pids.current", f"{used}\n")

    def _write(self, path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def limits(self) -> dict[str, Limit]:
        return {limit.name: limit for limit in thread_limits(self.machine)}

    def reached(self) -> list[str]:
        return [name for name, limit in self.limits().items() if limit.is_reached]


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    allow(monkeypatch)
    return Files(tmp_path)


def allow(monkeypatch: pytest.MonkeyPatch, **limits: int) -> None:
    """What `getrlimit` says: everything is unlimited but these."""
    by_number = {getattr(resource, f"RLIMIT_{name}"): value for name, value in limits.items()}

    def getrlimit(number: int) -> tuple[int, int]:
        return by_number.get(number, resource.RLIM_INFINITY), resource.RLIM_INFINITY

    monkeypatch.setattr(resource, "getrlimit", getrlimit)


def test_a_machine_with_room_has_reached_nothing(files: Files) -> None:
    assert [*files.limits().values()] == [
        Limit("kernel.threads-max", 9000, 250),
        Limit("kernel.pid_max", 8000, 250),
        Limit("vm.max_map_count", 700, 50, needs=2),
    ]
    assert files.reached() == []


@pytest.mark.parametrize(("allows", "is_reached"), [(249, True), (250, True), (251, False)])
@pytest.mark.parametrize("name", ["threads-max", "pid_max"])
def test_the_kernel_counts_every_thread_there_is(
    files: Files, name: str, allows: int, is_reached: bool
) -> None:
    files.proc(f"sys/kernel/{name}", f"{allows}\n")
    assert (f"kernel.{name}" in files.reached()) is is_reached


@pytest.mark.parametrize(("allows", "is_reached"), [(51, True), (52, False)])
def test_a_thread_needs_two_mappings_or_is_refused(
    files: Files, allows: int, is_reached: bool
) -> None:
    files.proc("sys/vm/max_map_count", f"{allows}\n")
    assert ("vm.max_map_count" in files.reached()) is is_reached


def test_a_user_has_a_quota_for_all_processes_together(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    for process, user, threads in ((1, 0, 3), (20, 777, 5), (300, 777, 8)):
        files.proc(
            f"{process}/status", f"Name:\tx: y\nUid:\t{user}\t0\t0\t0\nThreads:\t{threads}\n"
        )
    allow(monkeypatch, NPROC=13)
    monkeypatch.setattr(os, "getuid", lambda: 777)
    assert files.limits()["RLIMIT_NPROC (ulimit -u)"] == Limit("RLIMIT_NPROC (ulimit -u)", 13, 13)
    assert files.reached() == ["RLIMIT_NPROC (ulimit -u)"]
    monkeypatch.setattr(os, "getuid", lambda: 0)  # root is not held to it
    assert files.reached() == []


def test_a_container_is_bounded_by_any_group_around_it(files: Files) -> None:
    files.proc("self/cgroup", "0::/outer/inner\n")
    files.cgroup("outer/inner", "max", 7)
    files.cgroup("outer", "100", 100)
    files.cgroup("", "5000", 100)
    outer, root = files.machine.cgroup / "outer", files.machine.cgroup
    assert files.reached() == [f"cgroup pids.max of {outer}"]
    assert files.limits()[f"cgroup pids.max of {root}"].allows == 5000


def test_the_first_version_of_cgroups_has_a_tree_for_threads_alone(files: Files) -> None:
    files.cgroup("pids/docker", "30", 30)
    files.cgroup("memory/docker", "1", 1)
    files.cgroup(".", "1", 1)  # the parent of the tree is no part of it
    files.proc("self/cgroup", "8:pids:/docker\n4:memory:/docker\n")
    assert files.reached() == [f"cgroup pids.max of {files.machine.cgroup / 'pids/docker'}"]


@pytest.mark.parametrize(("room", "is_reached"), [(-1, True), (0, False)])
def test_a_stack_is_reserved_whole(
    files: Files, monkeypatch: pytest.MonkeyPatch, room: int, is_reached: bool
) -> None:
    used = 1000 * os.sysconf("SC_PAGE_SIZE")
    allow(monkeypatch, AS=used + (1 << 20) + room, STACK=1 << 20)
    assert ("RLIMIT_AS (ulimit -v), bytes" in files.reached()) is is_reached


def test_a_stack_without_a_limit_has_the_c_librarys_size(monkeypatch: pytest.MonkeyPatch) -> None:
    allow(monkeypatch)
    assert stack_size() == DEFAULT_STACK


def test_what_cannot_be_read_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    allow(monkeypatch, AS=1, NPROC=1)
    monkeypatch.setattr(os, "getuid", lambda: 0)
    assert thread_limits(Machine(tmp_path, tmp_path)) == []


def test_this_machine_has_limits() -> None:
    names = {limit.name for limit in thread_limits()}
    assert {"kernel.threads-max", "kernel.pid_max", "vm.max_map_count"} <= names
