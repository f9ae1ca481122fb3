"""The operations of our own routes. A test compares them with the URL map, and calls a service by them."""

from collections.abc import Mapping

from proxy.domain.accounts import MAX_PASSWORD_BYTES
from proxy.domain.api_keys import Scope
from proxy.domain.devices import FALLBACKS_MOST, ApnsEnvironment, Platform
from proxy.domain.preferences import MOST_MUTED
from proxy.domain.previews import Preview
from proxy.usecases.register_device import PUSH_TOKENS
from proxy.web.openapi.parts import (
    COUNT,
    FLAG,
    ID,
    NO_PROOF,
    TEXT,
    TIME,
    USER,
    Json,
    body,
    envelope,
    members,
    or_null,
    parameter,
    refusals,
    success,
)

TAGS: Mapping[str, str] = {
    "tokens": "The token broker.",
    "devices": "Where a user's phones are reached.",
    "alerts": "What a user asks of their alerts, and what became of them.",
    "sign-in": "The built-in accounts; without them these answer 404, but for `/auth/me`.",
    "callbacks": "What MIMC and Xiaomi post. The secret in the path proves the sender.",
    "operator": "For the operator, at `server.operator_bind`; 404 at the public address.",
    "this document": "What is open here.",
    "MIMC push": 'MIMC\'s own calls, where `apps.NAME.api` has "push".',
    "MIMC topic": 'Groups, where it has "topic".',
    "MIMC history": 'Messages that MIMC keeps, where it has "history".',
    "MIMC contacts": 'Contacts, blocked accounts and presence, where it has "contacts".',
    "MIMC uctopic": 'Unlimited groups, where it has "uctopic".',
}

_PREVIEW: Json = {"enum": [it.value for it in Preview]}
_PLATFORM: Json = {"enum": [it.value for it in Platform]}
_ENVIRONMENT: Json = {"enum": [it.value for it in ApnsEnvironment]}
_DEVICE_NAME: Json = {"type": "string", "minLength": 1, "maxLength": 128}
_DEVICE_ID = parameter("path", "device_id", _DEVICE_NAME)
_APP = parameter("query", "app", TEXT, "The section of the settings; needed where there are several.")
_WHOSE = parameter("query", "account", TEXT, "For a service, which must name it; a user sees their own.")
_SECTION: Json = {"app": or_null(TEXT)}


def _addresses(more: Mapping[str, Json]) -> Json:
    """Objects that have a push address, of each platform."""
    variants = [
        members(
            {
                "platform": {"const": platform.value},
                "push_token": {"type": "string", "pattern": f"^{shape.pattern}$"},
            },
            {**({"environment": or_null(_ENVIRONMENT)} if platform is Platform.APNS else {}), **more},
        )
        for platform, (shape, _) in PUSH_TOKENS.items()
    ]
    return {"oneOf": variants}


_REGISTRATION = _addresses(
    {
        **_SECTION,
        "locale": or_null({"type": "string", "pattern": "^[A-Za-z0-9_-]{0,35}$"}),
        "resource": or_null({"type": "string", "maxLength": 128}),
        "preview": or_null(_PREVIEW),
        "fallbacks": or_null({"type": "array", "maxItems": FALLBACKS_MOST, "items": _addresses({})}),
    }
)
_SHOWN_ADDRESS: Json = {"platform": _PLATFORM, "push_token_fingerprint": TEXT, "environment": or_null(_ENVIRONMENT)}
_DEVICE = members(
    {
        "app": TEXT, "device_id": TEXT, **_SHOWN_ADDRESS,
        "fallbacks": {"type": "array", "items": members(_SHOWN_ADDRESS, {})},
        "locale": TEXT, "resource": TEXT, "preview": _PREVIEW, "registered_at": TIME, "invalid_reason": or_null(TEXT),
    },
    {},
)  # fmt: skip

