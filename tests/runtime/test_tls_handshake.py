"""The handshake: within its time, holding nobody else up, and refused in one line."""

import logging
import socket
import ssl
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import Any, cast

import pytest
import trustme

import runtime
from runtime import (
    BusyError,
    HandshakeError,
    Stream,
    TlsError,
    TlsStream,
    connect,
    join_all,
    listen,
    now,
    serve,
    spawn,
    start_tls,
    timeout,
)
from runtime.testing import VirtualClock
from runtime.tls import HANDSHAKE_TIMEOUT, default_context

from .harness import PATIENCE, Runner, dial, raw_pair, reset, stream_pair, turns
from .tls_harness import (
    NAME,
    VERSIONS,
    Peer,
    authority,
    certificate,
    client_context,
    server_context,
    tls_ends,
    tls_pair,
)

VERSION = pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)


async def echo(stream: Stream) -> None:
    while data := await stream.recv(65536):
        await stream.send_all(data)


@VERSION
def test_an_echo_over_listen_serve_and_connect(run: Runner, version: ssl.TLSVersion) -> None:
    async def main() -> tuple[bytes, bool, str | None]:
        async with listen("127.0.0.1", 0, tls=server_context(version)) as listener:
            server = spawn(serve(listener, echo))
            stream = await connect(
                *listener.address, tls=client_context(version), server_hostname=NAME
            )
            async with stream:
                assert isinstance(stream, TlsStream)
                await stream.send_all(b"hello")
                got = await stream.recv(100)
                version_name = stream.version
            listener.close()
            await server
            return got, isinstance(stream, Stream), version_name

    assert run(main) == (b"hello", True, {1: "TLSv1.2", 2: "TLSv1.3"}[VERSIONS.index(version) + 1])


def test_a_peer_that_says_nothing_is_given_up_at_the_deadline(run: Runner) -> None:
    async def main() -> tuple[float, str]:
        one, other = raw_pair()
        async with TlsStream(one, server_context(), server_side=True) as stream:
            for _ in range(2):
                with pytest.raises(HandshakeError) as caught:
                    await stream.recv(10)
            other.close()
            return now(), str(caught.value)

    assert run(main, clock=VirtualClock()) == (
        HANDSHAKE_TIMEOUT,
        "TLS: the handshake was not done within 30 seconds",
    )


def test_a_peer_that_sends_a_byte_now_and_then_is_given_up_too(run: Runner) -> None:
    async def main() -> float:
        one, other = raw_pair()
        hello = Peer(client_context(), NAME).shake_hands()

        async def drip() -> None:
            for n in range(len(hello)):
                other.send(hello[n : n + 1])
                await runtime.sleep(1)

        async with TlsStream(one, server_context(), server_side=True) as stream:
            dripping = spawn(drip())
            with pytest.raises(HandshakeError, match="within 30 seconds"):
                await stream.handshake()
            dripping.cancel()
            other.close()
            return now()

    assert run(main, clock=VirtualClock(patience=0.001)) == HANDSHAKE_TIMEOUT


def test_a_silent_peer_holds_nobody_up(run: Runner, caplog: pytest.LogCaptureFixture) -> None:
    """Not the listener, not another connection; and it is one line in the log."""

    async def main() -> bytes:
        async with listen("127.0.0.1", 0, tls=server_context(), handshake_timeout=7) as listener:
            server = spawn(serve(listener, echo))
            silent = [dial(listener) for _ in range(20)]
            await turns(5)
            stream = await connect(*listener.address, tls=client_context(), server_hostname=NAME)
            async with stream:
                await stream.send_all(b"hello")
                got = await stream.recv(100)
            assert now() < 7
            await runtime.sleep(8)
            assert [sock.recv(10) for sock in silent] == [b""] * 20  # they were closed
            for sock in silent:
                sock.close()
            listener.close()
            await server
            return got

    with caplog.at_level(logging.WARNING, "runtime"):
        assert run(main, clock=VirtualClock(patience=0.005)) == b"hello"
    lines = [record for record in caplog.records if record.name == "runtime"]
    assert len(lines) == 20
    for record in lines:
        assert record.exc_info is None
        assert "refused a connection from ('127.0.0.1', " in record.getMessage()
        assert record.getMessage().endswith("the handshake was not done within 7 seconds")


def shut(sock: socket.socket) -> None:
    sock.close()


def speak_http(sock: socket.socket) -> None:
    sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")


def speak_ssh(sock: socket.socket) -> None:
    sock.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")


