"""A comparison as `compare` would write it, made up: for tests of what reads `results.json`.

The figures have the size of real ones and each engine its own character: a thread per connection
costs memory, the limit in C costs next to nothing, noise has a long tail. Everything comes from a
seed, so the same call gives the same comparison.

`python -m tests.loadtest.sample_results DIR` writes one, and the `extremes.json` that goes with it.
"""

import math
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from loadtest.host.machine import Machine
from loadtest.results.extremes import Breaking, Crowd, CrowdMoment, Extremes, write_extremes
from loadtest.results.figures import Curve, Failure, Fairness, Phase, Summary
from loadtest.results.schema import SCHEMA, Asked, Peak, Results, Row, write_json
from loadtest.results.summary import compare_runs, slopes
from loadtest.runs.sampler import Sample

MODES = ("runtime", "threads", "uvloop", "uvloop-protocol", "asyncio", "c-epoll")
SCENARIOS = ("hold", "echo", "bulk-64k", "bulk-16m", "churn")
PERCENTILES = (0, 10, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 99.95, 99.99)
# Connections of their own, and bytes where operations are bulk.
OWN = {"bulk-64k": (16, 65536), "bulk-16m": (4, 16 * 1024 * 1024), "churn": (64, 0)}
DURATION = 30.0
ECHOES_PER_SECOND = 1000
# What a reason, a command or the name of a CPU may hold.
HOSTILE = "</style></svg><script>alert(\"1\")</script> {{ 7 * 7 }} & 'more'"


@dataclass(frozen=True)
class Character:
    """What an engine is like: microseconds an echo, bytes a connection, and the idle process."""

    user: float
    system: float
    memory: float
    idle: float


CHARACTERS = {
    "runtime": Character(12.0, 22.0, 1640, 21e6),
    "threads": Character(14.0, 23.0, 42_000, 19e6),
    "uvloop": Character(20.0, 23.0, 4800, 27e6),
    "uvloop-protocol": Character(8.0, 22.0, 1310, 26e6),
    "asyncio": Character(33.0, 24.0, 5300, 24e6),
    "c-epoll": Character(1.0, 20.0, 0.5, 1.4e6),
}
MACHINE = Machine(
    cpu="AMD EPYC 9R14",
    cores=2,
    memory_bytes=24 << 30,
    kernel="6.18.0",
    open_files=20_000,
    sysctls={"net.core.somaxconn": "4096", "vm.max_map_count": "65530"},
    python="CPython 3.11.7",
    git_revision="0123456789ab",
    versions={"c10k": "0.1.0", "uvloop": "0.23.0", "locust": "2.47.0"},
)


def sample_results(
    connections: Sequence[int] = (100, 1000, 10_000),
    modes: Sequence[str] = MODES,
    repeats: int = 5,
    scenarios: Sequence[str] = SCENARIOS,
    seed: int = 1,
) -> Results:
    """All valid, but one of the runs is client-limited and the last one is void."""
    noise = random.Random(seed)
    rows: list[Row] = []
    peaks: list[Peak] = []
    for repeat in range(1, repeats + 1):
        for count in connections:
            rows += [sample_row(mode, count, repeat, noise) for mode in modes]
        for scenario in scenarios:
            for count in [] if scenario == "hold" else counts(scenario, connections):
                peaks += [sample_peak(scenario, mode, count, repeat, noise) for mode in modes]
    if len(rows) > 2:
        rows[1] = client_limited(rows[1])
        rows[-1] = void(rows[-1])
    return with_rows(rows, peaks, connections, modes, repeats, scenarios)


def counts(scenario: str, connections: Sequence[int]) -> list[int]:
    """As `compare` chooses them: a scenario's own, or those asked for within redis-benchmark's."""
    if scenario in OWN:
        return [OWN[scenario][0]]
    return [count for count in connections if count <= 10_000]


def with_rows(
    rows: list[Row],
    peaks: list[Peak],
    connections: Sequence[int] = (10_000,),
    modes: Sequence[str] = MODES,
    repeats: int = 1,
    scenarios: Sequence[str] = ("hold",),
) -> Results:
    """A comparison of the given runs, with what follows from them worked out as `compare` does."""
    return Results(
        schema=SCHEMA,
        started="2026-01-01T00:00:00+00:00",
        resumed=[],
        command="python -m loadtest compare",
        pinning="server pinned to CPU 0, Locust to CPU 1",
        interrupted=False,
        machine=MACHINE,
        asked=Asked(
            modes=list(modes),
            connections=list(connections),
            scenarios=list(scenarios),
            repeats=repeats,
            rival=modes[0],
            duration=DURATION,
            payload=64,
            pacing={count: count / ECHOES_PER_SECOND for count in connections},
            spawn_rate=500,
            source_addresses="",
            server_command=["python", "-m", "server"],
        ),
        rows=rows,
        peaks=peaks,
        summary=compare_runs(rows, peaks, modes[0]),
        slopes=slopes(rows),
    )