_PEER: Json = {"account": {"type": "string", "minLength": 1, "maxLength": 256}}
_GROUP: Json = {"topic_id": {"type": "string", "pattern": "^[0-9A-Za-z_-]{1,64}$"}}
_CONVERSATION: Json = {"oneOf": [members(_PEER, {}), members(_GROUP, {})]}
_MUTED: Json = {"mentions": or_null(FLAG), "until": or_null(TIME)}
_CLOCK: Json = {"type": "string", "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9]$"}
_QUIET_HOURS = members(
    {
        "from": _CLOCK,
        "to": {**_CLOCK, "description": "Another time than `from`."},
        "time_zone": {"type": "string", "minLength": 1, "description": "A name of IANA, as Asia/Shanghai."},
    },
    {"calls": or_null(FLAG)},
)
_MUTES: Json = {
    "type": "array",
    "maxItems": MOST_MUTED,
    "items": {"oneOf": [members(_PEER, _MUTED), members(_GROUP, _MUTED)]},
}
_PREFERENCES: Json = {"mutes": _MUTES, "quiet_hours": or_null(_QUIET_HOURS), "preview": _PREVIEW}
_WISHES = members(
    {},
    {**_SECTION, "mutes": or_null(_MUTES), "quiet_hours": or_null(_QUIET_HOURS), "preview": or_null(_PREVIEW)},
)
_VERSION: Json = {"ETag": {"schema": {"type": "string", "pattern": '^"[0-9a-f]{40}"$'}, "required": True}}
_PREFERENCES_SHOWN = success(members({"app": TEXT, **_PREFERENCES}, {}), "They, and their version.", _VERSION)

_ALERT = members(
    {
        "at": TIME, "result": TEXT, "message_id": TEXT, "conversation": TEXT, "device_id": TEXT, "channel": TEXT,
        "silent": FLAG, "sent_at": or_null(TIME), "accepted_at": or_null(TIME), "pushed_at": or_null(TIME),
    },
    {},
)  # fmt: skip

_ACCOUNT: Json = {"type": "string", "minLength": 1, "maxLength": 256}
_PASSWORD: Json = {"type": "string", "minLength": 1, "maxLength": MAX_PASSWORD_BYTES, "format": "password"}
_TOKENS = success(
    members({"account": TEXT, "expires_in": COUNT}, {"access_token": TEXT, "refresh_token": TEXT}),
    "Signed in. With a cookie there are no tokens in the answer.",
)
_MIMCS = {
    "description": "The TokenService's answer: its status, content type and bytes as they are.",
    "content": {"application/json": {"schema": members({"code": {"type": "integer"}}, {}, closed=False)}},
}
_MIMC_KINDS = "OFFLINE_MSG, OFFLINE_TOPIC_MSG, NORMAL_MSG, NORMAL_TOPIC_MSG, UCTOPIC_MSG"
_SECRET = parameter("path", "url_secret", {"type": "string", "minLength": 16}, "`url_secret` of the section.")
_RECEIPTS: Json = {"required": True, "content": {
    "application/x-www-form-urlencoded": {"schema": members({"data": TEXT}, {}, closed=False)},
    "application/json": {"schema": {"type": "object"}},
}}  # fmt: skip
_OPERATORS = [{"url": "http://127.0.0.1:9464", "description": "server.operator_bind"}]
_DETAILS = or_null({"type": "object", "additionalProperties": TEXT})
_NOT_READY = {
    "description": "Not ready; `data` says why.",
    "content": {"application/json": {"schema": envelope({"const": 503}, _DETAILS)}},
}


def _user(
    tag: str, name: str, summary: str, done: Json, statuses: tuple[int, ...], scope: Scope | None = None, **more: object
) -> Json:
    """What a signed-in user calls, and a service with this scope."""
    answers = refusals(*sorted({400, 401, 403, 404, 413, 429, 503, *statuses}))
    security = [*USER, {"service": [scope.value]}] if scope else USER
    return {
        "operationId": name, "tags": [tag], "summary": summary, "security": security, **more,
        "responses": {"200": done, **answers},
    }  # fmt: skip


def _other(tag: str, name: str, summary: str, answers: Json, **more: object) -> Json:
    return {
        "operationId": name, "tags": [tag], "summary": summary, "security": NO_PROOF, **more, "responses": answers
    }  # fmt: skip


def _operators(name: str, summary: str, answers: Json) -> Json:
    return {**_other("operator", name, summary, {**answers, **refusals(429)}), "servers": _OPERATORS}


