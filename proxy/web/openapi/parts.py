"""What several operations of the document share."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

Json = dict[str, Any]

USER: list[Json] = [{"user": []}, {"cookie": []}]
NO_PROOF: list[Json] = []

TEXT: Json = {"type": "string"}
FLAG: Json = {"type": "boolean"}
COUNT: Json = {"type": "integer", "minimum": 0}
DIGITS: Json = {"type": "string", "pattern": "^[0-9]{1,20}$"}
ID: Json = {"$ref": "#/components/schemas/Id"}
TIME: Json = {"type": "string", "format": "date-time"}
PROOFS: Json = {
    "user": {
        "type": "http",
        "scheme": "bearer",
        "description": "A user, as `[auth]` of the settings proves them: a JWT, a token of the developer's own server, "
        "or an access token of the built-in accounts.",
    },
    "cookie": {
        "type": "apiKey",
        "in": "cookie",
        "name": "__Host-app-proxy",
        "description": "A user's browser: the session cookie of the built-in accounts, or one that "
        "`auth.introspection.cookies` names. A change needs the header X-App-Proxy and an allowed Origin too.",
    },
    "service": {
        "type": "http",
        "scheme": "bearer",
        "description": "A server of the developer's: an API key, `ak_...`. The scopes that it needs are named.",
    },
}
_RETRY_AFTER: Json = {"description": "Seconds.", "schema": {"type": "string", "pattern": "^[0-9]+$"}, "required": True}
_REFUSALS: Mapping[int, str] = {
    400: "A member, parameter or header has another form; `message` names it.",
    401: "No user or service is proven, or they are blocked.",
    403: "Another account or app than the caller's own, a scope that the API key has not, or a page's origin.",
    404: "Not configured, not registered, or not open here.",
    409: "The settings have no way to do it, or the first call with this Idempotency-Key is under way.",
    412: "If-Match names another version.",
    413: "The body is too long.",
    415: "Content-Encoding is none and no gzip.",
    422: "This Idempotency-Key was used for another request.",
    429: "Too many calls.",
    502: "MIMC gave no answer that may be passed on; nothing was changed.",
    503: "Nothing was decided: a service is away, or no thread was free. Ask again.",
    504: "MIMC gave no answer in time. A change may have been carried out: look before it is repeated.",
}


def refusal(status: int) -> Json:
    return {"$ref": f"#/components/responses/{_name(status)}"}


def refusals(*statuses: int) -> Json:
    return {str(status): refusal(status) for status in statuses}


def components() -> Json:
    """What any operation may refer to."""
    return {
        "securitySchemes": PROOFS,
        "schemas": {
            "Id": {
                "description": "Digits; MIMC's ids exceed 2^53, so as text they are safe.",
                "oneOf": [DIGITS, {"type": "integer", "minimum": 0, "exclusiveMaximum": 10**20}],
            }
        },
        "responses": {_name(status): _refused(status) for status in _REFUSALS},
    }


def success(data: Json, description: str = "Done.", headers: Json | None = None) -> Json:
    """An answer of ours; `data` is the schema of the envelope's member."""
    answer = {"description": description, "content": _json(envelope({"const": 200}, data))}
    return {**answer, "headers": headers} if headers else answer


def members(required: Mapping[str, Json], optional: Mapping[str, Json], *, closed: bool = True) -> Json:
    """An object's schema. `closed`: it has no other members."""
    schema: Json = {"type": "object", "properties": {**required, **optional}}
    if required:
        schema["required"] = list(required)
    if closed:
        schema["additionalProperties"] = False
    return schema


def body(schema: Json, *, required: bool = True) -> Json:
    return {"required": required, "content": _json(schema)}


def parameter(place: str, name: str, schema: Json, description: str = "") -> Json:
    made = {"in": place, "name": name, "required": place == "path", "schema": schema}
    return {**made, "description": description} if description else made


def or_null(schema: Json) -> Json:
    return {"anyOf": [schema, {"type": "null"}]}


def envelope(code: Json, data: Json) -> Json:
    return members({"code": code, "message": TEXT, "data": data}, {})


def _json(schema: Json) -> Json:
    return {"application/json": {"schema": schema}}


def _refused(status: int) -> Json:
    answer: Json = {
        "description": _REFUSALS[status],
        "content": _json(envelope({"const": status}, {"type": "null"})),
    }
    if status in (429, 503):
        answer["headers"] = {"Retry-After": _RETRY_AFTER}
    if status == 401:
        answer["headers"] = {"WWW-Authenticate": {"schema": {"const": "Bearer"}, "required": True}}
    return answer


def _name(status: int) -> str:
    return HTTPStatus(status).phrase.title().replace(" ", "").replace("-", "")
