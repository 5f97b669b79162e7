"""TLS against OpenSSL's own client and server, as processes.

They do what Python's `ssl` cannot be asked for: told so on their standard input, they renegotiate
(TLS 1.2) and update keys (TLS 1.3) in mid-connection.
"""

import shutil
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runtime import Event, Stream, connect, join_all, listen, run_in_thread, serve, spawn, timeout

from .harness import PATIENCE, Runner, receive
from .tls_harness import NAME, VERSIONS, authority, certificate, client_context, server_context

pytestmark = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="no openssl command here (Debian: apt install openssl)"
)

VERSION = pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
FLAGS = dict(zip(VERSIONS, ("-tls1_2", "-tls1_3"), strict=True))


class OpenSsl:
    """`openssl s_client` or `s_server`, written to and read from in threads."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process
        self.said = b""

    async def write(self, data: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(data)
        self._process.stdin.flush()

    async def says(self, words: bytes) -> bytes:
        """Wait until it has printed `words`; all that it printed so far."""
        with timeout(PATIENCE):
            while words not in self.said:
                self.said += await run_in_thread(self._more)
        return self.said

    def _more(self) -> bytes:
        assert self._process.stdout is not None
        more = self._process.stdout.read1(65536)  # type: ignore[attr-defined]
        assert more, f"it ended, after {self.said!r}"
        return bytes(more)

    async def end(self) -> int:
        return await run_in_thread(self._process.wait, PATIENCE)


@contextmanager
def openssl(*arguments: object) -> Iterator[OpenSsl]:
    process = subprocess.Popen(
        ["openssl", *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    with process:
        try:
            yield OpenSsl(process)
        finally:
            process.kill()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The authority, and the server's certificate with its key."""
    folder = tmp_path_factory.mktemp("certificates")
    authority().cert_pem.write_to_path(folder / "authority.pem")
    certificate().private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    return folder / "authority.pem", folder / "server.pem"


def s_client(files: tuple[Path, Path], port: int, *arguments: object) -> list[object]:
    return [
        *("s_client", "-connect", f"127.0.0.1:{port}", "-servername", NAME),
        *("-CAfile", files[0], "-verify_hostname", NAME, "-verify_return_error", *arguments),
    ]


def s_server(files: tuple[Path, Path], *arguments: object) -> list[object]:
    return ["s_server", "-accept", "127.0.0.1:0", "-cert", files[1], *arguments]


async def port_of(server: OpenSsl) -> int:
    said = await server.says(b"ACCEPT 127.0.0.1:")
    while not said.endswith(b"\n"):
        said = await server.says(b"\n")
    return int(said.split(b"ACCEPT 127.0.0.1:")[1].split()[0])


@VERSION
def test_an_openssl_client(run: Runner, version: ssl.TLSVersion, files: tuple[Path, Path]) -> None:
    async def shout(stream: Stream) -> None:
        while data := await stream.recv(100):
            await stream.send_all(data.upper())

    async def main() -> int:
        async with listen("127.0.0.1", 0, tls=server_context(version)) as listener:
            server = spawn(serve(listener, shout))
            with openssl(*s_client(files, listener.address[1])) as client:
                await client.says(b"Verify return code: 0 (ok)")
                for word in (b"<one>", b"<two>"):  # brackets: certificates are printed, too
                    await client.write(word + b"\n")
                    await client.says(word.upper())
                    if version is ssl.TLSVersion.TLSv1_3:
                        await client.write(b"K\n")  # update keys, and have the peer update its own
                        await client.says(b"KEYUPDATE")
                        client.said = b""
                await client.write(b"Q\n")
                status = await client.end()
            listener.close()
            await server  # the client's close_notify was an end: nothing is logged
            return status

    assert run(main) == 0


@VERSION
def test_an_openssl_server(run: Runner, version: ssl.TLSVersion, files: tuple[Path, Path]) -> None:
    """`-rev` sends each line back reversed."""

    async def main() -> list[bytes]:
        with openssl(*s_server(files, "-rev")) as server:
            stream = await connect(
                "127.0.0.1",
                await port_of(server),
                tls=client_context(version),
                server_hostname=NAME,
            )
            got = []
            async with stream:
                for n in (1, 10, 1000):
                    await stream.send_all(b"abc" * n + b"\n")
                    with timeout(PATIENCE):
                        got.append(await receive(stream, 3 * n + 1))
                stream.send_eof()
            return got

    assert run(main) == [b"cba" * n + b"\n" for n in (1, 10, 1000)]


@pytest.mark.parametrize(
    ("version", "command"),
    [(VERSIONS[0], b"r\n"), (VERSIONS[1], b"K\n")],
    ids=["renegotiation", "key update"],
)
def test_a_handshake_in_mid_connection(
    run: Runner,
    files: tuple[Path, Path],
    version: ssl.TLSVersion,
    command: bytes,
) -> None:
    """Asked for by the peer, while a task reads and another one writes."""

    async def main() -> bytes:
        with openssl(*s_server(files)) as server:
            stream = await connect(
                "127.0.0.1",
                await port_of(server),
                tls=client_context(version),
                server_hostname=NAME,
            )
            async with stream:
                await server.says(b"CIPHER is")
                got, heard = b"", [Event() for _ in range(3)]

                async def read() -> None:
                    nonlocal got
                    while not got.endswith(b"bye\n"):
                        got += await stream.recv(100)
                        for number, event in enumerate(heard):
                            if b"heard %d\n" % number in got:
                                event.set()

                async def talk() -> None:
                    for n in range(3):
                        await server.write(command)
                        await stream.send_all(b"<word %d>\n" % n)
                        await server.says(b"<word %d>" % n)
                        await server.write(b"heard %d\n" % n)
                        await heard[n].wait()  # a command must stand at the start of a read
                    await server.says(b"SSL_do_handshake -> 1")
                    await server.write(b"bye\n")

                with timeout(PATIENCE):
                    await join_all(read(), talk())
            return got

    assert run(main) == b"heard 0\nheard 1\nheard 2\nbye\n"
