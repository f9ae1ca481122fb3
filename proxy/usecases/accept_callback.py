"""What of a callback is taken for good, or why there is nothing to take."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from enum import StrEnum

from proxy.domain.callbacks import Callback, Ignored, Receipt
from proxy.domain.kinds import Kind
from proxy.domain.messages import MessageReading
from proxy.domain.offline_messages import Letter, offline_message


class Acceptance(StrEnum):
    """What became of a callback that may be answered 200; the values are labels of a metric."""

    ACCEPTED = "accepted"
    SPOOLED = "spooled"
    DUPLICATE = "duplicate"
    STALE = "stale"
    INSTANT = "instant"
    NO_RECIPIENTS = "no_recipients"
    IGNORED = "ignored"


def judge_callback(
    callback: Callback | Ignored,
    *,
    now: datetime,
    second_clock: Callable[[], datetime | None],
    dedupe_ttl: timedelta,
    reading: MessageReading | None = None,
) -> Acceptance | Letter:
    """What is put in the inbox, for it may become an alert; or why nothing is.

    A callback older than `dedupe_ttl` is stale: the store would no longer know that it had it. A wrong clock must lose
    none, so `second_clock` has to say so too; it gives None where `now` cannot be relied on. `reading`: instant
    callbacks that say that messages were read or recalled are taken, too; None: there is no use for them.
    """
    if isinstance(callback, Ignored):
        return Acceptance.IGNORED
    if not callback.kind.is_offline:  # MIMC posts the same message again where it misses a reader
        content = reading.withdrawing(callback.payload, callback.biz_type) if reading else None
        if content is None:
            return Acceptance.INSTANT
        if content.kind == Kind.READ and callback.topic_id:  # it is about its sender's phones alone
            callback = replace(callback, recipients=callback.recipients[:1])
    if not callback.recipients:
        return Acceptance.NO_RECIPIENTS
    if is_stale(callback, now=now, second_clock=second_clock, dedupe_ttl=dedupe_ttl):
        return Acceptance.STALE
    return Letter(offline_message(callback, now), callback.callback_id)


def is_stale(
    callback: Callback, *, now: datetime, second_clock: Callable[[], datetime | None], dedupe_ttl: timedelta
) -> bool:
    """The store no longer knows whether it had it."""
    if callback.sent_at is None or now - callback.sent_at <= dedupe_ttl:
        return False
    second = second_clock()
    return second is not None and second - callback.sent_at > dedupe_ttl


def acceptance_of(receipt: Receipt, accepted: Acceptance = Acceptance.ACCEPTED) -> Acceptance:
    """What became of a callback that was put in the inbox; `accepted` where it is stored, and new."""
    if receipt.spooled:
        return Acceptance.SPOOLED
    return Acceptance.DUPLICATE if receipt.duplicate else accepted
