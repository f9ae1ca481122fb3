"""The token broker: the TokenService's own path, so that a client changes nothing but the host."""

import time

from flask import Blueprint, Response, request

from proxy.metrics import token_seconds, tokens_total
from proxy.ports import Answer, NoAnswer
from proxy.usecases.issue_token import issue_token
from proxy.web import wired
from proxy.web.access import note
from proxy.web.body import read_object
from proxy.web.envelope import envelope
from proxy.web.guards import signed_in

bp = Blueprint("tokens", __name__)


@bp.post("/api/account/token")
def give_token() -> Response:
    """The TokenService's answer for the signed-in user: its status, content type and bytes as they are."""
    services = wired()
    user = signed_in()
    app_ids = {name: app.app_id for name, app in services.settings.apps.items()}
    asked = read_object(request.environ)
    started = time.perf_counter()
    answer = issue_token(asked, user.app_account, user.bound_app, app_ids, services.tokens)
    token_seconds.observe(time.perf_counter() - started)
    match answer:
        case Answer():
            return _passed_on(answer)
        case NoAnswer(reason):
            note(upstream=reason)
            return envelope(504 if reason == "timed out" else 502, f"MIMC's TokenService: {reason}")


@bp.after_request
def count(response: Response) -> Response:
    tokens_total.labels(str(response.status_code)).inc()
    return response


def _passed_on(answer: Answer) -> Response:
    response = Response(answer.body, answer.status)
    del response.headers["Content-Type"]  # ours; theirs may be absent
    for name in ("Content-Type", "Content-Encoding"):
        if name.lower() in answer.headers:
            response.headers[name] = answer.headers[name.lower()]
    return response
