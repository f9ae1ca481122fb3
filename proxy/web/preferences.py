"""What a signed-in user asks of their alerts: mutes, quiet hours, preview."""

import re

from flask import Blueprint, Response

from proxy.auth import Authenticated
from proxy.usecases.edit_preferences import read_preferences, shown
from proxy.usecases.register_device import choose_section
from proxy.web import current_request, current_services
from proxy.web.access import add_log_context, audit
from proxy.web.body import read_object
from proxy.web.callers import Caller, current_user, require
from proxy.web.cors import require_origin
from proxy.web.envelope import HttpRefusal, envelope
from proxy.web.limits import Limited
from proxy.web.query import asked_section

bp = Blueprint("preferences", __name__, url_prefix="/api/preferences")

_TAG = re.compile(r'"([0-9a-f]{40})"')
_NO_VERSION = "none"  # of no preferences


@bp.get("")
@require(Caller.USER, Limited.CLIENT)
def show() -> Response:
    """Mutes that are over are left out. The ETag names the version, for the If-Match of a PUT."""
    services, user = current_services(), current_user()
    section = _section(asked_section(), user)
    preferences, version = services.preferences.read(section, user.app_account)
    data = {"app": section, **shown(preferences.at(services.store_now()))}
    return envelope(200, data=data, headers={"ETag": f'"{version}"'})


@bp.put("")
@require(Caller.USER, Limited.CLIENT)
def replace() -> Response:
    """These are the preferences from now on, all of them; where If-Match names another version than theirs, 412."""
    services, user = current_services(), current_user()
    asked, expected = read_object(current_request().environ), _expected_version()
    section = _section(asked.get("app"), user)
    preferences = read_preferences(asked, services.store_now())
    version = services.preferences.write(section, user.app_account, preferences, expected)
    if version is None:
        raise HttpRefusal(412, "If-Match: the preferences have changed since")
    audit("preferences set", account=user.app_account, app=section, backend=user.backend)
    return envelope(200, data={"app": section, **shown(preferences)}, headers={"ETag": f'"{version}"'})


def _section(named: object, user: Authenticated) -> str:
    section = choose_section(named, user.bound_app, current_services().settings.apps)
    add_log_context(app=section)
    require_origin(section)
    return section


def _expected_version() -> str | None:
    """None: whichever it is. A tag that is none of ours names no version that there ever was."""
    given = current_request().environ.get("HTTP_IF_MATCH", "*").strip()
    if given == "*":
        return None
    tag = _TAG.fullmatch(given)
    return tag[1] if tag else _NO_VERSION
