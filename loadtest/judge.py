"""From what a run saw to its row: the arithmetic, and whether the row may stand.

A row is good only if every connection asked for was held by both sides at the lowest moment of
the hold, and every answer was right. What was not measured is None, never zero.
"""

from dataclasses import replace

from loadtest.figures import LoadResult
from loadtest.plan import Plan
from loadtest.results import Row
from loadtest.run import Observed
from loadtest.sampler import Sample, cpu_use

# Locust is the limit where its own lag is this part of the p99 it reports, or its core is full.
LAG_SHARE = 0.10
BUSY_PERCENT = 90.0


def make_row(plan: Plan, seen: Observed) -> Row:
    """The row of a run, whether it came to its end or not."""
    row = Row(
        engine=seen.mode,
        repeat=seen.repeat,
        ok=False,
        reason=seen.reason,
        notes=[],
        server_command=seen.server_command,
        locust_command=seen.locust_command,
        asked=plan.connections,
        server_exit_status=seen.server_status,
        samples=seen.samples,
    )
    if seen.listening is not None:
        row = replace(
            row,
            listen_overflows=seen.listening.overflows,
            listen_drops=seen.listening.drops,
        )
    if seen.result is not None:
        row = _with_load(row, plan, seen.result)
    held = [sample for sample in seen.samples if sample.phase == "hold"]
    if held:
        row = _with_server(row, seen, held)
    reason = row.reason or _shortfall(row)
    return replace(row, ok=not reason, reason=reason, notes=_notes(row))


def _with_load(row: Row, plan: Plan, result: LoadResult) -> Row:
    row = replace(
        row,
        held_client_min=result.held_min,
        lost=result.lost,
        ramp_seconds=result.ramp_seconds,
        connect_ms=result.times.get("CONNECT echo"),
        failures=result.failures,
    )
    if result.phase != "hold" or not result.hold_seconds:
        return row
    response = result.times.get("ECHO response", {})
    lag, slowest = result.hub_lag["p99"], response.get("p99")
    client_cpu = 100 * result.cpu_seconds / result.hold_seconds
    lagging = lag is not None and slowest is not None and lag > LAG_SHARE * slowest
    return replace(
        row,
        hold_seconds=result.hold_seconds,
        echoes=result.requests,
        offered_per_second=plan.connections / plan.pacing if plan.pacing else None,
        achieved_per_second=result.requests / result.hold_seconds,
        response_ms=response,
        service_ms=result.times.get("ECHO service"),
        client_cpu_percent=client_cpu,
        hub_lag_ms=result.hub_lag,
        client_limited=lagging or client_cpu > BUSY_PERCENT,
    )


def _with_server(row: Row, seen: Observed, held: list[Sample]) -> Row:
    use = cpu_use(held)
    row = replace(
        row,
        cpu_user=use.user,
        cpu_system=use.system,
        rss_held=max(sample.rss for sample in held),
        threads=max(sample.threads for sample in held),
    )
    if use.seconds and row.achieved_per_second:
        busy = (use.user + use.system) / use.seconds
        row = replace(row, cpu_us_per_echo=1e6 * busy / row.achieved_per_second)
    if seen.idle is not None and row.rss_held is not None:
        idle = seen.idle
        counts = [sample.fds - idle.fds for sample in held]
        counts += [census.connections for census in seen.censuses]
        row = replace(
            row,
            held_server_min=min(counts),
            rss_before=idle.rss,
            rss_per_connection=(row.rss_held - idle.rss) / row.asked,
        )
    if len(seen.censuses) == 2:
        first, last = seen.censuses
        seconds = last.at - first.at
        row = replace(
            row,
            voluntary_switches_per_second=(last.voluntary - first.voluntary) / seconds,
            involuntary_switches_per_second=(last.involuntary - first.involuntary) / seconds,
        )
    return row


def _shortfall(row: Row) -> str:
    """Why a run that came to its end does not count; "" if it does."""
    for side, held in (("client", row.held_client_min), ("server", row.held_server_min)):
        if held is None:
            return f"nothing was measured on the {side}'s side"
        if held < row.asked:
            return (
                f"{held:,} of {row.asked:,} connections held at the minimum, on the {side}'s side"
            )
    if row.failures:
        worst = max(row.failures, key=lambda failure: failure.count)
        total = sum(failure.count for failure in row.failures)
        return f"{total:,} failed, most often {worst.kind}: {worst.error}"
    if row.lost:
        return f"{row.lost:,} connections were lost"
    if not row.echoes:
        return "no echo came within the hold"
    return ""


def _notes(row: Row) -> list[str]:
    notes = []
    if row.client_limited and row.hub_lag_ms and row.response_ms:
        notes.append(
            f"client-limited: the response p99 of {row.response_ms['p99']} ms includes Locust's "
            f"own lag, p99 {row.hub_lag_ms['p99']} ms at {row.client_cpu_percent:.0f}% CPU"
        )
    if row.listen_overflows or row.listen_drops:
        notes.append(
            f"a listen queue of this machine overflowed {row.listen_overflows} times and dropped "
            f"{row.listen_drops} connections: connect times include retransmits"
        )
    return notes
