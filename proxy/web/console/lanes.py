"""The lanes of phones and webhooks: what waits in each, which are paused and why, and the end of a pause."""

from typing import Any

from flask import Response

from proxy.errors import NotFound
from proxy.store.queue.lane_states import lane_views, resume_now
from proxy.web.console.blueprint import bp
from proxy.web.console.pages import after_change, fragment, page
from proxy.web.console.rules import audit_change, changes, open_to_look
from proxy.web.console.visitors import console_services


@bp.get("/lanes")
@open_to_look
def lanes() -> Response:
    return page("lanes", facts=_facts())


@bp.get("/live/lanes")
@open_to_look
def lanes_live() -> Response:
    return fragment("lanes_live", "lanes_live", **_facts())


@bp.post("/lanes/<app>/<channel>/resume")
@changes
def resume_lane(app: str, channel: str) -> Response:
    console = console_services()
    lane = next((it for it in console.lanes if (it.app, it.channel) == (app, channel)), None)
    if lane is None:
        raise NotFound("there is no such lane")
    resume_now(console.store, lane)
    audit_change("lane resumed", lane=lane.name)
    return after_change("lanes", "lanes.done.resumed")


def _facts() -> dict[str, Any]:
    console = console_services()
    return {"lanes": lane_views(console.store, console.lanes)}
