"""Times as whole milliseconds since 1970, UTC. Integers all the way: floating point loses one now and then."""

from datetime import UTC, datetime, timedelta

_EPOCH = datetime.fromtimestamp(0, UTC)
MS = timedelta(milliseconds=1)
TOLERATED_SKEW = timedelta(minutes=1)  # clocks that differ by more are wrong, one of them at least


def to_ms(when: datetime) -> int:
    return (when - _EPOCH) // MS


def from_ms(ms: int) -> datetime:
    """Raises OverflowError beyond the year 9999."""
    return _EPOCH + ms * MS
