"""What a client asks of MIMC's API becomes what we ask: checked, with the caller's account in it. Pure.

The account comes from the session or the API key, and the appId from the section. What a client says of either may
only repeat it. Credentials that a client sends, as old clients do, go no further.
"""

import json
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from proxy import strict_json
from proxy.errors import BadRequest, NotAllowed, NotFound
from proxy.mimc.calls import CREDENTIALS, MOST_PAYLOAD, Actor, Call, Family, Form, Proof
from proxy.settings import AppSettings
from proxy.strict_json import BadJson

_encode = json.JSONEncoder(separators=(",", ":")).encode  # `json.dumps` makes one for each call
_DIGITS = 20  # of an id; 2^64 has as many
_MOST_ACCOUNT = 256  # bytes; as in auth/credentials.py
_NO_ACCOUNT = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")  # control characters, halves of surrogate pairs
_IN_A_HEADER = re.compile("[!-~](?:[ -~]*[!-~])?")  # RFC 9110, 5.5: what arrives as it left
_TWO = ("fromAccount", "toAccount")
_HISTORY = "application/json;charset=UTF-8"  # the history's calls want it spelled out


@dataclass(frozen=True)
class Asked:
    """What a client sent. `headers` has those of the call's row; `app_ids` is what it names as the app, in order."""

    topic_id: str = ""
    query: Sequence[tuple[str, str]] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = field(default=b"", repr=False)
    members: Mapping[str, object] = field(default_factory=dict, repr=False)
    app_ids: tuple[object, ...] = ()


@dataclass(frozen=True)
class Acting:
    """Whose call it is. `is_service`: a server of the developer's, which acts with the app's credentials;
    `for_anyone`: it may name another account than its own."""

    account: str
    is_service: bool = False
    for_anyone: bool = False


@dataclass(frozen=True)
class Prepared:
    """A call that may leave, still without credentials. `body` None: it has none; `account` acts in it."""

    call: Call
    account: str
    is_service: bool
    target: str  # path and query
    headers: Mapping[str, str]
    body: bytes | None = field(repr=False)
    members: Mapping[str, object] | None = field(repr=False)  # of a body that is written anew
    amount: int = 1


@dataclass(frozen=True)
class ApiRequest:
    """One HTTP request to MIMC, with credentials."""

    method: str
    target: str
    headers: tuple[str, ...] = field(repr=False)
    body: bytes | None = field(repr=False)


def read_members(body: bytes) -> dict[str, Any]:
    """The members of a body; none at all is an empty one. Raises BadRequest."""
    if not body.strip():
        return {}
    try:
        return strict_json.read_object(body, unique=True, parse_float=_finite)
    except BadJson as error:
        raise BadRequest("body", expected=error.expected, got=error.value) from None


def prepare(call: Call, asked: Asked, acting: Acting, app: AppSettings) -> Prepared:
    """Raises BadRequest, NotAllowed, NotFound."""
    for named in asked.app_ids:
        _only_the_section(named, app)
    given = {name: value for name, value in asked.members.items() if name not in CREDENTIALS}
    members = dict(given)
    for name, form in call.members.items():
        if members.get(name) is not None:
            members[name] = _checked(name, form, members[name], members.get("msgType"))
    account = _act(call.actor, members, acting)
    _only_the_body_names(call.actor, members, asked.query)
    if call.names_app or call.proof is Proof.BODY:
        members["appId"] = app.app_id
    written = None if members == asked.members and call.proof is not Proof.BODY else members
    counted = members.get(call.counted_by or "")
    return Prepared(
        call,
        account,
        acting.is_service,
        _target(call, asked, app),
        {name: _id_header(name, value) for name, value in asked.headers.items()},
        None if call.method in ("GET", "DELETE") else asked.body,
        None if call.method in ("GET", "DELETE") else written,
        max(len(counted), 1) if isinstance(counted, list) else 1,
    )


def with_credentials(asked: Prepared, app: AppSettings, user_token: str | None) -> ApiRequest:
    """`user_token`: the account's own, None: the app's credentials prove the call."""
    call, headers = asked.call, [f"{name}: {value}" for name, value in asked.headers.items()]
    key, secret = app.app_key.get_secret_value(), app.app_secret.get_secret_value()
    members, body = asked.members, asked.body
    if call.proof is Proof.BODY:
        members = {**(members or {}), "appKey": key, "appSecret": secret}
    elif user_token is not None:
        headers.append(f"token: {user_token}")
    else:
        headers += [f"appId: {app.app_id}", f"appKey: {key}", f"appSecret: {secret}", *_account_headers(asked.account)]
    if members is not None:
        body = _encode(members).encode()
    media = _HISTORY if call.family is Family.HISTORY else "application/json"
    headers += [f"Content-Type: {media}", f"Accept: {media}"]
    return ApiRequest(call.method, asked.target, tuple(headers), body)


