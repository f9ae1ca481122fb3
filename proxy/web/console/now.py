"""The first page: what is wrong, and what happens now."""

from typing import Any

from flask import Response, redirect, url_for

from proxy.web import current_services
from proxy.web.console.blueprint import bp
from proxy.web.console.pages import fragment, page
from proxy.web.console.rules import open_to_look


@bp.get("/")
@open_to_look
def now() -> Response:
    return page("now", facts=_facts())


@bp.get("")
@open_to_look
def start() -> Response:
    return redirect(url_for("console.now"), 308)  # type: ignore[return-value]


@bp.get("/live/now")
@open_to_look
def now_live() -> Response:
    return fragment("now_live", "now_live", **_facts())


def _facts() -> dict[str, Any]:
    health = current_services().health.check()
    return {"ready": health.ready, "details": health.details}
