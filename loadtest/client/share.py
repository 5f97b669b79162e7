"""What each Locust process contributes to a result, and what the shares of all add up to.

With `--processes` or workers on other machines nobody sees the whole load. Each process describes
its part as a `Share`, plain data that travels in Locust's own messages, and the one that writes
the result adds them up: histograms exactly, counts by sum. The lowest number of connections is
the sum of each process's lowest, which cannot be more than what was held at any one moment.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from loadtest.client.times import Times
from loadtest.results.figures import Fairness, Phase


@dataclass(frozen=True)
class Share:
    """One process over the hold; `phase` is the last that it knows of."""

    phase: Phase
    held: int
    low: int
    lost: int
    seconds: float
    cpu_seconds: float
    # Name -> encoded histogram, as Times has them.
    times: dict[str, str]
    # Of the requests of each connection: how many connections, sum, sum of squares, least, most.
    served: tuple[int, int, int, int, int]
    # Connections that are held and had an answer, whole and compared, since the hold began.
    answered: int


@dataclass(frozen=True)
class Whole:
    """All shares together."""

    held: int
    low: int
    lost: int
    seconds: float
    cpu_seconds: list[float]
    times: Times
    fairness: Fairness | None
    answered: int


def together(shares: Sequence[Share]) -> Whole:
    times = Times()
    for share in shares:
        times.add(share.times)
    return Whole(
        held=sum(share.held for share in shares),
        low=sum(share.low for share in shares),
        lost=sum(share.lost for share in shares),
        seconds=max((share.seconds for share in shares), default=0.0),
        cpu_seconds=[share.cpu_seconds for share in shares],
        times=times,
        fairness=_fairness([share.served for share in shares if share.served[0]]),
        answered=sum(share.answered for share in shares),
    )


def served(requests: Sequence[int]) -> tuple[int, int, int, int, int]:
    """The requests of each connection, as a share tells them."""
    if not requests:
        return 0, 0, 0, 0, 0
    squares = sum(number * number for number in requests)
    return len(requests), sum(requests), squares, min(requests), max(requests)


def _fairness(parts: Sequence[tuple[int, int, int, int, int]]) -> Fairness | None:
    connections = sum(part[0] for part in parts)
    total = sum(part[1] for part in parts)
    squares = sum(part[2] for part in parts)
    if not squares:
        return None
    return Fairness(
        jain=total * total / (connections * squares),
        least=min(part[3] for part in parts),
        most=max(part[4] for part in parts),
    )
