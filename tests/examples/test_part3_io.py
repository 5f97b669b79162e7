"""Part Three: the clients hear what the server says, all at once where that is what is claimed."""

import re
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from itertools import pairwise
from math import ceil
from pathlib import Path
from types import ModuleType

import pytest

import examples
import runtime
from examples.part1_futures.s01_sleep import Waker
from examples.part2_tasks.s06_join_handle import spawn
from examples.part2_tasks.s08_awake import run
from examples.part3_io import (
    s01_server,
    s02_clients_in_turn,
    s03_client_threads,
    s04_busy_clients,
    s05_poll,
    s06_last_millisecond,
    s07_on_the_runtime,
    s08_ten_thousand,
    s09_poll_everything,
    s10_the_runtime,
)
from examples.part3_io.s01_server import Address, serving
from examples.part3_io.s09_poll_everything import OUR_LOOP, THE_RUNTIME, Loop, measure
from runtime import PENDING, Ready

from .steps import PATIENCE, STEPS, Bell, a_server_that_waits_for, each_in_order

pytestmark = [pytest.mark.usefixtures("nothing_left"), pytest.mark.timeout(30)]

ROOT = Path(examples.__path__[0]).parent

Serving = Callable[[float], AbstractContextManager[Address]]


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", s01_server.__name__, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


def never() -> None:
    """For loops that must not come to wait."""
    raise AssertionError("the loop waited")


def test_the_server_speaks_first_and_counts() -> None:
    with serving(0.01) as address:
        for n in (1, 2):
            with socket.create_connection(address) as sock, sock.makefile() as file:
                assert file.read() == f"start {n}\nend {n}\n"


def test_the_server_serves_clients_at_the_same_time() -> None:
    with serving(0.02) as address:
        socks = [socket.create_connection(address) for _ in range(5)]
        said = []
        for sock in socks:
            with sock, sock.makefile() as file:
                said += file.read().splitlines()
    assert each_in_order(said, 5)


@pytest.mark.parametrize("how", ["a line", "the end of its input", "Ctrl-C"])
def test_the_server_ends_when_it_is_told(how: str) -> None:
    with start() as server:
        assert server.stdin is not None
        assert server.stdout is not None
        assert server.stderr is not None
        assert re.fullmatch(r"listening 127\.0\.0\.1 \d+\n", server.stdout.readline())
        if how == "a line":
            server.stdin.write("\n")
            server.stdin.flush()
        elif how == "Ctrl-C":
            server.send_signal(signal.SIGINT)
        else:
            server.stdin.close()
        assert server.wait(10) == 0
        assert server.stderr.read() == ""


def test_a_server_whose_example_is_killed_does_not_stay() -> None:
    program = f"""
from {s01_server.__name__} import serving
with serving(3600) as address:
    print(address[1], flush=True)
    input()
"""
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as example:
        assert example.stdout is not None
        port = int(example.stdout.readline())
        with socket.create_connection(("127.0.0.1", port)) as sock:
            sock.settimeout(PATIENCE)
            assert sock.recv(100) == b"start 1\n"
            example.kill()
            assert sock.recv(100) == b""  # and not "end 1", which is an hour away