def hello_and(rest: Callable[[socket.socket], None]) -> Callable[[socket.socket], None]:
    def act(sock: socket.socket) -> None:
        sock.sendall(Peer(client_context(), NAME).shake_hands())
        rest(sock)

    act.__name__ = f"hello_and_{rest.__name__}"
    return act


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (shut, "went away during the handshake"),
        (reset, "reset by peer|went away"),
        (hello_and(shut), "went away during the handshake|reset by peer|broke off"),
        (hello_and(reset), "reset by peer|went away|broke off"),
        (speak_http, "the peer speaks plain HTTP"),
        (speak_ssh, "the peer does not speak TLS"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_scanner_is_one_line_in_the_log(
    run: Runner,
    caplog: pytest.LogCaptureFixture,
    act: Callable[[socket.socket], None],
    words: str,
) -> None:
    async def main() -> None:
        async with listen("127.0.0.1", 0, tls=server_context()) as listener:
            server = spawn(serve(listener, echo))
            with dial(listener) as sock:
                act(sock)
                while not caplog.records:
                    await runtime.sleep(0.01)
            stream = await connect(*listener.address, tls=client_context(), server_hostname=NAME)
            stream.close()
            listener.close()
            await server

    with caplog.at_level(logging.WARNING, "runtime"):
        run(main)
    (record,) = caplog.records
    assert record.exc_info is None
    assert record.levelno == logging.WARNING
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(record.getMessage())


def test_a_peer_that_is_refused_is_told_why(run: Runner) -> None:
    old, new = VERSIONS

    async def main() -> None:
        one, other = raw_pair()
        peer = Peer(client_context(old), NAME)
        with other:
            async with TlsStream(one, server_context(new), server_side=True) as stream:
                other.sendall(peer.shake_hands())
                with pytest.raises(HandshakeError, match="no version of TLS in common"):
                    await stream.handshake()
            peer.hear(other.recv(100))
            with pytest.raises(ssl.SSLError, match="alert protocol version"):
                peer.tls.do_handshake()

    run(main)


@VERSION
@pytest.mark.parametrize("wrong", ["name", "authority", "expired"])
def test_a_certificate_that_is_not_accepted(
    run: Runner, caplog: pytest.LogCaptureFixture, version: ssl.TLSVersion, wrong: str
) -> None:
    server_side, client_side, name = server_context(version), client_context(version), NAME
    words = "Hostname mismatch"
    if wrong == "name":
        name = "other.example"
    elif wrong == "authority":
        client_side = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        words = "unable to get local issuer certificate"
    else:
        past = datetime(2001, 1, 1, tzinfo=UTC), datetime(2002, 1, 1, tzinfo=UTC)
        server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority().issue_cert(NAME, not_before=past[0], not_after=past[1]).configure_cert(
            server_side
        )
        words = "certificate has expired"

    async def main() -> None:
        async with listen("127.0.0.1", 0, tls=server_side) as listener:
            server = spawn(serve(listener, echo))
            with pytest.raises(HandshakeError, match=words) as caught:
                await connect(*listener.address, tls=client_side, server_hostname=name)
            assert isinstance(caught.value, OSError)
            assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)
            while not caplog.records:
                await runtime.sleep(0.01)
            listener.close()
            await server

    with caplog.at_level(logging.WARNING, "runtime"):
        run(main)
    assert "ended it with the alert" in caplog.text  # the server is told why


def test_the_host_is_the_name_that_is_asked_for(run: Runner) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority().issue_cert("127.0.0.1").configure_cert(context)

    async def main() -> bytes:
        async with listen("127.0.0.1", 0, tls=context) as listener:
            server = spawn(serve(listener, echo))
            async with await connect(*listener.address, tls=client_context()) as stream:
                await stream.send_all(b"hello")
                got = await stream.recv(10)
            listener.close()
            await server
            return got

    assert run(main) == b"hello"


def test_true_is_the_system_s_default(run: Runner) -> None:
    context = default_context()
    assert context is default_context()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname

    async def main() -> None:
        async with listen("127.0.0.1", 0, tls=server_context()) as listener:
            server = spawn(serve(listener, echo))
            with pytest.raises(HandshakeError, match="not accepted: unable to get local issuer"):
                await connect(*listener.address, tls=True, server_hostname=NAME)
            listener.close()
            await server

    run(main)


