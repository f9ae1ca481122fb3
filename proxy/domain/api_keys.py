"""API keys: by one the developer's own server shows which service it is.

A service acts for one account of one section, and may do what the scopes of its key name. The bearer is shown once; the
store has its SHA-256 alone. A slow hash, as passwords need, would protect nothing: 32 random bytes cannot be guessed,
and each call would cost 30 ms of CPU. The id is the start of that hash. It is no secret: lists and logs have it, and it
can be told of a key that is not known any more.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from proxy.domain.bearers import API_KEY_PREFIX

KEY_BYTES = 32  # of chance in a bearer
_ID_DIGITS = 16
_ID = re.compile(rf"[0-9a-f]{{{_ID_DIGITS}}}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class Scope(StrEnum):
    """What a service may do."""

    PUSH_SEND = "push:send"  # send messages from its own account
    PUSH_SEND_AS_ANYONE = "push:send-as-anyone"  # from any account
    TOPICS_ADMIN = "topics:admin"  # all that concerns groups
    HISTORY_READ = "history:read"
    PRESENCE_READ = "presence:read"
    DEVICES_READ = "devices:read"
    DEVICES_WRITE = "devices:write"  # of any account


@dataclass(frozen=True)
class ApiKey:
    """What is known of a key; nothing of it lets anybody in.

    `account` is who the service is for MIMC, in the section `app`. `last_used_at` is up to two minutes old; None: it
    was never used.
    """

    id: str
    name: str
    app: str
    account: str
    scopes: frozenset[Scope]
    created_at: datetime
    last_used_at: datetime | None = None
    bearer_hash: str = field(
        default="", repr=False, compare=False
    )  # by which the store knows it; "" for one that is not there yet


def new_bearer(chance: bytes) -> str:
    """What the server will show. `chance` is KEY_BYTES of it, which no one else knows."""
    if len(chance) < KEY_BYTES:
        raise ValueError(f"expected {KEY_BYTES} bytes at least")
    return API_KEY_PREFIX + chance.hex()


def hash_of(bearer: str) -> str:
    """What is kept of a bearer: its SHA-256, in hex."""
    return hashlib.sha256(bearer.encode("utf-8", "surrogatepass")).hexdigest()


def id_of(bearer_hash: str) -> str:
    return bearer_hash[:_ID_DIGITS]


def can_be_a_name(text: str) -> bool:
    """It has 1 to 64 letters, digits, `_`, `.` and `-`, and cannot be taken for an id."""
    return bool(_NAME.fullmatch(text)) and not _ID.fullmatch(text)


def known_scopes(names: Iterable[str]) -> frozenset[Scope]:
    """Those that this program knows. A later one's are left out: less is allowed then, never more."""
    asked = frozenset(names)
    return frozenset(scope for scope in Scope if scope.value in asked)
