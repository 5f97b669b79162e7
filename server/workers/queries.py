"""What the admin port has asked for, and which workers are yet to answer.

A worker answers when it comes to it and the supervisor waits for none, so a question is kept until
all have answered, have gone, or have had their time: one that hangs is told as such.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

ANSWER_WITHIN = 1.0
"""Seconds for a worker."""


@dataclass(slots=True, eq=False)
class Query:
    """One question to all workers."""

    word: str
    number: int
    """Goes back with the answer: the admin port may have given up this question for another."""
    deadline: float
    waiting: set[int]
    """The process ids of those that are to answer."""
    texts: dict[int, str] = field(default_factory=dict)


class Queries:
    """The questions that are open."""

    def __init__(self) -> None:
        self._open: list[Query] = []

    def ask(self, word: str, number: int, pids: Iterable[int], now: float) -> None:
        self._open.append(Query(word, number, now + ANSWER_WITHIN, set(pids)))

    def answered(self, word: str, pid: int, text: str = "") -> None:
        for query in self._open:
            if query.word == word:
                query.waiting.discard(pid)
                query.texts[pid] = text

    def gone(self, pid: int) -> None:
        """A worker that will not answer any more."""
        for query in self._open:
            query.waiting.discard(pid)

    def forget(self) -> None:
        """Who has asked is gone."""
        self._open.clear()

    def done(self, now: float) -> list[Query]:
        """Those that are over, which are no longer open then."""
        done = [query for query in self._open if not query.waiting or query.deadline <= now]
        self._open = [query for query in self._open if query not in done]
        return done

    def deadlines(self) -> list[float]:
        return [query.deadline for query in self._open]
