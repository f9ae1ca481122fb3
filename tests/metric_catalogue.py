"""Every metric that web, worker and store show, asked of the program: for the page, the rules and the dashboard."""

import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from proxy import metrics
from proxy.domain.lanes import Lane
from proxy.domain.monitoring import Metric
from proxy.spool.folder import Spool
from proxy.spool.health import SpoolMetrics
from proxy.store.connection import Store
from proxy.store.server.metrics import RedisMetrics
from tests.web.world import World

PROGRAM = Path(__file__).resolve().parents[1] / "proxy"
OF_THE_SCRAPE = {"up": frozenset({"job", "instance"})}  # what Prometheus adds by itself
OPEN = frozenset(
    {"app", "app_id", "backend", "issuer", "status", "job", "instance", "le", "setting"}
)  # not words of ours
ADDED = frozenset({"job", "instance"})
_SELECTED = re.compile(r"\b(app_proxy_[\w:]+|up)\s*\{([^}]*)\}")
_MATCHER = re.compile(r'(\w+)\s*(?:=~|!~|=|!=)\s*"([^"]*)"')
_GROUPED = re.compile(r"\b(?:by|on|without|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_BOTH = "web and worker"
_BY_BOTH = {
    "app_proxy_clock_skew_seconds", "app_proxy_history_lost_total", "app_proxy_log_lines_lost_total",
    "app_proxy_log_line_lost_timestamp_seconds", "app_proxy_mipush_quota_used", "app_proxy_mipush_quota_allowed",
}  # fmt: skip
_SUFFIXES = {"histogram": ("_bucket", "_sum", "_count")}


@dataclass(frozen=True)
class Described:
    """One metric: `where` says who counts it, or where the figure lies that the web shows."""

    name: str
    kind: str
    labels: tuple[str, ...]
    meaning: str
    where: str

    def series(self) -> Iterator[str]:
        yield from (self.name + suffix for suffix in _SUFFIXES.get(self.kind, ("",)))


@cache
def catalogue(store_url: str) -> list[Described]:
    """All of them; the store at this address is asked for its own."""
    found = {it.name: it for it in (*_counted(), *_stored(store_url), *_spooled())}
    return [*found.values(), *(it for it in _shown() if it.name not in found)]


def _counted() -> Iterator[Described]:
    """Those that the processes count. A counter's series end in _total."""
    of_web = set(metrics.WEB._collector_to_names)
    for one in vars(metrics).values():
        if isinstance(one, MetricWrapperBase):
            (family,) = one.describe()
            name = f"{family.name}_total" if family.type == "counter" else family.name
            where = "web" if one in of_web else _BOTH if name in _BY_BOTH else "worker"
            yield Described(name, family.type, one._labelnames, family.documentation, where)


def _stored(url: str) -> Iterator[Described]:
    lanes = [Lane("2882303761517000001", "main", "apns")]
    rows = RedisMetrics(Store(url), lanes, lambda: datetime.now(UTC)).read()
    yield from _described(rows, "store")


def _spooled() -> Iterator[Described]:
    with tempfile.TemporaryDirectory() as folder:
        spool = Spool(Path(folder), max_bytes=1, max_age=timedelta(1))
        yield from _described(SpoolMetrics(spool, lambda: datetime.now(UTC)).read(), "spool")


def _described(rows: Iterable[Metric], where: str) -> Iterator[Described]:
    yield from {it.name: Described(it.name, "gauge", tuple(it.labels), it.help, where) for it in rows}.values()


def _shown() -> Iterator[Described]:
    """Whatever else is on the web's page."""
    with capture_logs():
        page = World().client.get("/metrics", base_url="http://127.0.0.1:9464").text
    for family in text_string_to_metric_families(page):
        if family.name.startswith("app_proxy_") and family.type == "gauge":
            labels = tuple(family.samples[0].labels) if family.samples else ()
            where = _BOTH if family.name == "app_proxy_metrics_lost" else "web"
            yield Described(family.name, family.type, labels, family.documentation, where)


def faults(expression: str, known: Sequence[Described], recorded: Mapping[str, frozenset[str]]) -> list[str]:
    """What an expression of PromQL names that is not there: series, labels, and values of labels that are our words.

    `recorded`: series that recording rules make, and their labels.
    """
    labels = {name: frozenset(it.labels) for it in known for name in it.series()} | OF_THE_SCRAPE | dict(recorded)
    plain = re.sub(r'"[^"]*"', '""', expression)
    names = set(re.findall(r"\b(?:app_proxy[\w:]*|up)\b", plain))
    found = [f"no series {name}" for name in sorted(names - labels.keys())]
    if not names:
        found.append("names no series of ours")
    for name, matchers in _SELECTED.findall(expression):
        for label, value in _MATCHER.findall(matchers):
            if label not in labels.get(name, frozenset()) | ADDED | ({"le"} if name.endswith("_bucket") else set()):
                found.append(f"{name} has no label {label}")
            elif label not in OPEN and not value.startswith("$"):
                found += [f'no {label}="{it}"' for it in value.split("|") if not is_said(it)]
    has = frozenset().union(*(labels.get(name, frozenset()) for name in names), ADDED, {"le"})
    for group in _GROUPED.findall(plain):
        found += [f"no label {it}" for it in re.findall(r"\w+", group) if it not in has]
    return found


def is_said(value: str) -> bool:
    """The program has this text as the value of a label; of a webhook's channel its own part."""
    return f'"{re.sub("^webhook-.+", "webhook-", value)}"' in _program()


@cache
def _program() -> str:
    return "\n".join(path.read_text() for path in PROGRAM.rglob("*.py"))
