"""MIMC's own API for users and services, from the rows of mimc/calls.py. Loaded where an app's `api` lists a family.

The paths are MIMC's, so that a client changes nothing but the host.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from functools import cache
from typing import TypeVar
from urllib.parse import parse_qsl

from flask import Blueprint
from flask import Response as WebResponse
from werkzeug.routing import BaseConverter

from proxy.auth import Authenticated
from proxy.domain.api_keys import ApiKey, Scope
from proxy.domain.idempotency import Call as KeyedCall
from proxy.domain.quotas import QuotaRequest
from proxy.domain.transfers import Paused, Response, TransportFailure
from proxy.errors import BadRequest, NotAllowed, NotFound
from proxy.metrics import api_calls_total, bounded_reason
from proxy.mimc.api_request import Acting, Asked, Prepared, prepare, read_members
from proxy.mimc.calls import CALLS, Call
from proxy.mimc.token_answer import code_of
from proxy.settings import AppSettings
from proxy.usecases.call_once import Ended, Known, call_once
from proxy.usecases.choose_app import choose_app
from proxy.web import current_request, current_services
from proxy.web.access import add_log_context, audit
from proxy.web.body import MAX_JSON, read_body
from proxy.web.callers import Caller, admit_caller, current_caller, require
from proxy.web.cors import require_origin
from proxy.web.handed_on import handed_on, status_of
from proxy.web.idempotency import call_asked, known_answer, spend_key
from proxy.web.limits import Limited, take_quota

T = TypeVar("T")

_WHO = "MIMC"
_TRIES, _SPARE = 4, timedelta(seconds=5)  # a token, the call, and where the token was an old one both once more
_ANYONES = {Scope.PUSH_SEND: Scope.PUSH_SEND_AS_ANYONE, Scope.HISTORY_READ: Scope.HISTORY_READ}


class Digits(BaseConverter):
    """An id of MIMC's in a path."""

    regex = r"[0-9]{1,20}"


def blueprint(families: Iterable[str]) -> Blueprint:
    """The routes of the calls in these families; the app must know `Digits` as "digits"."""
    bp = Blueprint("api_calls", __name__)
    for call in CALLS:
        if call.family in families:
            for path in (call.path.rstrip("/"), call.path.rstrip("/") + "/"):
                rule = path.replace("<app_id>", "<digits:app_id>").replace("<topic_id>", "<digits:topic_id>")
                endpoint = call.name.replace(" ", "_") + ("_" if path.endswith("/") else "")
                bp.add_url_rule(rule, endpoint, _view(call), methods=[call.method])
    return bp


def _view(call: Call) -> Callable[..., WebResponse]:
    @require(Caller.CLIENT, Limited.CLIENT, with_quota=True)
    def make_call(app_id: str | None = None, topic_id: str = "") -> WebResponse:
        return _make(call, app_id, topic_id)

    return make_call


def _make(call: Call, app_id: str | None, topic_id: str) -> WebResponse:
    services, caller = current_services(), current_caller()
    asked = _asked(call, app_id, topic_id)
    acting, bound_app = _acting(call, caller)
    section = _section(call, asked, bound_app, services.settings.apps)
    add_log_context(app=section, call=call.name)
    require_origin(section)
    try:
        prepared = prepare(call, asked, acting, services.settings.apps[section])
    except NotAllowed:
        api_calls_total.labels(section, call.name, "another account").inc()
        raise

    def leave() -> Ended:
        answer = _opened(services.api).call(section, prepared)
        _note(section, prepared, caller, answer)
        return answer

    quota = _quota(section, prepared)
    named = call_asked(caller, section, _content(asked)) if call.changes else None
    if named is None:
        admit_caller(quota)
        ended: Ended | Known = leave()
    else:
        admit_caller()
        ended = _once(caller, named, quota, leave)
    if isinstance(ended, Response | TransportFailure | Paused):
        return handed_on(ended, _WHO, once=call.changes)
    return known_answer(ended)


