"""Who was let do what, when, from where and by which proof: events named "audit". Never a token, never content."""

import structlog

from proxy.metrics import refusals_total
from proxy.web.access import request_id
from proxy.web.addresses import client_address

log = structlog.get_logger()


def audit(what: str, **facts: object) -> None:
    """Writes one line, with the current request's id and address."""
    log.info("audit", what=what, request_id=request_id(), address=client_address(), **facts)


def audit_refusal(backend: str, reason: str, **facts: object) -> None:
    """Also counts it; `reason` is one of the backend's closed set, for it becomes a label."""
    refusals_total.labels(backend, reason).inc()
    audit("refused", backend=backend, reason=reason, **facts)
