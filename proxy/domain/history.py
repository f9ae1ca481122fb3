"""How each message ended for each account and device: what is kept to answer "why was there no alert?".

A note is made when something has ended, or when a job is put off for the first time. What has not ended needs none: it
lies in the store as a callback or a job.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from proxy.domain.jobs import Job, Try

KEPT = timedelta(days=7)
_SHORT = 16


class Reason(StrEnum):
    """Why there is no job, or none yet, and what became of an alert later.

    How a job ended says decisions.Result, what the phone did receipts.NOTED. The values are kept in the store.
    """

    KIND_IS_SILENT = "its type is not shown"
    OWN_MESSAGE = "own message"
    EXPIRED = "expired"
    RECALLED = "recalled before it was planned"
    NO_DEVICE = "no device"
    BLOCKED = "blocked"
    PRESENT = "has the app open"
    MUTED = "conversation is muted"
    ONLINE = "login was online"
    CHANNEL_OFF = "channel is off"
    PLANNED_BEFORE = "planned before"
    FOLDED = "folded into"  # the reason is the message that names the fold
    POISON = "poison callback"
    NAMES_NONE = "names no message that is known"
    TAKEN_BACK = "taken back"
    NOT_TAKEN_BACK = "not taken back"
    WAITS_FOR_PLAN = "waits for its plan"
    WAITS_FOR_ROOM = "waits for a full lane"
    WAITS_FOR_TRY = "waits for its next try"
    WAITS_IN_LANE = "waits in its lane"


@dataclass(slots=True)
class Note:
    """How one message ended for one account; `device_id` "": for none of its devices alone. Never with text.

    `message_id` is shortened: every message of 7 days has a note. `result` is a Reason, a decisions.Result, one of
    receipts.NOTED, or what another version of this program says; `reason` the provider's word, or ours. Of the times
    (ms; 0: unknown, or it did not come so far) `sent_at_ms` is MIMC's as it was given, the others are the store's; a
    receipt's end is the provider's. `ended_at_ms` of what was pushed is when it was answered. `silent`: it arrives
    without a sound. Not frozen, because freezing costs two microseconds.
    """

    message_id: str
    conversation: str
    accepted_at_ms: int
    sent_at_ms: int
    result: str
    account: str
    device_id: str = ""
    app: str = ""
    channel: str = ""
    reason: str = ""
    silent: bool = False
    planned_at_ms: int = 0
    pushed_at_ms: int = 0
    ended_at_ms: int = 0
    tries: tuple[Try, ...] = ()


@dataclass(slots=True)
class JobEnd:
    """How a job ended, or why it is put off: its note, before that is made. Not frozen, as Note."""

    job: Job
    result: str
    reason: str = ""
    planned_at_ms: int = 0
    pushed_at_ms: int = 0
    ended_at_ms: int = 0

    @property
    def note(self) -> Note:
        job, alert = self.job, self.job.alert
        order = alert.order
        return Note(
            shortened(alert.message_id), alert.conversation, order.accepted_at_ms, order.sent_at_ms, self.result,
            job.account, job.device_id, job.app, job.channel, self.reason, alert.silent,
            self.planned_at_ms or job.planned_at_ms, self.pushed_at_ms, self.ended_at_ms, job.history,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Noted:
    """A note, and when it was made (aware UTC)."""

    at: datetime
    note: Note


def shortened(message_id: str) -> str:
    """The first 16 hex digits: 64 bits tell the messages of a week apart."""
    return message_id[:_SHORT]