def _content(asked: Asked) -> bytes:
    """What tells a call from another to the same path, beside the query."""
    return b"\n".join([asked.body, *(f"{name}: {value}".encode() for name, value in sorted(asked.headers.items()))])


def _quota(section: str, asked: Prepared) -> QuotaRequest | None:
    if asked.call.amount is None:
        return None
    return QuotaRequest(section, asked.call.amount, asked.amount, None if asked.is_service else asked.account)


def _once(
    caller: Authenticated | ApiKey, named: KeyedCall, quota: QuotaRequest | None, leave: Callable[[], Ended]
) -> Ended | Known:
    """What the first call with this Idempotency-Key was answered; a repeat takes nothing from the quota."""
    if isinstance(caller, Authenticated):
        spend_key(caller.app_account)

    def leave_within_quota() -> Ended:
        if quota:
            take_quota(quota)
        return leave()

    services = current_services()
    lease = _TRIES * services.settings.token.timeout + _SPARE
    return call_once(_opened(services.idempotency), named, services.store_now(), lease, leave_within_quota)


def _opened(service: T | None) -> T:
    """It is there wherever these routes are."""
    if service is None:
        raise NotFound("not found")
    return service


def _asked(call: Call, app_id: str | None, topic_id: str) -> Asked:
    environ = current_request().environ
    body = read_body(environ, MAX_JSON)
    members, query = read_members(body), _query(environ.get("QUERY_STRING", ""))
    headers = {name: value for name in call.headers if (value := environ.get(_cgi(name))) is not None}
    named = (app_id, members.get("appId"), environ.get("HTTP_APPID"), dict(query).get("appId"))
    return Asked(topic_id, query, headers, body, members, tuple(it for it in named if it is not None))


def _query(text: str) -> list[tuple[str, str]]:
    """Raises BadRequest."""
    if not text:
        return []
    try:
        raw = text.encode("latin-1").decode()  # WSGI's text has a character for each byte
        return parse_qsl(raw, keep_blank_values=True, errors="strict", max_num_fields=32)
    except ValueError:
        raise BadRequest("query", expected="parameters in UTF-8, at most 32", got=...) from None


@cache
def _cgi(header: str) -> str:
    """What WSGI calls it."""
    return f"HTTP_{header.upper().replace('-', '_')}"


def _acting(call: Call, caller: Authenticated | ApiKey) -> tuple[Acting, str | None]:
    """In whose name the call is made, and the section that its proof is good for. Raises NotAllowed."""
    if isinstance(caller, Authenticated):
        return Acting(caller.app_account), caller.bound_app
    if call.scope is None or not caller.scopes & {call.scope, _ANYONES.get(call.scope)}:
        raise NotAllowed(f"the API key has not the scope {call.scope}" if call.scope else "no call for an API key")
    return Acting(caller.account, is_service=True, for_anyone=_ANYONES.get(call.scope) in caller.scopes), caller.app


def _section(call: Call, asked: Asked, bound_app: str | None, apps: Mapping[str, AppSettings]) -> str:
    """Among the sections that have the call's family. Raises NotFound, NotAllowed, BadRequest."""
    having = {name: app for name, app in apps.items() if call.family in app.api}
    if bound_app is not None and bound_app not in having:
        raise NotFound("not found")  # as if there were no such route
    named = {"appId": asked.app_ids[0]} if asked.app_ids else {}
    return choose_app(named, "", bound_app, having)


def _note(
    section: str, asked: Prepared, caller: Authenticated | ApiKey, answer: Response | TransportFailure | Paused
) -> None:
    code, status = code_of(answer) if isinstance(answer, Response) else None, status_of(answer)
    said = f"code {code}" if code is not None else str(status)
    api_calls_total.labels(section, asked.call.name, bounded_reason(said)).inc()
    who = (
        {"backend": caller.backend}
        if isinstance(caller, Authenticated)
        else {"api_key_id": caller.id, "api_key_name": caller.name}
    )
    audit("MIMC called", call=asked.call.name, account=asked.account, app=section, status=status, code=code, **who)
