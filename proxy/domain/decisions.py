"""What we do with a job, before it is sent and once the provider has answered. Pure.

as_shown_now(job, where ...)   -> the job              with no more text than its reader wants shown by now
check(job, where it goes now)  -> Push | Decision      before the request
decide(job, outcome)           -> Decision             after the answer
after_removal(job, result)     -> Decision             once the registration was removed, or was not
noted(job, Decision)           -> JobSettlement           with what the history keeps of it
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import assert_never

from proxy.domain.alerts import Update
from proxy.domain.dead_letters import Cause
from proxy.domain.devices import BADGED_ALONE, Destination, RemovalResult
from proxy.domain.history import JobEnd, Reason
from proxy.domain.jobs import ClaimedJob, Job, Push
from proxy.domain.lanes import Lane, PauseKind
from proxy.domain.outcomes import (
    About,
    Accepted,
    CredentialsExpired,
    Deferred,
    Impossible,
    Misaddressed,
    OurFault,
    Outcome,
    Rejected,
    Split,
    UnknownAccount,
    Unregistered,
)
from proxy.domain.previews import Preview, strictest
from proxy.domain.settlements import Bury, Finish, JobSettlement, Move, Postpone, Shown
from proxy.domain.times import to_ms

Backoff = Callable[[int], timedelta]
_LONGEST_REST = timedelta(hours=1)
_TAKEN_BACK = {Update.RECALL: "recalled", Update.READ: "read elsewhere"}
_MOST_UPDATE_TRIES = 10  # a quarter of an hour by the defaults


class Result(StrEnum):
    """How a job ended, or why it goes on: for metrics and log lines."""

    ACCEPTED = "accepted"
    RETRY = "retry"
    PAUSED = "paused"
    DEAD_LETTER = "dead letter"
    DROPPED = "dropped"  # an update of alerts, of which none is kept for a person
    SUPERSEDED = "superseded"
    WITHDRAWN = "withdrawn"
    BLOCKED = "blocked"
    DEVICE_MOVED = "device moved"
    DEVICE_GONE = "device gone"
    UNKNOWN_ACCOUNT = "unknown account"
    IMPOSSIBLE = "impossible target"
    OTHER_ENVIRONMENT = "other environment"
    FALLBACK = "goes to a fallback"
    SANDBOX_OFF = "sandbox is off"
    DELIVERY_OFF = "delivery is off"
    SHADOW = "shadow"  # it would have been sent


@dataclass(frozen=True)
class RemoveDevice:
    """The registration goes if it was made before then."""

    before: datetime


@dataclass(frozen=True)
class RestDevice:
    """Nothing goes to the device until then."""

    until: datetime


@dataclass(frozen=True)
class MarkInvalid:
    """The registration stays and says why it does not work."""

    reason: str


@dataclass(frozen=True)
class RememberUnknown:
    """The provider does not know this account: no job goes to it for a while."""


@dataclass(frozen=True)
class PauseLane:
    """All jobs of the lane wait until a probe gets through; none goes out before `until` (None: the settings say)."""

    reason: str
    kind: PauseKind
    until: datetime | None = None


Effect = RemoveDevice | RestDevice | MarkInvalid | RememberUnknown | PauseLane


@dataclass(frozen=True)
class Decision:
    """What becomes of a claimed job: its settlement, and what else changes. `reason` is the provider's word, or ours.

    Where the effect is RemoveDevice the settlement is only known once the store has done it: see `after_removal`.
    """

    settlement: JobSettlement | None
    result: Result
    reason: str = ""
    effect: Effect | None = None


def as_shown_now(claimed: ClaimedJob, destination: Destination, now: datetime) -> ClaimedJob:
    """The job with as much text as account and device show by now, whatever they did when it was planned: so nothing
    that follows, be it another try or a dead letter, has more. Without a sound where quiet hours have begun since. And
    of a fold with what it tells by now."""
    device, fold, quiet, alert = destination.device, destination.fold, destination.quiet_hours, claimed.job.alert
    is_quiet = quiet is not None and quiet.silence(now, urgent=alert.urgent)
    if fold is not None:
        claimed = replace(claimed, job=claimed.job.of_fold(replace(fold, silent=fold.silent or is_quiet)))
    elif is_quiet and not alert.silent:
        claimed = replace(claimed, job=replace(claimed.job, alert=replace(alert, silent=True)))
    preview = destination.preview if device is None else strictest(destination.preview, device.preview)
    return claimed if preview is Preview.FULL else replace(claimed, job=claimed.job.at(preview))


def check(claimed: ClaimedJob, destination: Destination, lane: Lane, now: datetime) -> Push | Decision:
    """Whether the job can be sent as its registration is now."""
    job, entry_id, device = claimed.job, claimed.entry_id, destination.device
    if destination.withdrawn:
        return withdrawn(claimed, may_be_shown=claimed.taken_over or bool(job.history))
    if destination.fold is not None and not destination.fold.has_news:  # all of them were recalled, or read elsewhere
        return Decision(Finish(entry_id), Result.WITHDRAWN)
    if job.alert.expires_at <= now:
        return bury(claimed, Cause.EXPIRED, "too late: expired while waiting")
    if destination.blocked:
        return Decision(Finish(entry_id), Result.BLOCKED)
    if destination.unknown:
        return Decision(Finish(entry_id), Result.UNKNOWN_ACCOUNT)
    if not job.device_id:  # the account itself is the address
        return Push(job, None, destination.badge)
    if device is None:
        return Decision(Finish(entry_id), Result.DEVICE_MOVED)
    if device.channel != lane.channel:
        other = lane._replace(channel=device.channel)
        if device.platform == job.platform:  # registered anew for the other environment
            return Decision(Move(entry_id, job, other), Result.OTHER_ENVIRONMENT)
        is_number = job.alert.update is Update.BADGE and device.platform not in BADGED_ALONE
        if device.marked_as != job.marked_as or is_number:
            return Decision(Finish(entry_id), Result.DEVICE_MOVED)
        its_own = replace(
            job, channel=device.channel, token_digest=device.token_digest, first_platform=device.first_platform
        )
        return Decision(Move(entry_id, its_own, other), Result.FALLBACK)
    if destination.rests:
        return Decision(Postpone(entry_id, job, now + destination.rests), Result.RETRY, "device rests")
    return Push(job, device, destination.badge)


def decide(
    claimed: ClaimedJob,
    outcome: Outcome,
    *,
    sent_at: datetime,
    now: datetime,
    backoff: Backoff,
    is_paused: bool = False,
) -> Decision:
    """What to do with a job once the provider has answered. Only the alert's own expiry ends its retries.

    `is_paused`: the provider fails all alike, so its failure says nothing about this job.
    """
    entry_id = claimed.entry_id
    match outcome:
        case Accepted():  # taken on, which is not delivered: no provider reports that
            return Decision(Finish(entry_id), Result.ACCEPTED)
        case Unregistered(since):
            return Decision(None, Result.DEVICE_GONE, "unregistered", RemoveDevice(since or sent_at))
        case Misaddressed(reason):
            return replace(bury(claimed, Cause.MISADDRESSED, reason), effect=MarkInvalid(reason))
        case UnknownAccount():
            return Decision(Finish(entry_id), Result.UNKNOWN_ACCOUNT, effect=RememberUnknown())
        case Impossible(reason):
            return Decision(Finish(entry_id), Result.IMPOSSIBLE, reason)
        case Rejected(reason):
            return bury(claimed, Cause.REJECTED, reason)
        case Deferred(reason, retry_after, _, About.PROVIDER) if retry_after > timedelta(0):
            until = now + min(retry_after, _LONGEST_REST)
            return _paused(claimed, PauseLane(reason, PauseKind.REST, until), now, again=until)
        case Deferred(reason, _, _, About.PROVIDER) if is_paused:
            return _paused(claimed, PauseLane(reason, PauseKind.BREAKER), now)
        case Deferred():
            return _retry(claimed, outcome, now, backoff)
        case CredentialsExpired():  # the consumer has renewed them once already
            return _paused(claimed, PauseLane("provider token expired", PauseKind.FAULT), now)
        case OurFault(reason) if claimed.job.alert.update is not None and not is_paused:
            # a provider may refuse these alone: alerts go on, and where they do not they pause the lane for these too
            if claimed.job.attempt < _MOST_UPDATE_TRIES:
                return _retry(claimed, Deferred(reason, about=About.JOB), now, backoff)
            return bury(claimed, Cause.REJECTED, reason)
        case OurFault(reason, until):
            return _paused(claimed, PauseLane(reason, PauseKind.FAULT, until), now)
        case Split(reason):  # of one: there is nothing left to halve
            return bury(claimed, Cause.REJECTED, reason)
        case _:
            assert_never(outcome)


def after_removal(
    claimed: ClaimedJob, removal: RemovalResult, now: datetime, *, has_fallbacks: bool = False
) -> Decision:
    """What becomes of a job whose push token the provider called dead.

    A device that registered again since then has one more chance, once. One that has fallbacks is looked up again: the
    next address has taken the place of the dead one.
    """
    if removal is RemovalResult.HELD:
        return bury(claimed, Cause.UNREGISTERED, "unregistered, and kept: too many at once")
    if removal is not RemovalResult.KEPT and has_fallbacks:
        return _again(claimed, claimed.job, now, now, f"{claimed.job.channel}: unregistered, on to the next address")
    if removal is not RemovalResult.KEPT:
        return Decision(Finish(claimed.entry_id), Result.DEVICE_GONE)
    if claimed.job.second_chance:
        return bury(claimed, Cause.UNREGISTERED, "unregistered, yet registered again")
    return _again(claimed, replace(claimed.job, second_chance=True), now, now, "registered again")


def withdrawn(claimed: ClaimedJob, *, may_be_shown: bool) -> Decision:
    """The job ends here; where it may have reached the phone before, its withdrawal follows."""
    entry_id = claimed.entry_id
    return Decision(Shown(entry_id, claimed.job) if may_be_shown else Finish(entry_id), Result.WITHDRAWN)


def bury(claimed: ClaimedJob, cause: Cause, reason: str) -> Decision:
    """The job ends here, kept for a person to look at; but of updates of alerts only the last ones matter."""
    if claimed.job.alert.update is not None:
        return Decision(Finish(claimed.entry_id), Result.DROPPED, reason)
    return Decision(Bury(claimed.entry_id, cause, reason, claimed.job), Result.DEAD_LETTER, reason)


def noted(
    claimed: ClaimedJob, decision: Decision, pushed_at: datetime | None, now: datetime, why: str = ""
) -> JobSettlement:
    """The settlement of a decision with a note; of tries that were in vain only the first makes one.

    `pushed_at` None: it was not sent. `why` is for the history alone, where the decision has no reason.
    """
    settlement = decision.settlement
    if settlement is None:
        raise ValueError("nothing to settle")
    job, reason = claimed.job, decision.reason or why
    if job.alert.update is not None:
        return _noted_of_alert(settlement, job, decision.result, reason, now)
    if isinstance(settlement, Postpone | Move):
        is_first = not claimed.job.history
        job = claimed.put_off(settlement.job)
        settlement = replace(settlement, job=job)
        if isinstance(settlement, Move):
            reason = settlement.lane.channel
        elif not is_first:
            return settlement
    end = JobEnd(job, decision.result, reason, claimed.planned_at_ms, to_ms(pushed_at) if pushed_at else 0, to_ms(now))
    if isinstance(settlement, Finish):  # nearly all of them, and `replace` costs three times as much
        return Finish(settlement.entry_id, (end,))
    return replace(settlement, notes=(end,))


def _noted_of_alert(
    settlement: JobSettlement, update: Job, result: Result, reason: str, now: datetime
) -> JobSettlement:
    """The alert that an update is about was taken back, or was not, and why; of its number nothing is said."""
    if update.alert.update not in _TAKEN_BACK or not isinstance(settlement, Finish):
        return settlement
    why = _TAKEN_BACK[update.alert.update]
    end = JobEnd(update, Reason.TAKEN_BACK, why, ended_at_ms=to_ms(now))
    if result is not Result.ACCEPTED:
        end.result, end.reason = Reason.NOT_TAKEN_BACK, f"{why}, but {result}{reason and ': '}{reason}"
    return Finish(settlement.entry_id, (end,))


def _paused(claimed: ClaimedJob, pause: PauseLane, now: datetime, again: datetime | None = None) -> Decision:
    job = claimed.job.tried(now, pause.reason)
    return Decision(Postpone(claimed.entry_id, job, again or now), Result.PAUSED, pause.reason, pause)


def _retry(claimed: ClaimedJob, outcome: Deferred, now: datetime, backoff: Backoff) -> Decision:
    job = claimed.job
    attempt = job.attempt + 1 if outcome.counts else job.attempt
    remaining = max(job.alert.expires_at - now, timedelta(0))  # a longer wait could end beyond any calendar
    when = now + min(max(outcome.retry_after, backoff(job.attempt)), remaining)
    decision = _again(claimed, replace(job, attempt=attempt), when, now, outcome.reason)
    if outcome.about is About.DEVICE and decision.result is Result.RETRY:
        return replace(decision, effect=RestDevice(when))
    return decision


def _again(claimed: ClaimedJob, job: Job, when: datetime, now: datetime, reason: str) -> Decision:
    """Again at `when`, unless the alert is no longer worth showing then."""
    if when >= job.alert.expires_at:
        return bury(claimed, Cause.EXPIRED, f"too late: {reason}")
    return Decision(Postpone(claimed.entry_id, job.tried(now, reason), when), Result.RETRY, reason)


def exponential_backoff(
    jitter: Callable[[], float], first: timedelta = timedelta(seconds=1), most: timedelta = timedelta(minutes=5)
) -> Backoff:
    """Doubles from `first` to `most`; `jitter` gives 0..1 and takes off up to half, so that a crowd spreads out.

    Never less than `first`, to which chance adds up to half instead.
    """

    def backoff(attempt: int) -> timedelta:
        if attempt == 0:
            return min(first * (1 + jitter() / 2), max(first, most))
        doublings = min(attempt, (most // first).bit_length())  # more would only be cut to `most`
        full = min(first * (1 << doublings), most)
        return max(first, full * (1 - jitter() / 2))

    return backoff
