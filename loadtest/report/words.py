"""How figures and findings are written in the report, the same everywhere."""

from collections.abc import Callable, Sequence

from loadtest.results.estimate import Estimate
from loadtest.results.schema import Difference

Show = Callable[[float | None], str]

# The sign that stands beside a figure, and what it means against the rival.
FINDINGS: dict[Difference, tuple[str, str]] = {
    "less": ("−", "less"),
    "more": ("+", "more"),
    "none": ("=", "no difference"),
    "unknown": ("?", "too few rounds to rank"),
    "client-limited": ("?", "not ranked: Locust was the limit"),
}
UNKNOWN = "–"


def listed(names: Sequence[str]) -> str:
    """a, b and c."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def integer(number: float | None) -> str:
    return UNKNOWN if number is None else _minus(f"{number:,.0f}")


def digits(number: float | None) -> str:
    """Three digits, or all of those before the point."""
    if number is None:
        return UNKNOWN
    if number == 0 or abs(number) >= 100:
        return integer(number)
    return _minus(f"{number:#.3g}" if abs(number) < 10 else f"{number:.1f}")


def memory(number: float | None) -> str:
    """Bytes with the unit that fits."""
    if number is None:
        return UNKNOWN
    for size, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if abs(number) >= size:
            return f"{digits(number / size)} {unit}"
    return f"{integer(number)} B" if number == 0 or abs(number) >= 1 else "under 1 B"


def megabytes(number: float | None) -> str:
    return UNKNOWN if number is None else digits(number / 1e6)


def interval(found: Estimate, show: Show = digits) -> str:
    """From where to where; nothing for a single run, which has none."""
    return f"{show(found.low)}–{show(found.high)}" if found.runs > 1 else ""


def with_interval(found: Estimate | None, show: Show = digits) -> str:
    if found is None:
        return UNKNOWN
    between = interval(found, show)
    return f"{show(found.median)} ({between})" if between else show(found.median)


def quotient(number: float | None) -> str:
    """Two digits after the point of what is about 1, and three in all of what is far from it."""
    if number is None:
        return UNKNOWN
    return f"{number:.2f}" if 0.1 <= number < 10 else digits(number)


def _minus(text: str) -> str:
    return text.replace("-", "−") if text.startswith("-") else text
