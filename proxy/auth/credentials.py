"""What a caller shows, and what a way of proving a user makes of it. It knows no web framework."""

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

MAX_ACCOUNT_BYTES = 256

# RFC 6750, 2.1: the scheme's name in any case, one space or more, b64token.
_BEARER = re.compile(r"bearer +([A-Za-z0-9\-._~+/]+=*)", re.IGNORECASE | re.ASCII)

# They let two accounts look alike, or a text run backwards, and mean nothing by themselves (Unicode UAX 9).
_BIDI_CONTROLS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def _nothing() -> None: ...


@dataclass(frozen=True)
class Credentials:
    """The value of the Authorization header and the cookies, as they came; `client` is the address they came from.

    `ambiguous`: names of cookies that came more than once. A neighbouring host can plant a second one, and servers
    differ in which of them they take: such a cookie proves nothing.

    A backend calls `before_asking` before a question about them leaves this service: whoever is not proved yet must not
    cause any number of them. What it raises ends the search.
    """

    authorization: str | None = field(repr=False)
    cookies: Mapping[str, str] = field(repr=False)
    client: str = ""
    ambiguous: frozenset[str] = frozenset()
    before_asking: Callable[[], None] = field(default=_nothing, repr=False, compare=False)

    def bearer(self) -> str | None:
        """The bearer in the Authorization header; None when it holds none, or more than one."""
        match = _BEARER.fullmatch((self.authorization or "").strip(" \t"))
        return match[1] if match else None


@dataclass(frozen=True)
class Authenticated:
    """A user. `bound_app` names the section that the proof is good for, None: any.

    `session_id` is that of a sign-in which can be ended by itself, None: the proof knows no sessions. `by_cookie`: a
    browser may have sent the proof by itself, at the wish of a foreign page.
    """

    app_account: str
    bound_app: str | None
    backend: str
    session_id: str | None = None
    by_cookie: bool = False


@dataclass(frozen=True)
class Refused:
    """No user. `reason` is one of a closed set of words of the backend, never content.

    `each`: (backend, reason) for every backend that refused, once several were asked.
    """

    reason: str
    each: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Unavailable:
    """The backend cannot decide now; the caller may repeat after a while. `reason` as in Refused."""

    reason: str
    retry_after_s: float = field(default=5, compare=False)


class Backend(Protocol):
    """One way of proving a user. Raises nothing, whatever the credentials hold.

    None: these credentials are not of its kind, another backend may know them.
    """

    def authenticate(self, credentials: Credentials) -> Authenticated | Refused | Unavailable | None: ...


def account_of(value: object) -> str | None:
    """The appAccount that this text is, in NFC: the same name typed on two systems is one account.

    None when it cannot be one: no text, empty, over 256 bytes in UTF-8, or with a control character, half of a
    surrogate pair or a bidi control in it.
    """
    if not isinstance(value, str) or not value or len(value) > 4 * MAX_ACCOUNT_BYTES:  # NFC may shorten a text
        return None
    account = unicodedata.normalize("NFC", value)
    if any(unicodedata.category(character) in {"Cc", "Cs"} or character in _BIDI_CONTROLS for character in account):
        return None
    return account if len(account.encode()) <= MAX_ACCOUNT_BYTES else None
