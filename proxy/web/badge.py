"""The number on a signed-in user's phones: what they have read is counted no longer."""

from flask import Blueprint, Response

from proxy.usecases.clear_badge import badge_jobs, read_conversation
from proxy.usecases.register_device import choose_section
from proxy.web import current_request, current_services
from proxy.web.access import add_log_context
from proxy.web.body import read_object
from proxy.web.callers import Caller, current_user, require
from proxy.web.cors import require_origin
from proxy.web.envelope import HttpRefusal, envelope
from proxy.web.limits import Limited
from proxy.web.services import Services

bp = Blueprint("badge", __name__, url_prefix="/api/badge")


@bp.post("")
@require(Caller.USER, Limited.CLIENT)
def clear() -> Response:
    """They have read a conversation, or all; answers how many messages are left. Their other iPhones are told."""
    services, user = current_services(), current_user()
    asked = read_object(current_request().environ)
    section = choose_section(asked.get("app"), user.bound_app, services.settings.apps)
    add_log_context(app=section)
    require_origin(section)
    conversation = read_conversation(asked)
    if services.unread is None:
        raise HttpRefusal(404, "alerts.badge is off")
    left = clear_badge(services, section, user.app_account, conversation)
    return envelope(200, data={"app": section, "badge": left})


def clear_badge(services: Services, section: str, account: str, conversation: str = "") -> int:
    """How many messages are left. Raises StoreUnavailable."""
    if services.unread is None:
        return 0
    now, app = services.store_now(), services.settings.apps[section]
    jobs = badge_jobs(app.app_id, services.devices.devices_of(section, account), now, app.channels)
    return services.unread.clear(section, account, conversation, now, jobs)
