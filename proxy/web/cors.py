"""What a browser asks before and after a call from another origin. Source: the Fetch standard, CORS protocol.

A page calls with `Authorization`, so every call is preflighted, without credentials. An answer that does not name the
page's origin, an error too, reaches the SDK as "network error" without a body.

An origin belongs to one app (`allowed_origins` of its section) or to all (of the server). The body of the
call itself names the app, so a preflight is answered for an origin of any app; the call is then refused with 403
where its origin is not one of the app it is for. Sections of one appId are one app. A call without an Origin comes from
no page and passes, and so does one from a page of this very host.
"""

from flask import Flask, Request, Response, request
from werkzeug.exceptions import MethodNotAllowed

from proxy.errors import NotAllowed
from proxy.settings import AuthSettings, Settings
from proxy.web import current_request, current_services
from proxy.web.access import add_log_context
from proxy.web.envelope import answer_http_error

PAGE_HEADER = "X-App-Proxy"  # goes along with a cookie: a foreign page cannot add it without asking first
CLIENT_PATHS = ("/api/", "/auth/")
# to MIMC's own calls; the last five are dropped, but a page that still sends one would not get to call at all
_OF_CALLS = (
    "Idempotency-Key", "appId", "topicId", "startUuid",
    "token", "appAccount", "appAccountEncode", "appKey", "appSecret",
)  # fmt: skip


def init_cors(app: Flask) -> None:
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.register_error_handler(MethodNotAllowed, _preflight)


def require_origin(section: str) -> None:
    """The page that is calling, if it is one, may act for this app; else 403."""
    origin = current_request().environ.get("HTTP_ORIGIN")
    if origin is None or _is_of_this_host(origin):
        return
    settings = current_services().settings
    if origin not in settings.origins_of[section]:
        add_log_context(refused="origin")
        raise NotAllowed("Origin: is not allowed for this app")


def _is_of_this_host(origin: str) -> bool:
    """By host and port alone: where TLS ends in front of us, the scheme is not ours to know."""
    host = request.environ.get("HTTP_HOST")
    return bool(host) and origin in (f"https://{host}", f"http://{host}")


def _preflight(error: MethodNotAllowed) -> Response:
    """OPTIONS, for a client's route that exists, is a question about its methods; no route takes it itself."""
    if request.method != "OPTIONS" or not request.path.startswith(CLIENT_PATHS):
        return answer_http_error(error)
    methods = ", ".join(sorted(error.valid_methods or ()))
    response = Response(status=204, headers={"Allow": methods})
    del response.headers["Content-Type"]
    settings = current_services().settings
    if shown_to(request.environ.get("HTTP_ORIGIN"), settings):
        # "*" would not cover Authorization
        response.headers["Access-Control-Allow-Headers"] = ", ".join(_asked_with(settings))
        response.headers["Access-Control-Allow-Methods"] = methods
        response.headers["Access-Control-Max-Age"] = "7200"
    return response


def allow_origin(response: Response, request: Request) -> None:
    """Tells the browser, in every answer to a client: which page may read it, and that no cache may keep it."""
    if not request.path.startswith(CLIENT_PATHS):
        return
    response.headers.add("Vary", "Origin")
    response.headers["Cache-Control"] = "no-store"
    for name, value in shown_to(request.environ.get("HTTP_ORIGIN"), current_services().settings):
        response.headers[name] = value


def shown_to(origin: str | None, settings: Settings) -> list[tuple[str, str]]:
    """The headers with which a browser shows an answer to a page of this origin; none where it may not see it."""
    if not origin or origin not in settings.known_origins:
        return []
    headers = [("Access-Control-Allow-Origin", origin), ("Access-Control-Expose-Headers", "ETag, Retry-After")]
    return headers + [("Access-Control-Allow-Credentials", "true")] * _cookies_count(settings.auth)


def _asked_with(settings: Settings) -> list[str]:
    """The headers with which a page may call."""
    names = ["Authorization", "Content-Type", "If-Match", "X-Request-Id"]
    names += [PAGE_HEADER] * _cookies_count(settings.auth)
    return names + ([*_OF_CALLS] if settings.families else [])


def _cookies_count(auth: AuthSettings) -> bool:
    """May a cookie prove a user here? Only then may pages of other origins have theirs sent along."""
    return auth.accounts is not None or (auth.introspection is not None and bool(auth.introspection.cookies))
