"""A JWT as it came: its parts, read strictly and proven by nothing yet. Pure.

PyJWT reads the compact form (RFC 7515, 3.1). RFC 8725, 2.4: one text must mean one thing to everybody, so what it would
take beyond that is refused here: padding, members that are named twice, NaN, and encodings other than UTF-8.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jwt
from jwt.utils import base64url_decode

from proxy.strict_json import BadJson, read_object

_JWS = jwt.PyJWS()


class Malformed(ValueError):
    """No JWT that we would take; holds none of it."""


@dataclass(frozen=True)
class Unverified:
    """What a token claims. `algorithm` and `kid` serve to choose among our own keys, never to make one."""

    algorithm: str
    kid: str | None
    claims: Mapping[str, Any] = field(repr=False)
    signing_input: bytes = field(repr=False)
    signature: bytes = field(repr=False)


def parse_jws(text: str) -> Unverified:
    """Read "header.payload.signature". Raises Malformed.

    A header that asks for what we do not do ("crit", RFC 7515 4.1.11; "b64", RFC 7797) is refused, and so is one whose
    "typ" says that the token is for another purpose (RFC 8725, 3.11). "jku", "x5u", "jwk", "x5c" are not looked at.
    """
    if "=" in text:
        raise Malformed
    try:
        parts = _JWS.decode_complete(text, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError):
        raise Malformed from None
    head, _, _ = text.partition(".")
    header, claims = _object(base64url_decode(head)), _object(parts["payload"])
    algorithm, kid, kind = header.get("alg"), header.get("kid"), header.get("typ", "JWT")
    if not isinstance(algorithm, str) or not isinstance(kind, str) or "crit" in header or "b64" in header:
        raise Malformed
    if kind.lower().endswith("+jwt") and not kind.lower().endswith("at+jwt"):
        raise Malformed
    return Unverified(algorithm, kid, claims, text.rpartition(".")[0].encode(), parts["signature"])


def _object(text: bytes) -> dict[str, Any]:
    try:
        return read_object(text, unique=True)
    except BadJson:
        raise Malformed from None
