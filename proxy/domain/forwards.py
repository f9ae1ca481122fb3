"""A callback on its way to one webhook."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import NamedTuple

from proxy.domain.lanes import Lane


@dataclass(frozen=True)
class Forward:
    """`id` is the callback's, the same in all tries and for all webhooks. `channel` is that of the webhook's lane.

    `body` is what MIMC posted, as it is to be passed on. Tried until `until` (aware UTC), so far `attempt` times;
    `reason` says why the last try failed.
    """

    app: str
    channel: str
    id: str
    kind: str
    until: datetime
    body: bytes = field(repr=False)
    attempt: int = 0
    reason: str = ""

    def failed(self, reason: str) -> "Forward":
        return replace(self, reason=reason)

    def without_words(self) -> "Forward":
        return replace(self, body=b"")

    def revived(self, now: datetime, life: timedelta) -> "Forward":
        """As it goes back to its lane: tried anew, for `life` at least, under the same id."""
        return replace(self, until=max(self.until, now + life), attempt=0)


class Copy(NamedTuple):
    """A callback for one webhook's lane, which holds `most` of them."""

    lane: Lane
    forward: Forward
    most: int
