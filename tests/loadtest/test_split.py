"""A crowd is dealt to as many processes and addresses as the limits of the machine ask for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.client.addresses import parse_sources
from loadtest.doctor import check_machine, need_of, short_of
from loadtest.host.fds import SPARE_FDS, fd_limit
from loadtest.split import Split, by_hand, sources_for, split
from tests.loadtest.test_doctor import run_limited

CROWD = ("doctor", "--connections", "1000", "--workers", "auto", "--processes", "auto")


def test_the_doctor_prints_the_split_and_what_makes_it() -> None:
    done = run_limited(300, *CROWD)
    assert done.returncode == 0, done.stderr
    assert "5 server workers of 200 connections, 5 Locust processes of 200" in done.stdout
    assert "-m server --mode runtime --workers 5 --max-connections 1000\n" in done.stdout
    assert "--users 1000 --spawn-rate 1000 --processes 5 EchoUser\n" in done.stdout


def test_too_few_processes_are_short_and_the_remedy_is_their_number() -> None:
    done = run_limited(300, "doctor", "--connections", "1000", "--workers", "4")
    assert done.returncode == 1
    last = done.stdout.splitlines()[-1]
    assert "open files, server 300 x 4: --workers 5, or raise the hard limit" in last
    assert "open files, Locust 300 x 1: --processes 5, or raise" in last
    assert last.endswith("; or --connections 236")


def test_more_processes_than_memory_are_short() -> None:
    done = run_limited(70, "doctor", "--connections", "100000", "--workers", "auto")
    assert done.returncode == 1
    assert "memory" in done.stdout.splitlines()[-1]


@pytest.mark.parametrize("flag", ["--workers", "--processes"])
@pytest.mark.parametrize("value", ["0", "-1", "many", "1.5", ""])
def test_what_is_no_number_of_processes_is_refused_in_one_line(flag: str, value: str) -> None:
    done = run_limited(300, "doctor", f"{flag}={value}")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert flag in done.stderr


@given(connections=st.integers(1, 10**6), cores=st.integers(1, 64))
def test_no_process_gets_more_than_its_descriptors(connections: int, cores: int) -> None:
    found = split(connections, cores=cores)
    room = fd_limit().hard - SPARE_FDS
    for count in (found.workers, found.processes):
        assert -(-connections // count) <= room
        assert count >= min(cores, connections)
        assert count == 1 or count <= cores or -(-connections // (count - 1)) > room


@given(connections=st.integers(1, 10**6), ports=st.integers(400, 60_000))
def test_addresses_use_a_quarter_of_their_ports(connections: int, ports: int) -> None:
    addresses = parse_sources(sources_for(connections, ports))
    assert len(set(addresses)) == len(addresses) != 1
    assert -(-connections // max(1, len(addresses))) <= ports // 4
    assert all(address.startswith("127.") for address in addresses)
    assert "127.0.0.1" not in addresses


def test_what_is_asked_for_is_not_changed() -> None:
    found = split(100, workers=3, processes=7, source_addresses="127.0.0.9")
    assert found == Split(100, 3, 7, "127.0.0.9")


def test_one_worker_is_no_supervisor() -> None:
    assert split(100, workers=1).server_flags() == ["--max-connections", "100"]
    server, locust = by_hand(Split(100, 1, 1, ""), 50)
    assert "--workers" not in server
    assert "--processes" not in locust


def test_a_crowd_needs_no_threads() -> None:
    names = [check.name for check in check_machine(need_of(Split(10**7, 2, 2, ""), 500))]
    assert "open files, server" in names
    assert "kernel.pid_max" not in names


def test_the_machine_is_asked_for_all_its_open_files() -> None:
    most = fd_limit().hard * 10**6
    short = short_of(check_machine(need_of(Split(most, 10**7, 10**7, ""), 500)))
    assert "file-max" in [check.name for check in short]
