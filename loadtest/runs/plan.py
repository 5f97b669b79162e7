"""What a comparison is going to do, and in which order, settled before anything starts.

The order is what makes engines comparable on a machine whose speed drifts. In a round the engines
follow one another directly at each number of connections, and every second round is the first one
backwards, to the last run (A B at 100, A B at 1,000; then B A at 1,000, B A at 100). So over two
rounds every run stands, on average, at the same moment, and a steady drift adds the same to all.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtest.closed_loop.limit import LIMIT
from loadtest.closed_loop.scenarios import HOLD, REDIS_CONNECTIONS, SCENARIOS
from loadtest.doctor import Need, largest_fit
from loadtest.results.schema import Asked

# The engines of `python -m server --mode`, known here by name only, and what bounds them all.
MODES = ("runtime", "threads", "uvloop", "uvloop-protocol", "asyncio", LIMIT)
DEFAULT_MODES = "runtime,threads,uvloop"
# The default load: at any number of connections, about this many echoes a second in all, so that
# one Locust process carries it and every engine can.
ECHOES_PER_SECOND = 1000
# Starting and draining; and settling, counting and closing, which take longer the more there are.
OVERHEAD_SECONDS = 3.0
OVERHEAD_PER_CONNECTION = 0.0006
# A closed loop, with its server's start and end, on two cores of 2025.
CLOSED_LOOP_SECONDS = 8.0
# In --connections: as many as the machine holds.
MOST = "max"


@dataclass(frozen=True)
class Job:
    """One run."""

    scenario: str
    engine: str
    connections: int
    repeat: int

    @property
    def name(self) -> str:
        """Of its files, and in the journal."""
        return f"{self.scenario}-{self.connections}-{self.engine}-{self.repeat}"


@dataclass(frozen=True)
class Hold:
    """What one run under Locust is asked for. Times are seconds, `spawn_rate` connections per
    second."""

    connections: int
    duration: float
    payload: int
    pacing: float
    spawn_rate: int
    source_addresses: str
    # Locust processes that share the load; 1 is a single one, without a master.
    processes: int = 1
    # Users of one process who connect at the same time; None leaves it to Locust's pace.
    connects_at_once: int | None = None

    @property
    def ramp_seconds(self) -> float:
        return self.connections / self.spawn_rate

    @property
    def ramp_deadline(self) -> float:
        """When to stop waiting for the last connection: a retry or two beyond the ramp."""
        return self.ramp_seconds * 1.5 + 30.0

    @property
    def expected_seconds(self) -> float:
        overhead = OVERHEAD_SECONDS + OVERHEAD_PER_CONNECTION * self.connections
        return self.ramp_seconds + self.duration + overhead


@dataclass(frozen=True)
class Plan:
    """One comparison; `pacing` is None where it follows from the number of connections."""

    modes: tuple[str, ...]
    connections: tuple[int, ...]
    scenarios: tuple[str, ...]
    repeats: int
    rival: str
    duration: float
    payload: int
    pacing: float | None
    spawn_rate: int
    source_addresses: str
    out: Path
    server_command: tuple[str, ...]

    def jobs(self) -> Iterator[Job]:
        """Every run, there and back again."""
        places = [
            (scenario, connections, engine)
            for scenario in self.scenarios
            for connections in self.counts(scenario)
            for engine in self.modes
        ]
        for repeat in range(1, self.repeats + 1):
            for scenario, connections, engine in places if repeat % 2 else reversed(places):
                yield Job(scenario, engine, connections, repeat)

    def counts(self, scenario: str) -> tuple[int, ...]:
        """The numbers of connections of a scenario: those asked for, or its own."""
        if scenario == HOLD:
            return self.connections
        closed_loop = SCENARIOS[scenario]
        if closed_loop.connections is not None:
            return (closed_loop.connections,)
        # Only redis-benchmark takes as many as asked, within its limit.
        return tuple(count for count in self.connections if count <= REDIS_CONNECTIONS)

    def hold(self, connections: int) -> Hold:
        pacing = connections / ECHOES_PER_SECOND if self.pacing is None else self.pacing
        return Hold(
            connections=connections,
            duration=self.duration,
            payload=self.payload,
            pacing=pacing,
            spawn_rate=self.spawn_rate,
            source_addresses=self.source_addresses,
        )

    def need(self, sources: int) -> Need:
        return Need(
            connections=max(self.connections),
            sources=sources,
            threads="threads" in self.modes,
            burst=self.spawn_rate,
        )

    def expected_seconds(self, job: Job) -> float:
        if job.scenario == HOLD:
            return self.hold(job.connections).expected_seconds
        return CLOSED_LOOP_SECONDS

    def asked(self) -> Asked:
        """As the results keep it."""
        return Asked(
            modes=list(self.modes),
            connections=list(self.connections),
            scenarios=list(self.scenarios),
            repeats=self.repeats,
            rival=self.rival,
            duration=self.duration,
            payload=self.payload,
            pacing={count: self.hold(count).pacing for count in self.connections},
            spawn_rate=self.spawn_rate,
            source_addresses=self.source_addresses,
            server_command=list(self.server_command),
        )


def parse_modes(text: str) -> tuple[str, ...]:
    """A comma-separated list of engines, each known and named once; "all" is all of them."""
    if text.strip() == "all":
        return MODES
    modes = tuple(mode.strip() for mode in text.split(","))
    for mode in modes:
        if mode not in MODES:
            raise ValueError(f"no engine {mode!r}; there are {', '.join(MODES)}")
    if len(set(modes)) < len(modes):
        raise ValueError(f"an engine is named twice in {text!r}")
    return modes


def parse_counts(text: str) -> tuple[str, ...]:
    """A comma-separated list of whole numbers over zero and `max`, each named once."""
    counts = tuple(count.strip() for count in text.split(","))
    for count in counts:
        if count != MOST and (not count.isdecimal() or int(count) < 1):
            raise ValueError(f"{count!r} is neither a whole number over 0 nor {MOST}")
    if len(set(counts)) < len(counts):
        raise ValueError(f"a number is named twice in {text!r}")
    return counts


def resolve_counts(counts: Sequence[str], sources: int, threads: bool) -> tuple[int, ...]:
    """The numbers from the least to the most, `max` being what this machine holds."""
    most = largest_fit(sources, threads) if MOST in counts else 0
    return tuple(sorted({most if count == MOST else int(count) for count in counts}))
