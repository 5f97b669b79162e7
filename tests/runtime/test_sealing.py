"""Sealing: records in any pieces, many connections over one desk, faults in their place."""

import ssl
from collections.abc import Callable
from threading import Thread

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime import ClosedError, HandshakeError, TlsError
from runtime.sealing import RECORD, Sealing, explain

from .tls_harness import NAME, VERSIONS, Peer, client_context, server_context

VERSION = pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)


def connected(version: ssl.TLSVersion | None = None) -> tuple[Sealing, Peer]:
    """A server and its client with the handshake behind them."""
    server = Sealing(server_context(version), server_side=True, server_hostname=None)
    peer = Peer(client_context(version), NAME)
    done = False
    flight = peer.shake_hands()
    while not done or flight:
        done = server.shake_hands(flight)
        assert not server.ended
        peer.hear(server.unsent)
        server.unsent = b""
        flight = peer.shake_hands()
    assert server.open(b"") == peer.open() == b""
    return server, peer


@VERSION
def test_records_are_opened_in_whatever_pieces_they_come(version: ssl.TLSVersion) -> None:
    """Cut at every byte: what is complete is opened at once, the rest when it has come."""
    server, peer = connected(version)
    for cut in range(200):
        first, second = peer.seal(b"first %d" % cut), peer.seal(b"second")
        sealed = first + second
        before, after = server.open(sealed[:cut]), server.open(sealed[cut:])
        assert before + after == b"first %dsecond" % cut
        complete = b"first %d" % cut if cut >= len(first) else b""
        assert before == (complete + b"second" if cut >= len(sealed) else complete)
        if cut > len(sealed):
            break
    else:
        raise AssertionError("the records are longer than the test thinks")


@VERSION
def test_the_handshake_goes_byte_by_byte(version: ssl.TLSVersion) -> None:
    server = Sealing(server_context(version), server_side=True, server_hostname=None)
    peer = Peer(client_context(version), NAME)
    steps = []
    while flight := peer.shake_hands():
        steps += [server.shake_hands(flight[n : n + 1]) for n in range(len(flight))]
        peer.hear(server.unsent)
        server.unsent = b""
    assert steps.count(True) == 1
    assert steps[-1]
    assert server.open(peer.seal(b"hello")) == b"hello"


def test_data_right_behind_the_handshake_is_not_lost() -> None:
    """The client's Finished and its first request usually share a segment."""
    server = Sealing(server_context(), server_side=True, server_hostname=None)
    peer = Peer(client_context(), NAME)
    assert not server.shake_hands(peer.shake_hands())
    peer.hear(server.unsent)
    last = peer.shake_hands() + peer.seal(b"request") + peer.close_notify()
    assert server.shake_hands(last)
    assert server.open(b"") == b"request"
    assert server.ended
    assert server.end() == b""


def test_a_chunk_of_many_records_is_opened_to_its_last() -> None:
    server, peer = connected()
    many = b"".join(peer.seal(b"%d," % n) for n in range(1000))
    assert server.open(many) == b"".join(b"%d," % n for n in range(1000))
    large = bytes(range(256)) * 256
    assert server.open(peer.seal(large)) == large


@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_connections_that_share_a_desk_do_not_see_each_other(data: st.DataObject) -> None:
    """Sealed bytes of several connections, in pieces, in any order, with answers in between."""
    ends = [connected() for _ in range(3)]
    on_the_way = [b"", b"", b""]
    sent, opened = [b"", b"", b""], [b"", b"", b""]
    back, heard = [b"", b"", b""], [b"", b"", b""]
    for step in range(data.draw(st.integers(1, 30))):
        which = data.draw(st.integers(0, 2))
        server, peer = ends[which]
        match data.draw(st.sampled_from(["send", "receive", "answer"])):
            case "send":
                words = b"%d:" % step + bytes(data.draw(st.integers(0, 2 * RECORD)))
                sent[which] += words
                on_the_way[which] += peer.seal(words)
            case "receive":
                count = data.draw(st.integers(0, len(on_the_way[which])))
                opened[which] += server.open(on_the_way[which][:count])
                on_the_way[which] = on_the_way[which][count:]
            case "answer":
                words = b"answer %d" % step
                back[which] += words
                sealed = server.seal(words)
                assert sealed is not None
                peer.hear(sealed)
                heard[which] += peer.open()
        assert not any(server.ended or server.unsent for server, _ in ends)
    for which, (server, _) in enumerate(ends):
        opened[which] += server.open(on_the_way[which])
    assert opened == sent
    assert heard == back


