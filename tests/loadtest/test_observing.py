"""What is read from the kernel about a server is what the server really has."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from loadtest.host import kernel
from loadtest.host.fds import fd_limit
from loadtest.host.machine import describe_machine, git_revision
from loadtest.host.pinning import choose_cores, pinned
from loadtest.runs.child import Child, RunFailed
from loadtest.runs.sampler import Sample, Sampler, cpu_use
from tests.loadtest.harness import HostileServer, honest


def test_established_connections_are_counted_on_the_servers_side_alone() -> None:
    with HostileServer(honest) as server:
        address = ("127.0.0.1", server.port)
        assert kernel.accepted(os.getpid(), *address) == 0
        clients = [socket.create_connection(address, 5.0) for _ in range(3)]
        for client in clients:  # its echo says that the server has accepted it
            client.sendall(b"x")
            assert client.recv(1) == b"x"
        assert kernel.accepted(os.getpid(), *address) == 3
        for client in clients:
            client.close()


def test_who_waits_in_a_listen_queue_is_not_accepted() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
        with socket.create_connection(address), socket.create_connection(address):
            assert kernel.accepted(os.getpid(), *address) == 0
            with listener.accept()[0]:
                assert kernel.accepted(os.getpid(), *address) == 1


def test_a_sample_counts_the_fds_and_threads_of_the_process() -> None:
    sampler = Sampler(os.getpid())
    # A thread that was joined may be in the kernel's table a moment longer.
    before = sampler.take(None)
    while (again := sampler.take(None)).threads != before.threads or again.at < before.at + 0.05:
        before = again if again.threads != before.threads else before
    before = again
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    with socket.socket(), socket.socket():
        after = sampler.take("hold")
    done.set()
    thread.join()
    assert after.fds - before.fds == 2
    assert after.threads - before.threads == 1
    assert after.rss > 1_000_000
    assert sampler.samples[-2:] == [before, after]


def test_context_switches_are_those_of_all_threads() -> None:
    before, _ = kernel.context_switches(os.getpid())
    begin, done = threading.Event(), threading.Event()

    def wait_often() -> None:
        for _ in range(50):
            done.wait(0.0005)
        begin.set()
        done.wait(10.0)

    thread = threading.Thread(target=wait_often)
    thread.start()
    assert begin.wait(10.0)
    after, _ = kernel.context_switches(os.getpid())
    done.set()
    thread.join()
    assert after - before >= 50


def test_proportional_memory_is_at_most_resident_memory() -> None:
    pss = kernel.proportional_memory(os.getpid())
    assert pss is not None
    assert 1_000_000 < pss <= Sampler(os.getpid()).take(None).rss


def test_memory_of_a_process_that_is_gone_is_unknown() -> None:
    assert kernel.proportional_memory(2**22 + 1) is None


def test_bytes_that_nobody_reads_are_in_the_buffers_of_the_kernel() -> None:
    done = threading.Event()

    def never_read(_: socket.socket) -> None:
        done.wait(10.0)

    sent = 0
    with HostileServer(never_read) as server, contextlib.ExitStack() as clients:
        for _ in range(8):
            client = socket.create_connection(("127.0.0.1", server.port), 5.0)
            clients.enter_context(client)
            client.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while sent < 64 * 2**20:
                    sent += client.send(bytes(2**16))
        held = kernel.tcp_buffers()
        done.set()
    assert held is not None
    # Each CPU keeps a part of the account to itself, up to a megabyte.
    assert held > sent / 2 > 2**21


def test_the_kernels_own_memory_and_drops_are_numbers() -> None:
    slab, drops = kernel.slab(), kernel.softnet_drops()
    assert slab is not None
    assert slab > 1_000_000
    assert drops is not None
    assert drops >= 0


def test_changes_to_the_code_change_its_revision(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        who = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
        subprocess.run(["git", "-C", str(tmp_path), *who, *arguments], check=True, timeout=30)

    file = tmp_path / "code.py"
    git("init", "-q")
    file.write_text("1")
    git("add", "code.py")
    git("commit", "-qm", "one")
    clean = git_revision(tmp_path)
    assert len(clean) == 12
    found = [clean]
    for text in ("2", "3"):
        file.write_text(text)
        found.append(git_revision(tmp_path))
    file.write_text("1")
    (tmp_path / "more.py").touch()
    found.append(git_revision(tmp_path))
    assert len(set(found)) == 4
    assert all(revision.startswith(f"{clean}+changes-") for revision in found[1:])
    (tmp_path / "more.py").unlink()
    assert git_revision(tmp_path) == clean


def test_outside_git_the_revision_is_unknown(tmp_path: Path) -> None:
    assert git_revision(tmp_path) == "unknown"


def test_cpu_use_spans_the_samples() -> None:
    def sample(at: float, cpu: float) -> Sample:
        return Sample(at, "hold", cpu, cpu / 2, rss=0, threads=1, fds=0)

    use = cpu_use([sample(1.0, 4.0), sample(2.0, 5.0), sample(5.0, 6.0)])
    assert (use.seconds, use.user, use.system) == (4.0, 2.0, 1.0)
    assert cpu_use([]).seconds == 0


@pytest.mark.timeout(300)
@pytest.mark.usefixtures("overflows_alone")
def test_an_overflow_of_a_listen_queue_is_counted() -> None:
    before = kernel.listen_counters()
    clients = []
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        for _ in range(8):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
            clients.append(client)
        counted = kernel.listen_counters().since(before)
        for client in clients:
            client.close()
    assert counted.overflows >= 1
    assert counted.drops >= 1


def test_a_child_inherits_the_pinning_and_we_get_ours_back() -> None:
    mine = os.sched_getaffinity(0)
    cpu = frozenset({max(mine)})
    with pinned(cpu):
        shown = subprocess.run(
            [sys.executable, "-c", "import os; print(os.sched_getaffinity(0))"],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
    assert shown.stdout.strip() == str(set(cpu))
    assert os.sched_getaffinity(0) == mine


def test_server_and_client_get_different_cpus_where_there_are_two() -> None:
    cores = choose_cores()
    assert cores.apart == (len(os.sched_getaffinity(0)) > 1)
    assert not (cores.apart and cores.server & cores.client)


def test_the_machine_describes_itself() -> None:
    machine = describe_machine()
    assert machine.cores == len(os.sched_getaffinity(0))
    assert machine.open_files == fd_limit().hard
    assert machine.sysctls["net.core.somaxconn"].isdigit()
    assert machine.versions["locust"] != "not installed"
    assert machine.versions.keys() >= {"hdrhistogram", "redis-benchmark", "cc"}
    assert machine.python.endswith(".".join(map(str, sys.version_info[:3])))


def child(tmp_path: Path, code: str) -> Child:
    out, log = tmp_path / "out", tmp_path / "log"
    return Child("child", [sys.executable, "-c", code], out, log, os.environ)


def test_a_child_that_ends_says_so_with_its_last_words(tmp_path: Path) -> None:
    with child(tmp_path, "import sys; sys.stderr.write('one\\ntwo\\n'); sys.exit(3)") as process:
        assert process.wait(10.0) == 3
        with pytest.raises(RunFailed, match="child ended early with status 3: two"):
            process.check_alive("early")


def test_a_child_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    code = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "sys.stdout.write('ready'); sys.stdout.flush()\n"
        "time.sleep(60)"
    )
    with child(tmp_path, code) as process:
        while not (tmp_path / "out").read_text():
            process.wait(0.01)
        status = process.stop(patience=0.05)
    assert "had to be killed" in process.explain(status)


def test_a_child_does_not_outlive_its_block(tmp_path: Path) -> None:
    with child(tmp_path, "import time; time.sleep(60)") as process:
        process.check_alive("at once")
    assert process.status is not None


def test_a_command_that_does_not_exist_is_a_reason(tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match="cannot be started"):
        Child("child", ["/nonexistent/server"], tmp_path / "out", tmp_path / "log", os.environ)


def test_outside_git_the_revision_is_the_one_that_the_image_was_built_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SOURCE_REVISION", raising=False)
    assert git_revision(tmp_path) == "unknown"
    monkeypatch.setenv("SOURCE_REVISION", "0123456789ab")
    assert git_revision(tmp_path) == "0123456789ab"
