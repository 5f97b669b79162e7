"""What the TLS tests are made of: one authority, contexts, and a peer that is fed by hand.

`Peer` is the other end without a runtime and without a rule of its own about sockets: a test takes
its sealed bytes and decides itself how they travel: split, glued together, late, damaged, or
not at all.
"""

from __future__ import annotations

import ssl
from contextlib import suppress
from functools import cache

import trustme

from runtime import Stream, TlsStream, join_all

from .harness import raw_pair

VERSIONS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
NAME = "server.example"


@cache
def authority() -> trustme.CA:
    return trustme.CA()


@cache
def certificate(name: str = NAME) -> trustme.LeafCert:
    return authority().issue_cert(name)


def server_context(version: ssl.TLSVersion | None = None, name: str = NAME) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate(name).configure_cert(context)
    _only(context, version)
    return context


def client_context(version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority().configure_trust(context)
    _only(context, version)
    return context


def _only(context: ssl.SSLContext, version: ssl.TLSVersion | None) -> None:
    if version is not None:
        context.minimum_version = context.maximum_version = version


def tls_ends(
    version: ssl.TLSVersion | None = None, family: str = "tcp", *, allow_truncation: bool = False
) -> tuple[TlsStream, TlsStream]:
    """A client and a server, connected, that have the handshake before them."""
    one, other = raw_pair(family)
    client = TlsStream(
        one, client_context(version), server_hostname=NAME, allow_truncation=allow_truncation
    )
    server = TlsStream(
        other, server_context(version), server_side=True, allow_truncation=allow_truncation
    )
    return client, server


async def tls_pair(
    version: ssl.TLSVersion | None = None, family: str = "tcp", *, allow_truncation: bool = False
) -> tuple[TlsStream, TlsStream]:
    """A client and a server with the handshake behind them."""
    client, server = tls_ends(version, family, allow_truncation=allow_truncation)
    await join_all(client.handshake(), server.handshake())
    return client, server


class Peer:
    """One end of TLS in memory of its own."""

    def __init__(self, context: ssl.SSLContext, server_hostname: str | None = None) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(
            self.incoming,
            self.outgoing,
            server_side=server_hostname is None,
            server_hostname=server_hostname,
        )

    def hear(self, sealed: bytes) -> None:
        self.incoming.write(sealed)

    def shake_hands(self) -> bytes:
        """Its next flight."""
        with suppress(ssl.SSLWantReadError):
            self.tls.do_handshake()
        return self.outgoing.read()

    def seal(self, data: bytes) -> bytes:
        self.tls.write(data)
        return self.outgoing.read()

    def open(self) -> bytes:
        """All that it can read now."""
        data = b""
        try:
            while part := self.tls.read(65536):
                data += part
        except (ssl.SSLWantReadError, ssl.SSLZeroReturnError):
            pass
        return data

    def close_notify(self) -> bytes:
        with suppress(ssl.SSLWantReadError):
            self.tls.unwrap()
        return self.outgoing.read()


async def stream_and_peer(
    version: ssl.TLSVersion | None = None, *, allow_truncation: bool = False
) -> tuple[TlsStream, Peer, Stream]:
    """A server's stream, its client in memory, and the plain stream that goes between them."""
    one, other = raw_pair()
    stream = TlsStream(
        one, server_context(version), server_side=True, allow_truncation=allow_truncation
    )
    peer, wire = Peer(client_context(version), NAME), Stream(other)

    async def client() -> None:
        while True:
            if flight := peer.shake_hands():
                await wire.send_all(flight)
            if peer.tls.version() is not None:
                return
            peer.hear(await wire.recv(65536))

    await join_all(stream.handshake(), client())
    if peer.tls.version() == "TLSv1.3":
        peer.hear(await wire.recv(65536))  # the session tickets, which come unasked
    return stream, peer, wire