@VERSION
def test_what_came_before_a_fault_is_opened_and_the_peer_is_told(version: ssl.TLSVersion) -> None:
    server, peer = connected(version)
    other_server, other_peer = connected(version)
    damaged = bytearray(peer.seal(b"damaged"))
    damaged[-1] ^= 1
    assert server.open(bytes(damaged) + b"more that nobody will take") == b""
    assert server.ended
    for _ in range(2):
        with pytest.raises(TlsError, match="TLS: decryption failed or bad record mac") as caught:
            server.end()
        assert isinstance(caught.value.__cause__, ssl.SSLError)
    peer.hear(server.unsent)
    with pytest.raises(ssl.SSLError, match="alert bad record mac"):
        peer.tls.read(10)
    # The desk is clear, and the fault is this connection's own.
    assert other_server.open(other_peer.seal(b"fine")) == b"fine"


def test_good_records_before_a_damaged_one_are_opened() -> None:
    server, peer = connected()
    good = peer.seal(b"good")
    damaged = bytearray(peer.seal(b"damaged"))
    damaged[-1] ^= 1
    assert server.open(good + bytes(damaged)) == b"good"
    assert server.ended
    with pytest.raises(TlsError, match="bad record mac"):
        server.end()
    with pytest.raises(TlsError, match="bad record mac"):
        server.seal(b"nothing can be sealed any more")


@VERSION
def test_after_our_close_notify_data_can_still_be_opened(version: ssl.TLSVersion) -> None:
    """Data that was on its way meets it: with a socket in its hands, OpenSSL takes that for a
    fault."""
    server, peer = connected(version)
    before = peer.seal(b"sent before, ")
    server.close_notify()
    peer.hear(server.unsent)
    assert peer.open() == b""
    after = peer.seal(b"sent after") + peer.close_notify()
    assert server.open(before + after) == b"sent before, sent after"
    assert server.open(b"") == b""
    assert server.ended
    assert server.end() == b""
    with pytest.raises(ClosedError):
        server.seal(b"x")


@VERSION
@pytest.mark.parametrize("in_the_middle", [False, True])
def test_close_notify_with_part_of_a_record_inside(
    version: ssl.TLSVersion, in_the_middle: bool
) -> None:
    server, peer = connected(version)
    sealed = peer.seal(b"cut in two")
    cut = 12 if in_the_middle else 3  # of the record; of its header
    assert server.open(sealed[:cut]) == b""
    server.close_notify()
    assert server.open(sealed[cut:]) == b"cut in two"


def test_what_cannot_be_sealed_leaves_the_connection_good() -> None:
    server, peer = connected()
    with pytest.raises(TypeError):
        server.seal("text")  # type: ignore[arg-type]
    peer.hear(server.seal(b"bytes") or b"")
    assert peer.open() == b"bytes"


def test_an_interrupt_in_the_middle_breaks_its_connection_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server, peer = connected()
    other_server, other_peer = connected()

    class Interrupted:
        def read(self, count: int) -> bytes:
            raise KeyboardInterrupt

    real = server.ssl_object
    monkeypatch.setattr(server, "ssl_object", Interrupted())
    with pytest.raises(KeyboardInterrupt):
        server.open(peer.seal(b"lost"))
    monkeypatch.setattr(server, "ssl_object", real)
    assert other_server.open(other_peer.seal(b"fine")) == b"fine"
    with pytest.raises(TlsError, match="interrupted by KeyboardInterrupt"):
        server.end()


