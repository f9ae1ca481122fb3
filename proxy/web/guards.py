"""Who may: the signed-in user of a client's route, and the operator on a listener of his own."""

from typing import Any

from flask import Flask, Request
from flask.sessions import NullSession, SessionInterface
from flask_login import LoginManager, UserMixin, current_user

from proxy.auth import Authenticated, Credentials, Refused, Unavailable
from proxy.errors import RequestRefused
from proxy.metrics import refusals_total
from proxy.web import wired
from proxy.web.access import note
from proxy.web.audit import audit
from proxy.web.listeners import Listener


class User(UserMixin):  # type: ignore[misc]  # Flask-Login has no types
    """flask-login's view of an Authenticated."""

    def __init__(self, proof: Authenticated) -> None:
        self.id = proof.app_account
        self.proof = proof


class _NoSessions(SessionInterface):
    """A caller proves himself with each request; there is no cookie to read or write."""

    def open_session(self, app: Flask, request: Request) -> NullSession:  # noqa: ARG002  the signature is Flask's
        return _NO_SESSION

    def save_session(self, app: Flask, session: Any, response: Any) -> None:
        """Nothing to save."""


_NO_SESSION = NullSession()


def prove_users(app: Flask) -> None:
    """Sets flask-login up with its request loader alone.

    Not by `init_app`, whose hook after every request would touch the session on the callbacks' route too.
    """
    manager = LoginManager()
    manager.session_protection = None
    manager.request_loader(_load_user)
    app.session_interface = _NoSessions()
    # Any caller can send a cookie named remember_token, and flask-login would look at it instead of asking the
    # request loader. No cookie can have this name.
    app.config["REMEMBER_COOKIE_NAME"] = ";"
    vars(app)["login_manager"] = manager


def signed_in() -> Authenticated:
    """The user who is calling; else 401."""
    if not current_user.is_authenticated:
        raise RequestRefused(401, "sign in first", {"WWW-Authenticate": "Bearer"})
    proof: Authenticated = current_user.proof
    return proof


def is_operator(environ: dict[str, Any]) -> bool:
    """Did this request come in on the operator's own listener?"""
    return Listener.parse(wired().settings.server.operator_bind).took(environ)


def require_operator(environ: dict[str, Any]) -> None:
    if not is_operator(environ):
        raise RequestRefused(404, "not found")


def _load_user(request: Request) -> User | None:
    shown = Credentials(request.headers.get("Authorization"), request.cookies)
    match wired().authenticator.authenticate(shown):
        case Authenticated() as proof:
            note(auth=proof.backend)
            return User(proof)
        case Refused(reason, each):
            note(refused=reason)
            for backend, why in each:
                refusals_total.labels(backend, why).inc()
                audit("refused", backend=backend, reason=why)
            return None
        case Unavailable(reason):
            note(unavailable=reason)
            raise RequestRefused(503, "sign-in is unavailable", {"Retry-After": "5"})
