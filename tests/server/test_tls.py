"""TLS listeners: the same services, whatever comes instead of a handshake."""

import contextlib
import select
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable

import pytest

from tests.server.conftest import Start
from tests.server.harness import (
    TIMEOUT,
    Authority,
    ServerProcess,
    eventually,
    receive,
    receive_line,
    receive_rest,
    reset,
)

MIB = 1 << 20
PATTERN = bytes(range(251)) * 1000


@pytest.fixture
def server(start: Start, authority: Authority) -> ServerProcess:
    return start("--handshake-timeout", "0.3", authority=authority)


def client_hello() -> bytes:
    """The first bytes that a TLS client sends."""
    outgoing = ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(
        ssl.MemoryBIO(), outgoing, server_hostname="127.0.0.1"
    )
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def exchange(sock: ssl.SSLSocket, payload: bytes) -> bytes:
    """Send while receiving, in one thread: until Python 3.13 two break an SSLSocket."""
    sock.setblocking(False)
    unsent = memoryview(payload)
    received = bytearray()
    while len(received) < len(payload):
        assert any(select.select([sock], [sock] if unsent else [], [], TIMEOUT))
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
            while unsent:
                unsent = unsent[sock.send(unsent[:100_003]) :]
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
            while chunk := sock.recv(65536):
                received += chunk
    sock.settimeout(TIMEOUT)
    return bytes(received)


class TestServices:
    def test_echo_returns_every_byte_and_then_says_goodbye(self, server: ServerProcess) -> None:
        payload = PATTERN * 17
        with server.connect_tls("echo") as sock:
            assert exchange(sock, payload) == payload
        server.stop()
        assert server.figures()["received"] == server.figures()["sent"] == len(payload) + 4

    def test_sleep_answers_in_order(self, server: ServerProcess) -> None:
        with server.connect_tls("sleep") as sock:
            began = time.monotonic()
            sock.sendall(b"0.03\n0\nx\n0.01\n")
            assert receive_line(sock) == b"0.03\n"
            assert time.monotonic() - began >= 0.029  # uvloop counts whole milliseconds
            assert receive_line(sock) == b"0\n"
            assert receive_line(sock).startswith(b"error: not a number")
            assert receive_line(sock) == b"0.01\n"

    @pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
    def test_speaks_tls_1_2_and_1_3(
        self, server: ServerProcess, authority: Authority, version: ssl.TLSVersion
    ) -> None:
        context = authority.context()
        context.minimum_version = context.maximum_version = version
        with server.connect_tls("echo", context) as sock:
            assert sock.version() == version.name.replace("_", ".")
            sock.sendall(b"hello")
            assert receive(sock, 5) == b"hello"

    def test_the_end_of_a_line_too_long_is_a_regular_one(self, server: ServerProcess) -> None:
        with server.connect_tls("sleep") as sock:
            sock.sendall(b"1" * 65537)
            assert receive_rest(sock).startswith(b"error: line longer than 65536 bytes;")
        server.stop()
        assert server.closed() == {"bad_line": 1}

    def test_a_peer_that_says_goodbye_is_told_goodbye(self, server: ServerProcess) -> None:
        with server.connect_tls("echo") as sock:
            sock.sendall(b"last words")
            assert receive(sock, 10) == b"last words"
            sock.unwrap().close()
        server.stop()
        assert server.closed() == {"finished": 1}

    def test_a_peer_that_ends_without_goodbye_has_finished(self, server: ServerProcess) -> None:
        sock = server.connect_tls("echo")
        sock.sendall(b"ping")
        assert receive(sock, 4) == b"ping"
        sock.close()
        assert eventually(server.is_idle)
        server.stop()
        assert server.closed() == {"finished": 1}

    def test_a_reset_ends_a_long_sleep(self, server: ServerProcess) -> None:
        with server.connect_tls("sleep") as sock:
            sock.sendall(b"0\n3600\n")
            assert receive_line(sock) == b"0\n"
            assert not server.is_idle()
            reset(sock)
        assert eventually(server.is_idle)
        server.stop()
        assert server.closed() == {"broken": 1}

    def test_slow_reader_costs_bounded_memory_and_holds_up_nobody(
        self, server: ServerProcess
    ) -> None:
        with server.connect_tls("echo") as warm:
            warm.sendall(PATTERN)
            assert receive(warm, len(PATTERN)) == PATTERN
        before = server.rss()
        with server.connect_tls("echo") as sock, server.connect_tls("echo") as other:
            sock.setblocking(False)
            sent = 0
            with contextlib.suppress(ssl.SSLWantWriteError):
                while sent < 64 * MIB:
                    sent += sock.send(PATTERN)
            time.sleep(0.05)
            with contextlib.suppress(ssl.SSLWantWriteError):
                while sent < 64 * MIB:
                    sent += sock.send(PATTERN)
            assert sent < 64 * MIB
            assert server.rss() - before < 4 * MIB
            other.sendall(b"still served")
            assert receive(other, 12) == b"still served"
            reset(sock)