@VERSION
def test_what_both_sides_learn_of_each_other(run: Runner, version: ssl.TLSVersion) -> None:
    """ALPN, client certificates, SNI, protocol, cipher."""
    server_side, client_side = server_context(version), client_context(version)
    server_side.set_alpn_protocols(["http/1.1", "imap"])
    client_side.set_alpn_protocols(["h2", "imap"])
    server_side.verify_mode = ssl.CERT_REQUIRED
    authority().configure_trust(server_side)
    authority().issue_cert("client@example.org").configure_cert(client_side)
    other = server_context(version, "other.example")
    other.set_alpn_protocols(["imap"])
    other.verify_mode = ssl.CERT_REQUIRED
    authority().configure_trust(other)

    def choose(tls: Any, name: str | None, context: ssl.SSLContext) -> None:
        tls.asked_for = name
        if name == "other.example":
            tls.context = other

    server_side.sni_callback = choose

    async def main() -> None:
        one, two = raw_pair()
        client = TlsStream(one, client_side, server_hostname="other.example")
        server = TlsStream(two, server_side, server_side=True)
        async with client, server:
            assert client.version is server.version is None
            assert client.cipher is None
            with pytest.raises(ValueError, match="handshake not done"):
                _ = client.peer_certificate
            await join_all(client.handshake(), server.handshake())
            await client.handshake()  # once is enough
            assert client.selected_alpn_protocol == server.selected_alpn_protocol == "imap"
            assert client.version == server.version == f"TLSv1.{VERSIONS.index(version) + 2}"
            assert client.cipher == server.cipher
            assert client.cipher is not None
            assert client.cipher[2] >= 128
            theirs, ours = client.peer_certificate, server.peer_certificate
            assert theirs is not None
            assert ours is not None
            assert theirs["subjectAltName"] == (("DNS", "other.example"),)
            assert ours["subjectAltName"] == (("email", "client@example.org"),)
            assert cast(Any, server.ssl_object).asked_for == "other.example"
            assert client.ssl_object.get_channel_binding("tls-unique") is not None

    run(main)


@VERSION
def test_a_client_without_the_certificate_that_is_required(
    run: Runner, version: ssl.TLSVersion
) -> None:
    """In TLS 1.3 the client hears of it after its handshake, when it first reads."""
    server_side = server_context(version)
    server_side.verify_mode = ssl.CERT_REQUIRED
    authority().configure_trust(server_side)

    async def main() -> None:
        one, two = raw_pair()
        client = TlsStream(one, client_context(version), server_hostname=NAME)
        server = TlsStream(two, server_side, server_side=True)
        async with client, server:

            async def use_client() -> str:
                with pytest.raises(TlsError) as caught:
                    await client.recv(1)
                return str(caught.value)

            async def use_server() -> str:
                with pytest.raises(HandshakeError) as caught:
                    await server.handshake()
                return str(caught.value)

            told, said = await join_all(use_client(), use_server())
            assert "the peer ended it with the alert" in told
            assert said == "TLS: peer did not return a certificate"

    run(main)


@VERSION
def test_starttls(run: Runner, version: ssl.TLSVersion) -> None:
    async def main() -> list[bytes]:
        plain_client, plain_server = stream_pair()

        async def serve_one() -> bytes:
            assert await plain_server.recv(100) == b"STARTTLS\r\n"
            await plain_server.send_all(b"go ahead\r\n")
            secure = await start_tls(plain_server, server_context(version), server_side=True)
            async with secure:
                got = await secure.recv(100)
                await secure.send_all(got.upper())
            return got

        async def use() -> bytes:
            await plain_client.send_all(b"STARTTLS\r\n")
            assert await plain_client.recv(100) == b"go ahead\r\n"
            secure = await start_tls(plain_client, client_context(version), server_hostname=NAME)
            async with secure:
                with pytest.raises(runtime.ClosedError):
                    await plain_client.recv(1)
                plain_client.close()  # used up: closes nothing
                await secure.send_all(b"quiet")
                return await secure.recv(100)

        return await join_all(serve_one(), use())

    assert run(main) == [b"quiet", b"QUIET"]


def test_starttls_that_fails_closes_the_connection(run: Runner) -> None:
    async def main() -> None:
        left, right = stream_pair()
        async with right:
            await right.send_all(b"no TLS here, sorry")
            with pytest.raises(HandshakeError, match="does not speak TLS"):
                await start_tls(left, client_context(), server_hostname=NAME)
            while await right.recv(1000):
                pass
        left, right = stream_pair()
        async with right:
            with pytest.raises(ValueError, match="give a server_hostname"):
                await start_tls(left, client_context())
            assert await right.recv(1) == b""
            with pytest.raises(runtime.ClosedError):
                await left.recv(1)

    run(main)


def test_a_stream_that_is_waited_on_cannot_change(run: Runner) -> None:
    async def main() -> bytes:
        left, right = stream_pair()
        async with left, right:
            reader = spawn(cast(Any, left.recv(10)))
            await turns(2)
            with pytest.raises(BusyError, match="a task waits on this stream"):
                TlsStream(left, server_context(), server_side=True)
            await right.send_all(b"as ever")
            got: bytes = await reader
            left.close()
            with pytest.raises(runtime.ClosedError):
                left.detach()
            return got

    assert run(main) == b"as ever"


def test_send_eof_before_the_handshake_is_refused(run: Runner) -> None:
    async def main() -> None:
        client, server = tls_ends()
        async with client, server:
            with pytest.raises(RuntimeError, match=r"await stream.handshake\(\)"):
                client.send_eof()

    run(main)


