"""Whether a run counts, and for what: the rules, and nothing else.

*void*: no figure of it stands. Not all that was asked for was held, or an answer was wrong, or
the machine dropped connections, or a process did not end as it should: what was measured is
another load than the one that the other engines had.

*client-limited*: Locust had reached its own limit. Then its times and rates are about Locust, and
rank nobody; the CPU and the memory of the server are measured from outside and stand.

*valid*: the rest.
"""

from collections.abc import Iterator

from loadtest.results.schema import Row, Verdict

# Locust is the limit where its own lag is this part of the p99 it reports, or its core is full.
LAG_SHARE = 0.10
BUSY_PERCENT = 90.0


def judge(row: Row, broken_off: str = "") -> tuple[Verdict, list[str]]:
    """The verdict on a run and its reasons; `broken_off` says why it did not come to its end."""
    if broken_off:
        return "void", [broken_off]
    reasons = [*_voiding(row)]
    if reasons:
        return "void", reasons
    reasons = [*_limiting(row)]
    return ("client-limited" if reasons else "valid"), reasons


def _voiding(row: Row) -> Iterator[str]:
    for side, held in (("client", row.held_client_min), ("server", row.held_server_min)):
        if held is None:
            yield f"nothing was measured on the {side}'s side"
        elif held < row.connections:
            yield (
                f"{held:,} of {row.connections:,} connections held at the minimum, "
                f"on the {side}'s side"
            )
    if row.failures:
        worst = max(row.failures, key=lambda failure: failure.count)
        total = sum(failure.count for failure in row.failures)
        yield f"{total:,} failed, most often {worst.kind}: {worst.error}"
    if row.lost:
        yield f"{row.lost:,} connections were lost"
    if not row.echoes:
        yield "no echo came within the hold"
    if row.server_exit_status:
        yield f"the server ended with status {row.server_exit_status}"
    if row.listen_overflows or row.listen_drops:
        yield (
            f"a listen queue of this machine overflowed {row.listen_overflows or 0:,} times and "
            f"dropped {row.listen_drops or 0:,} connections: come slower (--spawn-rate)"
        )


def _limiting(row: Row) -> Iterator[str]:
    lag = row.hub_lag_ms.get("p99") if row.hub_lag_ms else None
    slowest = row.response_ms.get("p99") if row.response_ms else None
    if lag is not None and slowest is not None and lag > LAG_SHARE * slowest:
        yield (f"the response p99 of {slowest:.3g} ms includes Locust's own lag, p99 {lag:.3g} ms")
    if row.client_cpu_percent is not None and row.client_cpu_percent > BUSY_PERCENT:
        yield f"Locust was busy for {row.client_cpu_percent:.0f} % of its time"
    if row.softnet_drops:
        yield (
            f"the kernel dropped {row.softnet_drops:,} packets before its network stack saw "
            "them: times include retransmissions"
        )
