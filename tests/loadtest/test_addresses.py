"""Targets and sources: what is understood, what is refused, where connections come from."""

import socket

import pytest

from loadtest.client.addresses import (
    MAX_SOURCES,
    Target,
    dial,
    forget,
    parse_sources,
    parse_target,
    resolve,
)
from tests.loadtest.harness import HostileServer, honest


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("tcp://127.0.0.1:7007", Target("127.0.0.1", 7007)),
        ("tcp://127.0.0.1:7007/", Target("127.0.0.1", 7007)),
        ("server:80", Target("server", 80)),
        ("tcp://[::1]:7007", Target("::1", 7007)),
    ],
)
def test_a_target_is_a_host_and_a_port(text: str, target: Target) -> None:
    assert parse_target(text) == target


@pytest.mark.parametrize(
    "text",
    ["", "7007", ":7007", "host", "host:", "host:0", "host:65536", "host:x", "http://h:1", "::1:7"],
)
def test_a_malformed_target_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"PORT|port"):
        parse_target(text)


def test_sources_are_lists_and_ranges() -> None:
    sources = parse_sources("127.0.0.9, 127.0.0.2-127.0.0.4")
    assert sources == ("127.0.0.9", "127.0.0.2", "127.0.0.3", "127.0.0.4")
    assert parse_sources("") == ()


@pytest.mark.parametrize(
    "text", ["localhost", "127.0.0.5-127.0.0.2", "127.0.0.1-::1", "10.0.0.0-10.255.255.255"]
)
def test_malformed_or_huge_sources_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=rf"address|{MAX_SOURCES}"):
        parse_sources(text)


def test_a_name_is_looked_up_once_in_a_test_and_anew_in_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A container that was replaced between two tests keeps its name and has another address."""
    address = "10.0.0.1"

    def look_up(host: str, port: int, type: int) -> list[tuple[object, ...]]:  # noqa: A002
        return [(socket.AF_INET, type, 6, "", (address, port))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    forget()
    assert resolve(Target("runtime", 7007)) == ("10.0.0.1",)
    address = "10.0.0.2"
    assert resolve(Target("runtime", 7007)) == ("10.0.0.1",)
    forget()
    assert resolve(Target("runtime", 7007)) == ("10.0.0.2",)
    forget()


def test_a_numeric_host_resolves_to_itself() -> None:
    assert resolve(Target("127.0.0.1", 1)) == ("127.0.0.1",)


def test_a_connection_comes_from_the_source_it_was_given() -> None:
    with HostileServer(honest) as server:
        with dial("127.0.0.1", server.port, "127.0.0.3", 5.0) as sock:
            assert sock.getsockname()[0] == "127.0.0.3"
        with pytest.raises(OSError, match="Cannot assign"):
            dial("127.0.0.1", server.port, "192.0.2.1", 5.0)
