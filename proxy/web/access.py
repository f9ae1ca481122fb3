"""What the log says of a request: the facts of its one line, and events named "audit" with what was allowed to whom.

Never a secret, never content.
"""

import random
import re

from proxy.logs import log_event
from proxy.metrics import refusals_total
from proxy.web import current_notes, current_request
from proxy.web.addresses import client_address

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def add_log_context(**facts: object) -> None:
    """Adds facts to the current request's line."""
    current_notes().facts.update(facts)


def audit(what: str, **facts: str | int | None) -> None:
    """Writes one line, with the current request's id and address."""
    log_event("audit", what=what, request_id=request_id(), address=client_address(), **facts)


def audit_refusal(backend: str, reason: str, **facts: str | int | None) -> None:
    """Also counts it; `reason` is one of the backend's closed set, for it becomes a label."""
    refusals_total.labels(backend, reason).inc()
    audit("refused", backend=backend, reason=reason, **facts)


def request_id() -> str:
    """The current request's: the caller's own X-Request-Id where it is a short plain one, else made up."""
    notes = current_notes()
    made: str | None = notes.get("request_id")
    if made is None:
        given = current_request().environ.get("HTTP_X_REQUEST_ID")
        made = given if given and _REQUEST_ID.fullmatch(given) else f"{random.getrandbits(64):016x}"
        notes.request_id = made
    return made
