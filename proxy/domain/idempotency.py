"""Calls that a client may repeat, and that are made once: the header Idempotency-Key.

A key belongs to a caller, a method, a path and a section. The first call with it is marked before it leaves, and its
answer is kept for a day; the same call again gets that answer. Where there is no answer, because this process ended or
MIMC was silent, the call may have been carried out: it is never sent again, and the day's repeats are told so.
Source: draft-ietf-httpapi-idempotency-key-header-07.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from proxy.domain.callbacks import digest
from proxy.domain.transfers import Response

KEPT_FOR = timedelta(hours=24)
MOST_CHARACTERS = 255
MOST_KEPT_BYTES = 16 * 1024
MOST_KEPT_OF_A_CALLER = 8 * 1024 * 1024  # in a day: a user with a loop cannot fill the store
MOST_CALLS_OF_A_USER = 10_000  # in a day, with a key: no person taps so often, and each leaves 400 bytes in the store
_QUOTED = re.compile(r'[ \t]*"((?:[ !#-\[\]-~]|\\["\\])*)"[ \t]*')  # RFC 8941, 3.3.3, without parameters
_PLAIN = re.compile(r"[ \t]*([!#-+\--:<-\[\]-~]+)[ \t]*")  # visible ASCII but " \ , and ;
_KEPT_HEADERS = ("content-type", "content-encoding")


@dataclass(frozen=True)
class Call:
    """What a key is for. `name` says which call, as a digest; `content` tells it from another with the same key.

    `caller` is one for all that a user or a service sends.
    """

    name: str
    content: bytes
    caller: str


@dataclass(frozen=True)
class Begun:
    """The call is this one's to make, which then says how it ended. `owner` tells it from others with its key."""

    call: Call
    owner: str
    began_ms: int


@dataclass(frozen=True)
class Answered:
    """The first answer. `body` None: it was too long to keep, or its caller has had too much kept.

    Then its status is told all the same. That the call was carried out is what matters most: with an error instead the
    client would take another key and do it twice.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes | None = field(repr=False)


@dataclass(frozen=True)
class Running:
    """The first call is under way, for `wait_ms` at most."""

    wait_ms: int


@dataclass(frozen=True)
class Different:
    """The key was used for another content."""


@dataclass(frozen=True)
class MayHaveBeenSent:
    """The first call was cut off."""


Found = Begun | Answered | Running | Different | MayHaveBeenSent


def read_key(header: str) -> str | None:
    """The key in a header's value; None: it holds none, or several. As a Structured Field string has quotes around it,
    and many clients send none.
    """
    if quoted := _QUOTED.fullmatch(header):
        key = re.sub(r"\\(.)", r"\1", quoted[1])
    else:
        plain = _PLAIN.fullmatch(header)
        key = plain[1] if plain else ""
    return key if 1 <= len(key) <= MOST_CHARACTERS else None


def call_of(key: str, caller: str, method: str, path: str, section: str, content: bytes) -> Call:
    """`content` is the body, and a query where there is one.

    What is kept of the content is keyed with the key, which the store does not have: short words cannot be guessed by
    who reads the store.
    """
    mark = hmac.digest(key.encode(), content, hashlib.sha256)
    return Call(digest("idempotency", caller, method, path, section, key), mark, caller)


def answer_to_keep(answer: Response) -> Answered:
    """What is kept of MIMC's answer."""
    headers = {name: value for name in _KEPT_HEADERS if (value := answer.headers.get(name)) is not None}
    size = len(answer.body) + sum(map(len, headers.values()))
    return Answered(answer.status, headers, answer.body if size <= MOST_KEPT_BYTES else None)