def test_a_client_s_context_cannot_listen(run: Runner) -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match="PROTOCOL_TLS_SERVER"):
            listen("127.0.0.1", 0, tls=client_context())

    run(main)


def test_a_failing_handler_is_reported_as_ever(run: Runner) -> None:
    async def handler(stream: Stream) -> None:
        raise HandshakeError("somebody else's, whom the handler talked to")

    async def main() -> None:
        async with listen("127.0.0.1", 0, tls=server_context()) as listener:
            server = spawn(serve(listener, handler))
            stream = await connect(*listener.address, tls=client_context(), server_hostname=NAME)
            async with stream:
                assert await stream.recv(1) == b""
            listener.close()
            await server

    run(main)
    assert "a connection's handler failed" in run.expected_error()


@cache
def large_certificate() -> trustme.LeafCert:
    return authority().issue_cert(*[f"host{n}.{NAME}" for n in range(1000)], NAME)


def test_a_handshake_does_not_need_the_whole_answer_at_once(run: Runner) -> None:
    """A certificate larger than the kernel's buffer, to a peer that reads late."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    large_certificate().configure_cert(context)

    async def main() -> bytes:
        one, other = raw_pair("unix")
        one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        client = TlsStream(other, client_context(), server_hostname=NAME)
        server = TlsStream(one, context, server_side=True)
        async with client, server:
            serving = spawn(server.send_all(b"hello"))
            await turns(20)
            got = await client.recv(100)
            await serving
            return got

    assert run(main) == b"hello"


def test_a_handshake_is_over_when_its_last_bytes_are_sent(run: Runner) -> None:
    """Whoever made it may do something else than read and write now."""
    asking = server_context()
    asking.verify_mode = ssl.CERT_REQUIRED
    authority().configure_trust(asking)
    showing = client_context()
    large_certificate().configure_cert(showing)

    async def main() -> None:
        one, other = raw_pair("unix")
        one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        client = TlsStream(one, showing, server_hostname=NAME)
        server = TlsStream(other, asking, server_side=True)
        async with client, server:
            serving = spawn(server.handshake())
            await client.handshake()
            assert not client._sealing.unsent
            await serving

    run(main)


def test_a_handshake_that_came_too_late_stays_failed(run: Runner) -> None:
    """Even if nothing but the last bytes' way out was missing."""

    async def main() -> None:
        client, server = tls_ends()
        async with client, server:
            await join_all(client.handshake(), server.handshake())
            client._secured = False  # as if the time had run out while they waited for room
            client._sealing.fail(HandshakeError, "TLS: too late")
            for _ in range(2):
                with pytest.raises(HandshakeError, match="too late"):
                    await client.handshake()

    run(main)


@VERSION
def test_a_blocking_peer_in_a_thread(run: Runner, version: ssl.TLSVersion) -> None:
    """The standard library's own TLS at the other end, and the kernel's timing."""
    rounds, wrong = 200, []

    def client(address: Any) -> None:
        with (
            socket.create_connection(address, PATIENCE) as plain,
            client_context(version).wrap_socket(plain, server_hostname=NAME) as sock,
        ):
            for n in range(rounds):
                message = b"%d" % n * (1 + n % 400)
                sock.sendall(message)
                got = b""
                while len(got) < len(message) and (chunk := sock.recv(65536)):
                    got += chunk
                if got != message:
                    wrong.append(n)
            sock.unwrap()

    async def main() -> None:
        async with listen("127.0.0.1", 0, tls=server_context(version)) as listener:
            thread = threading.Thread(target=client, args=(listener.address,))
            thread.start()
            with timeout(PATIENCE):
                async with await listener.accept() as stream:
                    while data := await stream.recv(64):
                        await stream.send_all(data)
            thread.join(PATIENCE)

    run(main)
    assert wrong == []


def test_contexts_are_shared_by_runtimes_in_two_threads() -> None:
    """Each thread has its own desk."""
    context, trusting = server_context(), client_context()
    got: list[int] = []

    async def main() -> None:
        one, other = raw_pair()
        client = TlsStream(one, trusting, server_hostname=NAME)
        server = TlsStream(other, context, server_side=True)
        async with client, server:
            data = certificate().private_key_pem.bytes() * 1000

            async def take() -> int:
                count = 0
                while part := await server.recv(65536):
                    count += len(part)
                return count

            async def send() -> int:
                await client.send_all(data)
                client.send_eof()
                return len(data)

            sent, received = await join_all(send(), take())
            got.append(received - sent)

    threads = [threading.Thread(target=lambda: runtime.run(main())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert got == [0, 0, 0, 0]


def test_a_pair_is_a_pair(run: Runner) -> None:
    async def main() -> bytes:
        client, server = await tls_pair()
        async with client, server:
            await server.send_all(b"!")
            return await client.recv(1)

    assert run(main) == b"!"
