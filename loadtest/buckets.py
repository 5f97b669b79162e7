"""Histograms of times, fine enough for an echo server.

Locust files response times under whole milliseconds below 100 ms, so an echo of 0.3 ms reports
as 0. Its `locust.stats.bucket_response_time` hook may be replaced; the one here keeps three
significant digits, never finer than a microsecond. The keys stay bounded (about 7,300) because
everything above two and a half hours is one bucket.
"""

import math
from collections.abc import Mapping

CEILING_MS = 1e7


def bucket_response_time(milliseconds: float) -> float:
    """The bucket of a time: three significant digits, at least a microsecond wide."""
    if milliseconds < 1:
        return round(max(milliseconds, 0.0), 3)
    if milliseconds >= CEILING_MS:
        return CEILING_MS
    return round(milliseconds, 2 - math.floor(math.log10(milliseconds)))


def percentile(histogram: Mapping[float, int], fraction: float) -> float | None:
    """The smallest bucket that covers `fraction` of the counts; None for an empty histogram."""
    total = sum(histogram.values())
    if total == 0:
        return None
    rank = max(1, math.ceil(fraction * total))
    seen = 0
    for bucket in sorted(histogram):
        seen += histogram[bucket]
        if seen >= rank:
            return bucket
    raise AssertionError("the counts of a histogram add up to its total")


def subtract(later: Mapping[float, int], earlier: Mapping[float, int]) -> dict[float, int]:
    """What was added to a histogram between two moments."""
    return {
        bucket: count - earlier.get(bucket, 0)
        for bucket, count in later.items()
        if count > earlier.get(bucket, 0)
    }


def summarise(histogram: Mapping[float, int]) -> dict[str, float | int | None]:
    """Count and the percentiles that are reported everywhere, in milliseconds."""
    return {
        "count": sum(histogram.values()),
        "p50": percentile(histogram, 0.50),
        "p90": percentile(histogram, 0.90),
        "p99": percentile(histogram, 0.99),
        "p99.9": percentile(histogram, 0.999),
        "max": max(histogram, default=None),
    }
