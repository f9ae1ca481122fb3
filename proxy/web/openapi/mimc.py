"""The operations of MIMC's own API, from the rows of mimc/calls.py."""

from collections.abc import Iterator, Mapping

from proxy.domain.api_keys import Scope
from proxy.mimc.calls import CALLS, MOST_PAYLOAD, Actor, Call, Form, Proof
from proxy.web.openapi.parts import DIGITS, FLAG, ID, TEXT, USER, Json, body, members, parameter, refusals

_ACCOUNTS: Json = {"type": "string", "pattern": "^[^,]+(,[^,]+)*$"}
_SCHEMAS: Mapping[Form, Json] = {
    Form.TEXT: TEXT,
    Form.ID: ID,
    Form.NUMBER: ID,
    Form.FLAG: FLAG,
    Form.TEXTS: {"type": "array", "items": TEXT},
    Form.IDS: {"type": "array", "items": ID},
    Form.ACCOUNTS: {"$ref": "#/components/schemas/Accounts"},
    Form.CODING: {"enum": ["", "base64"]},
    Form.PAYLOAD: {"$ref": "#/components/schemas/Payload"},
    Form.PAYLOADS: {"type": "array", "items": {"$ref": "#/components/schemas/Payload"}},
}
_AS_TEXT = {Form.ID: DIGITS, Form.NUMBER: DIGITS, Form.ACCOUNTS: _ACCOUNTS}  # where there is nothing else
_WIDER = {Scope.PUSH_SEND: Scope.PUSH_SEND_AS_ANYONE}
_ACTORS: Mapping[Actor, str] = {
    Actor.FROM_ACCOUNT: "`fromAccount` is filled in with the caller's account; another one is refused.",
    Actor.ACCOUNT: "`account` is filled in with the caller's; another one is refused.",
    Actor.ONE_OF_TWO: "`fromAccount` or `toAccount` must be the caller's; nothing is filled in.",
    Actor.CREDENTIALS: "The caller's account acts.",
}
_NAMES_APP = "The appId of the section; needed where several are configured."
COMPONENTS: Mapping[str, Json] = {
    "schemas": {
        "Accounts": {
            "description": "Joined by commas or in an array; none has a comma.",
            "anyOf": [_ACCOUNTS, {"type": "array", "items": {"type": "string", "pattern": "^[^,]+$"}}],
        },
        "Payload": {
            "description": f"At most {MOST_PAYLOAD} bytes, before base64.",
            "type": "string",
            "maxLength": MOST_PAYLOAD * 4 // 3,
        },
    },
    "parameters": {
        "ThisApp": parameter("path", "app_id", DIGITS, "The appId of a section that opens this call."),
        "App": parameter("header", "appId", DIGITS, _NAMES_APP),
        "Topic": parameter("path", "topic_id", DIGITS, "MIMC's topicId of a group."),
        "Once": parameter(
            "header",
            "Idempotency-Key",
            {"type": "string", "pattern": r"^[!#-+\-./0-9:<-\[\]-~]{1,255}$"},
            "With the same key the change is made once; a repeat gets the first answer again, for 24 hours.",
        ),
    },
    "responses": {
        "Mimc": {
            "description": "MIMC's answer: its status, content type and bytes as they are. What MIMC refuses has a "
            "`code` of its own, often with HTTP status 200.",
            "content": {"application/json": {"schema": members({"code": {"type": "integer"}}, {}, closed=False)}},
        }
    },
}


def operations() -> Iterator[tuple[tuple[str, str], str, Json]]:
    """Method and path in our routes' form, the path as MIMC writes it, and what is there."""
    for call in CALLS:
        path = call.path.replace("<", "{").replace(">", "}")
        yield (call.method, path.rstrip("/")), path, _operation(call)


def _operation(call: Call) -> Json:
    changes = refusals(409, 422) if call.changes else {}
    operation: Json = {
        "operationId": call.name.replace(" ", "_").replace("/", "_"),
        "tags": [f"MIMC {call.family}"],
        "summary": f"{call.does[0].upper()}{call.does[1:]}.",
        "description": _description(call),
        "security": [*USER, *_scopes(call)],
        "parameters": list(_parameters(call)),
        "responses": {
            "200": {"$ref": "#/components/responses/Mimc"},
            **dict(sorted({**refusals(400, 401, 403, 404, 413, 415, 429, 502, 503, 504), **changes}.items())),
        },
    }
    if call.method in ("POST", "PUT"):
        operation["requestBody"] = body(_body(call), required=False)
    return operation


def _description(call: Call) -> str:
    said = [_ACTORS[call.actor]]
    if call.scope is None:
        said.append("No API key opens it.")
    if not call.documented:
        said.append("One old client of MIMC's makes this call; no text of MIMC's describes it.")
    return " ".join(said)


def _scopes(call: Call) -> Iterator[Json]:
    """Each alternative is one scope that will do."""
    if call.scope is not None:
        yield {"service": [call.scope.value]}
        if wider := _WIDER.get(call.scope):
            yield {"service": [wider.value]}


def _parameters(call: Call) -> Iterator[Json]:
    if "<app_id>" in call.path:
        yield _shared("ThisApp")
    if "<topic_id>" in call.path:
        yield _shared("Topic")
    for place, forms in (("query", call.query), ("header", call.headers)):
        for name, form in forms.items():
            yield parameter(place, name, _AS_TEXT.get(form, _SCHEMAS[form]))
    if "<app_id>" not in call.path and call.method in ("GET", "DELETE"):
        yield _shared("App")
    if call.changes:
        yield _shared("Once")


def _shared(name: str) -> Json:
    return {"$ref": f"#/components/parameters/{name}"}


def _body(call: Call) -> Json:
    app = {} if "<app_id>" in call.path else {"appId": {**ID, "description": _NAMES_APP}}
    schema = members({}, {**app, **{name: _SCHEMAS[form] for name, form in call.members.items()}}, closed=False)
    dropped = "appKey, appSecret, token, appAccount" if call.proof is Proof.BODY else "credentials"
    return {**schema, "description": f"Other members are passed on as they come, except {dropped}."}
