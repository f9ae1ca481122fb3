"""What a provider says of a push after it accepted it: whether it reached its phone, and what became of it there."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType


class Delivery(StrEnum):
    """What became of an alert at its target."""

    DELIVERED = "delivered"
    CLICKED = "clicked"
    INVALID_TARGET = "invalid target"
    BLOCKED_BY_USER = "blocked by the user"
    FILTERED = "filtered"
    OVER_QUOTA = "over quota"
    EXPIRED = "expired"
    OTHER = "other"  # of a kind that is newer than this program


# how the history says it: "expired" alone is what we say of a message
NOTED = MappingProxyType({
    **{what: str(what) for what in Delivery},
    Delivery.EXPIRED: "expired at the provider",
    Delivery.OTHER: "receipt of another kind",
})  # fmt: skip


@dataclass(frozen=True)
class ReceiptReference:
    """What we gave the provider to be repeated: of which message the push was, and when we sent it (aware UTC)."""

    message_id: str
    sent_at: datetime


@dataclass(frozen=True)
class DeliveryReceipt:
    """One event of one push, for counting, for the store, and for the message's story.

    `targets` are push tokens, or accounts where those are the address. `at` is the provider's time (aware UTC), None
    where it gave none; `latency` runs from our sending to then, never under zero.
    """

    app: str
    channel: str
    what: Delivery
    reference: ReceiptReference
    targets: tuple[str, ...] = field(repr=False)
    by_account: bool
    at: datetime | None

    @property
    def latency(self) -> timedelta | None:
        return None if self.at is None else max(self.at - self.reference.sent_at, timedelta(0))


@dataclass(frozen=True)
class QuotaUse:
    """How many of a day's alerts are spent. `of` is the allowance."""

    used: int
    of: int

    @property
    def share(self) -> float:
        return self.used / self.of if self.of > 0 else 0.0
