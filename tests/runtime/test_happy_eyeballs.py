"""Several addresses for one name, by RFC 8305: when each attempt begins, and what is left."""

import errno
import os
import socket
from collections.abc import Callable
from importlib import import_module
from itertools import pairwise
from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import runtime
from runtime import CancelScope, Stream, connect, move_on_after, now, sleep, spawn, timeout
from runtime.connect import ATTEMPT_DELAY, Target, interleave
from runtime.dns import AddressInfo
from runtime.testing import VirtualClock
from runtime.testing.leaks import open_descriptors

from .harness import Runner, turns

module = import_module("runtime.connect")

V4, V6 = socket.AF_INET, socket.AF_INET6


def info(host: str) -> AddressInfo:
    return (V6 if ":" in host else V4, socket.SOCK_STREAM, 6, "", (host, 80))


class Network:
    """What becomes of an attempt at each address, by script: seconds, and an errno or a stream."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.script: dict[str, tuple[float, int | None]] = {}
        self.began: list[tuple[float, str]] = []
        self.cancelled: list[str] = []
        self.failed: list[str] = []
        self.on_success: Callable[[], object] = lambda: None
        monkeypatch.setattr(module, "_dial", self.dial)
        monkeypatch.setattr(socket, "getaddrinfo", self.getaddrinfo)

    def getaddrinfo(self, *_: Any, **__: Any) -> list[AddressInfo]:
        return [info(host) for host in self.script]

    async def dial(self, target: Target) -> Stream:
        host = target.address[0]
        self.began.append((now(), host))
        near, far = socket.socketpair()
        seconds, fault = self.script[host]
        try:
            with far:
                if seconds:
                    await sleep(seconds)
                if fault is not None:
                    raise OSError(fault, os.strerror(fault))
            self.on_success()
            return Stream(near)
        except BaseException as error:
            near.close()
            (self.cancelled if isinstance(error, runtime.Cancelled) else self.failed).append(host)
            raise


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    return Network(monkeypatch)


REFUSED, UNREACHABLE = errno.ECONNREFUSED, errno.ENETUNREACH


def test_the_next_attempt_begins_after_the_attempt_delay(run: Runner, network: Network) -> None:
    network.script = {"::1": (inf, None), "1.1.1.1": (inf, None), "::2": (0.1, None)}

    async def main() -> float:
        (await connect("name", 80)).close()
        return now()

    assert run(main, clock=VirtualClock()) == pytest.approx(0.6)
    assert network.began == [(0.0, "::1"), (0.25, "1.1.1.1"), (0.5, "::2")]
    assert sorted(network.cancelled) == ["1.1.1.1", "::1"]


def test_an_answer_within_the_delay_leaves_the_others_alone(run: Runner, network: Network) -> None:
    network.script = {"::1": (0.2, None), "1.1.1.1": (0.0, None)}

    async def main() -> None:
        (await connect("name", 80)).close()

    run(main, clock=VirtualClock())
    assert network.began == [(0.0, "::1")]


def test_the_first_to_answer_wins_though_it_began_last(run: Runner, network: Network) -> None:
    network.script = {"::1": (10.0, None), "1.1.1.1": (1.0, None)}

    async def main() -> float:
        (await connect("name", 80)).close()
        return now()

    assert run(main, clock=VirtualClock()) == 1.25
    assert network.cancelled == ["::1"]


def test_when_an_attempt_fails_the_next_begins_at_once(run: Runner, network: Network) -> None:
    network.script = {"::1": (0.1, UNREACHABLE), "1.1.1.1": (0.1, REFUSED), "::2": (0.0, None)}

    async def main() -> None:
        (await connect("name", 80)).close()

    run(main, clock=VirtualClock())
    assert [host for _, host in network.began] == ["::1", "1.1.1.1", "::2"]
    assert [when for when, _ in network.began] == pytest.approx([0.0, 0.1, 0.2])


def test_an_earlier_attempt_that_fails_makes_room_for_the_next_too(
    run: Runner, network: Network
) -> None:
    network.script = {"::1": (0.3, REFUSED), "1.1.1.1": (5.0, None), "::2": (0.0, None)}

    async def main() -> None:
        (await connect("name", 80)).close()

    run(main, clock=VirtualClock())
    assert network.began == [(0.0, "::1"), (0.25, "1.1.1.1"), (0.3, "::2")]


def test_if_all_are_refused_it_is_a_refusal_that_names_each(run: Runner, network: Network) -> None:
    network.script = {"::1": (0.1, REFUSED), "1.1.1.1": (0.0, REFUSED)}

    async def main() -> None:
        with pytest.raises(ConnectionRefusedError) as caught:
            await connect("name", 80)
        assert caught.value.strerror == (
            "cannot connect to name port 80: ::1: Connection refused; 1.1.1.1: Connection refused"
        )

    run(main, clock=VirtualClock())


def test_failures_of_several_kinds_are_one_error_with_the_errno_of_the_last(
    run: Runner, network: Network
) -> None:
    network.script = {
        "::1": (5.0, REFUSED),
        "1.1.1.1": (0.0, UNREACHABLE),
        "::2": (0.0, errno.EHOSTUNREACH),
    }

    async def main() -> None:
        with pytest.raises(ConnectionRefusedError) as caught:
            await connect("name", 80)
        assert caught.value.strerror == (
            "cannot connect to name port 80: 1.1.1.1: Network is unreachable; "
            "::2: No route to host; ::1: Connection refused"
        )

    run(main, clock=VirtualClock())


def test_two_that_answer_at_the_same_time_are_one_stream(run: Runner, network: Network) -> None:
    """The second has not begun when the first wins, and needs no wait to be connected."""
    network.script = {"::1": (ATTEMPT_DELAY, None), "1.1.1.1": (0.0, None)}

    async def main() -> None:
        (await connect("name", 80)).close()

    run(main, clock=VirtualClock())  # the fixture looks for descriptors


def test_a_winner_of_a_connect_that_is_cancelled_meanwhile_is_closed(
    run: Runner, network: Network
) -> None:
    network.script = {"::1": (0.1, None), "1.1.1.1": (0.0, None)}

    async def main() -> None:
        connecting = spawn(connect("name", 80))
        network.on_success = connecting.cancel
        with pytest.raises(runtime.TaskCancelled):
            await connecting

    run(main, clock=VirtualClock())
    assert len(network.began) == 1


def test_the_timeout_names_host_port_and_seconds_and_what_failed_before(
    run: Runner, network: Network
) -> None:
    network.script = {"::1": (0.1, REFUSED), "1.1.1.1": (inf, None)}

    async def main() -> float:
        with pytest.raises(
            TimeoutError,
            match=r"^cannot connect to name port 80 within 2.5 seconds: ::1: Connection refused$",
        ):
            await connect("name", 80, timeout=2.5)
        return now()

    assert run(main, clock=VirtualClock()) == 2.5
    assert network.cancelled == ["1.1.1.1"]


@pytest.mark.parametrize("addresses", [["::1"], ["::1", "1.1.1.1"]])
def test_nothing_is_waited_for_longer_than_a_minute(
    run: Runner, network: Network, addresses: list[str]
) -> None:
    network.script = dict.fromkeys(addresses, (inf, None))

    async def main() -> float:
        with pytest.raises(TimeoutError, match=r"within 60.0 seconds: no answer"):
            await connect("name", 80)
        return now()

    assert run(main, clock=VirtualClock()) == 60.0


def test_an_infinite_timeout_is_none(run: Runner, network: Network) -> None:
    network.script = {"::1": (1e6, None)}

    async def main() -> float:
        (await connect("name", 80, timeout=inf)).close()
        return now()

    assert run(main, clock=VirtualClock()) == 1e6


def test_a_timeout_around_a_connect_is_the_callers_own(run: Runner, network: Network) -> None:
    network.script = {"::1": (inf, None), "1.1.1.1": (inf, None)}

    async def main() -> None:
        with pytest.raises(TimeoutError, match="not done within 3 seconds"), timeout(3):
            await connect("name", 80)

    run(main, clock=VirtualClock())


@pytest.mark.parametrize("when", [0.0, 0.1, 0.25, 0.3, 0.5, 1.0])
def test_a_connect_that_is_cancelled_at_any_time_leaves_nothing(
    run: Runner, network: Network, when: float
) -> None:
    network.script = {"::1": (inf, None), "1.1.1.1": (inf, None), "::2": (0.25, REFUSED)}

    async def main() -> None:
        before = open_descriptors()
        with move_on_after(when) as scope:
            await connect("name", 80)
        assert scope.cancelled_caught
        assert open_descriptors() == before

    run(main, clock=VirtualClock())
    assert sorted(network.cancelled + network.failed) == sorted(host for _, host in network.began)


def test_a_connect_in_a_cancelled_scope_dials_nobody(run: Runner, network: Network) -> None:
    network.script = {"::1": (1.0, None)}

    async def main() -> bool:
        with CancelScope() as scope:
            scope.cancel()
            await connect("name", 80)
        return scope.cancelled_caught

    assert run(main, clock=VirtualClock())


def test_a_fault_that_is_no_os_error_is_raised_and_leaves_nothing(
    run: Runner, network: Network
) -> None:
    def fault() -> None:
        raise KeyError("a bug")

    network.script = {"::1": (inf, None), "1.1.1.1": (0.1, None)}
    network.on_success = fault

    async def main() -> None:
        with pytest.raises(ExceptionGroup) as caught:
            await connect("name", 80)
        assert isinstance(caught.value.exceptions[0], KeyError)
        await turns(2)

    run(main, clock=VirtualClock())


HOSTS = st.sampled_from(["::1", "::2", "::3", "::4", "1.1.1.1", "2.2.2.2", "3.3.3.3", "4.4.4.4"])


@given(st.lists(HOSTS))
def test_families_take_turns_and_keep_the_resolvers_order(hosts: list[str]) -> None:
    found = [info(host) for host in hosts]
    order = interleave(found)
    assert sorted(order) == sorted(set(found))
    assert order[:1] == found[:1]
    for family in V4, V6:
        wanted = [each for each in dict.fromkeys(found) if each[0] == family]
        assert [each for each in order if each[0] == family] == wanted
    families = [each[0] for each in order]
    both = 2 * min(families.count(V4), families.count(V6))
    assert all(one != other for one, other in pairwise(families[:both]))
