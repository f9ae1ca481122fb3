"""What can go wrong, as one tree. Everything an outsider can cause has a status and a message without content.

ProxyError
  +-- BadSettings            the configuration cannot be used; every fault at once
  +-- StoreUnavailable       Redis, or the accounts' database, did not answer; nothing is lost
  +-- StoreFull              a stream is at its cap; nothing is trimmed, the caller repeats
  +-- SpoolRefused           nor could this machine's disk keep a callback; the caller repeats
  +-- RequestRefused         an HTTP answer of ours other than success: status, message
        +-- BadCallback      400, names the field, what we expected and the type we got
        +-- BadRequest       400, the same for the clients' routes
"""


class ProxyError(Exception):
    """Ours; everything else that escapes is a bug."""


class BadSettings(ProxyError):
    """One line per fault."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class StoreUnavailable(ProxyError):
    """The store cannot be reached, is loading, or refuses writes. `retry_after_s` is our advice to the caller."""

    retry_after_s = 5


class StoreFull(StoreUnavailable):
    """A stream has reached its cap."""

    retry_after_s = 30


class SpoolRefused(StoreUnavailable):
    """The store is away, and the spool is full or failing. `reason` is of a closed set, see spool/folder.py."""

    def __init__(self, reason: str, told: str) -> None:
        super().__init__(f"the store does not answer, and {told}")
        self.reason = reason
        self.told = told


class RequestRefused(ProxyError):
    """Ends a request with `status` and MIMC's envelope around `message`."""

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers or {}


class _BadField(RequestRefused):
    def __init__(self, field: str, *, expected: str, got: object) -> None:
        super().__init__(400, f"{field}: expected {expected}, got {json_type(got)}")
        self.field = field


class BadCallback(_BadField):
    """A body that no callback can be."""


class BadRequest(_BadField):
    """A client's body that the route cannot be asked with."""


_ABSENT = object()


def json_type(value: object = _ABSENT) -> str:
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
