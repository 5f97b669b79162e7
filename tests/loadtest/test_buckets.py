"""Times keep three significant digits, in a bounded number of buckets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.client.buckets import CEILING_MS, bucket_response_time


@pytest.mark.parametrize(
    ("time", "bucket"),
    [
        (0.0, 0.0),
        (0.0004, 0.0),
        (0.3126, 0.313),
        (1.2345, 1.23),
        (12.345, 12.3),
        (123.45, 123.0),
        (12345.6, 12300.0),
        (-0.2, 0.0),
        (1e9, CEILING_MS),
    ],
)
def test_a_time_is_filed_under_three_significant_digits(time: float, bucket: float) -> None:
    assert bucket_response_time(time) == bucket


@given(st.floats(min_value=0.5, max_value=CEILING_MS))
def test_a_bucket_is_within_half_a_percent_of_the_time(time: float) -> None:
    assert bucket_response_time(time) == pytest.approx(time, rel=0.00501)


def test_the_number_of_buckets_is_bounded() -> None:
    time, buckets = 0.0001, set()
    while time < 2 * CEILING_MS:
        buckets.add(bucket_response_time(time))
        time *= 1.0005
    assert 6000 < len(buckets) < 7500
