"""The first page: what is wrong, what happens now, and what happened in the last hour and day."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from flask import Response, redirect, url_for

from proxy.domain.figures import DAY, HOUR, Figures, Ring
from proxy.domain.lanes import Lane
from proxy.domain.webhooks import is_webhook
from proxy.errors import StoreUnavailable
from proxy.metrics import lost_details
from proxy.web import current_services
from proxy.web.console import figures as written
from proxy.web.console.blueprint import bp
from proxy.web.console.pages import fragment, page
from proxy.web.console.plots import Line, Plot
from proxy.web.console.rules import open_to_look
from proxy.web.console.visitors import console_services
from proxy.web.console.words import say

# entries of /readyz that are named by several words; all others are, by their first
_ENTRIES = {"log lines": "log_lines", "spool error": "spool_error", "spool rejected": "spool_rejected"}
_FINE = {"store": "writable", "worker": "works", "spool": ""}  # how their sentences begin while nothing is wrong


@dataclass(frozen=True)
class Wrong:
    """An entry of /readyz, its sentence there, and which of the words say the way out."""

    entry: str
    sentence: str
    kind: str


@dataclass(frozen=True)
class LaneNow:
    """What waits in a lane now, and how its tries of the last hour ended."""

    lane: Lane
    waiting: int
    retrying: int
    oldest_s: float
    is_paused: bool
    accepted: int
    failed: int


@bp.get("/")
@open_to_look
def now() -> Response:
    return page("now", facts=_facts())


@bp.get("")
@open_to_look
def start() -> Response:
    return redirect(url_for("console.now"), 308)  # type: ignore[return-value]


@bp.get("/live/now")
@open_to_look
def now_live() -> Response:
    return fragment("now_live", "now_live", **_facts())


def kind_of(entry: str) -> str:
    """Of an entry of /readyz: "lane main/apns" is of the kind "lane"."""
    return "settings" if entry.startswith("apps.") else _ENTRIES.get(entry) or entry.partition(" ")[0]


def _facts() -> dict[str, Any]:
    health = current_services().health.check()
    details = {**health.details, **lost_details()}
    found: dict[str, Any] = {"is_ready": health.ready, "wrong": _wrong(details), "lanes": None}
    try:
        return found | _figures()
    except StoreUnavailable:  # that is the first of what is wrong
        return found


def _wrong(details: Mapping[str, str]) -> list[Wrong]:
    found = [Wrong(entry, sentence, kind_of(entry)) for entry, sentence in details.items()]
    return [it for it in found if it.kind not in _FINE or not it.sentence.startswith(_FINE[it.kind])]


def _figures() -> dict[str, Any]:
    console, services = console_services(), current_services()
    now = services.store_now()
    by_minute, by_quarter = console.figures.of(HOUR, now), console.figures.of(DAY, now)
    rows = {(it.name, *it.labels.values()): it.value for it in services.store_metrics.read()}
    hour, phones = Figures.of(by_minute.values()), [it for it in console.lanes if not is_webhook(it.channel)]
    app_ids = sorted({it.app_id for it in console.lanes})
    return {
        "messages": hour.messages,
        "accepted": hour.accepted(phones),
        "failed": hour.failed(phones),
        "p50": hour.p50,
        "p99": hour.p99,
        "callbacks": sum(int(rows.get(("app_proxy_callbacks_waiting", it), 0)) for it in app_ids),
        "callbacks_oldest_s": max((rows.get(("app_proxy_callbacks_oldest_seconds", it), 0.0) for it in app_ids),
                                  default=0.0),
        "dead_letters": sum(int(rows.get(("app_proxy_dead_letters", it), 0)) for it in app_ids),
        "lanes": [_lane(it, rows, hour) for it in console.lanes],
        "plots": [*_plots(HOUR, by_minute, phones), *_plots(DAY, by_quarter, phones)],
    }  # fmt: skip


def _lane(lane: Lane, rows: Mapping[tuple[str, ...], float], hour: Figures) -> LaneNow:
    def row(name: str) -> float:
        return rows.get((name, lane.app, lane.channel), 0)

    return LaneNow(
        lane,
        int(row("app_proxy_jobs_waiting")),
        int(row("app_proxy_jobs_retrying")),
        row("app_proxy_jobs_oldest_seconds"),
        row("app_proxy_lane_paused") == 1,
        hour.accepted([lane]),
        hour.failed([lane]),
    )


def _plots(ring: Ring, spans: Mapping[int, Figures], phones: Sequence[Lane]) -> list[Plot]:
    """Of the spans that are over: in a minute that runs everything seems to fall."""
    starts, its = list(spans)[:-1], list(spans.values())[:-1]
    ends = [datetime.fromtimestamp(start + ring.seconds, UTC) for start in (starts[0], starts[-1])]
    minutes = ring.seconds / 60

    def counted(key: str, values: Sequence[int]) -> Line:
        return Line(say(f"now.{key}"), [value / minutes for value in values], written.number)

    span = say("now.hour" if ring is HOUR else "now.day")
    rates = [
        counted("messages", [it.messages for it in its]),
        counted("alerts", [it.accepted(phones) for it in its]),
    ]
    latencies = [
        Line("p50", [it.p50 for it in its], written.latency),
        Line("p99", [it.p99 for it in its], written.latency),
    ]
    return [
        Plot(say("now.plot_rates", span=span), rates, *ends),
        Plot(say("now.plot_latency", span=span), latencies, *ends),
    ]
