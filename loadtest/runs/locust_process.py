"""Locust as a process of its own, headless, reporting through its `--figures` file.

A process of its own because it holds as many file descriptors as the server does, and because
importing Locust monkey-patches the importer's sockets and threads.
"""

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from loadtest.client.addresses import Target
from loadtest.host.pinning import CpuSet, pinned
from loadtest.results.figures import LineTail, LoadResult, Progress, decode
from loadtest.runs.child import Child
from loadtest.runs.plan import Hold
from loadtest.runs.run_files import RunFiles

LOCUSTFILE = Path(__file__).parents[1] / "locustfile.py"
# The longest that Locust keeps its connections for us to count; it is told when we are done.
LINGER = 30.0
STOP_PATIENCE = 60.0
# Whether a worker is alive is seen from outside; that it was busy is no reason to give it up.
WORKER_PATIENCE = 60.0


class Load:
    """A running Locust, the last it told of its progress, and its result once there is one."""

    def __init__(self, child: Child, figures: Path) -> None:
        self.child = child
        self.progress: Progress | None = None
        self.result: LoadResult | None = None
        self._tail = LineTail(figures)

    def read(self) -> list[Progress]:
        """Take in what it has told since the last call."""
        news: list[Progress] = []
        for line in self._tail.read():
            record = decode(line)
            if isinstance(record, Progress):
                news.append(record)
                self.progress = record
            else:
                self.result = record
        return news

    def finish(self) -> int:
        """SIGTERM, on which it closes its connections and ends with what it has; its status."""
        status = self.child.stop(STOP_PATIENCE)
        self.read()
        return status


def locust_command(plan: Hold, echo: Target, files: RunFiles) -> list[str]:
    options = {
        "-f": str(LOCUSTFILE),
        "--host": f"tcp://{echo.host}:{echo.port}",
        "--users": str(plan.connections),
        "--spawn-rate": str(plan.spawn_rate),
        "--payload": str(plan.payload),
        "--pacing": f"{plan.pacing:g}",
        "--hold": f"{plan.duration:g}",
        "--linger": f"{LINGER:g}",
        "--figures": str(files.figures),
        # Failed requests are in the result; another status than 0 means that Locust itself died.
        "--exit-code-on-error": "0",
    }
    if plan.source_addresses:
        options["--source-addresses"] = plan.source_addresses
    if plan.connects_at_once is not None:
        options["--connects-at-once"] = str(plan.connects_at_once)
    if plan.processes > 1:
        port = str(_free_port())
        options["--processes"] = str(plan.processes)
        options |= {"--master-bind-host": "127.0.0.1", "--master-bind-port": port}
        options |= {"--master-port": port, "--worker-patience": f"{WORKER_PATIENCE:g}"}
    flat = [word for option in options.items() for word in option]
    return [sys.executable, "-m", "locust", "--headless", "--only-summary", *flat, "EchoUser"]


def _free_port() -> int:
    """For a master and its workers to meet at, rather than where every other Locust does."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextmanager
def running_locust(plan: Hold, echo: Target, files: RunFiles, cpus: CpuSet) -> Iterator[Load]:
    """Start Locust, and see that it is gone afterwards."""
    # Settings that the user keeps for other tests must not change this one.
    env = {name: value for name, value in os.environ.items() if not name.startswith("LOCUST_")}
    files.figures.unlink(missing_ok=True)
    with pinned(cpus):
        child = Child(
            "Locust", locust_command(plan, echo, files), files.client_out, files.client_log, env
        )
    with child:
        yield Load(child, files.figures)
