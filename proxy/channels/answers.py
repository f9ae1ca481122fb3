"""Reading what providers answer: any bytes are a JSON object or none, and no text of theirs gets far."""

import json
from collections.abc import Mapping
from datetime import timedelta

_LONGEST_WAIT = timedelta(hours=1)


def json_object(body: bytes) -> dict[str, object] | None:
    """The JSON object that the body is; None for anything else."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):  # the latter: thousands of opening brackets
        return None
    return value if isinstance(value, dict) else None


def retry_after(headers: Mapping[str, str]) -> timedelta:
    """What Retry-After asks for in seconds, an hour at most; zero where it is absent or a date."""
    value = headers.get("retry-after", "").strip()
    if not (value.isascii() and value.isdecimal()):
        return timedelta(0)
    return min(timedelta(seconds=int(value[:6])), _LONGEST_WAIT)


def printable(text: str, limit: int = 60) -> str:
    """At most `limit` characters, the ones that are not printable ASCII as "?"."""
    if text.isascii() and text.isprintable():
        return text[:limit]
    return "".join(character if " " <= character <= "~" else "?" for character in text[:limit])
