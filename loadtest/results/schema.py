"""What is measured and kept: the schema of `results.json`, version 2.

The file is `Results` as plain JSON: objects named as the fields below, lists for tuples. Times are
in seconds and sizes in bytes unless the name says otherwise. What was not measured is null, never
zero.

`rows` and `peaks` are the measurements, one object for each run that was tried, in the order in
which they ran. All else is worked out from them and can be worked out again: `summary` and
`slopes` are there for readers who do not want to.

A comparison is made in *rounds* (`repeat`, from 1): each round has one run of every engine at
every number of connections, and what is compared is compared within a round. Fields may be added;
those here keep their meaning.
"""

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from loadtest.host.machine import Machine
from loadtest.results.decode import read_file
from loadtest.results.estimate import Estimate
from loadtest.results.figures import Curve, Failure, Fairness, Summary
from loadtest.runs.sampler import Sample

SCHEMA = 2

# valid: every figure stands. client-limited: Locust was the limit, so its times and rates say
# nothing about the server and rank nobody; CPU and memory of the server stand. void: none stands.
Verdict = Literal["valid", "client-limited", "void"]

# Against the rival: "less" or "more" where the intervals are apart; "none" where they overlap, in
# which case no difference was found; "unknown" with too few rounds to tell; "client-limited" for
# a figure of the client's side where Locust was the limit in a run of either.
Difference = Literal["less", "more", "none", "unknown", "client-limited"]


