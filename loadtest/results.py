"""What is measured and kept: the schema of `results.json`.

The file is `Results` as plain JSON: objects named as the fields below, times in seconds unless
the name says otherwise, sizes in bytes. A row exists for every run that was tried. `ok` is true
only if every connection asked for was held by both sides throughout, every byte verified, and
both processes ended as they should; if not, `reason` says why, and whatever was not measured is
null. Fields may be added; those here keep their meaning.
"""

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path

from loadtest.figures import Failure, Summary
from loadtest.machine import Machine
from loadtest.sampler import Sample

SCHEMA = 1


@dataclass(frozen=True)
class Row:
    """One run of one engine."""

    engine: str
    repeat: int
    ok: bool
    reason: str
    # Things that do not void the run but belong beside its figures.
    notes: list[str]
    server_command: list[str]
    locust_command: list[str]
    # Connections: asked for; the lowest count during the hold on each side; broken ones.
    asked: int
    held_client_min: int | None = None
    held_server_min: int | None = None
    lost: int | None = None
    ramp_seconds: float | None = None
    hold_seconds: float | None = None
    # Echoes over the hold: verified ones, and per second beside what the schedule offered.
    echoes: int | None = None
    offered_per_second: float | None = None
    achieved_per_second: float | None = None
    # Milliseconds: from when a message was due, from when it was sent, and of connecting.
    response_ms: Summary | None = None
    service_ms: Summary | None = None
    connect_ms: Summary | None = None
    failures: list[Failure] = field(default_factory=list)
    # The server process over the hold.
    cpu_user: float | None = None
    cpu_system: float | None = None
    cpu_us_per_echo: float | None = None
    rss_before: int | None = None
    rss_held: int | None = None
    rss_per_connection: float | None = None
    threads: int | None = None
    voluntary_switches_per_second: float | None = None
    involuntary_switches_per_second: float | None = None
    # The client's own evidence.
    client_cpu_percent: float | None = None
    hub_lag_ms: Summary | None = None
    client_limited: bool | None = None
    # Of the whole machine, over the whole run.
    listen_overflows: int | None = None
    listen_drops: int | None = None
    server_exit_status: int | None = None
    samples: list[Sample] = field(default_factory=list)


@dataclass(frozen=True)
class Results:
    """A whole comparison."""

    schema: int
    started: str
    command: str
    pinning: str
    interrupted: bool
    machine: Machine
    connections: int
    payload: int
    pacing: float
    duration: float
    repeats: int
    rows: list[Row]

    @property
    def ok(self) -> bool:
        return bool(self.rows) and all(row.ok for row in self.rows) and not self.interrupted


def write_json(results: Results, path: Path) -> None:
    path.write_text(json.dumps(dataclasses.asdict(results), indent=1) + "\n")
