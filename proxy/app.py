"""The web application: settings -> services -> blueprints -> error pages."""

from flask import Flask

from proxy.configuration import load_settings
from proxy.logs import configure_logs
from proxy.web import callbacks, devices, health, sessions, tokens, wire
from proxy.web.access import log_requests
from proxy.web.cors import answer_browsers
from proxy.web.envelope import answer_errors
from proxy.web.guards import prove_users
from proxy.web.headers import secure_headers
from proxy.wiring import Services, web_services


def create_app(services: Services | None = None) -> Flask:
    """The WSGI application. Without `services` they are built from the configuration file; nothing connects yet.

    Raises BadSettings.
    """
    if services is None:
        settings = load_settings()
        configure_logs(settings.logs.format, settings.logs.level)
        services = web_services(settings)
    app = Flask("proxy", static_folder=None)
    app.url_map.merge_slashes = False  # it would answer with a redirect that repeats the path
    wire(app, services)
    log_requests(app)
    secure_headers(app)
    answer_browsers(app)
    prove_users(app, services.settings.auth.accounts)
    for module in (tokens, callbacks, devices, sessions, health):
        app.register_blueprint(module.bp)
    answer_errors(app)
    return app
