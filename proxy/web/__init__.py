"""The web process's blueprints. `current_services()` is how a view reaches what `create_app` was given."""

from typing import cast

from flask import Flask, current_app

from proxy.web.services import Services

_KEY = "mimc-app-proxy"


def wire(app: Flask, services: Services) -> None:
    app.extensions[_KEY] = services


def current_services() -> Services:
    """The services of the app that answers the current request."""
    return cast(Services, current_app.extensions[_KEY])
