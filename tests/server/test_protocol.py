"""The sleep protocol alone: no sockets, so every chunking and any bytes can be tried."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.protocol import Answer, SleepProtocol

NOT_A_NUMBER = Answer(b"error: not a number of seconds from 0 to 3600\n")
TOO_LONG = Answer(b"error: line longer than 20 bytes; end each number with a newline\n", 0.0, True)
UNENDED = Answer(b"error: last line not ended; end each number with a newline\n", 0.0, True)

# Bytes that matter to the protocol come up often, all others now and then.
hostile = st.lists(
    st.one_of(st.sampled_from([b"0", b"9", b".", b"\n", b"\r\n", b"1.5\n", b"x"]), st.binary()),
    max_size=40,
)


# How long an example takes says something about the machine, not about the protocol.
untimed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def new() -> SleepProtocol:
    return SleepProtocol(max_line=20, max_sleep=3600)


def answers_to(*chunks: bytes) -> list[Answer]:
    """The answers to a whole stream."""
    protocol = new()
    found = [answer for chunk in chunks for answer in protocol.feed(chunk)]
    found += protocol.end()
    assert protocol.closed
    return found


@untimed
@given(chunks=hostile)
def test_any_chunking_gives_the_same_answers(chunks: list[bytes]) -> None:
    whole = b"".join(chunks)
    single = [whole[at : at + 1] for at in range(len(whole))]
    assert answers_to(*chunks) == answers_to(whole) == answers_to(*single)


@untimed
@given(chunks=hostile)
def test_feeding_ahead_of_the_answers_gives_the_same_answers(chunks: list[bytes]) -> None:
    protocol = new()
    for chunk in chunks:
        protocol.feed(chunk)
    assert list(protocol.end()) == answers_to(*chunks)


@untimed
@given(chunks=hostile)
def test_never_keeps_more_than_a_line(chunks: list[bytes]) -> None:
    protocol = new()
    for chunk in chunks:
        for answer in protocol.feed(chunk):
            assert 0 <= answer.seconds <= 3600
            assert answer.line.endswith(b"\n")
        assert protocol.buffered <= 20


@untimed
@given(chunks=hostile)
def test_only_the_last_answer_closes(chunks: list[bytes]) -> None:
    found = answers_to(*chunks)
    assert not any(answer.close for answer in found[:-1])


@untimed
@given(lines=st.lists(st.from_regex(rb"[0-9]{1,3}(\.[0-9]{1,5})?\r?\n", fullmatch=True)))
def test_every_number_comes_back_as_it_was_written(lines: list[bytes]) -> None:
    assert answers_to(*lines) == [Answer(line, float(line)) for line in lines]


@pytest.mark.parametrize(
    "line",
    [
        *(b"", b"\r", b" ", b" 1", b"1 ", b"1\r\r", b"\r1", b".5", b"5.", b"1.2.3", b"1,5", b"1\0"),
        *(b"-1", b"+1", b"-0", b"1e3", b"1e400", b"1_0", b"nan", b"inf", b"Infinity", b"0x1"),
        *(b"3600.001", b"99999999999999999999", "\u0661".encode(), b"\xb2", b"\xff"),
    ],
)
def test_anything_else_is_an_error_after_which_lines_go_on(line: bytes) -> None:
    assert answers_to(line + b"\n1\n") == [NOT_A_NUMBER, Answer(b"1\n", 1.0)]


def test_a_number_too_large_for_a_float_is_only_out_of_range() -> None:
    protocol = SleepProtocol(max_line=65536, max_sleep=3600)
    assert list(protocol.feed(b"9" * 65536 + b"\n")) == [NOT_A_NUMBER]
    assert not protocol.closed


def test_the_limits_themselves_are_allowed() -> None:
    assert answers_to(b"3600\n") == [Answer(b"3600\n", 3600.0)]
    assert answers_to(b"0" * 20 + b"\n") == [Answer(b"0" * 20 + b"\n", 0.0)]


def test_a_line_is_too_long_as_soon_as_it_is_and_nothing_follows() -> None:
    assert answers_to(b"1\n" + b"0" * 21 + b"\n1\n") == [Answer(b"1\n", 1.0), TOO_LONG]
    protocol = new()
    assert list(protocol.feed(b"0" * 20)) == []
    assert list(protocol.feed(b"0")) == [TOO_LONG]
    assert protocol.closed
    assert list(protocol.feed(b"1\n" * 100)) == list(protocol.end()) == []
    assert protocol.buffered == 0


def test_an_unterminated_last_line_is_an_error() -> None:
    assert answers_to(b"1\n1") == [Answer(b"1\n", 1.0), UNENDED]


def test_a_stream_that_ends_after_a_line_ends_in_silence() -> None:
    assert answers_to() == []
    assert answers_to(b"1\n") == [Answer(b"1\n", 1.0)]


def test_the_error_names_the_configured_maximum() -> None:
    protocol = SleepProtocol(max_line=20, max_sleep=0.5)
    answer = next(protocol.feed(b"1\n"))
    assert answer.line == b"error: not a number of seconds from 0 to 0.5\n"