class TestInsteadOfAHandshake:
    def test_plaintext_is_closed_and_counted(self, server: ServerProcess) -> None:
        with server.connect("echo-tls") as sock:
            sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
            with contextlib.suppress(ConnectionResetError):
                assert b"HTTP" not in receive_rest(sock)  # an alert at most
        assert server.echoes()
        server.stop()
        assert server.closed() == {"handshake_failed": 1, "finished": 1}
        assert "handshake failed" in server.log()

    def test_a_handshake_on_a_plain_port_is_echoed_and_harms_nobody(
        self, server: ServerProcess, authority: Authority
    ) -> None:
        with server.connect("echo") as sock, pytest.raises(ssl.SSLError):
            authority.context().wrap_socket(sock, server_hostname="127.0.0.1")
        with server.connect("sleep") as sock, pytest.raises(ssl.SSLError):
            authority.context().wrap_socket(sock, server_hostname="127.0.0.1")
        assert server.echoes()
        assert eventually(server.is_idle)

    @pytest.mark.parametrize("leave", [socket.socket.close, reset])
    def test_clients_that_leave_in_mid_handshake_leave_nothing_behind(
        self, server: ServerProcess, leave: Callable[[socket.socket], None]
    ) -> None:
        hello = client_hello()
        for _ in range(5):
            for length in (0, 1, 100, len(hello)):
                sock = server.connect("echo-tls")
                sock.sendall(hello[:length])
                leave(sock)
        assert eventually(server.is_idle)
        with server.connect_tls("echo") as sock:
            sock.sendall(b"hello")
            assert receive(sock, 5) == b"hello"
        assert eventually(server.is_idle)
        server.stop()
        closes = server.closed()
        assert closes.pop("finished") == 1
        assert set(closes) <= {"handshake_failed", "handshake_timeout"}
        assert sum(closes.values()) == 20

    @pytest.mark.parametrize("length", [0, 5, 200])
    def test_one_that_stalls_is_cut_off_at_the_deadline(
        self, server: ServerProcess, length: int
    ) -> None:
        began = time.monotonic()
        with server.connect("echo-tls") as sock:
            sock.sendall(client_hello()[:length])
            with contextlib.suppress(ConnectionResetError):
                receive_rest(sock)
            assert time.monotonic() - began >= 0.299  # uvloop counts whole milliseconds
        server.stop()
        assert server.closed() == {"handshake_timeout": 1}

    def test_one_that_trickles_is_cut_off_at_the_deadline(self, server: ServerProcess) -> None:
        began = time.monotonic()
        with server.connect("echo-tls") as sock, contextlib.suppress(OSError):
            for byte in client_hello():
                sock.send(bytes([byte]))
                time.sleep(0.02)
        assert 0.299 <= time.monotonic() - began < 3
        assert eventually(server.is_idle)
        server.stop()
        assert server.closed() == {"handshake_timeout": 1}

    def test_many_that_stall_do_not_keep_others_out(self, server: ServerProcess) -> None:
        with contextlib.ExitStack() as stack:
            for _ in range(200):
                stack.enter_context(server.connect("echo-tls"))
            assert server.echoes()
            with server.connect_tls("echo") as sock:
                sock.sendall(b"hello")
                assert receive(sock, 5) == b"hello"
            assert eventually(server.is_idle)
        server.stop()
        assert server.closed() == {"handshake_timeout": 200, "finished": 2}

    def test_tls_1_1_is_refused(self, server: ServerProcess, authority: Authority) -> None:
        context = authority.context()
        context.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLSv1"):
            context.minimum_version = ssl.TLSVersion.TLSv1
        with pytest.warns(DeprecationWarning, match="TLSv1"):
            context.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            server.connect_tls("echo", context)
        server.stop()
        assert server.closed() == {"handshake_failed": 1}

    @pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")
    def test_a_client_cannot_renegotiate(self, server: ServerProcess) -> None:
        command = ["openssl", "s_client", "-tls1_2", "-connect"]
        with subprocess.Popen(
            [*command, f"127.0.0.1:{server.port('echo-tls')}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as client:
            out, _ = client.communicate(b"R\n", timeout=TIMEOUT)
        assert b"RENEGOTIATING" in out
        assert b"no renegotiation" in out
        assert server.echoes()

    @pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")
    @pytest.mark.parametrize("group", ["ffdhe2048", "ffdhe8192"])
    def test_a_client_cannot_choose_a_key_exchange_that_holds_up_everybody(
        self, server: ServerProcess, group: str
    ) -> None:
        done = subprocess.run(
            [
                *("openssl", "s_client", "-groups", group),
                *("-connect", f"127.0.0.1:{server.port('echo-tls')}"),
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT,
        )
        assert done.returncode != 0
        assert b"Server Temp Key" not in done.stdout
        server.stop()
        assert server.closed() == {"handshake_failed": 1}


class TestDraining:
    def test_a_sleep_under_way_gets_its_answer(self, server: ServerProcess) -> None:
        with server.connect_tls("sleep") as sock, server.connect_tls("echo") as idle:
            sock.sendall(b"0\n0.3\n")
            assert receive_line(sock) == b"0\n"
            server.signal()
            assert eventually(server.refuses)
            assert receive_line(sock) == b"0.3\n"
            assert receive_rest(sock) == receive_rest(idle) == b""
        assert server.wait() == 0
        assert set(server.closed()) == {"finished"}

    def test_a_handshake_under_way_does_not_hold_it_up(self, server: ServerProcess) -> None:
        with server.connect("echo-tls") as sock:
            sock.sendall(client_hello()[:50])
            assert server.echoes()
            server.signal()
            assert server.wait() == 0
