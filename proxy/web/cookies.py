"""The session cookie of a browser, and the CSRF checks of every call that it proves.

A browser sends a cookie along whatever page asks it to. So such a call must name an Origin that is allowed, which no
page can make up, and carry a header of ours, which a foreign page cannot add without asking us first.
"""

from typing import Any

from flask import Flask, Request, Response, request
from flask.sessions import NullSession, SecureCookieSessionInterface, SessionMixin
from werkzeug.datastructures import ImmutableMultiDict, MultiDict

from proxy.auth.accounts import derived_key
from proxy.errors import NotAllowed
from proxy.settings import AccountsSettings
from proxy.web import current_services
from proxy.web.access import add_log_context
from proxy.web.cors import CLIENT_PATHS, PAGE_HEADER

_NO_SESSION = NullSession()
_NO_COOKIES = ImmutableMultiDict[str, str]()


class NoSessions(SecureCookieSessionInterface):
    """Each request proves its user; there is no cookie to read or write."""

    def open_session(self, app: Flask, request: Request) -> Any:  # noqa: ARG002  the signature is Flask's
        return _NO_SESSION


class BrowserSessions(SecureCookieSessionInterface):
    """Flask's signed cookie, for clients' routes alone. It holds the id of a session that the database knows."""

    def open_session(self, app: Flask, request: Request) -> Any:
        if not request.path.startswith(CLIENT_PATHS):
            return _NO_SESSION
        if len(request.cookies.getlist(self.get_cookie_name(app))) != 1:
            return self.session_class()  # none, or one of them was planted
        return super().open_session(app, request)

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        super().save_session(app, session, response)
        response.vary.add("Cookie")


def use_cookies(app: Flask, settings: AccountsSettings | None) -> None:
    """Without built-in accounts no cookie is ever read or written."""
    if settings is None:
        app.session_interface = NoSessions()
        return
    app.session_interface = BrowserSessions()
    app.secret_key = derived_key(settings, "cookie")
    app.permanent_session_lifetime = settings.refresh_ttl
    app.config.update(
        # a browser takes a name that begins so from this host alone, over TLS: no neighbouring host can plant one
        SESSION_COOKIE_NAME="__Host-app-proxy" if settings.cookie_secure else "app-proxy",
        SESSION_COOKIE_SECURE=settings.cookie_secure,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_REFRESH_EACH_REQUEST=False,
    )


def require_browser_care(request: Request) -> None:
    """For a call that a cookie vouches for, or that asks for one. Raises NotAllowed. Reading needs no CSRF check."""
    if request.method in ("GET", "HEAD"):
        return
    if PAGE_HEADER not in request.headers:
        _refuse("page header", f"{PAGE_HEADER}: send this header, with any value, along with a cookie")
    origin = request.headers.get("Origin")
    if origin is None or not (origin in current_services().settings.known_origins or origin == own_origin()):
        _refuse("origin", "Origin: is not allowed")


def cookies_of(request: Request) -> MultiDict[str, str]:
    """Those that came along; Werkzeug looks for them at length where there are none."""
    return request.cookies if "HTTP_COOKIE" in request.environ else _NO_COOKIES


def ambiguous_cookies(cookies: MultiDict[str, str]) -> frozenset[str]:
    """The names of those that came more than once."""
    return frozenset(name for name, values in cookies.lists() if len(values) > 1) if cookies else frozenset()


def own_origin() -> str:
    """That of a page which this host serves. A Secure cookie came over TLS, which may end in front of us."""
    accounts = current_services().settings.auth.accounts
    scheme = "https" if accounts is not None and accounts.cookie_secure else request.scheme
    return f"{scheme}://{request.host}"


def _refuse(reason: str, message: str) -> None:
    add_log_context(refused=reason)
    raise NotAllowed(message)
