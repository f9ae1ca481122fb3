"""What reaches the store, and what only an answer."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest

from proxy.domain.callbacks import Callback, CallbackOrigin, Ignored, Kind, Receipt, Recipient
from proxy.domain.offline_messages import Letter, offline_message
from proxy.domain.times import to_ms
from proxy.errors import StoreUnavailable
from proxy.ports import CallbackInbox
from proxy.usecases.accept_callback import Acceptance, acceptance_of, judge_callback

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
LIFE = timedelta(hours=24)
HOUR = timedelta(hours=1)
ORIGIN = CallbackOrigin("1", ("1",), None, None)


@dataclass
class Inbox(CallbackInbox):
    duplicate: bool = False
    spooled: bool = False
    taken: list[Letter] = field(default_factory=list)

    def accept_all(self, letters: Sequence[Letter]) -> list[Receipt | StoreUnavailable]:
        self.taken += letters
        return [Receipt(self.duplicate, self.spooled) for _ in letters]


def accept(
    callback: Callback | Ignored, inbox: CallbackInbox, now: datetime = NOW, second: datetime | None = NOW
) -> Acceptance:
    judged = judge_callback(callback, now=now, second_clock=lambda: second, dedupe_ttl=LIFE)
    return judged if isinstance(judged, Acceptance) else acceptance_of(inbox.accept(judged.message, judged.callback_id))


class BrokenInbox(CallbackInbox):
    def accept_all(self, letters: Sequence[Letter]) -> list[Receipt | StoreUnavailable]:  # noqa: ARG002  the port's signature
        raise StoreUnavailable("the store does not answer")


def callback(
    kind: Kind = Kind.OFFLINE_MSG, sent_at: datetime | None = NOW, recipients: tuple[str, ...] = ("1001",)
) -> Callback:
    return Callback(
        kind=kind,
        app_id="1",
        from_account="1000",
        topic_id=None,
        recipients=tuple(Recipient(account) for account in recipients),
        payload=b"hello",
        origin=ORIGIN,
        sent_at=sent_at,
        sequence="1",
    )


@pytest.mark.parametrize(
    "sent_at", [NOW, NOW - LIFE, NOW + timedelta(days=400), None], ids=["now", "just not stale", "ahead", "unknown"]
)
@pytest.mark.parametrize("kind", [Kind.OFFLINE_MSG, Kind.OFFLINE_TOPIC_MSG])
def test_a_callback_about_people_who_missed_a_message_is_stored(kind: Kind, sent_at: datetime | None) -> None:
    inbox, missed = Inbox(), callback(kind, sent_at)
    assert accept(missed, inbox) is Acceptance.ACCEPTED
    assert inbox.taken == [Letter(offline_message(missed, NOW), missed.callback_id)]


def test_what_lies_on_the_disk_is_told_from_what_the_store_has() -> None:
    assert accept(callback(), Inbox(spooled=True)) is Acceptance.SPOOLED


def test_a_repeat_is_told_from_the_first() -> None:
    assert accept(callback(), Inbox(duplicate=True)) is Acceptance.DUPLICATE


@pytest.mark.parametrize(
    ("given", "acceptance"),
    [
        (Ignored("UCTOPIC_MSG", ORIGIN), Acceptance.IGNORED),
        (callback(Kind.NORMAL_MSG), Acceptance.INSTANT),
        (callback(Kind.NORMAL_TOPIC_MSG, recipients=()), Acceptance.INSTANT),
        (callback(recipients=()), Acceptance.NO_RECIPIENTS),
        (callback(sent_at=NOW - LIFE - timedelta(milliseconds=1)), Acceptance.STALE),
    ],
)
def test_what_can_become_no_alert_never_reaches_the_store(given: Callback | Ignored, acceptance: Acceptance) -> None:
    assert accept(given, BrokenInbox()) is acceptance


def test_a_store_that_is_away_is_no_acceptance() -> None:
    with pytest.raises(StoreUnavailable):
        accept(callback(), BrokenInbox())


@pytest.mark.parametrize(("now", "second"), [(NOW + 25 * HOUR, NOW), (NOW, NOW + 25 * HOUR), (NOW + 25 * HOUR, None)])
def test_one_wrong_clock_or_one_that_is_not_compared_yet_makes_no_callback_stale(
    now: datetime, second: datetime | None
) -> None:
    assert accept(callback(), Inbox(), now, second) is Acceptance.ACCEPTED


def test_a_message_from_the_future_hides_no_later_one_of_its_conversation() -> None:
    first, later = NOW, NOW + timedelta(minutes=5)
    for ahead, sent_at in ((31 * 366 * 24 * HOUR, first), (timedelta(seconds=59), first + timedelta(seconds=59))):
        odd = offline_message(replace(callback(sent_at=first + ahead), sequence=None), first)
        assert odd.sent_at_ms == to_ms(sent_at)
        assert offline_message(replace(callback(sent_at=later), sequence=None), later).order.is_later_than(odd.order)
