"""Proof of the caller: the signed-in user of a client's route, the service that shows an API key, and the operator on
the operator's own listener.
"""

import math
from functools import partial
from typing import TYPE_CHECKING, Any

from flask import Flask, Request, request, session
from flask_login import LoginManager, UserMixin, login_user, logout_user
from flask_login import current_user as shown_user

from proxy.auth import Authenticated, Credentials, Refused, Unavailable
from proxy.auth.accounts import BACKEND as ACCOUNTS
from proxy.domain.accounts import Session
from proxy.domain.bearers import shows_api_key
from proxy.domain.limits import Admitted, Blocked, Exceeded
from proxy.errors import NotFound, NotSignedIn
from proxy.hosts import is_known_host
from proxy.settings import AccountsSettings
from proxy.web import current_notes, current_request, current_services
from proxy.web.access import add_log_context, audit_refusal
from proxy.web.addresses import client_address, network_of
from proxy.web.cookies import ambiguous_cookies, cookies_of, require_browser_care, use_cookies
from proxy.web.envelope import HttpRefusal
from proxy.web.limits import (
    Limited,
    account_budget,
    address_budget,
    count_uncounted,
    key_budget,
    quota_spent,
    share_address,
    too_often,
)
from proxy.web.listeners import ON_OPERATOR

if TYPE_CHECKING:
    from proxy.domain.api_keys import ApiKey
    from proxy.domain.quotas import QuotaRequest, QuotaSpent

_BACKEND = "api_key"  # as refusals and the log name it


class User(UserMixin):  # type: ignore[misc]  # Flask-Login has no types
    """flask-login's view of an Authenticated. A cookie keeps the session's id alone."""

    def __init__(self, proof: Authenticated) -> None:
        self.id = proof.session_id
        self.proof = proof


def init_login(app: Flask, accounts: AccountsSettings | None) -> None:
    """Sets flask-login up: the request loader for what a header proves, the user loader for the session's cookie.

    Not by `init_app`, whose hook after every request would touch the session on the callbacks' route too.
    """
    manager = LoginManager()
    manager.session_protection = None
    manager.request_loader(_load_user)
    manager.user_loader(_load_browser)
    use_cookies(app, accounts)
    # Any caller can send a cookie named remember_token, and flask-login would look at it instead of asking the
    # request loader. No cookie can have this name.
    app.config["REMEMBER_COOKIE_NAME"] = ";"
    vars(app)["login_manager"] = manager


def signed_in(limited: Limited) -> Authenticated:
    """The user who is calling, by bearer or cookie; whether they may, `admit_user` says. Raises NotSignedIn."""
    current_notes().limited = limited
    asked = current_request()
    if current_services().api_keys and shows_api_key(asked.environ.get("HTTP_AUTHORIZATION", "")):
        audit_refusal(_BACKEND, "not for this call")
        raise NotSignedIn("an API key does not open this")
    # only a session's cookie needs flask-login; for the rest it would ask the request loader, after a long look round
    user = _load_user(asked) if "HTTP_AUTHORIZATION" in asked.environ else shown_user
    if user is None or not user.is_authenticated:
        raise NotSignedIn("sign in first")
    proof: Authenticated = user.proof
    if proof.by_cookie:
        require_browser_care(asked)
    return proof


def admit_user(limited: Limited, proof: Authenticated, quota: "QuotaRequest | None" = None) -> None:
    """The user may call: they are within the limits of their account and address, not blocked, and `quota` has room.

    A block counts at once, whatever proved the user and however long that proof lives. All this takes one round trip.
    Raises NotSignedIn, HttpRefusal 429, and StoreUnavailable where the store cannot say whether the user is blocked.
    """
    budget, address = account_budget(limited, proof.app_account), address_budget(limited)
    verdict = current_services().admission.admit(
        proof.app_account, proof.session_id, proof.bound_app, budget=budget, address=address, quota=quota
    )
    if isinstance(verdict, Blocked):
        add_log_context(refused="blocked")
        audit_refusal(proof.backend, "blocked", account=proof.app_account)
        raise NotSignedIn("blocked or signed out")
    _within_limits(limited, verdict)


def _within_limits(limited: Limited, verdict: "Admitted | Exceeded | QuotaSpent") -> None:
    match verdict:
        case Admitted(counted):
            if not counted:
                count_uncounted(limited)
        case Exceeded():
            raise too_often(limited, verdict)
        case _:
            raise quota_spent(verdict)


