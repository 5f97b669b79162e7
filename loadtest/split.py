"""How a crowd is dealt to processes: server workers, Locust processes, addresses to connect from.

A process may have so many open files, and one address so many ports; beyond either, there must be
several. `doctor` prints the split and `extremes` starts it: both ask here.

Workers need no headroom for connections that are dealt unevenly. They accept from one queue that
all share, and one that has its part stops accepting and leaves the rest to those that have not.
With a listener each (SO_REUSEPORT) the kernel would deal by a hash: 100,000 connections to 6
workers are 16,667 each, with a standard deviation of 118, and each worker would need room for 600
more, or some connections might wait for ever while others have room (five deviations; the chance
that any of the six has more is at most 6 x 3e-7).

Addresses do need headroom. Since Linux 4.2 connect() looks through every second port first, one
after the other (commit 07f4c90062f8): the fuller that half, the longer it looks, and when it is
full each further connection looks at all of it in vain. Of the half at most half is used, so that
it finds one within a few steps.
"""

import ipaddress
import os
import sys
from dataclasses import dataclass

from loadtest.client.addresses import MAX_SOURCES, parse_sources
from loadtest.command import positive
from loadtest.host import kernel
from loadtest.host.fds import SPARE_FDS, fd_limit

# New connections a second, if nothing else is asked for.
SPAWN_RATE = 1000
# All of 127.0.0.0/8 is this machine; the servers are at the first.
FIRST_SOURCE = ipaddress.IPv4Address("127.0.0.2")


@dataclass(frozen=True)
class Split:
    """Who holds the connections, and from where they come."""

    connections: int
    workers: int
    processes: int
    source_addresses: str

    @property
    def sources(self) -> int:
        return len(parse_sources(self.source_addresses))

    def describe(self) -> str:
        per_worker = -(-self.connections // self.workers)
        per_process = -(-self.connections // self.processes)
        addresses = self.source_addresses or "one address"
        return (
            f"{_number(self.workers, 'server worker')} of {per_worker:,} connections, "
            f"{_number(self.processes, 'Locust process')} of {per_process:,}, from {addresses}"
        )

    def server_flags(self) -> list[str]:
        """Each worker takes its equal part of the connections, and no more."""
        # The server wants a connection for each worker; without that many it says so itself.
        flags = ["--workers", str(self.workers), "--max-connections", str(self.connections)]
        return flags if self.workers > 1 else flags[2:]


def split(
    connections: int,
    workers: int | None = None,
    processes: int | None = None,
    source_addresses: str = "",
    cores: int | None = None,
) -> Split:
    """What is asked for, and the rest as this machine needs it."""
    most = max(1, fd_limit().hard - SPARE_FDS)
    needed = -(-connections // most)
    several = max(needed, min(cores or len(os.sched_getaffinity(0)), connections))
    return Split(
        connections=connections,
        workers=workers or several,
        processes=processes or several,
        source_addresses=source_addresses or sources_for(connections, kernel.port_range()),
    )


def count_or_auto(text: str) -> int | None:
    """A number of processes; None for as many as it takes."""
    return None if text == "auto" else positive(text)


def sources_for(connections: int, ports: int) -> str:
    """As many of our own addresses as use a quarter of each one's ports; "" if one is enough. What
    is asked for beyond the most that may be named, the check of ports finds short."""
    count = min(MAX_SOURCES, -(-connections // max(1, ports // 4)))
    if count <= 1:
        return ""
    return f"{FIRST_SOURCE}-{FIRST_SOURCE + count - 1}"


def by_hand(found: Split, spawn_rate: int) -> list[str]:
    """The two commands of a split, for a shell each."""
    python = sys.executable.rpartition("/")[2]
    server = [python, "-m", "server", "--mode", "runtime", *found.server_flags()]
    locust = ["locust", "-f", "loadtest/locustfile.py", "--host", "tcp://127.0.0.1:7007"]
    locust += ["--headless", "--users", str(found.connections), "--spawn-rate", str(spawn_rate)]
    if found.processes > 1:
        locust += ["--processes", str(found.processes)]
    if found.source_addresses:
        locust += ["--source-addresses", found.source_addresses]
    return [" ".join(server), " ".join([*locust, "EchoUser"])]


def _number(count: int, what: str) -> str:
    many = "es" if what.endswith("s") else "s"
    return f"{count} {what}{'' if count == 1 else many}"
