"""One log line per request, with what was decided. It names the route's template: a path holds URL secrets."""

import random
import re
import time

import structlog
from flask import Flask, Response, g, request

log = structlog.get_logger()

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def log_requests(app: Flask) -> None:
    app.before_request(_begin)
    app.after_request(_finish)


def add_log_context(**facts: object) -> None:
    """Adds facts to the current request's line. Never a secret, never content."""
    g.facts.update(facts)


def request_id() -> str:
    """The current request's: the caller's own X-Request-Id where it is a short plain one, else made up."""
    if "request_id" not in g:
        given = request.environ.get("HTTP_X_REQUEST_ID", "")
        g.request_id = given if _REQUEST_ID.fullmatch(given) else f"{random.getrandbits(64):016x}"
    made: str = g.request_id
    return made


def _begin() -> None:
    g.started = time.perf_counter()
    g.facts = {}


def _finish(response: Response) -> Response:
    environ, rule, facts = request.environ, request.url_rule, g.facts
    log.info(
        "request",
        request_id=request_id(),
        method=environ["REQUEST_METHOD"],
        route=rule.rule if rule else "-",
        status=response.status_code,
        ms=round((time.perf_counter() - g.started) * 1000, 1),
        **facts,
    )
    return response
