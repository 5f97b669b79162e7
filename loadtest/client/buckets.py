"""Locust's own statistics, fine enough for an echo server.

Locust files response times under whole milliseconds below 100 ms, so an echo of 0.3 ms reports
as 0. Its `locust.stats.bucket_response_time` hook may be replaced; the one here keeps three
significant digits, never finer than a microsecond. The keys stay bounded (about 7,300) because
everything above two and a half hours is one bucket.
"""

import math

CEILING_MS = 1e7


def bucket_response_time(milliseconds: float) -> float:
    """The bucket of a time: three significant digits, at least a microsecond wide."""
    if milliseconds < 1:
        return round(max(milliseconds, 0.0), 3)
    if milliseconds >= CEILING_MS:
        return CEILING_MS
    return round(milliseconds, 2 - math.floor(math.log10(milliseconds)))
