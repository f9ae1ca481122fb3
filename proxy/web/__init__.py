"""The web process: gunicorn's worker, and the application's blueprints.

server  connections  polling  collecting  crowd      from connections to whole requests
shares  exchanges  answers  pages                    to the threads of their share, and back
together                                             callbacks that wait for a thread share a round trip
hooks  callers  guards  limits  listeners            around every view: which caller may call it, and how often
tokens  callbacks  receipts  devices  preferences  sessions  health              the routes
api_calls  openapi                                    MIMC's own API where it is open; the description of all routes
console                                               the operator's pages
body  query  envelope  cookies  cors  addresses      what is read of a request, and what is said in an answer
access                                               what a log says of a request
services  draining  receiving                        what views work with; the spool's and receipts' way into the store

`current_services()` is how a view reaches what `create_app` was given.
"""

from typing import Any

from flask import Flask, Request, current_app, g, request

from proxy.web.services import Services

_KEY = "mimc-app-proxy"


def wire(app: Flask, services: Services) -> None:
    app.extensions[_KEY] = services


def current_request() -> Request:
    """The request itself: `flask.request` looks for it at each use."""
    asked: Request = request._get_current_object()  # type: ignore[attr-defined]  # a LocalProxy's
    return asked


def current_notes() -> Any:
    """Flask's `g` itself, for the same reason."""
    return g._get_current_object()


def current_services() -> Services:
    """The services of the app that answers the current request."""
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]  # as above
    services: Services = app.extensions[_KEY]
    return services
