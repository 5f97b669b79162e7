"""The two ends of the machine, as `extremes.json` keeps them beside `results.json`.

A comparison asks every engine for the same, so it stops where one process of one engine stops. The
ends lie beyond that: a crowd that takes several processes on both sides, and threads started until
the kernel refuses one. Each stands for itself and is ranked against nothing. Times are in seconds,
sizes in bytes; what was not measured is null, never zero.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from loadtest.host.machine import Machine
from loadtest.results.decode import read_file
from loadtest.results.figures import Failure, Summary


@dataclass(frozen=True)
class CrowdMoment:
    """How it stood at one moment of the ramp or of the hold."""

    at: float
    held_client: int
    held_server: int
    rss: int
    cpu: float


@dataclass(frozen=True)
class Crowd:
    """Very many connections held at once by one engine in several processes."""

    engine: str
    connections: int
    ok: bool
    # Why it does not count; "" if it does.
    reason: str
    # How it was split: server processes, Locust processes, and the addresses they connect from.
    workers: int
    locust_processes: int
    source_addresses: str
    server_command: list[str]
    locust_command: list[str]
    started: str = ""
    # The lowest during the hold, by the clients' own count and by the kernel's table of sockets.
    held_client_min: int | None = None
    held_server_min: int | None = None
    lost: int | None = None
    ramp_seconds: float | None = None
    hold_seconds: float | None = None
    # Echoes that came back whole during the hold, and connections with at least one of them.
    echoes: int | None = None
    connections_echoed: int | None = None
    failures: list[Failure] = field(default_factory=list)
    response_ms: Summary | None = None
    connect_ms: Summary | None = None
    # Of all server processes together, the supervisor included; and of each alone with all held.
    rss_before: int | None = None
    rss_held: int | None = None
    pss_held: int | None = None
    rss_by_process: dict[str, int] = field(default_factory=dict)
    cpu_us_per_echo: float | None = None
    # Of the kernel, of the whole machine and so of both ends.
    tcp_buffers: int | None = None
    kernel_slab: int | None = None
    listen_overflows: int | None = None
    listen_drops: int | None = None
    client_cpu_percent: float | None = None
    hub_lag_ms: Summary | None = None
    server_exit_status: int | None = None
    moments: list[CrowdMoment] = field(default_factory=list)


@dataclass(frozen=True)
class Breaking:
    """Threads until it fails, the seed of all this: either one for each connection, of the server,
    or bare ones, of a program that only starts them and has no connections."""

    command: list[str]
    started: str
    # Connections that were each answered by a thread of their own, all open at the same time, when
    # the next was not answered; 0 of bare threads. All threads of the process, and the errno with
    # which the next one was refused: null where none was asked for, because descriptors ended first
    # and further connections wait, or where it is not known.
    connections: int
    threads: int
    errno: int | None
    error: str
    # The limit of the machine that was reached, as far as its own figures tell: "vm.max_map_count
    # 65,530". "" if none of them explains it.
    limit: str
    seconds: float
    rss: int | None = None
    # Why it does not stand, if it does not: the program died, it was interrupted, the bound of the
    # attempt came before any limit of the machine; "" otherwise.
    reason: str = ""


@dataclass(frozen=True)
class Extremes:
    """What `extremes.json` holds."""

    started: str
    command: list[str]
    machine: Machine
    crowd: Crowd | None = None
    # The server, one thread for each connection. Descriptors may end before threads do: then it
    # refuses none, and what it cannot admit waits.
    breaking: Breaking | None = None
    # So here are threads alone, each blocked in recv() as the server's are, until one is refused.
    bare_threads: Breaking | None = None


def write_extremes(extremes: Extremes, path: Path) -> None:
    path.write_text(json.dumps(asdict(extremes), indent=1) + "\n", encoding="utf-8")


def read_extremes(path: Path) -> Extremes:
    """What `write_extremes` wrote; decode.Unreadable if that is not what is there."""
    return read_file(path, Extremes)
