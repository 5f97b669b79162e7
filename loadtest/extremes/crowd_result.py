"""From what was seen of a crowd to its place in `extremes.json`, and whether it counts.

What was not measured is None, never zero.
"""

from collections.abc import Iterator
from dataclasses import replace

from loadtest.extremes.crowd import CrowdPlan, Look, SeenCrowd, growth
from loadtest.results.extremes import Crowd, CrowdMoment
from loadtest.results.figures import LoadResult


def make_crowd(plan: CrowdPlan, seen: SeenCrowd) -> Crowd:
    crowd = Crowd(
        engine=plan.engine,
        connections=plan.split.connections,
        ok=False,
        reason=seen.reason,
        workers=plan.split.workers,
        locust_processes=plan.split.processes,
        source_addresses=plan.split.source_addresses,
        server_command=seen.server_command,
        locust_command=seen.locust_command,
        started=seen.started,
        rss_before=seen.idle.rss if seen.idle else None,
        server_exit_status=seen.server_status,
        moments=[_moment(look) for look in seen.looks],
    )
    if seen.listening is not None:
        crowd = replace(
            crowd,
            listen_overflows=seen.listening.overflows,
            listen_drops=seen.listening.drops,
        )
    if seen.result is not None:
        crowd = _with_load(crowd, seen.result)
    crowd = _with_server(crowd, seen)
    reason = seen.reason or "; ".join(faults(crowd))
    return replace(crowd, ok=not reason, reason=reason)


def _moment(look: Look) -> CrowdMoment:
    return CrowdMoment(
        at=round(look.at, 3),
        held_client=look.held_client,
        held_server=look.held_server,
        rss=look.cost.rss,
        cpu=look.cost.cpu,
    )


def _with_load(crowd: Crowd, result: LoadResult) -> Crowd:
    crowd = replace(
        crowd,
        lost=result.lost,
        ramp_seconds=result.ramp_seconds,
        connect_ms=result.times.get("CONNECT echo"),
        failures=result.failures,
    )
    if result.phase != "hold" or not result.hold_seconds:
        return crowd
    echoes = result.times.get("ECHO service", {}).get("count")
    return replace(
        crowd,
        held_client_min=result.held_min,
        hold_seconds=result.hold_seconds,
        echoes=None if echoes is None else int(echoes),
        connections_echoed=result.answered,
        response_ms=result.times.get("ECHO response"),
        client_cpu_percent=100 * max(result.cpu_seconds, default=0.0) / result.hold_seconds,
        hub_lag_ms=result.hub_lag,
    )


def _with_server(crowd: Crowd, seen: SeenCrowd) -> Crowd:
    held = [look for look in seen.looks if look.phase == "hold"]
    if not held:
        return crowd
    crowd = replace(
        crowd,
        held_server_min=min(look.held_server for look in held),
        rss_held=max(look.cost.rss for look in held),
        pss_held=seen.held.pss if seen.held else None,
        rss_by_process=seen.held.rss_by_process if seen.held else {},
        tcp_buffers=growth(seen, lambda still: still.tcp_buffers),
        kernel_slab=growth(seen, lambda still: still.slab),
    )
    seconds, cpu = held[-1].at - held[0].at, held[-1].cost.cpu - held[0].cost.cpu
    if not (seconds and crowd.echoes and crowd.hold_seconds):
        return crowd
    echoes = crowd.echoes / crowd.hold_seconds * seconds
    return replace(crowd, cpu_us_per_echo=1e6 * cpu / echoes)


def faults(crowd: Crowd) -> Iterator[str]:
    """Why a crowd that came to its end does not count."""
    for what, count in (
        ("held at the minimum, by Locust's count", crowd.held_client_min),
        ("held at the minimum, by the kernel's count", crowd.held_server_min),
        ("answered at least once in the hold", crowd.connections_echoed),
    ):
        if count is None:
            yield f"not measured: connections {what}"
        elif count < crowd.connections:
            yield f"{count:,} of {crowd.connections:,} connections {what}"
    if crowd.lost:
        yield f"{crowd.lost:,} connections were lost"
    if crowd.failures:
        worst = max(crowd.failures, key=lambda failure: failure.count)
        total = sum(failure.count for failure in crowd.failures)
        yield f"{total:,} failed, most often {worst.kind}: {worst.error}"
    if crowd.listen_overflows or crowd.listen_drops:
        yield (
            f"a listen queue of this machine overflowed {crowd.listen_overflows or 0:,} times and "
            f"dropped {crowd.listen_drops or 0:,} connections: come slower (--spawn-rate)"
        )
    if crowd.server_exit_status != 0:
        yield f"the server ended with status {crowd.server_exit_status}"
