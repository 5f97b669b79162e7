"""What several processes saw adds up to what one would have seen."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.client.share import Share, served, together
from loadtest.client.times import Times


def share(*requests: int) -> Share:
    times = Times()
    for _ in range(sum(requests)):
        times.record("ECHO service", 0.001)
    return Share(
        phase="hold",
        held=len(requests),
        low=len(requests),
        lost=0,
        seconds=1.0,
        cpu_seconds=0.1,
        times=times.encode(),
        served=served(requests),
        answered=sum(number > 0 for number in requests),
    )


def test_counts_add_up_and_the_lowest_is_the_sum_of_the_lowest() -> None:
    one, other = share(1, 2), share(3)
    whole = together([replace(one, low=1, lost=1), replace(other, seconds=2.0, cpu_seconds=0.3)])
    assert (whole.held, whole.low, whole.lost) == (3, 2, 1)
    assert whole.seconds == 2.0
    assert whole.cpu_seconds == [0.1, 0.3]
    assert whole.times.count("ECHO service") == 6


def test_equal_service_has_an_index_of_one_and_a_monopoly_of_one_nth() -> None:
    equal, one_takes_all = together([share(5, 5), share(5)]), together([share(9, 0, 0, 0)])
    assert equal.fairness is not None
    assert equal.fairness.jain == 1
    assert one_takes_all.fairness is not None
    assert one_takes_all.fairness.jain == pytest.approx(0.25)
    assert (one_takes_all.fairness.least, one_takes_all.fairness.most) == (0, 9)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=20), st.integers(0, 20))
def test_fairness_does_not_depend_on_who_holds_which_connection(
    requests: list[int], cut: int
) -> None:
    whole = together([share(*requests)]).fairness
    assert together([share(*requests[:cut]), share(*requests[cut:])]).fairness == whole
    if any(requests):
        assert whole is not None
        assert 1 / len(requests) - 1e-9 <= whole.jain <= 1 + 1e-9


@pytest.mark.parametrize("shares", [[], [share()], [share(0, 0)]])
def test_nobody_served_is_no_fairness(shares: list[Share]) -> None:
    assert together(shares).fairness is None