def sample_row(mode: str, connections: int, repeat: int, noise: random.Random) -> Row:
    character = CHARACTERS[mode]
    slow = noise.lognormvariate(0.0, 0.06)
    user, system = character.user * slow, character.system * slow
    grown = character.memory * connections * noise.uniform(0.98, 1.02)
    rss = int(character.idle + grown)
    echoes = int(ECHOES_PER_SECOND * DURATION * noise.uniform(0.99, 1.0))
    service = curve((0.2 + (user + system) / 90) * slow, echoes, noise)
    response = [(percentile, ms * 1.15) for percentile, ms in service]
    connect = curve(0.4 * slow, connections, noise)
    each = DURATION * ECHOES_PER_SECOND / connections
    return Row(
        engine=mode,
        connections=connections,
        repeat=repeat,
        verdict="valid",
        reasons=[],
        server_command=["python", "-m", "server", "--mode", mode],
        locust_command=["locust", "--users", str(connections)],
        started=f"2026-01-01T0{repeat % 10}:00:00+00:00",
        held_client_min=connections,
        held_server_min=connections,
        lost=0,
        ramp_seconds=connections / 500 + noise.uniform(0.5, 1.0),
        hold_seconds=DURATION,
        echoes=echoes,
        offered_per_second=float(ECHOES_PER_SECOND),
        achieved_per_second=echoes / DURATION,
        response_ms=summary(response, echoes),
        service_ms=summary(service, echoes),
        connect_ms=summary(connect, connections),
        curves={"response": response, "service": service, "connect": connect},
        fairness=Fairness(noise.uniform(0.985, 1.0), math.floor(each) - 1, math.ceil(each)),
        cpu_user=user * echoes / 1e6,
        cpu_system=system * echoes / 1e6,
        cpu_us_per_echo=user + system,
        user_us_per_echo=user,
        system_us_per_echo=system,
        rss_before=int(character.idle),
        rss_held=rss,
        rss_per_connection=grown / connections,
        pss_before=int(character.idle * 0.8),
        pss_held=int(character.idle * 0.8 + grown),
        tcp_buffers=0,
        kernel_slab=int(connections * 9000 * noise.uniform(0.97, 1.03)),
        threads=connections + 1 if mode == "threads" else 1,
        voluntary_switches_per_second=noise.uniform(850, 950),
        involuntary_switches_per_second=noise.uniform(1, 20),
        client_cpu_percent=noise.uniform(28, 34),
        hub_lag_ms={"count": 600, "p50": 0.08, "p90": 0.1, "p99": 0.11, "max": 0.4},
        listen_overflows=0,
        listen_drops=0,
        softnet_drops=0,
        server_exit_status=0,
        samples=samples(character, connections, grown, noise),
    )


def samples(
    character: Character, connections: int, grown: float, noise: random.Random
) -> list[Sample]:
    """Idle, then 500 connections a second, then a look a second for as long as is measured."""
    begin, last = noise.uniform(1000, 9000), connections / 500
    moments: list[tuple[float, Phase | None]] = [(0.0, None)]
    moments += [(at / 4 if last < 2 else float(at), "ramp") for at in range(1, int(last * 4) or 2)]
    moments = [moment for moment in moments if moment[0] < last]
    moments += [(last + at, "hold") for at in range(1, int(DURATION))]
    taken = []
    for at, phase in moments:
        held = min(connections, int(500 * at * noise.uniform(0.9, 1.0)))
        rss = int(character.idle + grown * held / connections)
        user, system = (each * at / 1e3 for each in (character.user, character.system))
        taken.append(Sample(begin + at, phase, user, system, rss, 1, held + 9))
    return taken