def _act(actor: Actor, members: dict[str, Any], acting: Acting) -> str:
    """Puts the caller's account where it belongs, and returns whose call it is then."""
    match actor:
        case Actor.FROM_ACCOUNT | Actor.ACCOUNT:
            named = members.setdefault(actor.value, acting.account)
            if acting.for_anyone:
                return _account(actor.value, named)
            if named != acting.account:
                raise NotAllowed(f"{actor.value}: is not the caller")
            return acting.account
        case Actor.ONE_OF_TWO:
            if acting.for_anyone:
                whose = next((name for name in reversed(_TWO) if members.get(name) is not None), None)
                return _account(whose, members[whose]) if whose else acting.account
            if acting.account not in [members.get(name) for name in _TWO]:
                raise NotAllowed("fromAccount, toAccount: neither is the caller")
            return acting.account
        case Actor.CREDENTIALS:
            return acting.account


def _only_the_body_names(actor: Actor, members: Mapping[str, Any], query: Iterable[tuple[str, str]]) -> None:
    """No text tells whether MIMC would take a member out of the query, too. Raises NotAllowed."""
    if actor is Actor.CREDENTIALS:
        return
    names = _TWO if actor is Actor.ONE_OF_TWO else (actor.value,)
    for name, value in query:
        if name in names and value != members.get(name):
            raise NotAllowed(f"{name}: is another one in the query than in the body")


def _account(name: str, value: object) -> str:
    """Whom a service names: MIMC reads it in a header, too. Raises BadRequest."""
    if isinstance(value, str) and value and not _NO_ACCOUNT.search(value) and len(value.encode()) <= _MOST_ACCOUNT:
        return value
    raise BadRequest(name, expected=f"an account of 1 to {_MOST_ACCOUNT} bytes, without control characters", got=value)


def _only_the_section(named: object, app: AppSettings) -> None:
    if isinstance(named, bool) or not isinstance(named, str | int):
        raise BadRequest("appId", expected="a string or an integer", got=named)
    if str(named) != app.app_id:
        raise NotFound("appId: is not configured here")


def _target(call: Call, asked: Asked, app: AppSettings) -> str:
    path = call.path.replace("<app_id>", app.app_id).replace("<topic_id>", asked.topic_id)
    query = [(name, value) for name, value in asked.query if name not in CREDENTIALS | {"appId"}]
    for name, value in query:
        if name in call.query:
            _checked(name, call.query[name], value)
    return f"{path}?{urlencode(query, quote_via=quote)}" if query else path


def _checked(name: str, form: Form, value: Any, coding: object = None) -> object:
    """The value as MIMC takes it. Raises BadRequest, which names the member."""
    if form is Form.ACCOUNTS:
        return _joined(name, value)
    if not _fits(form, value, coding):
        raise BadRequest(name, expected=form.value, got=value)
    return value


def _fits(form: Form, value: Any, coding: object) -> bool:
    match form:
        case Form.TEXT:
            return isinstance(value, str)
        case Form.ID | Form.NUMBER:
            return _is_whole(value)
        case Form.FLAG:
            return isinstance(value, bool)
        case Form.CODING:
            return value in ("", "base64")
        case Form.TEXTS:
            return isinstance(value, list) and all(isinstance(it, str) for it in value)
        case Form.IDS:
            return isinstance(value, list) and all(map(_is_whole, value))
        case Form.PAYLOAD:
            return _is_payload(value, coding)
        case Form.PAYLOADS:
            return isinstance(value, list) and all(_is_payload(it, coding) for it in value)
        case _:
            raise ValueError(form)


def _is_whole(value: object) -> bool:
    if isinstance(value, str):
        return value.isascii() and value.isdigit() and len(value) <= _DIGITS
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**_DIGITS


def _is_payload(value: object, coding: object) -> bool:
    if not isinstance(value, str):
        return False
    if coding == "base64":
        return len(value.rstrip("=")) * 3 // 4 <= MOST_PAYLOAD
    return len(value.encode("utf-8", "surrogatepass")) <= MOST_PAYLOAD


def _joined(name: str, value: object) -> str:
    """MIMC takes one text, in which an account with a comma would be two. A group of the caller alone has ""."""
    if value == "":
        return ""
    accounts = value.split(",") if isinstance(value, str) else value
    if not isinstance(accounts, list) or not all(isinstance(it, str) and it and "," not in it for it in accounts):
        raise BadRequest(name, expected="accounts without commas, joined by commas or in an array", got=value)
    return ",".join(accounts)


def _id_header(name: str, value: str) -> str:
    if not _is_whole(value):
        raise BadRequest(name, expected=Form.ID.value, got=value)
    return value


def _account_headers(account: str) -> Iterable[str]:
    """A header holds visible ASCII alone, and no blanks at its ends; MIMC takes another account in base64."""
    if _IN_A_HEADER.fullmatch(account):
        return (f"appAccount: {account}",)
    return f"appAccount: {b64encode(account.encode()).decode()}", "appAccountEncode: base64"


def _finite(literal: str) -> float:
    """JSON has no word for what is too large for a float."""
    value = float(literal)
    if value in (float("inf"), float("-inf")):
        raise ValueError(literal)
    return value
