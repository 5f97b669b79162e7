"""What a comparison is going to do, checked before anything starts."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from loadtest.doctor import Need
from loadtest.limit import LIMIT
from loadtest.results import Asked

# The engines of `python -m server --mode`, known here by name only, and what bounds them all.
MODES = ("runtime", "threads", "uvloop", "uvloop-protocol", "asyncio", LIMIT)
DEFAULT_MODES = "runtime,threads,uvloop"
# The default load: at any number of connections, about this many echoes a second in all, so that
# one Locust process carries it and every engine can.
ECHOES_PER_SECOND = 1000
# Starting, settling, counting, closing 10,000 connections, draining.
OVERHEAD_SECONDS = 12.0


@dataclass(frozen=True)
class Plan:
    """One comparison. Times are seconds, `spawn_rate` connections per second."""

    modes: tuple[str, ...]
    connections: int
    duration: float
    repeats: int
    payload: int
    pacing: float
    spawn_rate: int
    source_addresses: str
    out: Path
    server_command: tuple[str, ...]

    def runs(self) -> Iterator[tuple[str, int]]:
        """Mode and repeat, there and back again (A B C, C B A), so that a machine that slowly
        gets warmer or busier does not favour the same engine each time."""
        for repeat in range(1, self.repeats + 1):
            modes = self.modes if repeat % 2 else tuple(reversed(self.modes))
            for mode in modes:
                yield mode, repeat

    def asked(self) -> Asked:
        return Asked(
            modes=list(self.modes),
            connections=[self.connections],
            scenarios=["hold"],
            repeats=self.repeats,
            rival=self.modes[0],
            duration=self.duration,
            payload=self.payload,
            pacing={self.connections: self.pacing},
            spawn_rate=self.spawn_rate,
            source_addresses=self.source_addresses,
            server_command=list(self.server_command),
        )

    def need(self, sources: int) -> Need:
        return Need(
            connections=self.connections,
            sources=sources,
            threads="threads" in self.modes,
            burst=self.spawn_rate,
        )

    @property
    def ramp_seconds(self) -> float:
        return self.connections / self.spawn_rate

    @property
    def ramp_deadline(self) -> float:
        """When to stop waiting for the last connection: a retry or two beyond the ramp."""
        return self.ramp_seconds * 1.5 + 30.0

    @property
    def expected_seconds(self) -> float:
        each = self.ramp_seconds + self.duration + OVERHEAD_SECONDS
        return each * len(self.modes) * self.repeats


def parse_modes(text: str) -> tuple[str, ...]:
    """A comma-separated list of engines, each known and named once."""
    modes = tuple(mode.strip() for mode in text.split(","))
    for mode in modes:
        if mode not in MODES:
            raise ValueError(f"no engine {mode!r}; there are {', '.join(MODES)}")
    if len(set(modes)) < len(modes):
        raise ValueError(f"an engine is named twice in {text!r}")
    return modes
