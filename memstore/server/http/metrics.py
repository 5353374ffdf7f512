"""What a server counts of itself, as Prometheus reads it. No label says who asked, or for what."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))


class Metrics:
    """The counters of one server, in a registry of their own: a process may run several."""

    def __init__(self, gauges: Mapping[str, tuple[str, Callable[[], float]]]) -> None:
        """Begin at zero.

        Args:
            gauges: name → what it says, and how to read it when someone asks.
        """
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "memstore_http_requests",
            "Requests answered, by route, method and status.",
            ("route", "method", "status"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "memstore_http_request_seconds",
            "From a request's head to the end of its answer.",
            ("route", "method"),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.in_flight = Gauge(
            "memstore_http_requests_in_flight", "Requests in work.", registry=self._registry
        )
        self._stages = Histogram(
            "memstore_query_stage_seconds",
            "Where queries spend their time.",
            ("stage",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.replayed = Counter(
            "memstore_http_replayed",
            "Answers given again under their Idempotency-Key.",
            registry=self._registry,
        )
        self._registry.register(_Gauges(gauges))

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request. A method nobody has heard of is counted as `OTHER`."""
        known = method if method in _METHODS else "OTHER"
        self._requests.labels(route, known, str(status)).inc()
        self._seconds.labels(route, known).observe(seconds)

    def searched(self, took: Mapping[str, float]) -> None:
        """Count the stages of a query."""
        for stage, seconds in took.items():
            self._stages.labels(stage).observe(seconds)

    def written(self) -> bytes:
        """Return all of it in Prometheus' text format."""
        return generate_latest(self._registry)


def at_most_every(
    seconds: float, read: Callable[[], float], clock: Callable[[], float]
) -> Callable[[], float]:
    """Return a reader that gives the value of `read` again until it is so old."""
    value, read_at = 0.0, -math.inf

    def reread() -> float:
        nonlocal value, read_at
        if clock() - read_at >= seconds:
            value, read_at = read(), clock()
        return value

    return reread


class _Gauges(Collector):
    """Values that are read when they are asked for."""

    def __init__(self, gauges: Mapping[str, tuple[str, Callable[[], float]]]) -> None:
        self._gauges = gauges

    def describe(self) -> Iterable[GaugeMetricFamily]:
        return ()  # else registering would read them, before there is anything to read

    def collect(self) -> Iterable[GaugeMetricFamily]:
        for name, (said, read) in self._gauges.items():
            yield GaugeMetricFamily(name, said, value=read())
