"""The API keys by which servers of the developer's call MIMC's API here. What lets anyone in is not in the store."""

from datetime import datetime

from flask import Response

from proxy.web import current_services
from proxy.web.console.blueprint import bp
from proxy.web.console.pages import page
from proxy.web.console.rules import private
from proxy.web.console.visitors import console_services


@bp.get("/keys")
@private
def keys() -> Response:
    from proxy.store.users.api_keys import RedisApiKeys  # noqa: PLC0415  not loaded before a person looks at the page

    services = current_services()
    now = services.store_now()

    def since(when: datetime) -> float:
        return (now - when).total_seconds()

    found = RedisApiKeys(console_services().store).all_keys()
    return page("keys", keys=found, since=since, opens=bool(services.settings.families))
