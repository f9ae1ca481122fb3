"""What the service counts. Labels are closed sets of ours or of the providers' documents; nothing personal.

With PROMETHEUS_MULTIPROC_DIR in the environment (gunicorn's several processes share one folder) the figures of all
processes are added up; without it this process speaks for itself. Where that folder is gone, this process counts on
alone: no request and no job fails because it could not be counted.
"""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
    multiprocess,
    values,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import REGISTRY, Collector

from proxy.domain.monitoring import Metric

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each, without a use


class _Value:
    """The library's value in the folder, or one in memory where the folder is gone or full."""

    _multiprocess = values.ValueClass._multiprocess
    _kept = staticmethod(values.ValueClass)
    lost = 0

    def __new__(cls, *args: Any, **options: Any) -> Any:
        try:
            return cls._kept(*args, **options)
        except OSError:
            cls.lost += 1
            return values.MutexValue(*args, **options)  # type: ignore[no-untyped-call]


values.ValueClass = _Value

WEB = CollectorRegistry()  # what a worker never counts

_LATENCY = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 1.8, 2.5, 5.0, 10.0)
_AGES = (0.1, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0, 300.0, 3600.0, 86400.0)

callbacks_total = Counter(
    "app_proxy_callbacks_total", "MIMC callbacks by kind and what became of them", ["kind", "result"], registry=WEB
)
callbacks_from_the_future_total = Counter(
    "app_proxy_callbacks_from_the_future_total",
    "MIMC callbacks whose timestamp is more than a minute ahead of the store's clock; they count as sent now",
    registry=WEB,
)
tokens_total = Counter(
    "app_proxy_token_calls_total", "Token calls by the status given to the client", ["status"], registry=WEB
)
token_answers_total = Counter(
    "app_proxy_token_answers_total",
    "The TokenService's answers: a token, or why there was none",
    ["app", "answer"],
    registry=WEB,
)
token_echoes_total = Counter(
    "app_proxy_token_echoes_total",
    "Answers of the TokenService that repeat the appKey or the appSecret, by where",
    ["app", "where"],
    registry=WEB,
)
keys_fetched = Gauge(
    "app_proxy_jwks_fetched_timestamp_seconds",
    "When an issuer's JWK set was last fetched; its age is time() minus this",
    ["issuer"],
    multiprocess_mode="livemin",
    registry=WEB,
)
refusals_total = Counter(
    "app_proxy_callers_refused_total", "Callers that a backend refused, and why", ["backend", "reason"], registry=WEB
)
rate_limited_total = Counter(
    "app_proxy_rate_limited_total", "Calls answered 429, by what was exceeded", ["route", "by"], registry=WEB
)
limiter_unavailable_total = Counter(
    "app_proxy_rate_limiter_unavailable_total", "Calls that could not be counted", ["route"], registry=WEB
)
push_tokens_moved_total = Counter(
    "app_proxy_push_tokens_moved_total",
    "Registrations whose push token was another account's: a phone that changed hands, or a stolen token",
    ["app"],
    registry=WEB,
)
connections_ended_total = Counter(
    "app_proxy_connections_ended_total",
    "Connections that the server ended before their request was whole or answered, and why",
    ["reason"],
    registry=WEB,
)
token_seconds = Histogram(
    "app_proxy_token_call_seconds", "Time of the call to MIMC's TokenService", buckets=_LATENCY, registry=WEB
)
planned_total = Counter("app_proxy_jobs_planned_total", "Jobs that plan appended", ["app", "channel"])
messages_planned_total = Counter(
    "app_proxy_messages_planned_total", "Messages that plan looked at, by what became of them", ["result"]
)
repeated_total = Counter(
    "app_proxy_requests_repeated_total", "Requests that failed once and were sent again at once", ["app", "channel"]
)
settled_total = Counter("app_proxy_jobs_settled_total", "Jobs by outcome", ["app", "channel", "outcome", "reason"])
dead_letters_total = Counter(
    "app_proxy_dead_letters_total", "Dead letters by cause; a callback's app and channel are empty",
    ["app_id", "app", "channel", "cause"],
)  # fmt: skip
lane_pauses_total = Counter(
    "app_proxy_lane_pauses_total", "Times that this worker paused a lane", ["app", "channel", "kind"]
)
spooled_total = Counter(
    "app_proxy_spool_stored_total", "Callbacks kept on disk because the store was away", registry=WEB
)
spool_failures_total = Counter(
    "app_proxy_spool_failures_total", "Callbacks that neither store nor disk took", ["reason"], registry=WEB
)
drained_total = Counter(
    "app_proxy_spool_drained_total",
    "Callbacks handed in from the disk, by what became of them",
    ["result"],
    registry=WEB,
)
push_seconds = Histogram("app_proxy_push_seconds", "From sending a push to its answer", ["channel"], buckets=_LATENCY)
alert_seconds = Histogram(
    "app_proxy_alert_seconds", "From accepting a callback to its alert's acceptance", buckets=_AGES
)
taken_over_total = Counter("app_proxy_leases_taken_over_total", "Entries taken over from a worker that fell silent")
lost_total = Counter("app_proxy_leases_lost_total", "Entries that another worker took over from this one")
connection_events_total = Counter(
    "app_proxy_connection_events_total", "Connections opened, left as silent, recalled pushes", ["event"]
)
log_lines_lost_total = Counter(
    "app_proxy_log_lines_lost_total", "Log lines that stderr did not take: full disk, closed pipe, slow reader"
)
clock_skew = Gauge(
    "app_proxy_clock_skew_seconds",
    "How far this machine's clock is ahead of a service's; -3600 by the provider token: so far behind, or more",
    ["source"],
    multiprocess_mode="mostrecent",
)

_REASONS = 120
_seen_reasons: set[str] = set()


def bounded_reason(reason: str) -> str:
    """A reason fit for a label: providers may invent new ones, but not without end."""
    if reason in _seen_reasons:
        return reason
    if len(_seen_reasons) < _REASONS and len(reason) <= 60:
        _seen_reasons.add(reason)
        return reason
    return "other"


class StoreMetricsCollector(Collector):
    """Numbers that are in the store, read when asked for: `read` gives (name, help, labels, value) rows."""

    def __init__(self, read: Callable[[], Iterable[Metric]]) -> None:
        self._read = read

    def collect(self) -> Iterable[GaugeMetricFamily]:
        families: dict[str, GaugeMetricFamily] = {}
        for row in self._read():
            family = families.setdefault(row.name, GaugeMetricFamily(row.name, row.help, labels=list(row.labels)))
            family.add_metric(list(row.labels.values()), row.value)
        return families.values()


def exposition(*extra: Collector, web: bool = False) -> bytes:
    """The text for Prometheus: the counters, in the web over all its processes, and the extra figures."""
    registry = CollectorRegistry()
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if folder and Path(folder).is_dir():
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # the library has no types here
    else:
        registry.register(REGISTRY)
        if web:
            registry.register(WEB)
    lost = Metric(
        "app_proxy_metrics_lost", "Series that this process counts alone: their folder is gone", {}, _Value.lost
    )
    for collector in (StoreMetricsCollector(lambda: [lost]), *extra):
        registry.register(collector)
    return generate_latest(registry)
