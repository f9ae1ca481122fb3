"""What can go wrong, as one tree. What an outsider can cause has a message without content.

ProxyError
  +-- BadSettings            the configuration cannot be used; every fault at once
  +-- StoreUnavailable       Redis, or the accounts' database, did not answer; nothing is lost
  +-- StoreFull              a stream is at its cap; nothing is trimmed, the caller repeats
  +-- SpoolRefused           nor could this machine's disk keep a callback; the caller repeats
  +-- Refusal                what a caller asks is not done; web/envelope.py has the HTTP status of each kind
        +-- BadField         a member is missing or of another shape: its name, what we expected, the type we got
        |     +-- BadCallback      in what MIMC posts
        |     +-- BadRequest       in what a client sends
        +-- NotSignedIn      no session, or a wrong password
        +-- NotAllowed       it is another user's or another app's
        +-- NotFound         it is not configured or not registered here
        +-- NotPossible      the app cannot reach such a device
"""


class ProxyError(Exception):
    """Ours; everything else that escapes is a bug."""


class BadSettings(ProxyError):
    """One line per fault."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class StoreUnavailable(ProxyError):
    """The store cannot be reached, is loading, or refuses writes. `retry_after_s` is our advice to the caller.

    `at`: which server, for the operator alone.
    """

    retry_after_s = 5

    def __init__(self, message: str, at: str = "") -> None:
        super().__init__(message)
        self.at = at


class StoreFull(StoreUnavailable):
    """A stream has reached its cap."""

    retry_after_s = 30


class SpoolRefused(StoreUnavailable):
    """The store is away, and the spool is full or failing. `reason` is of a closed set, see spool/folder.py."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"the store does not answer, and {detail}")
        self.reason = reason
        self.detail = detail


class Refusal(ProxyError):
    """`message` is for the caller: it repeats nothing of what they sent."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class BadField(Refusal):
    """`got` is the value that was found, `...` where there is none; only its type is shown."""

    def __init__(self, field: str, *, expected: str, got: object) -> None:
        super().__init__(f"{field}: expected {expected}, got {json_type(got)}")
        self.field = field


class BadCallback(BadField):
    """Invalid callback body."""


class BadRequest(BadField):
    """Invalid request of a client."""


class NotSignedIn(Refusal):
    """No user is proven: sign in, or sign in again."""


class NotAllowed(Refusal):
    """What is named belongs to another user or to another app."""


class NotFound(Refusal):
    """What is named is not configured or not registered here."""


class NotPossible(Refusal):
    """The app's settings have no way to do it."""


def json_type(value: object) -> str:
    """The JSON name of a value's type, for messages that must not show the value."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case dict():
            return "object"
        case bytes():
            return "bytes"
        case _:
            return "nothing"
