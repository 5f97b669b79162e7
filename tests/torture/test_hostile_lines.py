"""A million hostile inputs for the sleep service's protocol, compared with an oracle.

The oracle sees an input as a whole, and knows no pattern, no buffer and no state; the protocol gets
it in pieces, cut anywhere. Each input is that of its number, so a failure can be repeated.
"""

import tracemalloc
from fractions import Fraction
from random import Random

import pytest

from server.protocol import Answer, SleepProtocol
from tests.torture.conftest import Figures, Scale

pytestmark = pytest.mark.item(17)

MAX_LINE, MAX_SLEEP = 24, 3600

NOT_A_NUMBER = Answer(b"error: not a number of seconds from 0 to 3600\n")
TOO_LONG = Answer(b"error: line longer than 24 bytes; end each number with a newline\n", 0.0, True)
UNENDED = Answer(b"error: last line not ended; end each number with a newline\n", 0.0, True)

TOKENS = (
    *(b"0", b"9", b"3600", b"3599.9", b".", b"00", b"\n", b"\n", b"\r\n", b"\r", b"1.5\n", b"0.25"),
    *(b"-", b"+", b"e9", b"_", b"nan", b"inf", b" ", b"\t", b"\0", b"\x0b", b"\xff", b"\xc2\xb2"),
    *("\u0661".encode(), "\u2028".encode(), b"0x", b"1" * 23, b"9" * 25),
)

DIGITS = frozenset(b"0123456789")


def hostile(random: Random) -> bytes:
    """Bytes that matter to the protocol, and a few that matter to nobody."""
    parts = random.choices(TOKENS, k=random.randrange(12))
    if random.random() < 0.3:
        parts.insert(random.randrange(len(parts) + 1), random.randbytes(random.randrange(8)))
    return b"".join(parts)


def oracle(data: bytes) -> list[Answer]:
    """The answers to a whole stream."""
    *lines, last = data.split(b"\n")
    found: list[Answer] = []
    for line in lines:
        if len(line) > MAX_LINE:
            return [*found, TOO_LONG]
        found.append(reply(line))
    if len(last) > MAX_LINE:
        return [*found, TOO_LONG]
    return [*found, UNENDED] if last else found


def reply(line: bytes) -> Answer:
    whole, dot, rest = line.removesuffix(b"\r").partition(b".")
    if not (whole and DIGITS.issuperset(whole + rest) and bool(dot) == bool(rest)):
        return NOT_A_NUMBER
    seconds = Fraction((whole + dot + rest).decode())
    return Answer(line + b"\n", float(seconds)) if seconds <= MAX_SLEEP else NOT_A_NUMBER


def in_pieces(data: bytes, random: Random) -> list[Answer]:
    """What the protocol answers to it, cut anywhere."""
    protocol = SleepProtocol(MAX_LINE, MAX_SLEEP)
    found: list[Answer] = []
    at = 0
    while at < len(data):
        size = random.choice((1, 2, 5, 30, 300))
        protocol.feed(data[at : at + size])
        at += size
        if random.random() < 0.7:  # else it gets more before it is asked
            found += protocol
            assert protocol.buffered <= MAX_LINE
    found += protocol.end()
    assert protocol.closed
    assert protocol.failed == bool(found and found[-1].close)
    return found


def test_the_answers_to_hostile_lines_are_those_of_the_oracle(
    scale: Scale, figure: Figures
) -> None:
    wrong = []
    for number in range(scale(5000, 1_000_000)):
        random = Random(number)
        data = hostile(random)
        if in_pieces(data, random) != oracle(data):
            wrong.append(number)
    figure("inputs of a million that are answered wrongly", len(wrong))
    assert not wrong, hostile(Random(wrong[0]))


def test_a_stream_of_hostile_lines_is_held_line_by_line(scale: Scale, figure: Figures) -> None:
    random = Random(17)
    protocol = SleepProtocol(65536, MAX_SLEEP)
    tracemalloc.start()
    try:
        for _ in range(scale(5000, 100_000)):
            for answer in protocol.feed(hostile(random) * 20 + b"\n"):
                assert answer.line.endswith(b"\n")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert not protocol.closed
    figure("memory at its peak over a stream of hostile lines", peak / 1024)
