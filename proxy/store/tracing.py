"""What is known of an account's alerts, a device's, a message's or a conversation's: the history, what has not ended,
and what is set for the account now. For an operator who asks why there was an alert, or none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from proxy.domain.devices import Device
from proxy.domain.history import Note, Noted, shortened
from proxy.domain.lanes import Lane
from proxy.domain.preferences import Preferences
from proxy.store.connection import Store
from proxy.store.devices.registry import RedisDeviceRegistry
from proxy.store.history_records import sign_of_conversation
from proxy.store.queue.history import RedisHistory
from proxy.store.queue.unended import MOST as ALL_UNENDED
from proxy.store.queue.unended import RedisUnended
from proxy.store.users.blocks import RedisBlocks
from proxy.store.users.preferences import RedisPreferences


@dataclass(frozen=True)
class Question:
    """What is asked for; what is None narrows nothing down. `message` may be shortened."""

    since: datetime
    until: datetime | None = None
    message: str | None = None
    account: str | None = None
    device: str | None = None
    conversation: str | None = None

    def is_about(self, note: Note) -> bool:
        return (
            (self.message is None or shortened(self.message) == note.message_id)
            and self.account in (None, note.account)
            and self.device in (None, note.device_id)
            and self.conversation in (None, note.conversation)
        )

    def holds(self, noted: Noted) -> bool:
        return self.since <= noted.at and (self.until is None or noted.at < self.until) and self.is_about(noted.note)


@dataclass(frozen=True)
class AccountNow:
    """What is set for an account in one appId."""

    blocked: bool
    preferences: Preferences
    devices: Sequence[Device]


@dataclass(frozen=True)
class Found:
    """What is known in one appId. `now` None: no account was named. `is_all` False: there may be more."""

    app_id: str
    reaches_back_to: datetime | None
    noted: Sequence[Noted]
    now: AccountNow | None
    is_all: bool = True


@dataclass(frozen=True)
class Tracer:
    """`app_ids` maps a section's name to its appId; `lanes` are all of the settings. At most `most` notes of an appId
    are found, and of each stream of what has not ended `unended` records are looked at.

    Every method raises StoreUnavailable.
    """

    store: Store
    app_ids: Mapping[str, str]
    lanes: Sequence[Lane]
    most: int
    unended: int = ALL_UNENDED

    def find(self, section: str, question: Question, now: datetime) -> Found:
        """The latest that is known in the appId of `section`, the oldest first."""
        app_id, history = self.app_ids[section], RedisHistory(self.store, self.app_ids)
        noted, is_all = self._filed(history, section, question)
        unended = RedisUnended(self.store, self.lanes, self.unended).notes(app_id, now, question.is_about)
        waits = [one for one in unended if question.until is None or question.until >= now]
        about = self.account_now(section, question.account) if question.account else None
        return Found(app_id, history.reaches_back_to(section), [*noted, *waits[: self.most]], about, is_all)

    def account_now(self, section: str, account: str) -> AccountNow:
        """Its devices in all sections of the appId."""
        sections = [name for name, one in self.app_ids.items() if one == self.app_ids[section]]
        registry = RedisDeviceRegistry(self.store, self.app_ids)
        preferences, _ = RedisPreferences(self.store, self.app_ids).read(sections[0], account)
        devices = [one for name in sections for one in registry.devices_of(name, account)]
        return AccountNow(RedisBlocks(self.store).is_blocked(account, None), preferences, devices)

    def _filed(self, history: RedisHistory, section: str, question: Question) -> tuple[list[Noted], bool]:
        if question.account is not None:
            found = history.of_account(section, question.account, question.since, self.most)
        elif question.message is not None:
            found = history.of_message(section, question.message, question.since)
        elif question.device is not None:
            found = history.of_device(section, question.device, question.since)
        else:
            sign = b"" if question.conversation is None else sign_of_conversation(question.conversation)
            return history.latest(section, question.since, question.until, sign, question.holds, self.most)
        return [one for one in found if question.holds(one)][-self.most :], len(found) < self.most
