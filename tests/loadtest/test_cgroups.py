"""Both versions of cgroups, as they look in a container and outside of it.

A machine has one of them, and seldom a limit, so the trees are made up; in a container of a real
engine `tests/docker` asks the same.
"""

from dataclasses import dataclass
from pathlib import Path

import pytest

from loadtest.host.cgroups import Files, Pids, cpu_quota, memory_left, pids

UNLIMITED_V1 = 9223372036854771712


@dataclass(frozen=True)
class Tree:
    """Files of a tree of cgroups, each given with its text."""

    files: Files

    def write(self, path: str, text: str | int) -> None:
        file = self.files.tree / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")

    def own(self, *lines: str) -> None:
        self.files.own.write_text("".join(f"{line}\n" for line in lines))


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(Files(tmp_path / "cgroup", tmp_path / "own"))


def test_nothing_is_limited_where_there_are_no_cgroups(tree: Tree) -> None:
    assert pids(tree.files) is None
    assert memory_left(tree.files) is None
    assert cpu_quota(tree.files) is None


def test_a_container_of_the_second_version_sees_its_limits_at_the_root(tree: Tree) -> None:
    tree.own("0::/")
    tree.write("pids.max", 5000)
    tree.write("pids.current", 17)
    tree.write("memory.max", 1000)
    tree.write("memory.current", 600)
    tree.write("memory.stat", "anon 100\ninactive_file 200")
    tree.write("cpu.max", "50000 100000")
    assert pids(tree.files) == Pids(5000, 17)
    assert memory_left(tree.files) == 600
    assert cpu_quota(tree.files) == 0.5


def test_a_container_of_the_first_version_has_a_path_that_it_does_not_see(tree: Tree) -> None:
    tree.own("8:pids:/docker/f00", "4:memory:/docker/f00", "1:cpu,cpuacct:/docker/f00", "0::/")
    tree.write("pids/pids.max", 5000)
    tree.write("memory/memory.limit_in_bytes", 1000)
    tree.write("memory/memory.usage_in_bytes", 600)
    tree.write("memory/memory.stat", "inactive_file 7\ntotal_inactive_file 200")
    tree.write("cpu/cpu.cfs_quota_us", 150000)
    tree.write("cpu/cpu.cfs_period_us", 100000)
    assert pids(tree.files) == Pids(5000, 0)
    assert memory_left(tree.files) == 600
    assert cpu_quota(tree.files) == 1.5


def test_what_is_unlimited_is_no_limit(tree: Tree) -> None:
    tree.own("0::/outer", "1:cpu:/")
    tree.write("outer/pids.max", "max")
    tree.write("outer/memory.max", "max")
    tree.write("outer/memory.current", 600)
    tree.write("outer/cpu.max", "max 100000")
    tree.write("cpu/cpu.cfs_quota_us", -1)
    tree.write("cpu/cpu.cfs_period_us", 100000)
    assert pids(tree.files) is None
    assert memory_left(tree.files) is None
    assert cpu_quota(tree.files) is None


def test_the_tightest_on_the_way_to_the_root_counts(tree: Tree) -> None:
    tree.own("0::/outer/inner")
    for path, processes, memory, quota in (
        ("outer/inner", "max", UNLIMITED_V1, "max"),
        ("outer", 100, 2000, 30000),
        (".", 5000, 1900, 50000),
    ):
        tree.write(f"{path}/pids.max", processes)
        tree.write(f"{path}/memory.max", memory)
        tree.write(f"{path}/memory.current", 1000)
        tree.write(f"{path}/cpu.max", f"{quota} 100000")
    assert pids(tree.files) == Pids(100, 0)
    assert memory_left(tree.files) == 900
    assert cpu_quota(tree.files) == 0.3


def test_more_used_than_allowed_leaves_nothing(tree: Tree) -> None:
    tree.own("0::/")
    tree.write("memory.max", 1000)
    tree.write("memory.current", 1200)
    assert memory_left(tree.files) == 0


def test_the_least_room_counts_and_not_the_least_limit(tree: Tree) -> None:
    tree.own("0::/outer/inner")
    for path, limit, used in (("outer/inner", 1000, 10), ("outer", 2000, 1995)):
        tree.write(f"{path}/pids.max", limit)
        tree.write(f"{path}/pids.current", used)
    found = pids(tree.files)
    assert found is not None
    assert found.room == 5
