"""What is done around every request: one function before it, and one after it."""

import time
from functools import partial
from typing import Any

from flask import Flask, Request, Response

from proxy.logs import log_event
from proxy.web import current_notes, current_request, current_services
from proxy.web.access import request_id
from proxy.web.callers import check_listener
from proxy.web.cors import allow_origin
from proxy.web.envelope import SECURITY_HEADERS
from proxy.web.together import LaterAnswer

_MARK = SECURITY_HEADERS[0][0]


def init_hooks(app: Flask) -> None:
    app.before_request(_begin)
    app.after_request(_finish)


def _begin() -> None:
    notes, asked = current_notes(), current_request()
    notes.started = time.perf_counter()
    notes.facts, notes.budgets = {}, {}
    check_listener(asked)
    if asked.endpoint != "health.alive":  # it answers without the store
        current_services().monitor_store()  # a web process has no loop of its own that would notice a loss


def _finish(response: Response) -> Response:
    """Headers for browsers, then one log line with what was decided, for a LaterAnswer when that is known."""
    asked, notes = current_request(), current_notes()
    if isinstance(response, LaterAnswer):
        response.concluded = partial(_tell, asked, notes, request_id())
        return response
    if _MARK not in response.headers:  # `envelope` has set them
        response.headers.extend(SECURITY_HEADERS)
    allow_origin(response, asked)
    _tell(asked, notes, request_id(), response)
    return response


def _tell(asked: Request, notes: Any, named: str, response: Response) -> None:
    """The line names the route's template, because a path holds URL secrets."""
    rule = asked.url_rule
    log_event(
        "request",
        request_id=named,
        method=asked.environ["REQUEST_METHOD"],
        route=rule.rule if rule else "-",
        status=response.status_code,
        ms=round((time.perf_counter() - notes.started) * 1000, 1),
        **notes.facts,
    )