def service_calling() -> "ApiKey | None":
    """The API key of the service that is calling, see `signed_in`; None: none is shown. Raises NotSignedIn."""
    services, asked = current_services(), current_request()
    shown = asked.environ.get("HTTP_AUTHORIZATION", "")
    if services.api_keys is None or not shows_api_key(shown):
        return None
    bearer = Credentials(shown, {}).bearer()
    key = services.api_keys.find(bearer, services.store_now()) if bearer else None
    if key is None:
        raise _no_key("unknown or revoked")
    add_log_context(auth=_BACKEND, api_key_id=key.id)
    if key.app not in services.settings.apps:
        raise _no_key("of no section", _facts_of(key))
    return key


def admit_service(key: "ApiKey", quota: "QuotaRequest | None" = None) -> None:
    """The service may call, as `admit_user` says of users. Raises the same."""
    budget, address = key_budget(key.id), address_budget(Limited.CLIENT)
    verdict = current_services().admission.admit(
        key.account, None, key.app, budget=budget, address=address, api_key=key.bearer_hash, quota=quota
    )
    if isinstance(verdict, Blocked):
        raise _no_key("blocked or revoked", _facts_of(key))
    _within_limits(Limited.CLIENT, verdict)


def _facts_of(key: "ApiKey") -> dict[str, str]:
    return {"api_key_id": key.id, "api_key_name": key.name, "account": key.account, "app": key.app}


def _no_key(reason: str, named: dict[str, str] | None = None) -> NotSignedIn:
    """Counts and logs it too; `named` are the key's facts."""
    add_log_context(refused=reason)
    audit_refusal(_BACKEND, reason, **named or {})
    return NotSignedIn("the API key is unknown, revoked or blocked")


def begin_browser_session(of: Session) -> None:
    """From now on this browser's cookie shows the session."""
    session.clear()
    session.permanent = True
    login_user(User(_by_cookie(of)))


def end_browser_session() -> None:
    logout_user()
    session.clear()


def is_operator(environ: dict[str, Any]) -> bool:
    """Did this request come in on a listener of the operator's own?"""
    return environ.get(ON_OPERATOR) is True


def require_operator(environ: dict[str, Any]) -> None:
    if not is_operator(environ):
        raise NotFound("not found")


def require_operator_or_one_listener(environ: dict[str, Any]) -> None:
    """A balancer asks the operator's listener, or the only one there is."""
    if not current_services().settings.server.has_one_listener:
        require_operator(environ)


def require_known_host(environ: dict[str, Any]) -> None:
    """Raises HttpRefusal 421 for a host that is not the operator's."""
    if not is_known_host(environ.get("HTTP_HOST"), current_services().settings.server.operator_hosts):
        raise HttpRefusal(421, "Host: is none of server.operator_hosts, no IP address and not localhost")


def _load_browser(session_id: str) -> User | None:
    """The user of this session. What a page's own code shows counts before what the browser adds to it."""
    services = current_services()
    if services.sign_ins is None or "Authorization" in request.headers:
        return None
    found = services.sign_ins.accounts.live_session(session_id, services.now())
    if found is None:
        add_log_context(refused="session over")
        return None
    add_log_context(auth=ACCOUNTS)
    return User(_by_cookie(found))


def _by_cookie(found: Session) -> Authenticated:
    return Authenticated(found.account, None, ACCOUNTS, found.id, by_cookie=True)


def _load_user(request: Request) -> User | None:
    cookies = cookies_of(request)
    shown = Credentials(
        request.environ.get("HTTP_AUTHORIZATION"),
        cookies,
        network_of(client_address()),
        ambiguous_cookies(cookies),
        partial(share_address, current_notes().limited),
    )
    match current_services().authenticator.authenticate(shown):
        case Authenticated() as proof:
            add_log_context(auth=proof.backend)
            return User(proof)
        case Refused(reason, each):
            add_log_context(refused=reason)
            for backend, why in each:
                audit_refusal(backend, why)
            return None
        case Unavailable(reason, retry_after_s):
            add_log_context(unavailable=reason)
            raise HttpRefusal(503, "sign-in is unavailable", {"Retry-After": str(max(1, math.ceil(retry_after_s)))})