class Meanwhile:
    """Reads as `real` does, after something else that comes in between."""

    def __init__(self, real: ssl.SSLObject, first: Callable[[], None]) -> None:
        self.real, self.first = real, first

    def read(self, count: int) -> bytes:
        self.first()
        return self.real.read(count)


@VERSION
def test_a_close_in_the_middle_of_another_connection_s_call(
    monkeypatch: pytest.MonkeyPatch, version: ssl.TLSVersion
) -> None:
    """The collector ends an abandoned generator between any two lines, and its stream with it."""
    server, peer = connected(version)
    other_server, other_peer = connected(version)
    sealed = peer.seal(b"not lost") + peer.seal(b", nor this")
    real = server.ssl_object
    monkeypatch.setattr(server, "ssl_object", Meanwhile(real, other_server.close_notify))
    assert server.open(sealed) == b"not lost, nor this"
    monkeypatch.setattr(server, "ssl_object", real)
    assert server.open(peer.seal(b"again")) == b"again"
    assert not server.unsent
    other_peer.hear(other_server.unsent)
    assert other_peer.tls.read(10) == b""  # a proper end


def test_a_close_leaves_what_another_has_just_sealed() -> None:
    server, peer = connected()
    other_server, _ = connected()
    server.ssl_object.write(b"mine")
    other_server.close_notify()
    peer.hear(server._outgoing.read())
    assert peer.open() == b"mine"


def test_a_close_in_another_thread_leaves_this_one_s_desk_alone() -> None:
    """The collector runs in any thread; to say nothing is better than to meddle."""
    server, peer = connected()
    other_server, _ = connected()
    server.ssl_object.write(b"mine")
    thread = Thread(target=other_server.close_notify)
    thread.start()
    thread.join()
    assert not other_server.unsent
    peer.hear(server._outgoing.read())
    assert peer.open() == b"mine"


def refusal(server: ssl.SSLContext, client: ssl.SSLContext, name: str = NAME) -> list[str]:
    """What each side says of a handshake that fails."""
    ends = [
        Sealing(client, server_side=False, server_hostname=name),
        Sealing(server, server_side=True, server_hostname=None),
    ]
    said: list[str] = []
    flight = b""
    for _ in range(6):
        for end in ends:
            if not end.ended and not end.shake_hands(flight) and end.ended:
                with pytest.raises(HandshakeError) as caught:
                    end.end()
                said.append(str(caught.value))
            flight, end.unsent = end.unsent, b""
    return said


def test_refusals_are_in_words() -> None:
    stranger = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts nobody
    without_certificate = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    old, new = VERSIONS
    assert refusal(server_context(), client_context(), "wrong.example")[0] == (
        "TLS: the peer's certificate is not accepted: Hostname mismatch, certificate is not valid "
        "for 'wrong.example'"
    )
    mine, theirs = refusal(server_context(old), stranger)
    assert mine.startswith("TLS: the peer's certificate is not accepted: unable to get")
    assert theirs == "TLS: the peer ended it with the alert 'unknown ca'"
    assert refusal(server_context(new), client_context(old))[0] == (
        "TLS: no version of TLS in common"
    )
    assert refusal(without_certificate, client_context())[0] == (
        "TLS: no cipher in common; does this side have a certificate?"
    )


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "TLS: the peer speaks plain HTTP"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "TLS: the peer does not speak TLS, or no version in common"),
        (bytes(64), "TLS: the peer does not speak TLS, or no version in common"),
    ],
)
def test_what_is_no_tls_is_said_to_be_none(sent: bytes, words: str) -> None:
    server = Sealing(server_context(), server_side=True, server_hostname=None)
    assert not server.shake_hands(sent)
    with pytest.raises(HandshakeError) as caught:
        server.end()
    assert str(caught.value) == words


def test_an_error_without_a_reason_is_explained_by_itself() -> None:
    error = ssl.SSLError(1, "something else")
    error.reason = None  # type: ignore[assignment]
    assert "something else" in explain(error)
