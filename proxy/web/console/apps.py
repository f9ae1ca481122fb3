"""The apps of the settings, and on a button the checks of one: would MIMC and the providers work?"""

import threading
from typing import TYPE_CHECKING

from flask import Response

from proxy.errors import NotFound
from proxy.web import current_services
from proxy.web.access import add_log_context
from proxy.web.console.blueprint import bp
from proxy.web.console.pages import page
from proxy.web.console.rules import open_to_look, own_form, require_private
from proxy.web.envelope import HttpRefusal

if TYPE_CHECKING:
    from proxy.check_config import Finding

_one_at_a_time = threading.Lock()  # the operator's listener has two threads, and a check waits for the network


@bp.get("/apps")
@open_to_look
def apps() -> Response:
    return _page()


@bp.post("/apps/<app>/check")
@own_form
def check_app(app: str) -> Response:
    """Asks no more than `app-proxy check-config` does: no phone gets an alert."""
    require_private()
    if app not in current_services().settings.apps:
        raise NotFound("there is no such app")
    if not _one_at_a_time.acquire(blocking=False):
        raise HttpRefusal(503, "another check is under way", {"Retry-After": "10"})
    try:
        found = _findings(app)
    finally:
        _one_at_a_time.release()
    add_log_context(app=app, faults=sum(1 for one in found if one.verdict == "fault"))
    return _page(app, found)


def _page(checked: str = "", findings: "list[Finding] | None" = None) -> Response:
    return page("apps", apps=current_services().settings.apps, checked=checked, findings=findings)


def _findings(app: str) -> "list[Finding]":
    from proxy.check_config import ask_app, inspect_files  # noqa: PLC0415  requests and more, for this button alone

    settings, of_app = current_services().settings, f"apps.{app}."
    files = [one for one in inspect_files(settings) if one.place.startswith(of_app)]
    return [*files, *ask_app(settings, app)]
