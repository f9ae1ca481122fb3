"""A time that a person chose, as a browser's field for date and time gives it."""

from collections.abc import Mapping
from datetime import UTC, datetime

from proxy.errors import BadRequest

_YEARS = range(1970, 9999)  # a stream's id has no time before 1970, and a day more must still be a time


def moment(asked: Mapping[str, str], name: str) -> datetime | None:
    """Without a zone it is UTC; None: none was chosen. Raises BadRequest."""
    text = asked.get(name, "")
    if not text:
        return None
    try:
        given = datetime.fromisoformat(text)
        found = given.astimezone(UTC) if given.tzinfo else given.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        found = None
    if found is None or found.year not in _YEARS:
        raise BadRequest(name, expected="a time like 2026-11-23T09:30", got=text)
    return found
