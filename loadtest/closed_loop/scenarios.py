"""The closed loops: what a client in C asks for as fast as it is answered.

`echo` is redis-benchmark's, a client that everybody knows and can check; it speaks to an echo
server without knowing it, because a Redis request is itself a valid Redis reply. It sends a whole
request before it reads, so 16 MiB stand still for ever, and it does not look at the bytes: the
others are driven by `drive.c`, which reads while it sends and compares every byte.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

from loadtest.client.addresses import Target
from loadtest.closed_loop.compiled import CannotCompile, compile_c
from loadtest.runs.progress import Reporter

HOLD = "hold"
REDIS = "redis-benchmark"
# redis-benchmark's own limit.
REDIS_CONNECTIONS = 10_000
# With its Redis framing this makes 64 bytes on the wire.
REDIS_PAYLOAD = "x" * 43
SOURCE = Path(__file__).with_name("drive.c")


class Unavailable(Exception):
    """A scenario's client is not to be had; the message says why, and the remedy."""


@dataclass(frozen=True)
class Scenario:
    """What one operation is, how many are done, and over how many connections (None: as asked)."""

    name: str
    explained: str
    operations: int
    size: int
    connections: int | None

    @property
    def bulk(self) -> bool:
        return self.name.startswith("bulk")

    @property
    def churns(self) -> bool:
        return self.name == "churn"

    @property
    def client(self) -> str:
        return REDIS if self.name == "echo" else "drive"

    def command(self, out: Path, echo: Target, connections: int, operations: int) -> list[str]:
        """The client's command line against a server that listens."""
        if self.client == REDIS:
            where = [REDIS, "-h", echo.host, "-p", str(echo.port)]
            load = ["-c", str(connections), "-n", str(operations)]
            return [*where, *load, "--csv", "ECHO", REDIS_PAYLOAD]
        how = "churn" if self.churns else "bulk"
        numbers = [str(connections), str(operations), str(self.size)]
        return [str(binary(out)), echo.host, str(echo.port), how, *numbers]

    def prepare(self, out: Path) -> None:
        """See that the client is there; Unavailable if it cannot be."""
        if self.client == REDIS:
            if shutil.which(REDIS) is None:
                raise Unavailable(
                    f"{REDIS} is not installed; on Debian: apt-get install redis-tools"
                )
            return
        try:
            compile_c(SOURCE, binary(out))
        except CannotCompile as fault:
            raise Unavailable(str(fault)) from None


SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario("echo", "64 bytes there and back on every connection", 200_000, 64, None),
        Scenario("bulk-64k", "64 KiB there and back on 16 connections", 60_000, 65_536, 16),
        Scenario("bulk-16m", "16 MiB there and back on 4 connections", 100, 16 << 20, 4),
        Scenario("churn", "connect, one echo of 64 bytes, close; 64 at a time", 20_000, 64, 64),
    )
}


def binary(out: Path) -> Path:
    """Where `drive` of a comparison is."""
    return (out / "raw" / "drive").absolute()


def parse_scenarios(text: str) -> tuple[str, ...]:
    """A comma-separated list of `hold` and closed loops, each known and named once."""
    names = tuple(name.strip() for name in text.split(","))
    for name in names:
        if name != HOLD and name not in SCENARIOS:
            raise ValueError(f"no scenario {name!r}; there are {', '.join((HOLD, *SCENARIOS))}")
    if len(set(names)) < len(names):
        raise ValueError(f"a scenario is named twice in {text!r}")
    return names


def available(names: tuple[str, ...], out: Path, reporter: Reporter) -> tuple[str, ...]:
    """The scenarios, without those whose client is not to be had; the reporter says which."""
    left = []
    for name in names:
        try:
            if name != HOLD:
                SCENARIOS[name].prepare(out)
        except Unavailable as fault:
            reporter.note(f"{name} is left out: {fault}")
        else:
            left.append(name)
    return tuple(left)
