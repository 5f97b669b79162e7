"""The server's figures as Prometheus and OpenMetrics want them.

Written by ``prometheus_client``, which knows both formats and which of them a scraper asks for. The
figures themselves are not kept in its metrics, since engines count in plain integers and there may
be several processes; a collector turns their snapshots into samples when somebody asks.
"""

import platform
from collections.abc import Iterator, Mapping
from importlib import metadata
from itertools import accumulate

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from server.admin.processes import use
from server.instance import State
from server.metrics import SECONDS, HistogramSnapshot, add
from server.source import Source

PREFIX = "c10k_"


class Exposition:
    """All metrics of one server."""

    def __init__(self, source: Source, mode: str) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_ServerCollector(source, mode))
        self._registry.register(_ProcessCollector(source))

    def render(self, accept: str) -> tuple[bytes, str]:
        """The text, and its content type, in the format that an ``Accept`` header asks for."""
        if not (accept.isascii() and accept.isprintable()):
            accept = ""  # a part of it comes back in the content type
        try:
            encode, content_type = choose_encoder(accept)
        except TypeError:  # the library compares a version that is no number with one
            encode, content_type = choose_encoder("")
        return encode(self._registry), content_type


class _ServerCollector(Collector):
    def __init__(self, source: Source, mode: str) -> None:
        self._source = source
        self._build = {
            "mode": mode,
            "version": _version(),
            "python": platform.python_version(),
        }

    def collect(self) -> Iterator[Metric]:
        figures = add(self._source.snapshots())
        yield GaugeMetricFamily(
            PREFIX + "connections_current", "Open connections.", figures["current"]
        )
        yield _counter("connections", "Accepted connections.", figures["connections"])
        yield _counters("closes", "Connections that ended.", "reason", figures["closes"])
        yield _counters(
            "accept_errors", "Failed attempts to accept.", "errno", figures["accept_errors"]
        )
        yield _counters(
            "rejected_connections",
            "Connections that were closed instead of being served.",
            "reason",
            figures["rejected"],
        )
        yield _counter("bytes_received", "Payload received.", figures["received"])
        yield _counter("bytes_sent", "Payload sent.", figures["sent"])
        yield _histogram(
            "loop_lag_seconds",
            "How much later than it asked to be the loop was back.",
            figures["loop_lag_seconds"],
        )
        yield _histogram(
            "tls_handshake_seconds", "Time for a TLS handshake.", figures["handshake_seconds"]
        )
        yield from self._workers()
        yield InfoMetricFamily(PREFIX + "build", "What serves.", self._build)

    def _workers(self) -> Iterator[Metric]:
        workers = self._source.workers()
        by_state = GaugeMetricFamily(PREFIX + "workers", "Processes that serve.", labels=["state"])
        for state in State:
            by_state.add_metric([state], sum(each.state is state for each in workers))
        yield by_state
        yield GaugeMetricFamily(
            PREFIX + "heartbeat_age_seconds",
            "Time since a loop was last seen alive, of the worker where it is longest.",
            max((each.beat_age for each in workers), default=0.0),
        )


class _ProcessCollector(Collector):
    """The standard `process_` metrics: three of all processes, the rest of the one that answers."""

    SUMMED = ("process_resident_memory_bytes", "process_cpu_seconds")

    def __init__(self, source: Source) -> None:
        self._source = source
        self._own = ProcessCollector(registry=None)
        self._cpu_seconds = 0.0

    def collect(self) -> Iterator[Metric]:
        yield from (each for each in self._own.collect() if each.name not in self.SUMMED)
        used = use(self._source.processes())
        # A worker that ends between two looks is in neither; a counter must not go backwards.
        self._cpu_seconds = max(self._cpu_seconds, used.cpu_seconds)
        yield CounterMetricFamily(
            "process_cpu_seconds",
            "User and system CPU time of all processes, ended ones included.",
            self._cpu_seconds,
        )
        yield GaugeMetricFamily(
            "process_resident_memory_bytes",
            "Resident memory of all processes; shared pages count in each.",
            used.resident_bytes,
        )
        yield GaugeMetricFamily("process_threads", "Threads of all processes.", used.threads)


def _counter(name: str, help_text: str, value: int) -> Metric:
    return CounterMetricFamily(PREFIX + name, help_text, value)


def _counters(name: str, help_text: str, label: str, values: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(PREFIX + name, help_text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _histogram(name: str, help_text: str, value: HistogramSnapshot) -> Metric:
    bounds = [*map(floatToGoString, SECONDS), "+Inf"]
    buckets = list(zip(bounds, accumulate(value["counts"]), strict=True))
    return HistogramMetricFamily(PREFIX + name, help_text, buckets, value["sum"])


def _version() -> str:
    try:
        return metadata.version("c10k")
    except metadata.PackageNotFoundError:
        return "unknown"
