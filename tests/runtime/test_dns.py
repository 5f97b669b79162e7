"""Looking names up: never on the loop, never behind other calls that block."""

import socket
import threading
from importlib import import_module
from typing import Any

import pytest

import runtime
from runtime import getaddrinfo, join_all, move_on_after, run_in_thread, spawn

from .harness import PATIENCE, Runner, turns

threads = import_module("runtime.threads")
dns = import_module("runtime.dns")


class Resolver:
    """Stands in for `socket.getaddrinfo`; names wait for `release`, digits do not exist."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: OSError | None = None) -> None:
        self.error = error
        self.asked: list[tuple[Any, str]] = []
        self.release = threading.Event()
        self.release.set()
        monkeypatch.setattr(socket, "getaddrinfo", self)

    def __call__(self, host: str, port: int, *given: int, flags: int) -> list[Any]:
        if flags & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "not in digits")
        self.asked.append(((host, port, *given, flags), threading.current_thread().name))
        assert self.release.wait(PATIENCE)
        if self.error is not None:
            raise self.error
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.9", port))]


@pytest.mark.parametrize(
    ("host", "port", "address"),
    [
        ("127.0.0.1", 80, ("127.0.0.1", 80)),
        ("127.0.0.1", "80", ("127.0.0.1", 80)),
        ("::1", 65535, ("::1", 65535, 0, 0)),
        ("fe80::1%lo", 1, ("fe80::1%lo", 1, 0, 1)),
        ("127.0.0.1", None, ("127.0.0.1", 0)),
    ],
)
def test_an_address_in_digits_needs_no_thread(
    run: Runner,
    monkeypatch: pytest.MonkeyPatch,
    host: str,
    port: int | str | None,
    address: tuple[Any, ...],
) -> None:
    monkeypatch.setattr(dns, "pool", None)

    async def main() -> list[Any]:
        return await getaddrinfo(host, port, type=socket.SOCK_STREAM)

    ((_, kind, _, _, found),) = run(main)
    assert kind == socket.SOCK_STREAM
    assert found[:2] == address[:2] or found[3] == address[3]


def test_no_host_is_this_machine_and_needs_no_thread(
    run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dns, "pool", None)

    async def main() -> list[Any]:
        return await getaddrinfo(None, 80, family=socket.AF_INET, flags=socket.AI_PASSIVE)

    assert {address for *_, address in run(main)} == {("0.0.0.0", 80)}


def test_a_name_is_looked_up_in_a_thread_with_all_that_was_asked(
    run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolver = Resolver(monkeypatch)

    async def main() -> list[Any]:
        return await getaddrinfo("name", 80, family=2, type=1, proto=6, flags=socket.AI_CANONNAME)

    ((*_, address),) = run(main)
    assert address == ("127.0.0.9", 80)
    assert resolver.asked == [(("name", 80, 2, 1, 6, socket.AI_CANONNAME), "runtime-dns-1")]


def test_a_real_name_is_found(run: Runner) -> None:
    async def main() -> set[str]:
        return {address[0] for *_, address in await getaddrinfo("localhost", 80)}

    assert run(main) & {"127.0.0.1", "::1"}


def test_lookups_do_not_wait_for_calls_that_block_cpython_112169(
    run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "THREADS", 2)
    Resolver(monkeypatch)
    release = threading.Event()

    async def main() -> Any:
        calls = [spawn(run_in_thread(release.wait, PATIENCE)) for _ in range(4)]
        await turns(2)
        ((*_, address),) = await getaddrinfo("name", 80)
        assert not any(call.done for call in calls)
        release.set()
        await join_all(calls)
        return address

    assert run(main) == ("127.0.0.9", 80)


def test_lookups_are_bounded_and_those_beyond_wait_for_their_turn(
    run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dns, "LOOKUPS", 3)
    resolver = Resolver(monkeypatch)
    resolver.release.clear()

    async def main() -> int:
        lookups = [spawn(getaddrinfo(f"name{n}", 80)) for n in range(10)]
        await turns(2)
        while len(resolver.asked) < 3:
            await runtime.sleep(0.001)
        await turns(5)
        at_a_time = len(resolver.asked)
        resolver.release.set()
        await join_all(lookups)
        return at_a_time

    assert run(main) == 3
    assert len(resolver.asked) == 10


def test_a_lookup_that_is_given_up_goes_on_in_its_thread_alone(
    run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolver = Resolver(monkeypatch)
    resolver.release.clear()

    async def main() -> bool:
        with move_on_after(0.005) as scope:
            await getaddrinfo("name", 80)
        return scope.cancelled_caught

    assert run(main)
    resolver.release.set()


def test_a_name_that_does_not_exist_is_named(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    Resolver(monkeypatch, socket.gaierror(socket.EAI_NONAME, "Name or service not known"))

    async def main() -> None:
        with pytest.raises(
            socket.gaierror, match="cannot look up 'nowhere', port 80: Name or service not known"
        ) as caught:
            await getaddrinfo("nowhere", 80)
        assert caught.value.errno == socket.EAI_NONAME

    run(main)


def test_a_name_where_only_digits_were_allowed_is_an_error(run: Runner) -> None:
    async def main() -> None:
        with pytest.raises(socket.gaierror, match="cannot look up 'localhost'"):
            await getaddrinfo("localhost", 80, flags=socket.AI_NUMERICHOST)

    run(main)


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_number_that_is_no_port_is_refused(run: Runner, port: int) -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match="is no port"):
            await getaddrinfo("127.0.0.1", port)

    run(main)


def test_a_host_that_can_be_no_name_is_refused(run: Runner) -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match=r"too long|label"):
            await getaddrinfo("x" * 64, 80)

    run(main)
