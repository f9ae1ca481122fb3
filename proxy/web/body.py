"""A request's body: bounded before it is read, and as JSON where a route wants that."""

import json
from typing import Any

from gunicorn.http.errors import ParseException  # type: ignore[import-untyped]  # gunicorn has no types

from proxy.domain.nesting import is_within
from proxy.errors import BadRequest, RequestRefused

_MAX_DEPTH = 64
MAX_JSON = 64 * 1024

Environ = dict[str, Any]


def read_body(environ: Environ, most: int) -> bytes:
    """The whole body, at most `most` bytes. Refuses a longer one (413) without reading it, a shorter than said (400).

    Reads the server's stream itself, which costs a fifth of `request.get_data()`; a chunked body has no length, so
    it is read until one byte too many.
    """
    said = environ.get("CONTENT_LENGTH") or None
    if said is None:
        body = _read(environ, most + 1) if _is_chunked(environ) else b""
        if len(body) > most:
            raise _too_long(most)
        return body
    if not (said.isascii() and said.isdigit()):
        raise RequestRefused(400, "Content-Length: expected a number")
    length = int(said) if len(said) < 20 else most + 1
    if length > most:
        raise _too_long(most)
    body = _read(environ, length)
    if len(body) < length:
        raise RequestRefused(400, "body: shorter than its Content-Length")
    return body


def read_object(environ: Environ) -> dict[str, object]:
    """The body as a JSON object; none at all is an empty one. Raises BadRequest.

    UTF-8 alone, where the library would guess UTF-16 too, and no NaN. A member that is named twice is refused: which of
    the two counts is left open by RFC 8259, and whoever checked the body before us may have read the other.
    """
    body = read_body(environ, MAX_JSON)
    if not body.strip():
        return {}
    try:
        value = json.loads(body.decode(), object_pairs_hook=_once_each, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise BadRequest("body", expected="a JSON object in UTF-8", got=body) from None
    if not isinstance(value, dict):
        raise BadRequest("body", expected="a JSON object", got=value)
    if not is_within(_MAX_DEPTH, value):
        raise BadRequest("body", expected=f"at most {_MAX_DEPTH} levels", got=value)
    return value


def _once_each(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise BadRequest("body", expected="each member once", got=members)
    return members


def _no_constant(_name: str) -> object:
    raise ValueError("NaN and Infinity are no JSON")


def _read(environ: Environ, most: int) -> bytes:
    try:
        body: bytes = environ["wsgi.input"].read(most)
    except BlockingIOError:
        raise RequestRefused(408, "body: did not come in time") from None
    except (OSError, ParseException):  # the caller went away, or his chunks are none
        raise RequestRefused(400, "body: cannot be read to its end") from None
    return body


def _is_chunked(environ: Environ) -> bool:
    return "HTTP_TRANSFER_ENCODING" in environ


def _too_long(most: int) -> RequestRefused:
    return RequestRefused(413, f"body: expected at most {most} bytes")
