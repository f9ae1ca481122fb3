"""Who calls: the three ways in which an API call carries its credentials.

    body      appId, appKey, appSecret and fromAccount are members of the JSON body (push)
    token     the header `token` holds data.token of a token reply (everything else)
    app       the headers appKey, appSecret and appAccount, and appId where the path has none (the same, by a server)

With both kinds of headers the token wins. appAccount is ASCII, or base64 of its UTF-8 with `appAccountEncode: base64`.
"""

import base64
import hashlib
import hmac
import secrets
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from werkzeug.datastructures import Headers

from proxy.emulators.mimc.config import MimcApp
from proxy.emulators.mimc.refusals import BAD_REQUEST, NOT_ALLOWED, UNKNOWN_CALLER, Refused

Apps = Mapping[str, MimcApp]


@dataclass(frozen=True)
class Caller:
    """Whose call it is. `style` is "body", "token" or "app"."""

    app_id: str
    account: str
    style: str


class Tokens:
    """Whose each token is that was given out, the newest `limit` of them. Kept as digests. Safe to use from threads."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._owners: OrderedDict[bytes, tuple[str, str]] = OrderedDict()
        self._lock = threading.Lock()

    def issue(self, app_id: str, account: str) -> str:
        token = base64.b64encode(secrets.token_bytes(322)).decode()  # as long as those that were seen
        with self._lock:
            self._owners[_digest(token)] = (app_id, account)
            if len(self._owners) > self._limit:
                self._owners.popitem(last=False)
        return token

    def owner(self, token: str) -> tuple[str, str] | None:
        """The app_id and the account that it was given out for."""
        with self._lock:
            return self._owners.get(_digest(token))

    def revoke(self, account: str | None = None) -> int:
        """From now on refuse all tokens, or those of one account; how many that were."""
        with self._lock:
            gone = [key for key, (_, owner) in self._owners.items() if account in (None, owner)]
            for key in gone:
                del self._owners[key]
            return len(gone)


def claimed_account(body: Mapping[str, Any], headers: Headers, tokens: Tokens, in_body: bool) -> str | None:
    """Whose call it says it is, right or wrong: what faults and the journal go by."""
    if in_body:
        account = body.get("fromAccount")
        return account if isinstance(account, str) else None
    if token := headers.get("token"):
        owner = tokens.owner(token)
        return owner[1] if owner else None
    try:
        return _header_account(headers)
    except Refused:
        return None


def caller_of_body(body: Mapping[str, Any], apps: Apps) -> Caller:
    """Raises Refused."""
    app_id = app_id_text(body.get("appId"))
    for name in ("appKey", "appSecret", "fromAccount"):
        if not is_text(body.get(name)):
            raise Refused(BAD_REQUEST, f"{name}: expected a non-empty text")
    _check_app(apps, app_id, body["appKey"], body["appSecret"])
    return Caller(app_id or "", body["fromAccount"], "body")


def caller_of_headers(
    headers: Headers, app_id: str | None, apps: Apps, tokens: Tokens, stand_in: str | None = None
) -> Caller:
    """`app_id` is the one that path or body name, if any; with app credentials `stand_in` is the account where given.

    Raises Refused.
    """
    if token := headers.get("token"):
        owner = tokens.owner(token)
        if owner is None:
            raise Refused(UNKNOWN_CALLER, "invalid token")
        if app_id not in (None, owner[0]):
            raise Refused(NOT_ALLOWED, "appId: the token is of another app")
        return Caller(*owner, "token")
    named = app_id or app_id_text(headers.get("appId"))
    _check_app(apps, named, headers.get("appKey", ""), headers.get("appSecret", ""))
    account = stand_in or _header_account(headers)
    if not account:
        raise Refused(BAD_REQUEST, "appAccount: expected a header")
    return Caller(named or "", account, "app")


def app_id_text(app_id: object) -> str | None:
    """An appId, sent as a number or a text of digits, as text; None for anything else."""
    if isinstance(app_id, bool) or not isinstance(app_id, int | str):
        return None
    text = str(app_id)
    return text if text.isascii() and text.isdigit() else None


def is_text(value: object) -> bool:
    if not isinstance(value, str):
        return False
    return bool(value) and not any("\ud800" <= character <= "\udfff" for character in value)


def is_same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())


def _check_app(apps: Apps, app_id: str | None, app_key: str, app_secret: str) -> None:
    app = apps.get(app_id or "")
    if app is None or not (is_same(app_key, app.app_key) and is_same(app_secret, app.app_secret)):
        raise Refused(UNKNOWN_CALLER, "app authentication fail")


def _header_account(headers: Headers) -> str | None:
    account = headers.get("appAccount")
    encoding = headers.get("appAccountEncode")
    if account is None:
        return None
    if not account.isascii():
        raise Refused(BAD_REQUEST, "appAccount: expected ASCII, or base64 with appAccountEncode")
    if encoding is None:
        return account
    try:
        if encoding != "base64":
            raise ValueError
        return base64.b64decode(account, validate=True).decode()
    except ValueError:  # UnicodeDecodeError and binascii.Error are ones, too
        raise Refused(BAD_REQUEST, "appAccount: expected base64 of UTF-8, as appAccountEncode says") from None


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
