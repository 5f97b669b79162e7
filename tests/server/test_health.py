"""``python -m server.health``: its exit status is true, and its one line says what is wrong."""

import contextlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme

from server import health
from tests.server.harness import TIMEOUT, Authority, ServerProcess, clean_environment


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, authority: Authority
) -> Iterator[ServerProcess]:
    process = ServerProcess(tmp_path_factory.mktemp("server"), "runtime", authority=authority)
    yield process
    process.stop()
    assert set(process.closed()) <= {"finished", "handshake_failed", "broken"}


@pytest.fixture
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("C10K_ECHO", "C10K_ECHO_TLS"):
        monkeypatch.delenv(name, raising=False)


pytestmark = pytest.mark.usefixtures("no_settings")


@contextlib.contextmanager
def peer(behave: Callable[[socket.socket], None]) -> Iterator[str]:
    """The address of something that accepts one connection and behaves so."""

    def serve() -> None:
        sock, _ = listener.accept()
        with sock, contextlib.suppress(ConnectionError):
            sock.settimeout(TIMEOUT)
            behave(sock)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(TIMEOUT)
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        thread.join(TIMEOUT)
        assert not thread.is_alive()


def verdict(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """The exit status and the line."""
    try:
        status = health.main(arguments)
    except SystemExit as end:
        status = int(end.code or 0)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == (status != 0)
    return status, err


Capture = pytest.CaptureFixture[str]


class TestHealthy:
    def test_as_a_command(self, server: ServerProcess) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "server.health", f"--echo=127.0.0.1:{server.port('echo')}"],
            capture_output=True,
            timeout=TIMEOUT,
            env=clean_environment(),
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")

    def test_by_the_environment(
        self, server: ServerProcess, capsys: Capture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("C10K_ECHO", f"127.0.0.1:{server.port('echo')}")
        assert verdict(capsys) == (0, "")
        monkeypatch.setenv("C10K_ECHO", "127.0.0.1:1")
        assert verdict(capsys)[0] == 1
        assert verdict(capsys, f"--echo=127.0.0.1:{server.port('echo')}") == (0, "")
        monkeypatch.setenv("C10K_ECHO_TLS", f"127.0.0.1:{server.port('echo-tls')}")
        assert verdict(capsys, "--tls") == (0, "")

    def test_at_the_loopback_where_the_server_listens_on_every_address(
        self, server: ServerProcess, capsys: Capture
    ) -> None:
        assert verdict(capsys, f"--echo=0.0.0.0:{server.port('echo')}") == (0, "")
        assert "[::1]:1:" in verdict(capsys, "--echo=[::]:1")[1]

    def test_over_tls_whatever_the_certificate(
        self, server: ServerProcess, capsys: Capture
    ) -> None:
        assert verdict(capsys, f"--echo=127.0.0.1:{server.port('echo-tls')}", "--tls") == (0, "")

    def test_over_tls_with_a_certificate_of_the_authority(
        self, server: ServerProcess, authority: Authority, tmp_path: Path, capsys: Capture
    ) -> None:
        ours, other = tmp_path / "ours.pem", tmp_path / "other.pem"
        authority.write_to(ours)
        trustme.CA().cert_pem.write_to_path(other)
        address = f"--echo=127.0.0.1:{server.port('echo-tls')}"
        assert verdict(capsys, address, "--tls", f"--ca={ours}") == (0, "")
        status, line = verdict(capsys, address, "--tls", f"--ca={other}")
        assert status == 1
        assert "certificate verify failed" in line
        address = f"--echo=localhost:{server.port('echo-tls')}"
        status, line = verdict(capsys, address, "--tls", f"--ca={ours}")
        assert status == 1
        assert "certificate is not valid for 'localhost'" in line

    def test_imports_little(self) -> None:
        program = (
            "import sys; from server import health; health.main(['--echo', '127.0.0.1:1']); "
            "known = {'ssl', 'inspect', 'dataclasses', 'logging', 'shutil', 'encodings.idna'}; "
            "sys.exit(str(known & set(sys.modules)) if known & set(sys.modules) else 0)"
        )
        done = subprocess.run(
            [sys.executable, "-S", "-c", program],
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            env=clean_environment(),
        )
        assert done.returncode == 0, done.stderr


class TestUnhealthy:
    def test_nobody_listens(self, capsys: Capture) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            address = f"127.0.0.1:{free.getsockname()[1]}"
        assert verdict(capsys, "--echo", address) == (
            1,
            f"unhealthy: echo at {address}: nobody listens there\n",
        )

    def test_it_accepts_and_hangs(self, capsys: Capture) -> None:
        def hang(sock: socket.socket) -> None:
            over.wait(TIMEOUT)

        over = threading.Event()
        with peer(hang) as address:
            status, line = verdict(capsys, "--echo", address, "--timeout", "0.05")
            over.set()
        assert status == 1
        assert "no answer within 0.05 s" in line

    def test_it_trickles_for_longer_than_the_time(self, capsys: Capture) -> None:
        def trickle(sock: socket.socket) -> None:
            data = sock.recv(100)
            for byte in data:
                sock.sendall(bytes([byte]))
                if over.wait(0.03):
                    break

        over = threading.Event()
        with peer(trickle) as address:
            status, line = verdict(capsys, "--echo", address, "--timeout", "0.1")
            over.set()
        assert status == 1
        assert "no answer within 0.1 s" in line

    def test_it_says_something_else(self, capsys: Capture) -> None:
        with peer(lambda sock: sock.sendall(sock.recv(100)[::-1])) as address:
            status, line = verdict(capsys, "--echo", address)
        assert status == 1
        assert "other bytes came back than were sent" in line

    def test_it_ends_before_all_has_come_back(self, capsys: Capture) -> None:
        with peer(lambda sock: sock.sendall(sock.recv(100)[:5])) as address:
            status, line = verdict(capsys, "--echo", address)
        assert status == 1
        assert "ended after 5 of 32 bytes" in line

    def test_it_speaks_no_tls(self, server: ServerProcess, capsys: Capture) -> None:
        status, line = verdict(capsys, f"--echo=127.0.0.1:{server.port('echo')}", "--tls")
        assert status == 1
        assert line.startswith("unhealthy: echo at 127.0.0.1:")

    @pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 64, "x..y"])
    def test_there_is_no_such_host(self, capsys: Capture, host: str) -> None:
        status, line = verdict(capsys, "--echo", f"{host}:7007")
        assert status == 1
        assert f"echo at {host}:7007: " in line

    def test_all_addresses_of_a_name_have_one_time(
        self, capsys: Capture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[float] = []

        class Silent(socket.socket):
            def connect(self, _address: object) -> None:
                timeout = self.gettimeout()
                assert timeout is not None
                asked.append(timeout)
                time.sleep(min(timeout, 0.04))
                raise TimeoutError

        found = socket.getaddrinfo("127.0.0.1", 7007, type=socket.SOCK_STREAM) * 20
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        monkeypatch.setattr(socket, "socket", Silent)
        status, line = verdict(capsys, "--echo=many:7007", "--timeout=0.1")
        assert status == 1
        assert "no answer within 0.1 s" in line
        assert asked == sorted(asked, reverse=True)
        assert len(asked) <= 3

    def test_without_standard_error_the_status_says_it(self) -> None:
        for redirection in ("2>&-", "2>/dev/full"):
            command = f"{sys.executable} -m server.health --echo=127.0.0.1:x {redirection}"
            assert subprocess.run(command, shell=True, env=clean_environment()).returncode == 2


class TestBadUsage:
    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            (["--echo", "7007"], "--echo: '7007' is not HOST:PORT"),
            (["--echo", ""], "--echo: '' is not HOST:PORT"),
            (["--echo", "127.0.0.1:0"], "port 0 is the kernel's choice"),
            (["--timeout", "0"], "--timeout: '0' is not a number of seconds from 0.001"),
            (["--timeout", "nan"], "--timeout: 'nan' is not"),
            (["--ca", "x"], "--ca is about TLS; add --tls"),
            (["--tls"], "no default port has TLS; name one by --echo or C10K_ECHO_TLS"),
            (["--tls", "--echo=a:1", "--ca", "/none"], "'/none' cannot be used: No such file"),
            (["--tls", "--echo=a:1", "--ca", "/dev/null"], "'/dev/null' cannot be used: "),
            (["--ech", "a:1"], "unrecognized arguments"),
            (["serve"], "unrecognized arguments: serve"),
        ],
    )
    def test_is_told(self, capsys: Capture, arguments: list[str], expected: str) -> None:
        status, line = verdict(capsys, *arguments)
        assert status == 2
        assert line.startswith("server.health: ")
        assert expected in line

    def test_in_the_environment_is_told(
        self, capsys: Capture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("C10K_ECHO", "x\n")
        status, line = verdict(capsys)
        assert status == 2
        assert "C10K_ECHO: 'x\\n' is not HOST:PORT" in line

    def test_help_is_no_fault(self, capsys: Capture) -> None:
        with pytest.raises(SystemExit) as end:
            health.main(["--help"])
        assert end.value.code == 0
        assert "--timeout" in capsys.readouterr().out
