"""For the operator: is it alive, can it do its work, what has it counted."""

from flask import Blueprint, Response, request

from proxy.domain.monitoring import Metric
from proxy.errors import StoreUnavailable
from proxy.metrics import StoreMetricsCollector, exposition, lost_details
from proxy.web import current_services
from proxy.web.callers import Caller, require
from proxy.web.envelope import envelope
from proxy.web.guards import is_operator
from proxy.web.limits import Limited

bp = Blueprint("health", __name__)


@bp.get("/healthz")
@require(Caller.BALANCER, Limited.OPERATOR)
def alive() -> Response:
    """200 while the process answers at all; it asks no other service, so a broken store restarts no web process."""
    return envelope(200, "alive")


@bp.get("/readyz")
@require(Caller.BALANCER, Limited.OPERATOR)
def ready() -> Response:
    """200 or 503. Where there is one listener a balancer may ask; the reasons are shown on the operator's own alone."""
    health = current_services().health.check()
    details = {**health.details, **lost_details()} if is_operator(request.environ) else None
    return envelope(200 if health.ready else 503, "ready" if health.ready else "not ready", details)


@bp.get("/metrics")
@require(Caller.OPERATOR, Limited.OPERATOR)
def metrics() -> Response:
    """Prometheus text; without a store everything but the store's own numbers."""
    spool = current_services().spool
    rows = _store_rows() + (spool.store_metrics.read() if spool else [])
    return Response(
        exposition(StoreMetricsCollector(lambda: rows), web=True),
        content_type="text/plain; version=0.0.4; charset=utf-8",
    )


def _store_rows() -> list[Metric]:
    try:
        rows, up = current_services().store_metrics.read(), 1.0
    except StoreUnavailable:
        rows, up = [], 0.0
    return [*rows, Metric("app_proxy_store_up", "1 when the store answered just now", {}, up)]
