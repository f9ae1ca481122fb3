"""For the operator: is it alive, can it do its work, what has it counted."""

from flask import Blueprint, Response, request

from proxy.errors import StoreUnavailable
from proxy.metrics import StoreFigures, exposition
from proxy.ports import Figure
from proxy.web import wired
from proxy.web.callers import Caller, may
from proxy.web.envelope import envelope
from proxy.web.guards import is_operator

bp = Blueprint("health", __name__)


@bp.get("/healthz")
@may(Caller.ANYONE)
def alive() -> Response:
    """200 while the process answers at all; it asks nobody else, so a broken store restarts no web process."""
    return envelope(200, "alive")


@bp.get("/readyz")
@may(Caller.ANYONE)
def ready() -> Response:
    """200 or 503: a balancer may ask on the public listener, but the reasons are told on the operator's alone."""
    health = wired().health.check()
    details = dict(health.details) if is_operator(request.environ) else None
    return envelope(200 if health.ready else 503, "ready" if health.ready else "not ready", details)


@bp.get("/metrics")
@may(Caller.OPERATOR)
def metrics() -> Response:
    """Prometheus text; without a store everything but the store's own figures."""
    spool = wired().spool
    figures = _figures() + (spool.figures.read() if spool else [])
    return Response(exposition(StoreFigures(lambda: figures)), content_type="text/plain; version=0.0.4; charset=utf-8")


def _figures() -> list[Figure]:
    try:
        figures, up = wired().figures.read(), 1.0
    except StoreUnavailable:
        figures, up = [], 0.0
    return [*figures, Figure("store_up", "1 when the store answered just now", {}, up)]
