"""Bytes that say whose they are: each eight name the connection or the place in its stream.

So a byte of another connection shows, and one that is lost, doubled or out of order, wherever in
the stream and however the stream was cut. To compare is to make the same bytes anew.
"""

from array import array

CELL = 16
"""Bytes after which the pattern names its place again."""

_SPREAD = 0x9E3779B97F4A7C15
"""Makes two numbers that differ by one differ in every byte."""


def payload(connection: int, start: int, size: int) -> bytes:
    """Bytes ``start`` to ``start + size`` of this connection's stream."""
    first = start // CELL
    count = (start + size - 1) // CELL - first + 1
    cells = array("Q", bytes(CELL * count))
    cells[0::2] = array("Q", [connection * _SPREAD & 0xFFFFFFFFFFFFFFFF]) * count
    cells[1::2] = array("Q", range(first, first + count))
    offset = start - first * CELL
    return cells.tobytes()[offset : offset + size]


def wrong(connection: int, start: int, data: bytes) -> int:
    """How many of the bytes are not those of this connection at this place."""
    expected = payload(connection, start, len(data)) if data else b""
    if data == expected:
        return 0
    return sum(one != other for one, other in zip(data, expected, strict=True))
