"""What the service counts. Labels are closed sets of ours or of the providers' documents; nothing personal.

With PROMETHEUS_MULTIPROC_DIR in the environment (gunicorn's several processes share one folder) the figures of all
processes are added up; without it this process speaks for itself. Where that folder is gone or full, this process
counts on alone: no request and no job fails because it could not be counted, and `lost_details` says so.
"""

import os
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
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
from prometheus_client.openmetrics.exposition import generate_latest as generate_open_metrics
from prometheus_client.registry import REGISTRY, Collector

from proxy.domain.figures import BOUNDS
from proxy.domain.monitoring import Metric
from proxy.metric_files import MetricFile, count_series, reading

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each, without a use
values.MmapedDict = MetricFile  # type: ignore[attr-defined]  # the library's, for a full disk and a missing folder

WEB = CollectorRegistry()  # what a worker never counts

_LATENCY = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 1.8, 2.5, 5.0, 10.0)
_AGES = (0.1, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0, 300.0, 3600.0, 86400.0)

callbacks_total = Counter(
    "app_proxy_callbacks_total", "MIMC callbacks by kind and what became of them", ["kind", "result"], registry=WEB
)
webhooks_full_total = Counter(
    "app_proxy_webhook_dropped_total",
    "Callbacks that a webhook does not get, because too many wait for it",
    ["app", "channel"],
    registry=WEB,
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
api_calls_total = Counter(
    "app_proxy_api_calls_total",
    "Calls of MIMC's API by what MIMC answered, or why it was not asked",
    ["app", "call", "answer"],
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
receipts_total = Counter(
    "app_proxy_receipts_total",
    "What a provider said of pushes that it had accepted, for each target; not ours: of no push of this service",
    ["app", "channel", "what"],
    registry=WEB,
)
receipts_dropped_total = Counter(
    "app_proxy_receipts_dropped_total",
    "Receipts that were counted and had no consequence, and why",
    ["reason"],
    registry=WEB,
)
delivery_seconds = Histogram(
    "app_proxy_delivery_seconds",
    "From sending a push to its phone, by the provider's receipt",
    ["channel"],
    buckets=_AGES,
    registry=WEB,
)
quota_used = Gauge(
    "app_proxy_mipush_quota_used", "Alerts that Xiaomi counts for today", ["app"], multiprocess_mode="mostrecent"
)
quota_allowed = Gauge(
    "app_proxy_mipush_quota_allowed", "Alerts that Xiaomi allows today", ["app"], multiprocess_mode="mostrecent"
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
    "app_proxy_alert_seconds", "From accepting a callback to its alert's acceptance", buckets=BOUNDS
)
taken_over_total = Counter("app_proxy_leases_taken_over_total", "Entries taken over from a worker that fell silent")
lost_total = Counter("app_proxy_leases_lost_total", "Entries that another worker took over from this one")
profile_answers_total = Counter(
    "app_proxy_profile_answers_total", "Names that were asked for at profiles.url, and the answers", ["app", "answer"]
)
history_lost_total = Counter("app_proxy_history_lost_total", "Records of the history that the store did not take")
connection_events_total = Counter(
    "app_proxy_connection_events_total", "Connections opened, left as silent, recalled pushes", ["event"]
)
log_lines_lost_total = Counter(
    "app_proxy_log_lines_lost_total", "Log lines that stderr did not take: full disk, closed pipe, slow reader"
)
_last_line_lost = Gauge(
    "app_proxy_log_line_lost_timestamp_seconds", "When a log line was last lost; 0: never", multiprocess_mode="max"
)
clock_skew = Gauge(
    "app_proxy_clock_skew_seconds",
    "How far this machine's clock is ahead of a service's; -3600 by the provider token: so far behind, or more",
    ["source"],
    multiprocess_mode="mostrecent",
)
key_since = Gauge(
    "app_proxy_key_since_timestamp_seconds", "Since when Apple's key is as it is in its file, by setting", ["setting"]
)
certificate_ends = Gauge(
    "app_proxy_certificate_end_timestamp_seconds",
    "When a certificate ends: the last of a file, or the one that a server shows, by the setting that leads there",
    ["setting"],
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


_LINES, _LAST = "app_proxy_log_lines_lost_total", "app_proxy_log_line_lost_timestamp_seconds"


def count_lost_lines(lines: int) -> None:
    """So many log lines were lost just now."""
    log_lines_lost_total.inc(lines)
    _last_line_lost.set(time.time())


def lost_details() -> dict[str, str]:
    """For /readyz: which bookkeeping is lost, in sentences for a person. None of it fails the work."""
    details, sums = {}, dict.fromkeys((_LINES, _LAST), 0.0)
    for family in _counted(web=False):
        for sample in family.samples:
            if sample.name in sums:
                sums[sample.name] += sample.value
    if lines := sums[_LINES]:
        last = datetime.fromtimestamp(sums[_LAST], UTC)
        details["log lines"] = (
            f"{lines:.0f} lost since the start, the last at {last:%Y-%m-%d %H:%M:%S} UTC: stderr did not take them "
            "(full disk, closed pipe, slow reader)"
        )
    if series := _series_alone():
        details["metrics"] = (
            f"{series} series are counted by one process alone: the folder of PROMETHEUS_MULTIPROC_DIR is gone or "
            "full. A restart mends it"
        )
    return details


def exposition(*extra: Collector, web: bool = False, open_metrics: bool = False) -> bytes:
    """The text for Prometheus: the counters, in the web over all its processes, and the extra figures.

    `open_metrics`: in the form that has exemplars.
    """
    lost = Metric(
        "app_proxy_metrics_lost", "Series that this process counts alone: their folder is gone or full", {},
        _series_alone(),
    )  # fmt: skip
    registry = CollectorRegistry()
    for collector in (_Counted(web), StoreMetricsCollector(lambda: [lost]), *extra):
        registry.register(collector)
    if open_metrics:
        text: bytes = generate_open_metrics(registry)  # type: ignore[no-untyped-call]  # the library has no types here
        return text
    return generate_latest(registry)


class _Counted(Collector):
    def __init__(self, web: bool) -> None:
        self._web = web

    def collect(self) -> Iterator[Any]:
        yield from _counted(self._web)


def _counted(web: bool) -> list[Any]:
    """What all processes counted, or this one where the others' counts cannot be read."""
    folder = _folder()
    if folder and not _is_gone(folder):
        with suppress(OSError, struct.error, RuntimeError, ValueError), reading(folder):
            return list(multiprocess.MultiProcessCollector(None, str(folder)).collect())  # type: ignore[no-untyped-call]  # the library has no types here
    return [family for registry in (REGISTRY, *([WEB] if web else [])) for family in registry.collect()]


def _series_alone() -> int:
    folder = _folder()
    alone = count_series(shared=False)
    return alone + count_series(shared=True) if folder and _is_gone(folder) else alone


def _folder() -> Path | None:
    named = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    return Path(named) if named else None


def _is_gone(folder: Path) -> bool:
    """Also where another folder has that name now: the counts of this process are not in it."""
    return not (folder / f"counter_{os.getpid()}.db").exists()
