"""`GET /openapi.json`: what this service answers, in OpenAPI 3.1. docs/openapi.yaml is the same of every route.

document  joins the operations of the routes that are there
parts     what several operations share: answers, parameters, ways to prove who is calling
own       the operations of our own routes
mimc      those of MIMC's API, from the rows of mimc/calls.py; loaded where a section's `api` opens any

All but this module is loaded when the document is first asked for.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

from flask import Blueprint, Flask, Response, current_app
from werkzeug.routing import Rule

from proxy.web import current_request, current_services
from proxy.web.callers import Caller, require
from proxy.web.envelope import SECURITY_HEADERS, PlainAnswer
from proxy.web.limits import Limited

bp = Blueprint("openapi", __name__)

_VARIABLE = re.compile(r"<(?:\w+:)?(\w+)>")
_FRESH = "public, max-age=300"  # the next start may open other routes


@bp.get("/openapi.json")
@require(Caller.ANYONE, Limited.CLIENT)
def show() -> Response:
    body, tag = _made(current_app._get_current_object())  # type: ignore[attr-defined]  # a LocalProxy's
    headers = [*SECURITY_HEADERS, ("ETag", f'"{tag}"'), ("Cache-Control", _FRESH)]
    if current_request().if_none_match.contains_weak(tag):
        return Response(status=304, headers=headers)
    return PlainAnswer(body, content_type="application/json", headers=headers)


def routes_of(rules: Iterable[Rule]) -> Iterator[tuple[str, str]]:
    """Each method and path, as the document names them. A path with a slash at its end is the one without.

    The console's are pages, and no program's to call.
    """
    for rule in rules:
        if rule.endpoint.startswith("console."):
            continue
        path = _VARIABLE.sub(r"{\1}", rule.rule).rstrip("/")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            yield method, path


@lru_cache(maxsize=1)
def _made(app: Flask) -> tuple[bytes, str]:
    """The body, which all answers share, and the tag of this version."""
    from proxy.web.openapi.document import document  # noqa: PLC0415  few processes are ever asked

    made = document(
        frozenset(routes_of(app.url_map.iter_rules())), opens_mimc=bool(current_services().settings.families)
    )
    body = json.dumps(made, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
    return body, hashlib.sha256(body).hexdigest()[:32]
