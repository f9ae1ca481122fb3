"""One log line per request, with what was decided. It names the route's template: a path holds URL secrets."""

import re
import time
import uuid

import structlog
from flask import Flask, Response, g, request

log = structlog.get_logger()

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def log_requests(app: Flask) -> None:
    app.before_request(_begin)
    app.after_request(_finish)


def note(**facts: object) -> None:
    """Adds facts to the current request's line. Never a secret, never content."""
    g.facts.update(facts)


def _begin() -> None:
    g.started = time.perf_counter()
    g.facts = {}


def _finish(response: Response) -> Response:
    log.info(
        "request",
        request_id=_request_id(),
        method=request.method,
        route=request.url_rule.rule if request.url_rule else "-",
        status=response.status_code,
        ms=round((time.perf_counter() - g.started) * 1000, 1),
        **g.facts,
    )
    return response


def _request_id() -> str:
    given = request.environ.get("HTTP_X_REQUEST_ID", "")
    return given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