@pytest.mark.parametrize(
    ("port", "fault"),
    [
        ("70000", "'70000' is no port; give 0 to 65535"),
        ("http", "'http' is no port; give 0 to 65535"),
        (None, "Address already in use; try another"),
    ],
)
def test_a_port_that_cannot_be_had_is_one_line(port: str | None, fault: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = str(taken.getsockname()[1]) if port is None else port
        with start("--port", number) as server:
            _, errors = server.communicate(timeout=10)
    assert server.returncode == 2
    assert errors.splitlines()[-1].endswith(fault)


def test_a_server_that_does_not_start_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(RuntimeError, match="the server did not start"), serving(0):
        pass


def test_clients_in_turn_wait_for_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    s02_clients_in_turn.main(["--clients", "3", "--seconds", "0.02"])
    *said, report = lines(capsys)
    assert said == ["start 1", "end 1", "start 2", "end 2", "start 3", "end 3"]
    assert float(report.removesuffix(" s")) >= 0.06


@pytest.mark.parametrize(
    "step",
    [s03_client_threads, s04_busy_clients, s05_poll, s07_on_the_runtime],
    ids=lambda step: step.__name__,
)
def test_ten_clients_at_the_same_time(
    step: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server ends none of them before all have come."""
    monkeypatch.setattr(step, "serving", a_server_that_waits_for(10))
    step.main([])
    *said, report = lines(capsys)
    assert each_in_order([line for line in said if line != "half-time"], 10)
    assert re.fullmatch(r"\d\.\d\d s(, \d\.\d+ s of them on the CPU)?", report)


def test_busy_clients_never_let_their_loop_wait(capsys: pytest.CaptureFixture[str]) -> None:
    with a_server_that_waits_for(3)(0) as address:
        run(s04_busy_clients.all_clients(3, address), never)
    assert each_in_order(lines(capsys), 3)


def test_clients_that_poll_wait_once_for_each_event_at_the_most(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server holds everybody back until the sleeper was due: one poll waits for both."""
    waits, hold, half_time = 0, threading.Event(), s05_poll.half_time

    async def half_time_and_go_on(seconds: float) -> None:
        await half_time(seconds)
        hold.set()

    monkeypatch.setattr(s05_poll, "half_time", half_time_and_go_on)

    def wait() -> None:
        nonlocal waits
        waits += 1
        s05_poll.poll_until_first()

    with a_server_that_waits_for(3, hold)(0) as address:
        s05_poll.run(s05_poll.clients_and_a_sleeper(3, address, 0.02), wait)
    said = lines(capsys)
    assert said.index("half-time") < min(said.index(f"end {n}") for n in (1, 2, 3))
    said.remove("half-time")
    assert each_in_order(said, 3)
    assert waits <= 3 * 3 + 1  # each client: a start, an end, the end of the stream


def test_a_poll_wakes_whose_socket_has_bytes_and_nobody_else() -> None:
    ready, silent = Bell(), Bell()
    a, b = socket.socketpair()
    with a, b:
        for sock, bell in ((a, ready), (b, silent)):
            sock.setblocking(False)
            assert s05_poll.Recv(sock).poll(bell) is PENDING
        b.send(b"for a")
        s05_poll.poll_until_first()
        assert (ready.called, silent.called) == (1, 0)
        assert s05_poll.Recv(a).poll(ready) == Ready(b"for a")
        assert not s05_poll.wakers  # the list was for that turn


def test_a_descriptor_that_was_closed_costs_a_turn_and_no_more() -> None:
    a, b = socket.socketpair()
    with a, b:
        a.setblocking(False)
        assert s05_poll.Recv(a).poll(Bell()) is PENDING
    s05_poll.poll_until_first()
    with pytest.raises(RuntimeError, match=r"^sleep forever\?$"):
        s05_poll.poll_until_first()


def test_a_run_leaves_no_descriptor_of_those_it_cut_off() -> None:
    async def main() -> None:
        spawn(wait_for_bytes())
        await spawn(be_done())  # a turn that ends without a wait, and then the run ends

    async def wait_for_bytes() -> None:
        await s05_poll.Recv(a)

    async def be_done() -> None:
        seen.update(s05_poll.wakers)

    seen: dict[int, Waker] = {}
    a, b = socket.socketpair()
    with a, b:
        a.setblocking(False)
        s05_poll.run(main())
        assert list(seen) == [a.fileno()]
    assert s05_poll.wakers == {}


def test_a_poll_loop_with_nothing_to_wait_for_asks_whether_to_sleep_forever() -> None:
    with pytest.raises(RuntimeError, match=r"^sleep forever\?$"):
        s05_poll.poll_until_first()


def test_truncated_timeouts_spin_and_rounded_ones_do_not(
    capsys: pytest.CaptureFixture[str],
) -> None:
    s06_last_millisecond.main(["--count", "3"])
    truncated, rounded = lines(capsys)
    assert rounded == "3 naps, rounded up: 3 turns of the loop"
    found = re.fullmatch(r"3 naps, truncated: (\d+) turns of the loop", truncated)
    assert found is not None
    assert int(found[1]) > 3
    assert s06_last_millisecond.turns(2, ceil) == 2


def test_some_hundred_clients_on_the_runtime(capsys: pytest.CaptureFixture[str]) -> None:
    s08_ten_thousand.main(["--clients", "300", "--seconds", "0.2"])
    at_once, complete, here, there = lines(capsys)
    assert re.fullmatch(r"\d+ of 300 clients connected at the same time", at_once)
    assert complete == "300 of them heard start and end"
    assert re.fullmatch(r"\d+\.\d\d s, \d+\.\d\d s of them on the CPU", here)
    assert re.fullmatch(r"the server: \d+\.\d\d s on the CPU", there)


def test_all_clients_are_connected_at_the_same_time() -> None:
    with a_server_that_waits_for(200)(0) as address:
        tally = runtime.run(s08_ten_thousand.all_clients(200, address))
    assert (tally.connected, tally.most) == (0, 200)
    assert tally.complete == set(range(1, 201))


def test_a_client_that_was_cut_short_is_not_counted() -> None:
    def cut_short(listener: socket.socket) -> None:
        for said in (b"start 1\n", b"start 2\nend 1\n", b"start 3\nend 3\n"):
            with listener.accept()[0] as sock:
                sock.sendall(said)

    async def main() -> s08_ten_thousand.Tally:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            server = runtime.spawn(runtime.run_in_thread(cut_short, listener))
            tally = await s08_ten_thousand.all_clients(3, listener.getsockname())
            await server
            return tally

    assert runtime.run(main()).complete == {3}


@pytest.mark.parametrize(
    ("clients", "descriptors", "ports", "lack"),
    [
        (960, 1024, 28232, None),
        (
            961,
            1024,
            28232,
            "961 clients need 1025 open files here.*limit is 1024; ask for at most 960",
        ),
        (28232, 50000, 28232, None),
        (28233, 50000, 28232, "28233 clients need a local port each.*ask for at most 28232"),
    ],
)
def test_what_a_machine_lacks_is_named(
    clients: int, descriptors: int, ports: int, lack: str | None
) -> None:
    said = s08_ten_thousand.shortage(clients, descriptors, ports)
    assert said is None if lack is None else re.match(lack, said or "")


@pytest.mark.parametrize("step", ["ten_thousand", "poll_everything"])
def test_a_machine_that_cannot_says_so_at_once(step: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", STEPS[step].__name__, "--clients", "10000"],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (200, 300)),
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=20,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert "10000 clients need 10064 open files" in done.stderr.splitlines()[-1]
    assert "at most 236" in done.stderr.splitlines()[-1]


def test_ports_are_counted_where_the_system_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s08_ten_thousand, "PORTS", tmp_path / "range")
    assert s08_ten_thousand.local_ports() == 65_535
    (tmp_path / "range").write_text("32768\t60999\n")
    assert s08_ten_thousand.local_ports() == 28_232


def test_the_costs_are_a_line_for_each_number(capsys: pytest.CaptureFixture[str]) -> None:
    s09_poll_everything.main(["--clients", "2", "20", "--events", "5", "--seconds", "0.3"])
    *_, two, twenty = lines(capsys)
    for line, count in ((two, "2"), (twenty, "20")):
        number, *costs = line.split()
        assert number == count
        assert re.fullmatch(r"([\d,]+ us ?){4}", " ".join(costs))


def held(loop: Loop, hold: threading.Event) -> Loop:
    """The same loop; the server may go on once the clients are awaited."""

    async def go_on(handle: Awaitable[None]) -> None:
        hold.set()
        await handle

    return loop._replace(spawn=lambda client: go_on(loop.spawn(client)))


def test_our_loop_polls_every_client_for_each_event(monkeypatch: pytest.MonkeyPatch) -> None:
    polls = 0
    poll = s05_poll.Recv.poll

    def counted(self: s05_poll.Recv, waker: Waker) -> object:
        nonlocal polls
        polls += 1
        return poll(self, waker)

    monkeypatch.setattr(s05_poll.Recv, "poll", counted)
    hold = threading.Event()
    with a_server_that_waits_for(20, hold)(0) as address:
        OUR_LOOP.run(measure(held(OUR_LOOP, hold), 20, 10, address))
    assert polls >= 20 * 10


def test_the_runtime_resumes_only_whom_an_event_is_for() -> None:
    async def count() -> int:
        await measure(held(THE_RUNTIME, hold), 20, 10, address)
        return runtime.statistics().resumed

    hold = threading.Event()
    with a_server_that_waits_for(20, hold)(0) as address:
        resumed = runtime.run(count())
    assert resumed < 20 * 10


@pytest.mark.parametrize("loop", [OUR_LOOP, THE_RUNTIME], ids=["ours", "the runtime"])
def test_clients_that_speak_during_the_measurement_spoil_it(loop: Loop) -> None:
    with (
        a_server_that_waits_for(3)(0) as address,
        pytest.raises(RuntimeError, match="give more --seconds"),
    ):
        loop.run(measure(loop, 3, 100, address))


def test_every_idea_is_where_the_last_step_says(capsys: pytest.CaptureFixture[str]) -> None:
    s10_the_runtime.main([])
    assert len(lines(capsys)) == len(s10_the_runtime.STEPS)
    order = list(STEPS)
    for step in s10_the_runtime.STEPS:
        assert (Path(runtime.__path__[0]) / step.file).is_file()
    for one, next_one in pairwise(s10_the_runtime.STEPS):
        assert order.index(one.example) <= order.index(next_one.example)
