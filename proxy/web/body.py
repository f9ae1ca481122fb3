"""A request's body: bounded, out of gzip, and as JSON where a route wants that."""

import zlib
from typing import Any

from proxy import strict_json
from proxy.errors import BadRequest
from proxy.strict_json import BadJson
from proxy.web.envelope import HttpRefusal

MAX_JSON = 64 * 1024
_GZIP = 16 + zlib.MAX_WBITS

Environ = dict[str, Any]


def read_body(environ: Environ, most: int) -> bytes:
    """The whole body, out of gzip, at most `most` bytes. Raises HttpRefusal: 413, 415, 400 where it is no gzip.

    Reads the server's stream itself, which costs a fifth of `request.get_data()`. The stream holds one whole body, for
    the server has collected it (`collecting`), and ends with it (PEP 3333).
    """
    body: bytes = environ["wsgi.input"].read(most + 1)
    if len(body) > most:
        raise _too_long(most)
    coding = environ.get("HTTP_CONTENT_ENCODING")
    return body if coding is None else _decoded(body, coding.strip().lower(), most)


def read_object(environ: Environ) -> dict[str, object]:
    """The body as a JSON object; none at all is an empty one. Raises BadRequest."""
    body = read_body(environ, MAX_JSON)
    if not body.strip():
        return {}
    try:
        return strict_json.read_object(body, unique=True)  # a proxy that checked the body may have read the other one
    except BadJson as error:
        raise BadRequest("body", expected=error.expected, got=error.value) from None


def _decoded(body: bytes, coding: str, most: int) -> bytes:
    if coding in ("", "identity"):
        return body
    if coding not in ("gzip", "x-gzip"):
        raise HttpRefusal(415, "Content-Encoding: expected gzip, or none", {"Accept-Encoding": "gzip, identity"})
    gunzip = zlib.decompressobj(_GZIP)
    try:
        plain = gunzip.decompress(body, most + 1)  # never more, whatever the little that came would become
    except zlib.error:
        raise HttpRefusal(400, "body: is no gzip") from None
    if len(plain) > most:
        raise _too_long(most)
    if not gunzip.eof or gunzip.unused_data:
        raise HttpRefusal(400, "body: expected one whole gzip member")
    return plain


def _too_long(most: int) -> HttpRefusal:
    return HttpRefusal(413, f"body: expected at most {most} bytes")
