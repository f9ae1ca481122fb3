"""What became of a signed-in user's own alerts: for a page of the app that answers "why was there none?"."""

from typing import Any

from flask import Blueprint, Response

from proxy.domain.history import KEPT, Noted
from proxy.domain.times import from_ms
from proxy.usecases.register_device import choose_section
from proxy.web import current_services
from proxy.web.access import add_log_context
from proxy.web.callers import Caller, current_user, require
from proxy.web.cors import require_origin
from proxy.web.envelope import HttpRefusal, envelope
from proxy.web.limits import Limited
from proxy.web.query import asked_in_query, asked_section

bp = Blueprint("alerts", __name__, url_prefix="/api/alerts")

_COUNT, _MOST = 50, 200


@bp.get("")
@require(Caller.USER, Limited.CLIENT)
def show() -> Response:
    """The caller's latest in one app, the newest first, without a word of what was written.

    Nor with a provider's reasons: those are for the operator, who asks `app-proxy explain`.
    """
    services, user = current_services(), current_user()
    section = choose_section(asked_section(), user.bound_app, services.settings.apps)
    add_log_context(app=section)
    require_origin(section)
    since = services.store_now() - KEPT
    noted = services.history.of_account(section, user.app_account, since, _count())
    return envelope(200, data={"app": section, "alerts": [_shown(one) for one in reversed(noted)]})


def _count() -> int:
    given = asked_in_query("count")
    if given is None:
        return _COUNT
    if not (given.isascii() and given.isdigit() and 1 <= int(given[:9]) <= _MOST):
        raise HttpRefusal(400, f"count: expected a number from 1 to {_MOST}")
    return int(given)


def _shown(noted: Noted) -> dict[str, Any]:
    note = noted.note
    times = {"sent_at": note.sent_at_ms, "accepted_at": note.accepted_at_ms, "pushed_at": note.pushed_at_ms}
    return {
        "at": noted.at.isoformat(timespec="milliseconds"),
        "result": note.result,
        "message_id": note.message_id,
        "conversation": note.conversation,
        "device_id": note.device_id,
        "channel": note.channel,
        "silent": note.silent,
        **{name: from_ms(ms).isoformat(timespec="milliseconds") if ms else None for name, ms in times.items()},
    }
