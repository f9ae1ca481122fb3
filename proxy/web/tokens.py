"""The token broker: the TokenService's own path, so that a client changes nothing but the host."""

import time
from contextlib import suppress
from functools import cache

from flask import Blueprint
from flask import Response as WebResponse

from proxy.domain.transfers import Paused, Response, TransportFailure
from proxy.errors import StoreUnavailable
from proxy.metrics import bounded_reason, token_answers_total, token_seconds, tokens_total
from proxy.mimc.token_answer import reason_of
from proxy.usecases.choose_app import choose_app
from proxy.web import current_request, current_services
from proxy.web.access import audit
from proxy.web.badge import clear_badge
from proxy.web.body import read_object
from proxy.web.callers import Caller, current_user, require
from proxy.web.cors import require_origin
from proxy.web.handed_on import handed_on, status_of
from proxy.web.limits import Limited

bp = Blueprint("tokens", __name__)

_by_status, _by_answer = cache(tokens_total.labels), cache(token_answers_total.labels)  # as in callbacks


@bp.post("/api/account/token")
@require(Caller.USER, Limited.TOKEN)
def give_token() -> WebResponse:
    """The TokenService's answer for the signed-in user: its status, content type and bytes as they are."""
    services, user = current_services(), current_user()
    asked = read_object(current_request().environ)
    section = choose_app(asked, user.app_account, user.bound_app, services.settings.apps)
    require_origin(section)
    started = time.perf_counter()
    answer = services.tokens.issue(section, user.app_account)
    token_seconds.observe(time.perf_counter() - started)
    why_none = None if isinstance(answer, Paused) else _note(section, answer)
    if services.presence and isinstance(answer, Response) and why_none is None:
        services.presence.note(section, user.app_account)
    if services.settings.alerts.badge_at_token and isinstance(answer, Response) and why_none is None:
        with suppress(StoreUnavailable):  # the number is right again after the next
            clear_badge(services, section, user.app_account)
    refused = {"refused": why_none} if why_none else {}
    audit(
        "token asked", account=user.app_account, app=section, backend=user.backend, status=status_of(answer), **refused
    )
    return handed_on(answer, "MIMC's TokenService")


@bp.after_request
def count(response: WebResponse) -> WebResponse:
    _by_status(str(response.status_code)).inc()
    return response


def _note(section: str, answer: Response | TransportFailure) -> str | None:
    """Counts the answer, and returns why it holds no token, None where it does."""
    reason = reason_of(answer)
    _by_answer(section, bounded_reason(reason or "token")).inc()
    monitor = current_services().token_monitor
    if reason is None:
        monitor.given(section)
    else:
        monitor.failed(section, reason)
    return reason
