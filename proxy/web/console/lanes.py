"""The lanes of phones and webhooks: what waits in each, which are paused and why, and the end of a pause."""

from datetime import datetime, timedelta
from typing import Any

from flask import Response

from proxy.domain.webhooks import is_webhook
from proxy.errors import NotFound
from proxy.store.queue.lane_states import LaneView, lane_views, resume_now
from proxy.web import current_services
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
    was_paused = resume_now(console.store, lane)
    audit_change("lane resumed", lane=lane.name, was_paused=int(was_paused))
    return after_change("lanes", "lanes.done.resumed" if was_paused else "lanes.done.was_not_paused")


def _facts() -> dict[str, Any]:
    console, now = console_services(), current_services().store_now()
    views = lane_views(console.store, console.lanes)
    return {
        "lanes": [{"view": view, "is_webhook": is_webhook(view.lane.channel), **_probe(view, now)} for view in views]
    }


def _probe(view: LaneView, now: datetime) -> dict[str, Any]:
    """When a paused lane may be probed: a moment, so that what the browser has stays good while it waits."""
    second = timedelta(seconds=1)
    at = (now + view.probe_in + second / 2).replace(microsecond=0)
    return {"probe_at": at if view.probe_in > second else None}