OPERATIONS: Mapping[tuple[str, str], Json] = {
    ("POST", "/api/account/token"): _user(
        "tokens", "give_token", "A MIMC token for the signed-in user.", _MIMCS, (415, 502, 504),
        requestBody=body(
            members({}, {"appId": or_null(ID), "appAccount": or_null(TEXT)}, closed=False), required=False
        ),
        description="MIMC's own path. appAccount may only repeat the user's; other members are not looked at.",
    ),
    ("GET", "/api/devices"): _user(
        "devices", "list_devices", "The user's devices.", success({"type": "array", "items": _DEVICE}), (),
        Scope.DEVICES_READ, parameters=[_WHOSE, _APP],
    ),
    ("PUT", "/api/devices/{device_id}"): _user(
        "devices", "register_device", "Registers a device, or replaces its registration.", success(_DEVICE),
        (409, 415), Scope.DEVICES_WRITE, parameters=[_DEVICE_ID, _WHOSE], requestBody=body(_REGISTRATION),
    ),
    ("GET", "/api/devices/{device_id}"): _user(
        "devices", "show_device", "One device.", success(_DEVICE), (), Scope.DEVICES_READ,
        parameters=[_DEVICE_ID, _WHOSE, _APP],
    ),
    ("DELETE", "/api/devices/{device_id}"): _user(
        "devices", "remove_device", "Ends a registration.", success({"type": "null"}), (),
        Scope.DEVICES_WRITE, parameters=[_DEVICE_ID, _WHOSE, _APP],
    ),
    ("POST", "/api/badge"): _user(
        "alerts", "clear_badge", "The user has read a conversation, or all.",
        success(members({"app": TEXT, "badge": COUNT}, {})), (415,),
        requestBody=body(members({}, {**_SECTION, "conversation": or_null(_CONVERSATION)}), required=False),
    ),
    ("GET", "/api/preferences"): _user(
        "alerts", "show_preferences", "Mutes, quiet hours, preview.", _PREFERENCES_SHOWN, (), parameters=[_APP]
    ),
    ("PUT", "/api/preferences"): _user(
        "alerts", "replace_preferences", "Replaces all of them.", _PREFERENCES_SHOWN, (412, 415),
        parameters=[parameter("header", "If-Match", TEXT, "The version that is replaced, as its ETag names it.")],
        requestBody=body(_WISHES, required=False),
    ),
    ("GET", "/api/alerts"): _user(
        "alerts", "show_alerts", "What became of the user's alerts in the last 7 days, the newest first.",
        success(members({"app": TEXT, "alerts": {"type": "array", "items": _ALERT}}, {})), (),
        parameters=[_APP, parameter("query", "count", {"type": "integer", "minimum": 1, "maximum": 200})],
    ),
    ("POST", "/auth/login"): _other(
        "sign-in", "sign_in", "Signs in with a password.",
        {"200": _TOKENS, **refusals(400, 401, 403, 404, 413, 415, 429, 503)},
        requestBody=body(
            members(
                {"account": _ACCOUNT, "password": _PASSWORD},
                {"cookie": FLAG, **_SECTION, "device_id": or_null(_DEVICE_NAME)},
                closed=False,
            )
        ),
    ),
    ("POST", "/auth/refresh"): _other(
        "sign-in", "refresh", "The next pair of tokens; the refresh token is used up.",
        {"200": _TOKENS, **refusals(400, 401, 404, 413, 415, 429, 503)},
        requestBody=body(members({"refresh_token": TEXT}, {}, closed=False)),
    ),
    ("POST", "/auth/logout"): _user(
        "sign-in", "sign_out", "Ends the session, and its device's registration.", success({"type": "null"}), (415,),
        requestBody=body(members({}, {"device_id": or_null(_DEVICE_NAME)}, closed=False), required=False),
    ),
    ("GET", "/auth/me"): _user(
        "sign-in", "me", "Who is calling.",
        success(members({"account": TEXT, "backend": TEXT, "app": or_null(TEXT)}, {})), (),
    ),
    ("POST", "/callbacks/mimc/{url_secret}"): _other(
        "callbacks", "receive_callback", "A message callback of MIMC's.",
        {"200": success(members({"duplicate": FLAG}, {})), **refusals(400, 403, 404, 413, 415, 429, 503)},
        parameters=[_SECRET],
        requestBody=body(members({"msgType": {"type": "string", "description": _MIMC_KINDS}}, {}, closed=False)),
    ),
    ("POST", "/callbacks/mipush/{url_secret}"): _other(
        "callbacks", "receive_receipts", "Xiaomi's receipts.",
        {"200": success({"type": "null"}), **refusals(400, 404, 413, 415, 429, 503)},
        parameters=[_SECRET], requestBody=_RECEIPTS,
    ),
    ("GET", "/healthz"): _operators("alive", "200 while the process answers.", {"200": success({"type": "null"})}),
    ("GET", "/readyz"): _operators(
        "ready", "Can the service do its work?",
        {"200": success(_DETAILS), "503": _NOT_READY},
    ),
    ("GET", "/metrics"): _operators(
        "metrics", "Prometheus text.", {"200": {"description": "Metrics.", "content": {"text/plain": {"schema": TEXT}}}}
    ),
    ("GET", "/openapi.json"): _other(
        "this document", "openapi", "OpenAPI 3.1, of the routes that are there.",
        {
            "200": {"description": "This document.", "content": {"application/json": {"schema": {"type": "object"}}}},
            "304": {"description": "It is as the ETag of If-None-Match says."},
            **refusals(429, 503),
        },
    ),
}  # fmt: skip
