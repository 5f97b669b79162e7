"""Times by name, each name a histogram that is as fine at the far end as in the middle.

Locust's own statistics keep a table of rounded times, which is enough to look at but not to read
a p99.99 from, and cannot be cut at a moment. So each process records beside them into
HdrHistograms: microseconds with three significant digits, of a fixed size, and two of them add up
exactly, which is what makes percentiles over several workers true ones. (An average of the
workers' percentiles is a percentile of nothing.)
"""

from collections.abc import Iterable, Mapping
from typing import Any

from hdrh.histogram import HdrHistogram

from loadtest.results.figures import Curve, Summary

HOUR_US = 3_600_000_000
DIGITS = 3
PERCENTILES = (50, 90, 99, 99.9, 99.99)
CURVE = (0, 10, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 99.95, 99.99, 99.995, 99.999)
# Up to here a percentile is given whatever the count; beyond, only with a sample beyond it.
ALWAYS = 99


class Times:
    """What one process has recorded, or several together."""

    def __init__(self) -> None:
        self._histograms: dict[str, Any] = {}

    def record(self, name: str, seconds: float) -> None:
        """Count one; longer than an hour counts as an hour."""
        self._histogram(name).record_value(min(max(1, round(seconds * 1e6)), HOUR_US))

    def forget(self, names: Iterable[str]) -> None:
        """Start these from nothing."""
        for name in names:
            self._histograms.pop(name, None)

    def names(self) -> list[str]:
        return sorted(self._histograms)

    def count(self, name: str) -> int:
        found = self._histograms.get(name)
        return int(found.total_count) if found else 0

    def encode(self) -> dict[str, str]:
        """To send elsewhere: HdrHistogram's own format, compressed, in base64."""
        return {name: histogram.encode().decode() for name, histogram in self._histograms.items()}

    def add(self, encoded: Mapping[str, str]) -> None:
        """Count what another process has encoded as well."""
        for name, text in encoded.items():
            self._histogram(name).decode_and_add(text)

    def summary(self, name: str) -> Summary:
        """Count, percentiles and maximum in milliseconds; None where there is too little."""
        count = self.count(name)
        found = self._milliseconds(name, PERCENTILES)
        known = {f"p{percentile:g}": found.get(percentile) for percentile in PERCENTILES}
        return {"count": count, **known, "max": self._max(name)}

    def curve(self, name: str) -> Curve:
        """Percentiles up to the last one that has a sample beyond it, and the maximum."""
        largest = self._max(name)
        if largest is None:
            return []
        found = self._milliseconds(name, CURVE)
        return [*((float(percentile), found[percentile]) for percentile in found), (100.0, largest)]

    def _histogram(self, name: str) -> Any:
        found = self._histograms.get(name)
        if found is None:
            found = self._histograms[name] = HdrHistogram(1, HOUR_US, DIGITS)
        return found

    def _milliseconds(self, name: str, percentiles: Iterable[float]) -> dict[float, float]:
        count, largest = self.count(name), self._max(name)
        if largest is None:
            return {}
        wanted = [p for p in percentiles if p <= ALWAYS or round((100 - p) * count, 6) >= 100]
        found = self._histograms[name].get_percentile_to_value_dict(wanted)
        # It names the upper edge of a bucket, which may be beyond the largest time in it.
        return {percentile: min(found[percentile] / 1000, largest) for percentile in wanted}

    def _max(self, name: str) -> float | None:
        return self._histograms[name].max_value / 1000 if self.count(name) else None
