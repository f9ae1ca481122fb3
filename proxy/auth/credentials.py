"""What a caller shows, and what a way of proving a user makes of it. No web framework in sight."""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

MAX_ACCOUNT_BYTES = 256


@dataclass(frozen=True)
class Credentials:
    """The value of the Authorization header and the cookies, as they came."""

    authorization: str | None = field(repr=False)
    cookies: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True)
class Authenticated:
    """A user. `bound_app` names the section that the proof is good for, None: any."""

    app_account: str
    bound_app: str | None
    backend: str


@dataclass(frozen=True)
class Refused:
    """No user; `reason` is a word of ours for the log, never content."""

    reason: str


class Backend(Protocol):
    """One way of proving a user. Raises nothing, whatever the credentials hold."""

    def authenticate(self, credentials: Credentials) -> Authenticated | Refused: ...


def is_account(value: object) -> bool:
    """Can this be an appAccount? Any text that is not empty, of at most 256 bytes in UTF-8, without control characters.

    It is compared and passed on as it is: a client's SDK insists on the very same text, so nothing is normalised.
    """
    if not isinstance(value, str) or not value:
        return False
    try:
        fits = len(value.encode()) <= MAX_ACCOUNT_BYTES
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return fits and not any(unicodedata.category(character) == "Cc" for character in value)
