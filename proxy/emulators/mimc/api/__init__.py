"""MIMC's HTTP API besides the token call. A call is a row of CALLS in one of the modules beside this one."""

from functools import partial
from typing import Any

from flask import Blueprint, Response, request
from flask.typing import ResponseReturnValue

from proxy.emulators.control import given_json
from proxy.emulators.mimc.accounts import compact_json
from proxy.emulators.mimc.api import contacts, history, push, topics, uctopics, undocumented
from proxy.emulators.mimc.asked import Asked, Call, Credentials
from proxy.emulators.mimc.config import MimcConfig
from proxy.emulators.mimc.credentials import Caller, app_id_text, caller_of_body, caller_of_headers, claimed_account
from proxy.emulators.mimc.refusals import BAD_REQUEST, Refused
from proxy.emulators.mimc.service import Mimc, envelope

_FAMILIES = (push, topics, uctopics, history, contacts, undocumented)


def calls(config: MimcConfig) -> list[Call]:
    """All calls that are answered."""
    return [call for family in _FAMILIES for call in family.CALLS if call.documented or config.undocumented]


def api_blueprint(mimc: Mimc) -> Blueprint:
    """The API's routes, with and without a slash at the end: MIMC's documents and clients do not agree on it."""
    bp = Blueprint("api", __name__)
    for call in calls(mimc.config):
        rule = call.path.replace("{", "<").replace("}", ">").rstrip("/") + "/"
        bp.add_url_rule(
            rule,
            endpoint=f"{call.method} {call.path}".replace(".", "_"),
            view_func=partial(_answer, mimc, call),
            methods=[call.method],
            strict_slashes=False,
        )
    return bp


def _answer(mimc: Mimc, call: Call, **in_path: str) -> ResponseReturnValue:
    given = given_json() if call.method in {"POST", "PUT"} else _query()
    values: dict[str, Any] = (given if isinstance(given, dict) else {}) | in_path
    account = claimed_account(values, request.headers, mimc.tokens, call.credentials is Credentials.BODY)
    facts: dict[str, Any] = {
        "kind": "api",
        "method": call.method,
        "path": call.path,
        "account": account,
        "app_id": app_id_text(values.get("appId")) or app_id_text(request.headers.get("appId")),
        "connection": request.environ["emulator.connection"],
    }
    if (wrong := mimc.meet_fault(facts, request.environ, account)) is not None:
        return wrong
    try:
        _check_form(call, given)
        caller = _caller(mimc, call, values)
        facts |= {"account": caller.account, "app_id": caller.app_id, "credentials": caller.style}
        data = call.act(mimc, Asked(caller, values, request.headers))
    except Refused as refused:
        status = mimc.status_of(refused.code)
        mimc.journal.write(**facts, outcome="refused", status=status, code=refused.code, reason=refused.message)
        return envelope(status, refused.code, refused.message)
    mimc.journal.write(**facts, outcome="accepted", status=200, code=200)
    body = compact_json({"code": 200, "message": call.message, "data": data})
    return Response(body, content_type="application/json;charset=UTF-8")


def _query() -> dict[str, str] | None:
    try:
        return request.args.to_dict()
    except UnicodeDecodeError:
        return None


def _check_form(call: Call, given: object) -> None:
    if call.method in {"POST", "PUT"}:
        if request.mimetype != "application/json" or not isinstance(given, dict):
            raise Refused(BAD_REQUEST, "expected a JSON object, sent as application/json")
        try:
            compact_json(given)
        except (UnicodeEncodeError, RecursionError):
            raise Refused(BAD_REQUEST, "expected whole characters, and no more than some hundred levels") from None
    elif given is None:
        raise Refused(BAD_REQUEST, "query: expected UTF-8")


def _caller(mimc: Mimc, call: Call, values: dict[str, Any]) -> Caller:
    if call.credentials is Credentials.BODY:
        return caller_of_body(values, mimc.apps)
    app_id = app_id_text(values.get("appId"))
    if "appId" in values and app_id is None:
        raise Refused(BAD_REQUEST, "appId: expected a number or a text of digits")
    stand_in = values.get(call.account_member) if call.account_member else None
    return caller_of_headers(
        request.headers, app_id, mimc.apps, mimc.tokens, stand_in if isinstance(stand_in, str) else None
    )
