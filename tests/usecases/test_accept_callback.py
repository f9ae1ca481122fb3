"""What reaches the store, and what only an answer."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from proxy.domain.callbacks import Callback, CallbackOrigin, Ignored, Kind, Receipt, Recipient
from proxy.domain.offline_messages import OfflineMessage, offline_message
from proxy.errors import StoreUnavailable
from proxy.usecases.accept_callback import Acceptance, accept_callback

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
LIFE = timedelta(hours=24)
ORIGIN = CallbackOrigin("1", ("1",), None, None)


@dataclass
class Inbox:
    duplicate: bool = False
    spooled: bool = False
    taken: list[tuple[OfflineMessage, str]] = field(default_factory=list)

    def accept(self, message: OfflineMessage, callback_id: str) -> Receipt:
        self.taken.append((message, callback_id))
        return Receipt(self.duplicate, self.spooled)


class BrokenInbox:
    def accept(self, message: OfflineMessage, callback_id: str) -> Receipt:  # noqa: ARG002  the port's signature
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
    assert accept_callback(missed, inbox, now=NOW, dedupe_ttl=LIFE) is Acceptance.ACCEPTED
    assert inbox.taken == [(offline_message(missed, NOW), missed.callback_id)]


def test_what_lies_on_the_disk_is_told_from_what_the_store_has() -> None:
    assert accept_callback(callback(), Inbox(spooled=True), now=NOW, dedupe_ttl=LIFE) is Acceptance.SPOOLED


def test_a_repeat_is_told_from_the_first() -> None:
    assert accept_callback(callback(), Inbox(duplicate=True), now=NOW, dedupe_ttl=LIFE) is Acceptance.DUPLICATE


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
    assert accept_callback(given, BrokenInbox(), now=NOW, dedupe_ttl=LIFE) is acceptance


def test_a_store_that_is_away_is_no_acceptance() -> None:
    with pytest.raises(StoreUnavailable):
        accept_callback(callback(), BrokenInbox(), now=NOW, dedupe_ttl=LIFE)
