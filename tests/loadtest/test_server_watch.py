"""What is said of the server is the server's: found by its listener, lost when it ends."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Set
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from loadtest.client.addresses import Target
from loadtest.client.server_watch import LocalServer, NotSeen, Totals, Watch
from loadtest.host import kernel
from tests.loadtest.conftest import running_server
from tests.loadtest.harness import PATIENCE

# Listens on an address and a port, says on which, and stays, under another name if one is given.
LISTEN = """
import socket, sys, time
if sys.argv[3]:
    open("/proc/self/comm", "w").write(sys.argv[3])
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
dual = sys.argv[1] == "::"
address = sys.argv[1], int(sys.argv[2])
listener = socket.create_server(address, family=family, dualstack_ipv6=dual)
print(listener.getsockname()[1], flush=True)
time.sleep(600)
"""


class Listening:
    """A process that listens, and does nothing else."""

    def __init__(self, address: str = "127.0.0.1", port: int = 0, name: str = "") -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", LISTEN, address, str(port), name], stdout=subprocess.PIPE
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def end(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE)
        if self.process.stdout is not None:
            self.process.stdout.close()


Listen = Callable[..., Listening]


@pytest.fixture
def listen() -> Iterator[Listen]:
    with ExitStack() as stack:

        def start(*arguments: object, **named: object) -> Listening:
            started = Listening(*arguments, **named)  # type: ignore[arg-type]
            stack.callback(started.end)
            return started

        yield start


def local(port: int, host: str = "127.0.0.1") -> LocalServer:
    return LocalServer(Target(host, port))


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class TestLocalServer:
    def test_its_figures_are_those_of_the_process_that_listens(self, listen: Listen) -> None:
        server = listen()
        source = local(server.port)
        totals = source.look()
        assert totals.rss == pytest.approx(psutil.Process(server.process.pid).memory_info().rss)
        assert totals.threads == 1
        assert str(server.process.pid) in source.name
        assert f"127.0.0.1:{server.port}" in source.name

    def test_workers_are_added_up_and_so_is_one_that_came_later(self, tmp_path: Path) -> None:
        with running_server("runtime", tmp_path, "--workers", "2") as server:
            source = local(server.echo)

            def is_the_sum() -> bool:
                root = psutil.Process(server.pid)
                family = [root, *root.children(recursive=True)]
                threads = sum(len(os.listdir(f"/proc/{each.pid}/task")) for each in family)
                return len(family) == 3 and source.look().threads == threads

            eventually(is_the_sum)
            victim = psutil.Process(server.pid).children()[0]
            before = source.look().cpu_seconds
            victim.kill()
            eventually(lambda: not victim.is_running())
            eventually(is_the_sum)
            after = source.look().cpu_seconds
            assert before is not None
            assert after is not None
            assert after >= before

    def test_one_that_has_ended_is_not_seen_and_its_successor_is_found(
        self, listen: Listen
    ) -> None:
        server = listen()
        source = local(server.port)
        source.look()
        server.end()
        with pytest.raises(NotSeen, match="has ended"):
            source.look()
        with pytest.raises(NotSeen, match="Nobody listens"):
            source.look()
        successor = listen(port=server.port)
        source.look()
        assert str(successor.process.pid) in source.name

    def test_one_that_no_longer_listens_is_let_go_when_in_doubt(self, listen: Listen) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            source = local(port)
            source.doubt()
            source.look()
            source.doubt()
            source.look()
            assert source.name.startswith(f"process {os.getpid()}")
        source.look()
        assert source.name.startswith(f"process {os.getpid()}")
        source.doubt()
        for _ in range(2):
            with pytest.raises(NotSeen, match="Nobody listens"):
                source.look()
        successor = listen(port=port)
        source.look()
        assert source.name.startswith(f"process {successor.process.pid},")

    def test_a_zombie_has_ended(self, listen: Listen) -> None:
        server = listen()
        source = local(server.port)
        source.look()
        os.kill(server.process.pid, signal.SIGKILL)
        eventually(lambda: psutil.Process(server.process.pid).status() == psutil.STATUS_ZOMBIE)
        with pytest.raises(NotSeen, match="has ended"):
            source.look()

    def test_another_process_under_its_number_is_not_it(self, listen: Listen) -> None:
        server = listen()
        source = local(server.port)
        source.look()
        server.end()
        other = process_with(server.process.pid)
        try:
            with pytest.raises(NotSeen, match="has ended"):
                source.look()
        finally:
            os.kill(other, signal.SIGKILL)
            os.waitpid(other, 0)

    def test_one_look_finds_it_and_the_next_do_not_search(
        self, listen: Listen, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        searched: list[int] = []

        def listening_on(port: int) -> list[kernel.ListeningSocket]:
            searched.append(port)
            return found(port)

        found = kernel.listening_on
        monkeypatch.setattr(kernel, "listening_on", listening_on)
        server = listen()
        source = local(server.port)
        for _ in range(5):
            source.look()
        assert searched == [server.port]

    def test_a_listener_of_somebody_else_is_told_and_searched_for_once(
        self, listen: Listen
    ) -> None:
        searched: list[Set[int]] = []

        def nobody(inodes: Set[int]) -> set[int]:
            searched.append(inodes)
            return set()

        source = LocalServer(Target("127.0.0.1", listen().port), nobody)
        for _ in range(3):
            with pytest.raises(NotSeen, match="another user's process, or in a container"):
                source.look()
        assert len(searched) == 1

    def test_a_forwarder_is_not_taken_for_the_server(self, listen: Listen) -> None:
        source = local(listen(name="docker-proxy").port)
        for _ in range(2):
            with pytest.raises(NotSeen, match=r"docker-proxy listens .* --server-metrics http://"):
                source.look()

    def test_a_target_elsewhere_is_not_taken_for_who_listens_here(self, listen: Listen) -> None:
        server = listen("0.0.0.0")
        with pytest.raises(NotSeen, match=r"not on this machine\. .*--server-metrics"):
            local(server.port, host="192.0.2.1").look()

    def test_a_name_without_an_address_is_told(self) -> None:
        with pytest.raises(NotSeen, match=r"no\.such\.host\.invalid has no address"):
            local(7007, host="no.such.host.invalid").look()

    @pytest.mark.parametrize(
        ("listening", "target"),
        [
            ("127.0.0.1", "127.0.0.1"),
            ("127.0.0.1", "localhost"),
            ("0.0.0.0", "127.0.0.9"),
            ("::", "127.0.0.1"),
            ("::", "::1"),
            ("::1", "::1"),
        ],
    )
    def test_is_found_by_any_address_that_leads_to_it(
        self, listen: Listen, listening: str, target: str
    ) -> None:
        if ":" in listening and not has_ipv6():
            pytest.skip("no IPv6 here")
        server = listen(listening)
        assert local(server.port, host=target).look().threads == 1

    def test_of_two_on_a_port_it_is_the_one_with_the_target_s_address(self, listen: Listen) -> None:
        one = listen("127.0.0.1")
        other = listen("127.0.0.2", one.port)
        for server, host in ((one, "127.0.0.1"), (other, "127.0.0.2")):
            source = local(one.port, host=host)
            source.look()
            assert source.name.startswith(f"process {server.process.pid}, ")


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


def process_with(pid: int) -> int:
    """A child that has just this number, which has become free."""
    for _ in range(200):
        try:
            Path("/proc/sys/kernel/ns_last_pid").write_text(str(pid - 1))
        except OSError as error:
            pytest.skip(f"process numbers cannot be chosen here: {error.strerror}")
        child = subprocess.Popen(["sleep", "600"])
        if child.pid == pid:
            child.returncode = 0  # it is ended and waited for by number
            return pid
        child.kill()
        child.wait()
    pytest.skip("others are faster to take the number")


def test_listeners_come_before_all_connections() -> None:
    """The rest of the table, with its thousands of lines, is not read."""
    with ExitStack() as stack:
        early = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=200))
        for _ in range(100):
            stack.enter_context(socket.create_connection(early.getsockname()))
            stack.enter_context(early.accept()[0])
        late = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        (found,) = kernel.listening_on(late.getsockname()[1])
        assert found.address == "127.0.0.1"
        assert kernel.holders({found.inode}) == {os.getpid()}
        # Of a hundred connections with this port none is a listener.
        assert len(kernel.listening_on(early.getsockname()[1])) == 1


class Told:
    """A source that says what it is told to."""

    name = "told"

    def __init__(self, *totals: Totals | NotSeen) -> None:
        self._totals = iter(totals)

    def look(self) -> Totals:
        totals = next(self._totals)
        if isinstance(totals, NotSeen):
            raise totals
        return totals

    def doubt(self) -> None:
        raise NotImplementedError


def percents(*totals: Totals | NotSeen) -> list[float | None]:
    ticks = iter(range(100))
    watch = Watch(Told(*totals), lambda: 2.0 * next(ticks))
    return [watch.read().cpu_percent for _ in totals]


def spent(seconds: float | None) -> Totals:
    return Totals(seconds, rss=1, threads=1)


class TestWatch:
    def test_cpu_is_what_was_spent_since_the_look_before(self) -> None:
        assert percents(spent(5.0), spent(6.0), spent(10.0)) == [None, 50.0, 200.0]

    def test_a_server_that_counts_from_the_beginning_is_another_one(self) -> None:
        assert percents(spent(5.0), spent(1.0), spent(2.0)) == [None, None, 50.0]

    def test_over_a_time_in_which_it_was_not_seen_nothing_is_said(self) -> None:
        seen = percents(spent(5.0), NotSeen("gone"), spent(6.0), spent(8.0))
        assert seen == [None, None, None, 100.0]
        assert percents(spent(5.0), spent(None), spent(6.0)) == [None, None, None]

    def test_what_cannot_be_seen_is_words_and_no_zeros(self) -> None:
        reading = Watch(Told(NotSeen("It is in a box."))).read()
        assert reading.problem == "It is in a box."
        assert (reading.cpu_percent, reading.rss, reading.threads) == (None, None, None)
