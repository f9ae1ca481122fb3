"""A JWT as it came: its parts, read strictly and proven by nothing yet. Pure.

RFC 7515, 3.1: three parts in base64url without padding. RFC 8725, 2.4: one text must mean one thing to everybody, so
duplicate members, NaN, foreign encodings and loose base64 are refused, although Python's parsers would take them.
"""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from proxy.strict_json import BadJson, read_object

_BASE64URL = re.compile(r"[A-Za-z0-9_-]*", re.ASCII)


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
    parts = text.split(".")
    if len(parts) != 3:
        raise Malformed
    header, claims = (_object(_decoded(part)) for part in parts[:2])
    algorithm, kid, kind = header.get("alg"), header.get("kid"), header.get("typ", "JWT")
    if not isinstance(algorithm, str) or not isinstance(kid, str | None) or not isinstance(kind, str):
        raise Malformed
    if "crit" in header or "b64" in header or (kind.lower().endswith("+jwt") and not kind.lower().endswith("at+jwt")):
        raise Malformed
    return Unverified(algorithm, kid, claims, f"{parts[0]}.{parts[1]}".encode(), _decoded(parts[2]))


def _decoded(part: str) -> bytes:
    if not _BASE64URL.fullmatch(part) or len(part) % 4 == 1:
        raise Malformed
    decoded = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    if base64.urlsafe_b64encode(decoded).rstrip(b"=") != part.encode():  # bits that are in no byte
        raise Malformed
    return decoded


def _object(text: bytes) -> dict[str, Any]:
    try:
        return read_object(text, unique=True)
    except BadJson:
        raise Malformed from None
