"""Dead letters: what ended without an alert and waits for a person, without what people wrote."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum, StrEnum, auto
from typing import assert_never

from proxy.domain.forwards import Forward
from proxy.domain.jobs import Job
from proxy.domain.offline_messages import OfflineMessage


class Cause(StrEnum):
    """The class of a reason, to choose letters by and to count them by; the values are kept in the store."""

    EXPIRED = "expired"  # the alert's life ended while it waited or was tried
    REJECTED = "rejected"  # the provider, or the channel itself, can never take it as it is
    MISADDRESSED = "misaddressed"  # the push token does not fit the app or the environment
    UNREGISTERED = "unregistered"  # the provider calls the push token dead, yet the registration stays
    POISON = "poison"  # taken over too often without an end
    UNREADABLE = "unreadable"  # a record that this program cannot read
    INTERNAL = "internal"  # a bug of ours
    UNKNOWN = "unknown"  # said by another version of this program


@dataclass(frozen=True)
class Unread:
    """A record that could not be read: where it came from ("" and "": the callbacks), and its size in bytes."""

    app: str
    channel: str
    size: int


@dataclass(frozen=True)
class DeadLetter:
    """One dead letter. `id` is its entry's in its appId's stream; `at` is aware UTC.

    `subject` has no words of people: a job's text, a message's payload and a webhook's body are empty here. None: an
    earlier program kept nothing but the reason.
    """

    id: str
    app_id: str
    at: datetime
    cause: Cause
    reason: str
    subject: Job | OfflineMessage | Forward | Unread | None

    @property
    def app(self) -> str:
        """Its section; "" for a callback, which is for all sections of its appId."""
        return self.subject.app if isinstance(self.subject, Job | Forward | Unread) else ""

    @property
    def channel(self) -> str:
        return self.subject.channel if isinstance(self.subject, Job | Forward | Unread) else ""

    @property
    def kind(self) -> str:
        match self.subject:
            case Job():
                return "job"
            case OfflineMessage():
                return "callback"
            case Forward():
                return "webhook"
            case Unread() | None:
                return "record"
            case _:
                assert_never(self.subject)


@dataclass(frozen=True)
class DeadLetterFilter:
    """Which letters are meant; what is None bounds nothing. A section's are also the callbacks of its appId."""

    app_id: str | None = None
    app: str | None = None
    channel: str | None = None
    cause: Cause | None = None
    before: datetime | None = None
    after: datetime | None = None

    def takes(self, letter: DeadLetter) -> bool:
        return (
            self.app_id in (None, letter.app_id)
            and (self.app is None or letter.app in (self.app, ""))
            and self.channel in (None, letter.channel)
            and self.cause in (None, letter.cause)
            and (self.before is None or letter.at < self.before)
            and (self.after is None or letter.at >= self.after)
        )


class PutBack(Enum):
    """What became of a dead letter that was to go back to work."""

    DONE = auto()
    GONE = auto()  # it was put back or dropped before
    FULL = auto()  # its stream is at its cap; the dead letter stays


def revived(job: Job, letter: DeadLetter, now: datetime, life: timedelta) -> Job:
    """The job of a letter as it goes back to its lane: worth showing for `life` at least, and tried anew.

    It keeps its id, and so what it is called on the wire; its history goes on.
    """
    alert = replace(job.alert, expires_at=max(job.alert.expires_at, now + life))
    anew = replace(job, alert=alert, attempt=0, second_chance=False)
    return anew.tried(letter.at, letter.reason).tried(now, "replayed")
