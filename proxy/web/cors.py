"""What a browser asks before and after a call from another origin. Source: the Fetch standard, CORS protocol.

A page calls with `Authorization`, so every call is preflighted, without credentials. An answer that does not name the
page's origin, an error too, reaches the SDK as "network error" without a body.
"""

from flask import Flask, Response, request
from werkzeug.exceptions import MethodNotAllowed

from proxy.web import wired

_CLIENT_PATHS = ("/api/", "/auth/")


def answer_browsers(app: Flask) -> None:
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.before_request(_preflight)
    app.after_request(_mark)


def _preflight() -> Response | None:
    """Answers OPTIONS for a client's route that exists, whatever its method."""
    if request.method != "OPTIONS" or not request.path.startswith(_CLIENT_PATHS):
        return None
    if not isinstance(request.routing_exception, MethodNotAllowed):
        return None
    methods = ", ".join(sorted(request.routing_exception.valid_methods or ()))
    response = Response(status=204, headers={"Allow": methods})
    del response.headers["Content-Type"]
    if _allowed_origin() is not None:
        # "*" would not cover Authorization
        response.headers["Access-Control-Allow-Headers"] = "Authorization, Content-Type, X-Request-Id"
        response.headers["Access-Control-Allow-Methods"] = methods
        response.headers["Access-Control-Max-Age"] = "7200"
    return response


def _mark(response: Response) -> Response:
    """On every answer to a client: who may read it, and that nobody may keep it."""
    if not request.path.startswith(_CLIENT_PATHS):
        return response
    response.headers.add("Vary", "Origin")
    response.headers["Cache-Control"] = "no-store"
    origin = _allowed_origin()
    if origin is not None:
        response.headers["Access-Control-Allow-Origin"] = origin
    return response


def _allowed_origin() -> str | None:
    origin = request.headers.get("Origin")
    return origin if origin in wired().settings.server.allowed_origins else None