def sample_peak(
    scenario: str, mode: str, connections: int, repeat: int, noise: random.Random
) -> Peak:
    character = CHARACTERS[mode]
    slow = noise.lognormvariate(0.0, 0.06)
    _, size = OWN.get(scenario, (0, 0))
    # A gigabyte takes a CPU second; a connection as much as ten echoes.
    scale = size / 1e9 * 1e6 / 40 if size else (4.0 if scenario == "churn" else 0.4)
    user, system = character.user * scale * slow, character.system * scale * slow
    if not size:
        # Of very many connections each is further away in memory.
        user *= 1 + connections / 100_000
    cpu = user + system
    operations = 300_000 if scenario == "echo" else max(64, 40_000_000 // max(1000, size))
    return Peak(
        scenario=scenario,
        engine=mode,
        connections=connections,
        repeat=repeat,
        ok=True,
        reason="",
        server_command=["python", "-m", "server", "--mode", mode],
        client_command=["client", scenario],
        started=f"2026-01-01T0{repeat % 10}:30:00+00:00",
        operations=operations,
        seconds=operations * cpu / 1e6,
        operations_per_second=1e6 / cpu,
        cpu_us=cpu,
        user_us=user,
        system_us=system,
        bytes_per_cpu_second=size * 1e6 / cpu if size else None,
        operations_per_cpu_second=1e6 / cpu if scenario == "churn" else None,
        rss_per_connection=character.memory if scenario == "echo" else None,
        listen_overflows=0,
        listen_drops=0,
    )


def client_limited(row: Row) -> Row:
    reason = "Locust's lag, p99 0.9 ms, is over 10 % of the response p99 of 1.5 ms"
    return replace(row, verdict="client-limited", reasons=[reason])


def void(row: Row) -> Row:
    return replace(
        row,
        verdict="void",
        reasons=["3 failed, most often ECHO: WrongBytes", "2 connections were lost"],
        lost=2,
        failures=[Failure("ECHO", "response", "WrongBytes('the bytes differ')", 3)],
        errors={"WrongBytes": 3},
    )


def curve(median: float, count: int, noise: random.Random) -> Curve:
    """A log-normal body with a heavier tail, up to the last percentile that has a sample beyond."""
    points: Curve = []
    ms = median / 4
    for percentile in (*(p for p in PERCENTILES if (100 - p) * count >= 100), 100):
        away = 100 - percentile if percentile < 100 else 100 / max(2, count)
        ms = max(ms, median * (50 / away) ** 0.3 * noise.uniform(0.97, 1.03))
        points.append((float(percentile), round(ms, 4)))
    return points


def summary(points: Curve, count: int) -> Summary:
    known = dict(points)
    percentiles = {f"p{p:g}": known.get(p) for p in (50, 90, 99, 99.9, 99.99)}
    return {"count": count, **percentiles, "max": known[100]}


def default_results() -> Results:
    """As plain `make compare` gives them: one number of connections, one round, no closed loop; and
    Locust the limit, as it is wherever engines are fast."""
    modes = ("runtime", "threads", "uvloop")
    noise = random.Random(3)
    rows = [client_limited(sample_row(mode, 10_000, 1, noise)) for mode in modes]
    return with_rows(rows, [], modes=modes)


def failed_results() -> Results:
    """Where nothing that was tried counts."""
    made = sample_results((1000, 20_000), ("runtime", "threads", "uvloop"), 2, ("hold", "echo"))
    rows = [cut_short(row) if row.engine == "threads" else void(row) for row in made.rows]
    peaks = [failed(peak) for peak in made.peaks]
    asked = made.asked
    return with_rows(rows, peaks, asked.connections, asked.modes, 2, asked.scenarios)


def strange_results() -> Results:
    """Hostile text wherever text may come from outside; engines that nobody knows, with long names;
    a number of connections next to another; figures that are nothing or less."""
    modes = (HOSTILE, "an-engine-with-a-name-that-is-long", "c-epoll", *"abc")
    made = sample_results((9_000, 10_000, 120_000), MODES, 4)
    names = dict(zip(MODES, modes, strict=True))
    rows = [
        replace(row, engine=names[row.engine], reasons=[HOSTILE], verdict="client-limited")
        for row in made.rows
    ]
    rows = [
        replace(row, cpu_us_per_echo=0.0, rss_held=0, rss_per_connection=-12.5)
        if row.engine == "c-epoll"
        else row
        for row in rows
    ]
    peaks = [
        replace(peak, engine=names[peak.engine], operations_per_second=2.5e9, cpu_us=0.0004)
        for peak in made.peaks
    ]
    made = with_rows(rows, peaks, made.asked.connections, modes, 4, SCENARIOS)
    machine = replace(MACHINE, cpu=HOSTILE, sysctls={"net.ipv4.tcp_rmem": HOSTILE})
    return replace(made, machine=machine, command=HOSTILE, pinning=HOSTILE, interrupted=True)


def cut_short(row: Row) -> Row:
    """A server that died in the middle of the ramp: most figures are missing."""
    half = [sample for sample in row.samples if sample.phase != "hold"]
    return Row(
        engine=row.engine,
        connections=row.connections,
        repeat=row.repeat,
        verdict="void",
        reasons=[f"the server ({row.engine}) ended under load with status 1: {HOSTILE}"],
        server_command=[*row.server_command, "--note", HOSTILE],
        locust_command=row.locust_command,
        started=row.started,
        failures=[Failure("CONNECT", "echo", "ConnectionResetError(104, 'reset')", 1234)],
        errors={"ConnectionResetError": 1234},
        samples=half[: len(half) // 2],
    )


def failed(peak: Peak) -> Peak:
    return Peak(
        scenario=peak.scenario,
        engine=peak.engine,
        connections=peak.connections,
        repeat=peak.repeat,
        ok=False,
        reason=f"redis-benchmark ended with status 1: {HOSTILE}",
        server_command=peak.server_command,
        client_command=peak.client_command,
    )


def sample_extremes() -> Extremes:
    """A crowd of 100,000, and a server with a thread a connection, and threads alone."""
    noise = random.Random(9)
    moments = []
    for at in range(0, 140, 2):
        held = min(100_000, at * 1000)
        rss = int(95e6 + held * 1640)
        moments.append(
            CrowdMoment(
                float(at),
                held,
                max(0, held - 120) if at < 100 else held,
                rss,
                at * 0.4 * noise.uniform(0.98, 1.0),
            )
        )
    return Extremes(
        started="2026-01-02T00:00:00+00:00",
        command=["python", "-m", "loadtest", "extremes"],
        machine=MACHINE,
        crowd=Crowd(
            engine="runtime",
            connections=100_000,
            ok=True,
            reason="",
            workers=2,
            locust_processes=4,
            source_addresses="127.0.0.2-127.0.0.5",
            server_command=["python", "-m", "server", "--workers", "2"],
            locust_command=["locust", "--processes", "4", "--users", "100000"],
            started="2026-01-02T00:00:01+00:00",
            held_client_min=100_000,
            held_server_min=100_000,
            lost=0,
            ramp_seconds=100.4,
            hold_seconds=40.0,
            echoes=79_512,
            connections_echoed=79_512,
            response_ms={
                "count": 79_512,
                "p50": 1.3,
                "p90": 4.1,
                "p99": 22.0,
                "p99.9": 61.0,
                "p99.99": 88.0,
                "max": 90.1,
            },
            connect_ms={
                "count": 100_000,
                "p50": 0.3,
                "p90": 0.9,
                "p99": 9.0,
                "p99.9": 30.0,
                "p99.99": 62.0,
                "max": 70.5,
            },
            rss_before=95_000_000,
            rss_held=259_000_000,
            pss_held=241_000_000,
            rss_by_process={
                "supervisor": 22_000_000,
                "worker 1": 118_400_000,
                "worker 2": 118_600_000,
            },
            cpu_us_per_echo=41.0,
            tcp_buffers=0,
            kernel_slab=910_000_000,
            listen_overflows=0,
            listen_drops=0,
            client_cpu_percent=71.0,
            hub_lag_ms={
                "count": 1600,
                "p50": 0.6,
                "p90": 2.1,
                "p99": 8.0,
                "p99.9": 14.0,
                "p99.99": None,
                "max": 15.0,
            },
            server_exit_status=0,
            moments=moments,
        ),
        breaking=Breaking(
            command=["python", "-m", "server", "--mode", "threads"],
            started="2026-01-02T00:10:00+00:00",
            connections=19_936,
            threads=19_939,
            errno=None,
            error="the next connection waits, and was answered when another had ended",
            limit="open files 20,000",
            seconds=11.2,
            rss=395_000_000,
        ),
        bare_threads=Breaking(
            command=["python", "-m", "loadtest.extremes.bare_threads", "30375"],
            started="2026-01-02T00:11:00+00:00",
            connections=0,
            threads=21_793,
            errno=11,
            error="Resource temporarily unavailable",
            limit="vm.max_map_count 65,530",
            seconds=2.4,
        ),
    )


if __name__ == "__main__":
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    write_json(sample_results(), out / "results.json")
    write_extremes(sample_extremes(), out / "extremes.json")
