"""The endpoints to which callbacks are passed on: where each is, what it takes, and what waits for it."""

from typing import Any
from urllib.parse import urlsplit

from flask import Response

from proxy.domain.figures import HOUR, Figures
from proxy.domain.webhooks import is_webhook
from proxy.settings.webhooks import KINDS, WebhookSettings
from proxy.store.queue.lane_states import lane_views
from proxy.web import current_services
from proxy.web.console.blueprint import bp
from proxy.web.console.pages import fragment, page
from proxy.web.console.rules import private
from proxy.web.console.visitors import console_services


@bp.get("/webhooks")
@private
def webhooks() -> Response:
    return page("webhooks", facts=_facts())


@bp.get("/live/webhooks")
@private
def webhooks_live() -> Response:
    return fragment("webhooks_live", "webhooks_live", **_facts())


def _facts() -> dict[str, Any]:
    """A lane of `lanes_of` beside its section of the settings, in their order; and the figures of the last hour."""
    console, services = console_services(), current_services()
    lanes = [it for it in console.lanes if is_webhook(it.channel)]
    if not lanes:
        return {"endpoints": [], "hour": None}
    hour = Figures.of(console.figures.of(HOUR, services.store_now()).values())
    endpoints = zip(services.settings.webhooks, lane_views(console.store, lanes), strict=True)
    shown = [(section, host_of(section), view) for section, view in endpoints]
    return {"endpoints": shown, "hour": hour, "kinds": KINDS}


def host_of(section: WebhookSettings) -> str:
    """Without what else the address holds: a path or a query may be a secret."""
    parts = urlsplit(section.url.get_secret_value())
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port else "")
