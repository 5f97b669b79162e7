"""What `extremes.json` says, in a few lines for the terminal."""

from collections.abc import Collection, Iterator

from loadtest.results.extremes import Breaking, Crowd, Extremes


def describe(extremes: Extremes, parts: Collection[str]) -> Iterator[str]:
    if "crowd" in parts and extremes.crowd:
        yield from _crowd(extremes.crowd)
    if "threads" in parts and extremes.breaking:
        yield from _breaking("a thread for each connection", extremes.breaking)
    if "threads" in parts and extremes.bare_threads:
        yield from _breaking("threads alone", extremes.bare_threads)


def _crowd(crowd: Crowd) -> Iterator[str]:
    verdict = "good" if crowd.ok else f"does not count: {crowd.reason}"
    yield f"crowd of {crowd.connections:,} on {crowd.engine}: {verdict}"
    yield (
        f"  held at the minimum: {_count(crowd.held_client_min)} by Locust, "
        f"{_count(crowd.held_server_min)} by the kernel; {_count(crowd.lost)} lost; "
        f"{_count(crowd.connections_echoed)} connections answered, {_count(crowd.echoes)} echoes"
    )
    yield (
        f"  server memory of {crowd.workers} workers and their supervisor: RSS "
        f"{_megabytes(crowd.rss_held)} (before: {_megabytes(crowd.rss_before)}), "
        f"PSS {_megabytes(crowd.pss_held)}; kernel slab of both ends "
        f"{_megabytes(crowd.kernel_slab)}"
    )
    if crowd.cpu_us_per_echo is not None:
        yield f"  server CPU: {crowd.cpu_us_per_echo:.0f} us an echo"


def _breaking(what: str, breaking: Breaking) -> Iterator[str]:
    number = f"errno {breaking.errno}, " if breaking.errno is not None else ""
    yield (
        f"{what}: {breaking.connections:,} connections, {breaking.threads:,} threads in "
        f"{breaking.seconds:.1f} s, RSS {_megabytes(breaking.rss)}"
    )
    if breaking.error:
        yield f"  then: {number}{breaking.error}; limit reached: {breaking.limit or 'unknown'}"
    if breaking.reason:
        yield f"  does not count: {breaking.reason}"


def _count(number: int | None) -> str:
    return "not measured" if number is None else f"{number:,}"


def _megabytes(size: int | None) -> str:
    return "not measured" if size is None else f"{size / 1e6:,.0f} MB"
