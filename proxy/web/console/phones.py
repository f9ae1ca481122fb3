"""The page of the emulators' phones: what they show, what bob writes, faults, and what went over the wire."""

from typing import Any

from flask import Response, redirect, request, url_for

from proxy.errors import NotFound
from proxy.store.queue.lane_states import lane_views
from proxy.web.console.blueprint import bp
from proxy.web.console.pages import fragment, page
from proxy.web.console.rules import local_form, private
from proxy.web.console.visitors import console_services

_EVERY_S = 1


@bp.get("/phones")
@private
def phones() -> Response:
    return page("phones", facts=_facts())


@bp.get("/live/phones")
@private
def phones_live() -> Response:
    return fragment("phones_live", "phones_live", **_facts())


@bp.post("/phones/write")
@local_form
def write_message() -> Response:
    _emulators().write(request.form.get("text", ""), request.form.get("to", ""))
    return _shown()


@bp.post("/phones/recall")
@local_form
def recall_message() -> Response:
    _emulators().recall(request.form.get("sequence", ""))
    return _shown()


@bp.post("/phones/read")
@local_form
def read_message() -> Response:
    _emulators().read(request.form.get("sequence", ""), request.form.get("account", ""))
    return _shown()


@bp.post("/phones/fault")
@local_form
def switch_fault() -> Response:
    _emulators().switch(request.form.get("fault", ""), on=request.form.get("on") == "true")
    return _shown()


def _shown() -> Response:
    """What htmx puts in the place of the part that changes; a browser without scripts comes back to the page."""
    if "HX-Request" in request.headers:
        return fragment("phones_live", "phones_live", **_facts())
    return redirect(url_for("console.phones"), 303)  # type: ignore[return-value]


def _emulators() -> Any:
    emulators = console_services().emulators
    if emulators is None:
        raise NotFound("there are no emulators here: `app-proxy run` starts them")
    return emulators


def _facts() -> dict[str, Any]:
    emulators = _emulators()
    # with requests, which no other page needs
    from proxy.web.console.emulated import FAULTS, EmulatorsAway  # noqa: PLC0415
    from proxy.web.console.phone_views import messages_of, phones_of, wire_of  # noqa: PLC0415

    console = console_services()
    lanes = [it for it in lane_views(console.store, console.lanes) if it.waiting or it.retrying or it.pause]
    facts = {"every_s": _EVERY_S, "lanes": lanes, "faults": list(FAULTS)}
    try:
        seen = emulators.look()
    except EmulatorsAway as away:
        return {**facts, "away": str(away)}
    drawn = {"phones": phones_of(seen), "messages": messages_of(seen), "wire": wire_of(seen), "fault": seen.fault}
    return {**facts, **drawn}
