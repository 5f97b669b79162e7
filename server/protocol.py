"""The sleep service's protocol without I/O: bytes in, answers out.

Each line names a number of seconds; after that long the same line goes back. Every engine
shares this file, so it neither waits nor touches a socket: an engine feeds it what it received
and takes answers from it, one at a time, when it is ready for the next. That pull is what
bounds memory. 64 KiB of ``0\\n`` owe 32,768 answers, and none exists before it is asked for.

Numbers are matched as bytes by a strict pattern before conversion, because ``float()`` also
takes ``nan``, ``inf``, ``1e400``, ``1_0`` and digits of every script in Unicode.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

_SECONDS = re.compile(rb"([0-9]+(?:\.[0-9]+)?)\r?\n")


class Answer(NamedTuple):
    """After ``seconds`` send ``line``; then, with ``close``, close the connection."""

    line: bytes
    seconds: float = 0.0
    close: bool = False


def _nothing(line: bytes, answer: Answer) -> None:
    pass


class SleepProtocol:
    """One connection's side of the sleep service, and the iterator over the answers it owes.

    ``feed`` and ``end`` return the protocol itself, so an engine may say
    ``for answer in protocol.feed(data)``, or keep feeding while answers are outstanding and
    take them by ``next(protocol, None)``. Between lines at most ``max_line`` bytes are kept.
    ``on_bad_line`` is called with what was not understood and the answer to it, when that is taken.
    """

    __slots__ = (
        "_buffer",
        "_closed",
        "_ended",
        "_max_line",
        "_max_sleep",
        "_on_bad_line",
        "_scanned",
        "busy",
        "failed",
        "seen_at",
    )

    def __init__(
        self,
        max_line: int,
        max_sleep: float,
        on_bad_line: Callable[[bytes, Answer], None] = _nothing,
    ) -> None:
        self._max_line = max_line
        self._max_sleep = max_sleep
        self._on_bad_line = on_bad_line
        self._buffer = bytearray()
        self._scanned = 0  # no newline before here: a line that trickles in is searched once
        self._ended = False
        self._closed = False
        self.busy = False
        """Whether an answer was taken and the next one not yet asked for: it is on its way."""
        self.failed = False
        """Whether the end came by an error of the peer's, which its last answer names."""
        self.seen_at: float | None = None
        """For whoever times the lines: when this one was first seen, None again with the next."""

    @property
    def closed(self) -> bool:
        """No more answers will come: the engine sends what it has and closes."""
        return self._closed

    @property
    def buffered(self) -> int:
        """Bytes held and not yet answered; an engine stops reading while there are many."""
        return len(self._buffer)

    @property
    def in_line(self) -> bool:
        """Whether a line has begun whose end is still to come, and nothing stands before it."""
        return bool(self._buffer) and not self.busy

    def feed(self, data: bytes) -> "SleepProtocol":
        """Take received bytes. After a fatal error they are dropped."""
        if not self._closed:
            self._buffer += data
        return self

    def end(self) -> "SleepProtocol":
        """The peer will send no more; an unterminated last line is an error."""
        self._ended = True
        return self

    def __iter__(self) -> "SleepProtocol":
        return self

    def __next__(self) -> Answer:
        answer = None if self._closed else self._next()
        self.busy = answer is not None
        if answer is None:
            raise StopIteration
        # Only now: who looks from another thread must not find the line ended but not yet answered.
        self.seen_at = None
        return answer

    def _next(self) -> Answer | None:
        newline = self._buffer.find(b"\n", self._scanned, self._max_line + 1)
        if newline >= 0:
            line = bytes(self._buffer[: newline + 1])
            del self._buffer[: newline + 1]
            self._scanned = 0
            return self._answer(line)
        if len(self._buffer) > self._max_line:
            return self._fatal(
                b"error: line longer than %d bytes; end each number with a newline\n"
                % self._max_line
            )
        if self._ended:
            if self._buffer:
                return self._fatal(b"error: last line not ended; end each number with a newline\n")
            self._closed = True
        self._scanned = len(self._buffer)
        return None

    def _answer(self, line: bytes) -> Answer:
        match = _SECONDS.fullmatch(line)
        if match is not None:
            seconds = float(match[1])  # no exponent in the pattern: at worst too large, inf
            if seconds <= self._max_sleep:
                return Answer(line, seconds)
        answer = Answer(b"error: not a number of seconds from 0 to %.15g\n" % self._max_sleep)
        self._on_bad_line(line, answer)
        return answer

    def _fatal(self, error: bytes) -> Answer:
        line, answer = bytes(self._buffer), Answer(error, close=True)
        self._closed = self.failed = True
        self._buffer.clear()
        self._on_bad_line(line, answer)
        return answer
