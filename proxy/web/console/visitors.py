"""Which operator is looking, from where, and what they may see and change.

A browser's session is a cookie of the console's own. Behind a proxy that signs operators in, `console.operator_header`
names them instead.
"""

import hmac
import secrets
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address

from flask import Request
from werkzeug.wrappers import Response

from proxy.auth.credentials import account_of
from proxy.auth.operators import Operators
from proxy.errors import NotAllowed
from proxy.web import current_notes, current_request, current_services
from proxy.web.access import add_log_context
from proxy.web.addresses import UNIX_PEER, is_within, peer_address
from proxy.web.services import ConsoleServices

PATH = "/console"
_SESSION, _BROWSER = "app-proxy-operator", "app-proxy-console"
# what a proxy adds: its own address is then not that of the caller
_OF_PROXIES = ("HTTP_X_FORWARDED_", "HTTP_FORWARDED", "HTTP_X_REAL_IP", "HTTP_VIA")
_FOREIGN = ("cross-site", "same-site")  # another port of this machine is of the same site


@dataclass(frozen=True)
class Visitor:
    """`operator` None: they have not signed in. `is_local`: at this machine, with no proxy in between."""

    operator: str | None
    is_local: bool
    can_sign_in: bool
    writes: bool

    @property
    def may_see_all(self) -> bool:
        """What people wrote to whom, too."""
        return self.is_local or self.operator is not None

    @property
    def may_change(self) -> bool:
        return self.writes and self.operator is not None


_STRANGER = Visitor(None, is_local=False, can_sign_in=False, writes=False)


def console_services() -> ConsoleServices:
    console = current_services().console
    assert console is not None  # noqa: S101  the blueprint is there with it alone
    return console


def visitor() -> Visitor:
    """Of the current request."""
    notes = current_notes()
    if "visitor" not in notes:
        operators = console_services().operators
        notes.visitor = _STRANGER  # for the page that says so, where the accounts cannot be read
        notes.visitor = Visitor(
            _named_by_proxy(current_request()) or _of_session(operators),
            is_local=_is_local(current_request()),
            can_sign_in=operators.exist(),
            writes=current_services().settings.console.writes,
        )
    found: Visitor = notes.visitor
    if found.operator:
        add_log_context(operator=found.operator)
    return found


def session_secret() -> str:
    """What this browser shows of its session; empty: nothing, or several, of which one was planted."""
    shown = current_request().cookies.getlist(_SESSION)
    return shown[0] if len(shown) == 1 else ""


def begin_session(response: Response, secret: str) -> None:
    life = current_services().settings.console.session
    _set_cookie(response, _SESSION, secret, life)


def end_session(response: Response) -> None:
    _set_cookie(response, _SESSION, "", timedelta(0))


def csrf_token() -> str:
    """For a form; good for this browser in this session. A random cookie keys it, which no other page can read."""
    notes = current_notes()
    if "browser" not in notes:
        shown = current_request().cookies.getlist(_BROWSER)
        notes.browser = shown[0] if len(shown) == 1 and len(shown[0]) >= 32 else secrets.token_urlsafe(24)
    key: str = notes.browser
    who = f"{session_secret()} {visitor().operator or ''}"
    return hmac.digest(key.encode(), who.encode("utf-8", "surrogatepass"), "sha256").hex()


def remember_browser(response: Response) -> None:
    if key := current_notes().get("browser"):
        _set_cookie(response, _BROWSER, key, None)


def require_no_foreign_page() -> None:
    """Raises NotAllowed for what a page of another site embeds: it reads nothing, but may have us search for seconds.

    A link that a person follows from there is none.
    """
    asked = current_request().headers
    if asked.get("Sec-Fetch-Site") in _FOREIGN and asked.get("Sec-Fetch-Dest") != "document":
        add_log_context(refused="origin")
        raise NotAllowed("this is asked by a page of another site")


def require_own_form() -> None:
    """Raises NotAllowed for a form that is not of a page which we gave this browser."""
    asked = current_request()
    origin, site = asked.headers.get("Origin"), asked.headers.get("Sec-Fetch-Site", "same-origin")
    # by the host alone: where TLS ends in front of us, the scheme is not ours to know
    if site != "same-origin" or (origin is not None and origin.partition("://")[2] != asked.host):
        add_log_context(refused="origin")
        raise NotAllowed("this form is of another site")
    shown = asked.form.get("csrf", "").encode()
    if _BROWSER not in asked.cookies or not hmac.compare_digest(shown, csrf_token().encode()):
        add_log_context(refused="csrf")
        raise NotAllowed("this form is too old: load the page again")


def _of_session(operators: Operators) -> str | None:
    secret = session_secret()
    return operators.of_session(secret, current_services().now()) if secret else None


def _named_by_proxy(asked: Request) -> str | None:
    settings = current_services().settings
    name = settings.console.operator_header
    peer = peer_address(asked.environ.get("REMOTE_ADDR", ""))
    if not name or not is_within(peer, settings.limits.trusted_proxies):
        return None
    shown = asked.headers.get(name, "")
    return None if "," in shown else account_of(shown)  # several of one name come joined with a comma (PEP 3333)


def _is_local(asked: Request) -> bool:
    settings = current_services().settings
    named = settings.console.operator_header
    if any(name.startswith(_OF_PROXIES) for name in asked.environ) or (named and named in asked.headers):
        return False
    peer = peer_address(asked.environ.get("REMOTE_ADDR", ""))
    if is_within(peer, settings.limits.trusted_proxies):
        return False
    return peer != UNIX_PEER and ip_address(peer).is_loopback


def _set_cookie(response: Response, name: str, value: str, life: timedelta | None) -> None:
    """`life` None: until the browser is closed."""
    secure = _is_https(current_request())
    response.set_cookie(name, value, life, path=PATH, httponly=True, samesite="Strict", secure=secure)


def _is_https(asked: Request) -> bool:
    """Over TLS, which may end at a proxy of the settings."""
    if asked.is_secure:
        return True
    peer = peer_address(asked.environ.get("REMOTE_ADDR", ""))
    said = asked.headers.get("X-Forwarded-Proto", "")
    return said == "https" and is_within(peer, current_services().settings.limits.trusted_proxies)
