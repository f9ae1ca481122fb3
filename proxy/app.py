"""The web application: settings -> services -> blueprints -> error pages."""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import structlog
from flask import Flask, Request
from werkzeug.routing import Map, MapAdapter

from proxy.auth.block_user import mend_blocks
from proxy.configuration import load_settings
from proxy.errors import StoreUnavailable
from proxy.logs import configure_logs
from proxy.metrics import count_lost_lines
from proxy.web import alerts, badge, callbacks, devices, health, openapi, preferences, receipts, sessions, tokens, wire
from proxy.web.cors import init_cors
from proxy.web.draining import start_draining
from proxy.web.envelope import answer_errors
from proxy.web.guards import init_login
from proxy.web.hooks import init_hooks
from proxy.web.receiving import start_receiving
from proxy.web.services import Services
from proxy.wiring.web import web_services

log = structlog.get_logger()

_CALLBACKS = "/callbacks/"
_AS_FLASK_ASKS = {"return_rule": True}
_PLAIN_HOST = re.compile(r"(?:[A-Za-z0-9-]{1,63}\.)*[A-Za-z0-9-]{1,63}(?::[0-9]{1,5})?")


class _Routes(MapAdapter):
    """Finds the route of a callback's path once, for one path is posted to with every message."""

    def match(self, *args: Any, **options: Any) -> Any:
        if self.path_info.startswith(_CALLBACKS) and not args and options == _AS_FLASK_ASKS:
            return _route_of(self.map, self.path_info, self.default_method)
        return super().match(*args, **options)


@lru_cache(maxsize=64)
def _route_of(routes: Map, path: str, method: str) -> Any:
    return MapAdapter(routes, "", "/", "", "http", path, method).match(return_rule=True)


class _App(Flask):
    """Flask without what none of our routes has: coroutines, hosts and subdomains that choose a route, and what is
    done once more after an answer.
    """

    def wsgi_app(self, environ: dict[str, Any], start_response: Any) -> Any:
        """MIMC's Android demo asks for //api/uctopic/topics: a slash of the host's and one of the path's."""
        if environ["PATH_INFO"].startswith("//"):
            environ["PATH_INFO"] = "/" + environ["PATH_INFO"].lstrip("/")
        return super().wsgi_app(environ, start_response)

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        return func

    def do_teardown_request(self, exc: object = None) -> None:
        """None of our modules has any: to look for that takes Flask 2 us."""

    def do_teardown_appcontext(self, exc: object = None) -> None:
        """As above."""

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """Flask's own would read and encode Host, twice; it still does where that may end in a refusal."""
        if request is None or "HTTP_UPGRADE" in request.environ:
            return super().create_url_adapter(request)
        host = request.environ.get("HTTP_HOST", "")
        if not _PLAIN_HOST.fullmatch(host):
            return super().create_url_adapter(request)
        return _Routes(self.url_map, host, request.root_path, "", request.scheme, request.path, request.method)


def create_app(services: Services | None = None) -> Flask:
    """The WSGI application. Without `services` they are built from the configuration file; the built-in accounts,
    where they are on, are opened and compared with the store, and what the spool holds begins to be handed in. Raises
    BadSettings.
    """
    if services is None:
        settings = load_settings()
        configure_logs(settings.logs.format, settings.logs.level, on_lost=count_lost_lines)
        services = web_services(settings)
        _mend(services)
        services.monitor_store()
        if services.spool:
            start_draining(services.spool)
        start_receiving(services.receipts.waiting)
    app = _App("proxy", static_folder=None)
    app.url_map.merge_slashes = False  # it would answer with a redirect that repeats the path
    wire(app, services)
    init_hooks(app)
    init_cors(app)
    init_login(app, services.settings.auth.accounts)
    for module in (tokens, callbacks, receipts, devices, preferences, badge, alerts, sessions, health, openapi):
        app.register_blueprint(module.bp)
    if families := services.settings.families:
        from proxy.web.api_calls import Digits, blueprint  # noqa: PLC0415  not loaded where it is off

        app.url_map.converters["digits"] = Digits
        app.register_blueprint(blueprint(families))
    if services.console:
        from proxy.web.console import blueprint as console  # noqa: PLC0415  as above

        app.register_blueprint(console())
    answer_errors(app)
    return app


def _mend(services: Services) -> None:
    """A command that was cut off between store and database is completed; without a store, at the next start."""
    sign_ins = services.sign_ins
    if sign_ins is None:
        return
    try:
        mended = mend_blocks(sign_ins.accounts, sign_ins.blocks, services.now())
    except StoreUnavailable as error:
        log.warning("blocked accounts not compared", reason=str(error), at=error.at)
    else:
        if mended:
            log.warning("blocked accounts mended", accounts=mended)
