"""A message and the people whom it did not reach: what intake stores and plan reads."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from proxy.domain.alerts import Alert, AlertText, Order
from proxy.domain.callbacks import Callback, Recipient
from proxy.domain.forwards import Copy
from proxy.domain.times import TOLERATED_SKEW, to_ms


@dataclass(frozen=True)
class OfflineMessage:
    """`accepted_at` is when we answered 200 (aware UTC); `sent_at_ms` 0 and `sequence` "" where MIMC named none."""

    message_id: str
    app_id: str
    conversation: str
    sender: str
    recipients: tuple[Recipient, ...]
    payload: bytes = field(repr=False)
    biz_type: str
    sequence: str
    sent_at_ms: int
    accepted_at: datetime

    @property
    def order(self) -> Order:
        sequence = int(self.sequence) if self.sequence.isascii() and self.sequence.isdigit() else 0
        return Order(sequence, self.sent_at_ms, to_ms(self.accepted_at))

    def alert(self, text: AlertText, life: timedelta, *, urgent: bool = False) -> Alert:
        return Alert(self.message_id, self.conversation, text, self.order, self._expires_at(life), urgent)

    def _expires_at(self, life: timedelta) -> datetime:
        """`life` after our acceptance; the message's own time shortens it where it is within a day of our clock."""
        age = to_ms(self.accepted_at) - self.sent_at_ms
        believable = self.sent_at_ms and 0 < age < timedelta(days=1) // timedelta(milliseconds=1)
        return self.accepted_at + life - (timedelta(milliseconds=age) if believable else timedelta(0))


class Letter(NamedTuple):
    """What intake puts in the inbox; `callback_id` tells a repeat from another callback about the same message.

    `copies` go to webhooks. `is_planned` False: it is for them alone, and its message has no readers.
    """

    message: OfflineMessage
    callback_id: str
    copies: tuple[Copy, ...] = ()
    is_planned: bool = True


def is_from_the_future(callback: Callback, now: datetime) -> bool:
    """Its timestamp is no time at which it can have been written."""
    return callback.sent_at is not None and callback.sent_at - now > TOLERATED_SKEW


def offline_message(callback: Callback, accepted_at: datetime) -> OfflineMessage:
    """What plan needs of an OFFLINE_* callback.

    One from the future counts as sent now: else no later message of its conversation would be shown until that time.
    """
    sent_at = accepted_at if is_from_the_future(callback, accepted_at) else callback.sent_at
    return OfflineMessage(
        message_id=callback.message_id,
        app_id=callback.app_id,
        conversation=callback.conversation,
        sender=callback.from_account,
        recipients=callback.recipients,
        payload=callback.payload,
        biz_type=callback.biz_type,
        sequence=callback.sequence or "",
        sent_at_ms=to_ms(sent_at) if sent_at else 0,
        accepted_at=accepted_at,
    )
