"""What proves that no byte went astray must itself notice when one does."""

import pytest

from tests.torture.payload import payload, wrong

pytestmark = pytest.mark.item(1)


@pytest.mark.parametrize("cut", [1, 7, 8, 16, 4096, 65537])
def test_a_stream_is_the_same_however_it_is_cut(cut: int) -> None:
    whole = payload(3, 0, 100_000)
    assert (
        b"".join(payload(3, at, min(cut, 100_000 - at)) for at in range(0, 100_000, cut)) == whole
    )


def test_bytes_that_went_astray_are_noticed() -> None:
    mine, other = payload(7, 0, 4096), payload(8, 0, 4096)
    assert wrong(7, 0, mine) == 0
    assert wrong(7, 0, b"") == 0
    assert wrong(7, 0, other)
    assert wrong(7, 0, mine[1:])  # lost
    assert wrong(7, 0, mine[:1] + mine[:-1])  # doubled
    assert wrong(7, 0, mine[16:32] + mine[:16])  # reordered
    assert wrong(7, 0, mine[:2000] + other[2000:2016] + mine[2016:]) in range(1, 17)
    assert wrong(7, 100, mine[100:]) == 0
