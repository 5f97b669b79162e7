"""What is in the images, what is not, and what the doctor says inside of them."""

import re
from pathlib import Path

import pytest

from tests.docker.conftest import Report
from tests.docker.engine import LOADTEST, SERVER, docker, docker_says, inspect

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("images")]

# Prints each module that a server and its health check import, and that has no bytecode on disk.
WITHOUT_BYTECODE = """
import os, sys
import server.__main__, server.health
from server import config, engines
for mode in config.MODES:
    engines.load(mode)
for name, module in sys.modules.items():
    cached = getattr(module, "__cached__", None)
    if cached and not os.path.exists(cached):
        print(name)
"""


def run(image: str, *command: str, flags: tuple[str, ...] = ()) -> str:
    entrypoint = ("--entrypoint", command[0])
    return docker_says("run", "--rm", *flags, *entrypoint, image, *command[1:])


def test_the_server_image_has_the_server_and_no_tools() -> None:
    tools = "pip pip3 gcc cc locust make git wheel c10k-loadtest redis-benchmark"
    done = docker(
        *("run", "--rm", "--entrypoint", "sh", SERVER, "-c"),
        f"command -v c10k-server; for name in {tools}; do command -v $name; done; true",
    )
    assert done.stdout.split() == ["/opt/c10k/bin/c10k-server"]


@pytest.mark.parametrize("module", ["pip", "ensurepip", "setuptools", "locust", "loadtest"])
def test_the_server_image_cannot_import_what_it_does_not_need(module: str) -> None:
    done = docker("run", "--rm", "--entrypoint", "python", SERVER, "-c", f"import {module}")
    assert done.returncode == 1
    assert f"No module named '{module}'" in done.stderr


@pytest.mark.parametrize("image", [SERVER, LOADTEST])
def test_no_image_has_an_installer_or_a_compiler(image: str) -> None:
    found = run(image, "sh", "-c", "command -v pip; command -v gcc; command -v cc; true")
    assert found == ""


@pytest.mark.parametrize("image", [SERVER, LOADTEST])
def test_an_image_says_what_it_is_and_runs_as_nobody_in_particular(image: str) -> None:
    config = inspect(image)["Config"]
    assert config["User"] == "10001:10001"
    assert config["StopSignal"] == "SIGTERM"
    for label in ("title", "description", "version", "revision"):
        assert config["Labels"][f"org.opencontainers.image.{label}"]
    assert run(image, "id", "-u") == "10001"


def test_nothing_is_compiled_each_time_that_a_server_starts() -> None:
    assert run(SERVER, "python", "-c", WITHOUT_BYTECODE, flags=("--read-only",)) == ""


def test_a_flag_is_given_after_the_image_and_a_bad_one_is_one_line() -> None:
    assert "--max-connections" in docker_says("run", "--rm", SERVER, "--help")
    done = docker("run", "--rm", SERVER, "--max-conections", "5")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "c10k-server: unknown argument '--max-conections'; did you mean --max-connections?"
    ]


def doctor(*flags: str, status: int, connections: int = 10_000) -> dict[str, str]:
    """Its table in a container: each row by its name, in one line."""
    command = ("doctor", "--connections", str(connections))
    wide = ("--env", "COLUMNS=250")
    done = docker("run", "--rm", *wide, *flags, LOADTEST, *command)
    assert done.returncode == status, done.stdout + done.stderr
    rows = [line.split("│")[1:-1] for line in done.stdout.splitlines() if line.startswith("│")]
    return {row[0].strip(): " | ".join(cell.strip() for cell in row[1:]) for row in rows}


def test_the_doctor_sees_that_a_container_may_hold_them(report: Report) -> None:
    rows = doctor("--ulimit", "nofile=20000:20000", status=0)
    assert rows["open files"].startswith("20,000 | 19,936 | ok")
    assert "cgroup pids.max" not in rows
    assert "in the cgroup" not in rows["memory"]
    for name, row in rows.items():
        report(f"doctor: {name:<15} {row.rstrip(' |')}")


def test_the_doctor_sees_every_limit_of_a_container() -> None:
    rows = doctor(
        *("--ulimit", "nofile=1024:5000", "--pids-limit", "3000", "--memory", "256m"),
        *("--cpus", "0.5", "--sysctl", "net.core.somaxconn=100"),
        *("--sysctl", "net.ipv4.ip_local_port_range=20000 20999"),
        status=1,
    )
    assert rows["open files"].startswith("5,000 (soft 1,024 is raised at start) | 4,936 | short")
    assert "compose" in rows["open files"]
    assert rows["local ports"].startswith("1,000 | 1,000 | short")
    assert rows["cgroup pids.max"].startswith("3,000 | 2,936 | short")
    assert rows["accept queue"].startswith("bursts of 100 |  | short")
    assert re.match(r"0\.2 GiB left in the cgroup \| [34],\d+ \| short", rows["memory"])
    assert "--memory" in rows["memory"]
    assert "a quota of 0.5 CPUs" in rows["cores"]


def test_the_doctor_sees_the_one_cpu_of_a_container() -> None:
    rows = doctor("--cpuset-cpus", "0", status=0, connections=100)
    assert rows["cores"].startswith("one core, shared by server and client")


def test_the_doctor_sees_what_the_firewall_can_keep_in_mind() -> None:
    most = Path("/proc/sys/net/netfilter/nf_conntrack_max")
    if not most.exists():
        pytest.skip("this machine tracks no connections, or not the engine's")
    rows = doctor(status=0, connections=100)
    left, allows, _, _ = (cell.strip() for cell in rows["conntrack"].split("|"))
    assert left == f"{allows} left"
    assert int(allows.replace(",", "")) <= int(most.read_text())
    short = doctor(status=1, connections=int(most.read_text()) + 1)
    assert "short | raise it on the machine" in short["conntrack"]


def test_a_comparison_works_on_one_cpu_and_with_no_network_but_its_own(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    done = docker(
        *("run", "--rm", "--cpuset-cpus", "0", "--network", "none", "--read-only"),
        *("--tmpfs", "/tmp", "--cap-drop", "ALL", "--volume", f"{tmp_path}:/results"),
        *(LOADTEST, "compare", "--out", "/results", "--modes", "runtime,c-epoll"),
        *("--connections", "50", "--duration", "2"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "one core, shared by server and client" in done.stdout
    # Compiled with the image, which has no compiler.
    assert re.search(r"(?m)^c-epoll +1/1 +50", done.stdout)


def test_a_directory_of_somebody_else_is_refused_before_anything_starts(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    done = docker(
        *("run", "--rm", "--user", "54321:54321", "--volume", f"{tmp_path}:/results"),
        *(LOADTEST, "compare", "--out", "/results", "--connections", "10"),
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.endswith("cannot write to --out /results: Permission denied for user 54321")