@dataclass(frozen=True)
class Row:
    """One run of one engine under Locust: a number of connections held, and echoes on them."""

    # Which run: the engine, the connections asked for, the round.
    engine: str
    connections: int
    repeat: int
    # Whether it counts, and why not; no reasons if it is valid.
    verdict: Verdict
    reasons: list[str]
    # What was started, as lists of words, and when (UTC, ISO 8601).
    server_command: list[str]
    locust_command: list[str]
    started: str = ""

    # The lowest count during the hold, by the client's own and by the server's descriptors and the
    # kernel's table of sockets; connections that broke; seconds until all were open.
    held_client_min: int | None = None
    held_server_min: int | None = None
    lost: int | None = None
    ramp_seconds: float | None = None
    # How long was measured; echoes in that time, each compared byte by byte; the same a second,
    # beside what the schedule offered (null in a closed loop, which offers what is taken).
    hold_seconds: float | None = None
    echoes: int | None = None
    offered_per_second: float | None = None
    achieved_per_second: float | None = None

    # Milliseconds: count, p50, p90, p99, p99.9, p99.99, max. Response counts from when a message
    # was due (corrected for coordinated omission), service from when it was sent, connect is
    # connecting, over the whole run.
    response_ms: Summary | None = None
    service_ms: Summary | None = None
    connect_ms: Summary | None = None
    # The same as curves, "response", "service" and "connect": pairs of percentile (0 to 100) and
    # milliseconds, rising, up to the last percentile that has a sample beyond it, and then 100.
    curves: dict[str, Curve] = field(default_factory=dict)
    # Echoes of each connection over the hold: Jain's index (1 is equal), the least and the most.
    fairness: Fairness | None = None
    # All failures of the whole run by text, and the same counted by class of exception.
    failures: list[Failure] = field(default_factory=list)
    errors: dict[str, int] = field(default_factory=dict)

    # CPU seconds of the server over the hold. In microseconds an echo they are also the
    # CPU-milliseconds of 1,000 echoes.
    cpu_user: float | None = None
    cpu_system: float | None = None
    cpu_us_per_echo: float | None = None
    user_us_per_echo: float | None = None
    system_us_per_echo: float | None = None
    # Memory of the server process, before the first connection and with all held: resident, and
    # proportional (pages shared with others divided among them). Its growth by connection.
    rss_before: int | None = None
    rss_held: int | None = None
    rss_per_connection: float | None = None
    pss_before: int | None = None
    pss_held: int | None = None
    # Memory of the kernel with all held, less before, of the whole machine and so of both ends:
    # buffers of TCP sockets (/proc/net/sockstat), and slab (/proc/meminfo), in which the sockets
    # themselves are, among much else. Never part of a process's RSS.
    tcp_buffers: int | None = None
    kernel_slab: int | None = None
    # Threads of the server, and context switches of all of them.
    threads: int | None = None
    voluntary_switches_per_second: float | None = None
    involuntary_switches_per_second: float | None = None

    # The client's own evidence: CPU in percent of a core (of its busiest process), and how late
    # its timers were, a summary as those above.
    client_cpu_percent: float | None = None
    hub_lag_ms: Summary | None = None
    # Of the whole machine, over the whole run: connections that found a listen queue full, and
    # that were dropped; packets dropped before the network stack saw them.
    listen_overflows: int | None = None
    listen_drops: int | None = None
    softnet_drops: int | None = None
    server_exit_status: int | None = None
    # What all this was made of: a look at the server about once a second.
    samples: list[Sample] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether the figures of the server stand."""
        return self.verdict != "void"


@dataclass(frozen=True)
class Peak:
    """One run of one engine in a closed loop by a client in C: as fast as it can.

    An operation is an echo (of 64 bytes in `echo`, of 64 KiB in `bulk-64k`, of 16 MiB in
    `bulk-16m`) or, in `churn`, a connection that is opened, echoes 64 bytes and is closed.
    """

    scenario: str
    engine: str
    connections: int
    repeat: int
    ok: bool
    # Why it does not count; "" if it does.
    reason: str
    server_command: list[str]
    client_command: list[str]
    started: str = ""
    # Operations done, and the seconds they took.
    operations: int | None = None
    seconds: float | None = None
    operations_per_second: float | None = None
    # The server's CPU microseconds an operation.
    cpu_us: float | None = None
    user_us: float | None = None
    system_us: float | None = None
    # Bytes echoed by a CPU second of the server; only where operations are bulk.
    bytes_per_cpu_second: float | None = None
    # Connections opened, answered and closed by a CPU second of the server; only in churn.
    operations_per_cpu_second: float | None = None
    # Growth of the server's RSS under load by connection; not in churn.
    rss_per_connection: float | None = None
    listen_overflows: int | None = None
    listen_drops: int | None = None


@dataclass(frozen=True)
class Comparison:
    """One figure of one engine at one number of connections, over all rounds that count."""

    # "hold" (rows), or the scenario of peaks.
    scenario: str
    # The name of the field of Row or Peak; with a percentile after a dot: "response_ms.p99".
    figure: str
    engine: str
    connections: int
    # Median over the rounds, the 95 % interval of that median, and every round's value in order.
    estimate: Estimate
    # Divided by the rival's value of the same round; null for the rival itself, and without
    # rounds that both have.
    rival: str
    ratio: Estimate | None
    difference: Difference | None


@dataclass(frozen=True)
class Slope:
    """What a connection costs in memory: a line through several numbers of connections.

    Least squares in each round, then the median over the rounds. The intercept is the process
    without connections, which a division by their number would spread over them.
    """

    # "rss_held", "pss_held", "tcp_buffers" or "kernel_slab".
    figure: str
    engine: str
    connections: list[int]
    bytes_per_connection: Estimate
    intercept: Estimate


@dataclass(frozen=True)
class Asked:
    """What the comparison was asked to do; two with the same may be compared or resumed."""

    modes: list[str]
    connections: list[int]
    # "hold", and those of Peak.
    scenarios: list[str]
    repeats: int
    # The engine that ratios are taken against.
    rival: str
    duration: float
    payload: int
    # Seconds between the echoes of one connection, by number of connections (JSON: as text).
    pacing: dict[int, float]
    spawn_rate: int
    source_addresses: str
    server_command: list[str]


@dataclass(frozen=True)
class Results:
    """A whole comparison."""

    schema: int
    # UTC, ISO 8601: when it began, and each time that it was resumed.
    started: str
    resumed: list[str]
    # The one command that does it again.
    command: str
    # Which CPUs server and client had, in words.
    pinning: str
    # Ended by Ctrl-C or SIGTERM: runs are missing, and `compare --resume` does them.
    interrupted: bool
    machine: Machine
    asked: Asked
    rows: list[Row]
    peaks: list[Peak]
    summary: list[Comparison]
    slopes: list[Slope]

    @property
    def ok(self) -> bool:
        runs: list[Row | Peak] = [*self.rows, *self.peaks]
        return bool(runs) and all(run.ok for run in runs) and not self.interrupted


def write_json(results: Results, path: Path) -> None:
    path.write_text(json.dumps(dataclasses.asdict(results), indent=1) + "\n")


def read_results(path: Path) -> Results:
    """What `write_json` wrote; decode.Unreadable if that is not what is there."""
    return read_file(path, Results, SCHEMA)
