"""What every engine owes its clients, checked on each of them over real sockets."""

import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.server.harness import (
    ServerProcess,
    eventually,
    receive,
    receive_line,
    receive_rest,
    reset,
    send_until_stuck,
    sending,
)

MIB = 1 << 20
PATTERN = bytes(range(256)) * 256 + b"\x00odd length"
"""Long and aperiodic enough for any lost, doubled or swapped chunk to show."""


def payload_of(size: int) -> bytes:
    return (PATTERN * (size // len(PATTERN) + 1))[:size]


def cut(payload: bytes, sizes: list[int]) -> list[bytes]:
    """The payload in chunks of the given sizes, over and over."""
    chunks = []
    start = turn = 0
    while start < len(payload):
        size = sizes[turn % len(sizes)]
        chunks.append(payload[start : start + size])
        start += size
        turn += 1
    return chunks


class TestEcho:
    @settings(
        max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
    )
    @given(
        size=st.integers(1, 200_000),
        sizes=st.lists(st.integers(1, 70_000), min_size=1, max_size=5),
    )
    def test_returns_every_byte_in_any_chunking(
        self, server: ServerProcess, size: int, sizes: list[int]
    ) -> None:
        payload = payload_of(size)
        chunks = cut(payload, [max(each, size // 300) for each in sizes])
        with server.connect("echo") as sock, sending(sock, iter(chunks)):
            assert receive(sock, size) == payload

    @pytest.mark.parametrize("chunk", [65_521, 4 * MIB])
    def test_returns_16_mib(self, server: ServerProcess, chunk: int) -> None:
        payload = payload_of(16 * MIB)
        with server.connect("echo") as sock, sending(sock, iter(cut(payload, [chunk]))):
            assert receive(sock, len(payload)) == payload

    def test_returns_everything_after_half_close_and_then_ends(self, server: ServerProcess) -> None:
        payload = payload_of(3 * MIB)
        with server.connect("echo") as sock:
            with sending(sock, iter([payload])) as sender:
                first = receive(sock, MIB)
                rest = receive(sock, len(payload) - MIB - 1000)
                sender.join(10)
                sock.shutdown(1)
            assert first + rest + receive_rest(sock) == payload

    def test_ends_a_connection_that_says_nothing(self, server: ServerProcess) -> None:
        with server.connect("echo") as sock:
            sock.shutdown(1)
            assert receive_rest(sock) == b""

    def test_peers_that_reset_mid_echo_leave_no_fd_behind(self, server: ServerProcess) -> None:
        assert eventually(server.is_idle)
        for _ in range(3):
            socks = [server.connect("echo") for _ in range(30)]
            for sock in socks:
                send_until_stuck(sock, PATTERN, 2 * len(PATTERN))
            for sock in socks:
                reset(sock)
        assert eventually(server.is_idle)
        assert server.echoes()

    def test_slow_reader_costs_bounded_memory_and_holds_up_nobody(
        self, server: ServerProcess
    ) -> None:
        assert server.echoes()
        before = server.rss()
        with server.connect("echo") as sock, server.connect("echo") as other:
            sent = send_until_stuck(sock, PATTERN, 64 * MIB)
            assert sent < 64 * MIB  # it was stopped: its bytes are in the kernel's buffers
            assert server.rss() - before < 4 * MIB
            other.sendall(b"still served")
            assert receive(other, 12) == b"still served"
            reset(sock)


class TestSleep:
    def test_answers_pipelined_lines_in_order_and_never_early(self, server: ServerProcess) -> None:
        with server.connect("sleep") as sock:
            began = time.monotonic()
            sock.sendall(b"0.03\n0\n0.01\n0.0\n")
            assert receive_line(sock) == b"0.03\n"
            assert time.monotonic() - began >= 0.029  # uvloop counts whole milliseconds
            assert receive(sock, 11) == b"0\n0.01\n0.0\n"
            assert time.monotonic() - began >= 0.038

    def test_connections_do_not_wait_for_each_other(self, server: ServerProcess) -> None:
        with server.connect("sleep") as long, server.connect("sleep") as short:
            long.sendall(b"3600\n")
            short.sendall(b"0.01\n")
            assert receive_line(short) == b"0.01\n"
            reset(long)

    def test_a_reset_ends_a_long_sleep(self, server: ServerProcess) -> None:
        assert eventually(server.is_idle)
        with server.connect("sleep") as sock:
            sock.sendall(b"0\n3600\n")
            assert receive_line(sock) == b"0\n"
            assert not server.is_idle()
            reset(sock)
        assert eventually(server.is_idle)

    def test_returns_carriage_returns_as_they_came(self, server: ServerProcess) -> None:
        with server.connect("sleep") as sock:
            sock.sendall(b"0\r\n00.00\r\n0\n")
            assert receive(sock, 12) == b"0\r\n00.00\r\n0\n"

    def test_takes_a_line_in_single_bytes(self, server: ServerProcess) -> None:
        with server.connect("sleep") as sock:
            for byte in (b"0", b".", b"0", b"1", b"\r", b"\n"):
                sock.sendall(byte)
            assert receive_line(sock) == b"0.01\r\n"

    @pytest.mark.parametrize(
        "line",
        [b"nan", b"inf", b"1e400", b"1_0", b"-1", b"+1", b"", b"3600.1", b"9" * 5000, b"0\0"],
    )
    def test_a_bad_line_gets_an_error_and_the_connection_stays_usable(
        self, server: ServerProcess, line: bytes
    ) -> None:
        with server.connect("sleep") as sock:
            sock.sendall(line + b"\n0\n")
            assert receive_line(sock) == b"error: not a number of seconds from 0 to 3600\n"
            assert receive_line(sock) == b"0\n"

    def test_a_line_over_the_limit_gets_one_error_and_is_closed(
        self, server: ServerProcess
    ) -> None:
        with server.connect("sleep") as sock:
            sock.sendall(b"0\n" + b"1" * 65537)
            assert receive_line(sock) == b"0\n"
            assert receive_rest(sock).startswith(b"error: line longer than 65536 bytes;")

    def test_a_line_at_the_limit_is_a_line(self, server: ServerProcess) -> None:
        line = b"0." + b"0" * 65534 + b"\n"
        with server.connect("sleep") as sock:
            sock.sendall(line)
            assert receive(sock, len(line)) == line

    def test_an_unterminated_last_line_gets_an_error_after_the_answers(
        self, server: ServerProcess
    ) -> None:
        with server.connect("sleep") as sock:
            sock.sendall(b"0.01\n0.0")
            sock.shutdown(1)
            assert receive_line(sock) == b"0.01\n"
            assert receive_rest(sock).startswith(b"error: last line not ended;")

    def test_answers_everything_after_half_close(self, server: ServerProcess) -> None:
        lines = b"0\n" * 500 + b"0.02\n"
        with server.connect("sleep") as sock:
            sock.sendall(lines)
            sock.shutdown(1)
            assert receive_rest(sock) == lines

    @pytest.mark.parametrize("first", [b"0\n", b"0.5\n"])
    def test_a_flood_of_lines_that_nobody_reads_costs_bounded_memory(
        self, server: ServerProcess, first: bytes
    ) -> None:
        with server.connect("sleep") as sock, server.connect("sleep") as other:
            before = server.rss()
            sock.sendall(first)
            lines = (b"0." + b"0" * 97 + b"\n") * 600
            assert send_until_stuck(sock, lines, 64 * MIB) < 64 * MIB
            assert server.rss() - before < 4 * MIB
            other.sendall(b"0\n")
            assert receive_line(other) == b"0\n"
            reset(sock)
