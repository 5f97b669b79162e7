"""`ByteStream`: what a handler needs of a connection, whatever it is made of.

A handler that asks for this, and not for a `Stream`, serves sockets and runs in a test on a pair
of streams in memory (`runtime.testing.memory_stream_pair`), where faults can be had for the asking.
"""

from __future__ import annotations

from collections.abc import Awaitable
from types import TracebackType
from typing import Any, Protocol, Self

from .stream import Buffer


class ByteStream(Protocol):
    """Bytes in both directions, in order; each operation is explained at `Stream`."""

    @property
    def peer_address(self) -> Any:
        """Where the other end is; None once it is gone."""

    def recv(self, limit: int) -> Awaitable[bytes]:
        """What has come, 1 to `limit` bytes; b"" at the end."""

    def recv_into(self, buffer: bytearray | memoryview) -> Awaitable[int]:
        """The same, into memory of the caller's."""

    def send_all(self, data: Buffer) -> Awaitable[None]:
        """Send all of `data`."""

    def send_eof(self) -> None:
        """Tell the peer that nothing more will come."""

    def close(self) -> None:
        """Close both directions."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...
