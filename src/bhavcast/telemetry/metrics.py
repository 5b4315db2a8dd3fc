"""Every metric by name, in one table; hot counters are plain integers that are collected when someone asks."""

import bisect
from collections.abc import Callable, Iterable, Iterator
from typing import Final, Literal, NamedTuple

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric


class Name(NamedTuple):
    """One metric: its name, kind, labels and meaning, as documented."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    meaning: str


NAMES: Final = (
    Name("http_requests_total", "counter", ("method", "route", "status"), "Requests answered."),
    Name("http_request_duration_seconds", "histogram", ("route",), "Time in the service per request."),
    Name(
        "cache_hit_rate",
        "gauge",
        (),
        "Quote reads answered with a value that is neither stale nor missing, of all quote reads, 0 to 1.",
    ),
    Name("bhavcast_rev", "gauge", (), "Revision of the board this gateway answers from."),
    Name("bhavcast_scrips", "gauge", (), "Scrips and indices on the board."),
    Name("bhavcast_ticks_total", "counter", ("source",), "Ticks received from a source."),
    Name("bhavcast_late_ticks_total", "counter", (), "Ticks older than the last one believed, passed over."),
    Name("bhavcast_duplicate_ticks_total", "counter", (), "Exact duplicates, passed over."),
    Name("bhavcast_quarantined", "gauge", (), "Ticks in quarantine."),
    Name("bhavcast_gaps", "gauge", (), "Gaps on record: stretches of time of which something is missing."),
    Name("bhavcast_errands_waiting", "gauge", (), "What operators asked of ingest and it has not come to yet."),
    Name("bhavcast_feed_state", "gauge", ("source", "state"), "1 for the state a source is in."),
    Name("bhavcast_stream_clients", "gauge", ("kind",), "Open streams."),
    Name("bhavcast_connections", "gauge", (), "Open connections, of streams and of all others."),
    Name("bhavcast_unsent_bytes", "gauge", (), "Bytes for stream clients that wait in this process for their wires."),
    Name("bhavcast_snapshots_waiting", "gauge", (), "Streams that are being sent a snapshot."),
    Name("bhavcast_messages_waiting", "gauge", (), "Messages of stream clients that this gateway has not come to yet."),
    Name("bhavcast_wanted", "gauge", (), "Scrips that the streams of this gateway follow by name."),
    Name("bhavcast_stream_frames_total", "counter", (), "Frames with quotes sent to stream clients."),
    Name(
        "bhavcast_outbox_skipped_total", "counter", (), "Flushes that passed a client over because its wire was full."
    ),
    Name(
        "bhavcast_auth_failures_total",
        "counter",
        ("reason",),
        "Requests and streams not let in: no_key, wrong_key, key_expired, or limited after too many.",
    ),
    Name("bhavcast_sessions", "gauge", (), "Browsers that are signed in."),
    Name(
        "bhavcast_accounts",
        "gauge",
        ("kind",),
        "Keys, and addresses without one, whose requests and streams are counted.",
    ),
    Name("bhavcast_bus_lag_seconds", "gauge", (), "Market time since the last message of the bus."),
    Name("bhavcast_bus_link", "gauge", ("state",), "1 for how well this gateway hears the bus: ok, degraded or deaf."),
    Name("bhavcast_bus_waiting", "gauge", (), "Messages that Redis has not got yet."),
    Name("bhavcast_bus_calls_total", "counter", (), "Script calls that carried messages to Redis."),
    Name(
        "bhavcast_bus_republished_total", "counter", (), "Times that Redis lacked something and got it in one message."
    ),
    Name("bhavcast_bus_holes_total", "counter", (), "Times that a gateway missed something and took a snapshot again."),
    Name("bhavcast_bus_lost_total", "counter", (), "Times that what a gateway held was lost from the bus for good."),
    Name("bhavcast_bus_connects_total", "counter", (), "Connections to Redis that ingest and this gateway have made."),
    Name("bhavcast_orphan", "gauge", (), "1 while this ingest has no lease and goes on for its journal alone."),
    Name("bhavcast_journal_bytes", "gauge", (), "Bytes in the journal of this epoch."),
    Name("bhavcast_journal_failing", "gauge", (), "1 while records are being lost."),
    Name("bhavcast_journal_lost_total", "counter", (), "Messages that could not be written to the journal."),
    Name("bhavcast_journal_synced_rev", "gauge", (), "Newest revision that survives a power cut."),
    Name("bhavcast_tasks", "gauge", ("role",), "Tasks of the event loop of this gateway, and of ingest."),
    Name("bhavcast_role_state", "gauge", ("role", "state"), "1 for the state a process of this system is in."),
    Name("bhavcast_role_restarts_total", "counter", ("role",), "Times that a process was started again."),
)
BY_NAME: Final = {each.name: each for each in NAMES}

# Seconds; from a tenth of a millisecond, where a hot answer lies, to the alert limits.
BUCKETS: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 10.0)
Sample = tuple[tuple[str, ...], float]


class RouteCounter:
    """What is counted of one route: requests by method and status, and how long they took."""

    __slots__ = ("buckets", "requests", "seconds")

    def __init__(self) -> None:
        self.requests: dict[tuple[str, int], int] = {}
        self.buckets = [0] * (len(BUCKETS) + 1)
        self.seconds = 0.0

    def observe(self, status: int, seconds: float, method: str = "GET") -> None:
        """Count one request."""
        key = (method, status)
        self.requests[key] = self.requests.get(key, 0) + 1
        self.buckets[0 if seconds <= BUCKETS[0] else bisect.bisect_left(BUCKETS, seconds)] += 1
        self.seconds += seconds


class HttpCounters:
    """What is counted of HTTP, by route."""

    def __init__(self) -> None:
        self.routes: dict[str, RouteCounter] = {}
        # The server errors of the main route exist from the start, so that their rate does.
        self.route("/api/stock/{symbol}").requests.update({("GET", 200): 0, ("GET", 500): 0, ("GET", 503): 0})

    def route(self, route: str) -> RouteCounter:
        """Return the counter of a route."""
        counter = self.routes.get(route)
        if counter is None:
            counter = self.routes[route] = RouteCounter()
        return counter

    def count(self, route: str, status: int, seconds: float, method: str = "GET") -> None:
        """Count one request."""
        self.route(route).observe(status, seconds, method)

    def samples(self) -> list[Sample]:
        """Return the request counters."""
        return [
            ((method, route, str(status)), float(count))
            for route, counter in self.routes.items()
            for (method, status), count in counter.requests.items()
        ]

    def histogram(self) -> Iterator[tuple[str, list[tuple[str, float]], float]]:
        """Yield per route the cumulative buckets and the sum of seconds."""
        for route, counter in self.routes.items():
            total, cumulative = 0, []
            for bound, count in zip([*map(str, BUCKETS), "+Inf"], counter.buckets, strict=True):
                total += count
                cumulative.append((bound, float(total)))
            yield route, cumulative, counter.seconds


class Exposition:
    """Collects everything when asked. `gauges` gives the samples of each metric by name."""

    def __init__(self, http: HttpCounters, gauges: Callable[[], dict[str, list[Sample]]]) -> None:
        self._http = http
        self._gauges = gauges
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def collect(self) -> Iterable[Metric]:
        """Yield all metric families; prometheus_client calls this."""
        samples = self._gauges() | {"http_requests_total": self._http.samples()}
        for name in NAMES:
            if name.kind == "histogram":
                yield self._histogram(name)
            elif name.name in samples:
                yield _family(name, samples[name.name])

    def _histogram(self, name: Name) -> Metric:
        family = HistogramMetricFamily(name.name, name.meaning, labels=name.labels)
        for route, buckets, seconds in self._http.histogram():
            family.add_metric([route], buckets=buckets, sum_value=seconds)
        return family

    def text(self) -> bytes:
        """Return the Prometheus text format."""
        return generate_latest(self._registry)


def _family(name: Name, samples: list[Sample]) -> Metric:
    kind = CounterMetricFamily if name.kind == "counter" else GaugeMetricFamily
    family = kind(
        name.name.removesuffix("_total") if name.kind == "counter" else name.name, name.meaning, labels=name.labels
    )
    for labels, value in samples:
        family.add_metric(list(labels), value)
    return family
