"""One alert for one device: what is planned, waits, is tried, and is settled."""

import uuid
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property

from proxy.domain.alerts import Alert, AlertText
from proxy.domain.callbacks import digest
from proxy.domain.devices import Device, platform_of
from proxy.domain.folds import Fold
from proxy.domain.previews import Preview
from proxy.domain.times import from_ms

HISTORY_MOST = 10
UNHEARD = "its answer was not heard"


@dataclass(frozen=True)
class Try:
    """When a job was tried in vain (aware UTC), and what came of it."""

    at: datetime
    reason: str


@dataclass(frozen=True)
class Job:
    """One alert for one device of an account, or for the account itself where the provider knows accounts.

    `device_id` is "" for the latter. The push token is not part of it: deliver reads the registration again, because a
    phone may have changed hands since. `attempt` counts answers that asked us to come back; `second_chance` is spent
    once, on a device that registered anew after its token had been called dead. `history` lists its tries, the oldest
    first. `token_digest` is the device's when the job was planned, "" where that is not known: it saves a look-up.
    `planned_at_ms` is 0 until it is put off for the first time: before that its entry's id says it. `first_platform` is
    the device's, "" where its channel is of that platform. `seen`: of a fold, how many messages had been put into it
    when it was looked up; -1: it was not, and all of them end with it; 0: it told of none of those that the store has.
    """

    app: str
    channel: str
    account: str
    device_id: str
    alert: Alert
    attempt: int = 0
    second_chance: bool = False
    history: tuple[Try, ...] = ()
    token_digest: str = ""
    planned_at_ms: int = field(default=0, compare=False)
    first_platform: str = ""
    seen: int = field(default=-1, compare=False)

    @cached_property
    def platform(self) -> str:
        return platform_of(self.channel)

    @cached_property
    def mark(self) -> str:
        """Names the target within a message: 20 hex digits. The same at each address of the device."""
        return target_mark(self.app, self.marked_as, self.account, self.device_id)

    @property
    def marked_as(self) -> str:
        return self.first_platform or self.platform

    @cached_property
    def id(self) -> str:
        """The same for every try and every plan of this message for this target: a UUID in canonical form."""
        alert = self.alert
        what: tuple[str, ...] = ("update", alert.update) if alert.update else ("job",)
        if alert.is_fold:  # each time it tells of other messages it is another
            what = ("fold", alert.edition)
        return str(uuid.UUID(digest(*what, alert.message_id, self.mark)))

    def at(self, preview: Preview) -> "Job":
        """The same with as much of its text as may be shown."""
        return self if preview is Preview.FULL else replace(self, alert=self.alert.at(preview))

    def of_fold(self, fold: Fold) -> "Job":
        """An update with what it tells now."""
        alert = replace(
            self.alert, message_id=fold.first, order=fold.order, expires_at=fold.expires_at, silent=fold.silent,
            text=replace(self.alert.text, count=fold.count),
        )  # fmt: skip
        return replace(self, alert=alert, seen=fold.seen)

    def anew(self) -> "Job":
        """The next update of the same fold: nothing was tried for it yet."""
        return replace(self, attempt=0, second_chance=False, history=(), planned_at_ms=0)

    def tried(self, at: datetime, reason: str) -> "Job":
        """The same with one more try in its history: of many the first one stays, and the latest."""
        history = (*self.history, Try(at, reason))
        return replace(self, history=history if len(history) <= HISTORY_MOST else history[:1] + history[2:])


@dataclass(frozen=True)
class ClaimedJob:
    """A claimed job and the stream entry that holds it. `taken_over`: another worker may have sent it."""

    entry_id: bytes
    job: Job
    taken_over: bool = False

    @property
    def planned_at_ms(self) -> int:
        """A job's first entry is as old as its plan; 0 where its id is none of a stream's."""
        at = self.entry_id.partition(b"-")[0]
        return self.job.planned_at_ms or (int(at) if at.isdigit() else 0)

    def put_off(self, job: "Job | None" = None, *, may_have_arrived: bool = False) -> "Job":
        """The job, or what has become of it, as it goes into another entry: it knows when it was planned, and whether
        it may have been sent.
        """
        job = job or self.job
        job = job if job.planned_at_ms else replace(job, planned_at_ms=self.planned_at_ms)
        if (self.taken_over or may_have_arrived) and not job.history:
            job = job.tried(from_ms(job.planned_at_ms), UNHEARD)
        return job


@dataclass(frozen=True)
class Push:
    """A job with its address, ready to be sent. `device` is None where the account is the address.

    `badge`: how many messages the account has not read; None: the phone is not told.
    """

    job: Job
    device: Device | None
    badge: int | None = None

    @property
    def address(self) -> str:
        return self.device.push_token if self.device else self.job.account

    @property
    def locale(self) -> str:
        """The device's; "" where it named none, or is not known."""
        return self.device.locale if self.device else ""

    @property
    def text(self) -> AlertText:
        """What may be shown on this device."""
        return self.job.alert.text.at(self.device.preview) if self.device else self.job.alert.text


def target_mark(app: str, platform: str, account: str, device_id: str) -> str:
    """Names a target within a message, 20 hex digits. `device_id` "": the account is the address."""
    return digest("target", app, platform, account, device_id)[:20]
