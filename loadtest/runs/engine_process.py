"""The server as a process, known by its command line alone.

`--mode M --echo 127.0.0.1:0 --sleep 127.0.0.1:0` makes it print `listening SERVICE HOST:PORT` for
each listener once all are bound. Port 0 lets the kernel choose, so that a run never meets the
TIME_WAIT sockets of the one before. The limit (`limit.py`) is a program that does the same without
being asked, with the echo service alone.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from loadtest.client.addresses import Target, parse_target
from loadtest.closed_loop.limit import LIMIT, binary
from loadtest.host.pinning import CpuSet, pinned
from loadtest.results.figures import LineTail
from loadtest.runs.child import POLL, Child, RunFailed
from loadtest.runs.run_files import RunFiles

START_PATIENCE = 20.0
# Longer than any sensible --drain-timeout: the clients have gone by then.
STOP_PATIENCE = 30.0
SERVICES = {"echo", "sleep"}


class ServerPlan(Protocol):
    """Any plan that says how the server is started."""

    @property
    def server_command(self) -> tuple[str, ...]: ...

    @property
    def out(self) -> Path: ...


@dataclass(frozen=True)
class Engine:
    """A server that is ready, and where its echo service listens."""

    child: Child
    echo: Target

    def stop(self) -> int:
        """SIGTERM; RunFailed unless it drains and exits 0."""
        status = self.child.stop(STOP_PATIENCE)
        if status != 0:
            raise RunFailed(f"after SIGTERM, {self.child.explain(status)}")
        return status


def engine_command(plan: ServerPlan, mode: str) -> list[str]:
    if mode == LIMIT:
        return [str(binary(plan.out))]
    return [*plan.server_command, "--mode", mode, "--echo", "127.0.0.1:0", "--sleep", "127.0.0.1:0"]


@contextmanager
def running_engine(plan: ServerPlan, mode: str, files: RunFiles, cpus: CpuSet) -> Iterator[Engine]:
    """Start the server, wait until it listens, and see that it is gone afterwards."""
    with pinned(cpus):
        child = Child(
            f"server ({mode})",
            engine_command(plan, mode),
            files.server_out,
            files.server_log,
            os.environ,
        )
    with child:
        services = SERVICES if mode != LIMIT else {"echo"}
        yield Engine(child, _wait_until_listening(child, LineTail(files.server_out), services))


def _wait_until_listening(child: Child, output: LineTail, services: set[str]) -> Target:
    found: dict[str, str] = {}
    deadline = time.monotonic() + START_PATIENCE
    while time.monotonic() < deadline:
        for line in output.read():
            match line.split():
                case ["listening", service, address]:
                    found[service] = address
        if found.keys() >= services:
            return parse_target(found["echo"])
        child.check_alive("before it listened")
        time.sleep(POLL)
    raise RunFailed(f"{child.name} did not listen within {START_PATIENCE:g} s")
