"""From what a run saw to its row: the arithmetic. Whether the row counts is `verdict.py`'s.

What was not measured is None, never zero.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from loadtest.results.figures import Failure, LoadResult
from loadtest.results.schema import Row
from loadtest.runs.plan import Hold, Plan
from loadtest.runs.run import Census, Observed
from loadtest.runs.sampler import Sample, cpu_use
from loadtest.runs.verdict import judge


def make_row(plan: Plan, seen: Observed) -> Row:
    """The row of a run, whether it came to its end or not."""
    row = Row(
        engine=seen.job.engine,
        connections=seen.job.connections,
        repeat=seen.job.repeat,
        verdict="void",
        reasons=[],
        server_command=seen.server_command,
        locust_command=seen.locust_command,
        started=seen.started,
        softnet_drops=seen.softnet_drops,
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
        row = _with_load(row, plan.hold(seen.job.connections), seen.result)
    held = [sample for sample in seen.samples if sample.phase == "hold"]
    if held:
        row = _with_server(row, seen, held)
    verdict, reasons = judge(row, seen.reason)
    return replace(row, verdict=verdict, reasons=reasons)


def _with_load(row: Row, plan: Hold, result: LoadResult) -> Row:
    row = replace(
        row,
        held_client_min=result.held_min,
        lost=result.lost,
        ramp_seconds=result.ramp_seconds,
        connect_ms=result.times.get("CONNECT echo"),
        failures=result.failures,
        errors=_by_class(result.failures),
    )
    if result.phase != "hold" or not result.hold_seconds:
        return row
    response = result.times.get("ECHO response", {})
    return replace(
        row,
        hold_seconds=result.hold_seconds,
        echoes=result.requests,
        offered_per_second=plan.connections / plan.pacing if plan.pacing else None,
        achieved_per_second=result.requests / result.hold_seconds,
        response_ms=response,
        service_ms=result.times.get("ECHO service"),
        curves={
            name: result.curves.get(source, [])
            for name, source in (
                ("response", "ECHO response"),
                ("service", "ECHO service"),
                ("connect", "CONNECT echo"),
            )
        },
        fairness=result.fairness,
        client_cpu_percent=100 * max(result.cpu_seconds, default=0.0) / result.hold_seconds,
        hub_lag_ms=result.hub_lag,
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
        per_echo = 1e6 / use.seconds / row.achieved_per_second
        row = replace(
            row,
            cpu_us_per_echo=(use.user + use.system) * per_echo,
            user_us_per_echo=use.user * per_echo,
            system_us_per_echo=use.system * per_echo,
        )
    if seen.idle is not None and row.rss_held is not None:
        idle = seen.idle
        row = replace(
            row,
            held_server_min=_lowest(held, seen.censuses),
            rss_before=idle.rss,
            rss_per_connection=(row.rss_held - idle.rss) / row.connections,
        )
    if seen.before is not None and seen.censuses:
        row = replace(
            row,
            pss_before=seen.before.pss,
            pss_held=_largest(seen.censuses, lambda census: census.pss),
            tcp_buffers=_growth(seen, lambda census: census.tcp_buffers),
            kernel_slab=_growth(seen, lambda census: census.slab),
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


def _lowest(held: Sequence[Sample], censuses: Sequence[Census]) -> int | None:
    """Of the connections on the server's side: what the kernel shows before and after the hold, and
    between that what descriptors have become fewer.

    Fewer than with all held, not more than with none: an engine may close some of its own
    meanwhile, as uvloop's does with a listener when it is nearly full.
    """
    if not censuses:
        return None
    first = censuses[0]
    counts = [first.connections + min(0, sample.fds - first.fds) for sample in held]
    return min([*counts, *(census.connections for census in censuses)])


def _largest(censuses: Sequence[Census], value: Callable[[Census], int | None]) -> int | None:
    known = [number for census in censuses if (number := value(census)) is not None]
    return max(known, default=None)


def _growth(seen: Observed, value: Callable[[Census], int | None]) -> int | None:
    """From before the first connection to all held; less than nothing if others gave back more."""
    before = value(seen.before) if seen.before is not None else None
    held = _largest(seen.censuses, value)
    return None if before is None or held is None else held - before


def _by_class(failures: Sequence[Failure]) -> dict[str, int]:
    """Counted by the exception's class, which is what its text begins with."""
    counts: dict[str, int] = {}
    for failure in failures:
        name = failure.error.partition("(")[0]
        counts[name] = counts.get(name, 0) + failure.count
    return counts
