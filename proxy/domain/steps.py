"""What we do with a job once the provider has answered."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import assert_never

from proxy.domain.dead_letters import Cause
from proxy.domain.jobs import Job
from proxy.domain.lanes import PauseKind
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


@dataclass(frozen=True)
class Done:
    """Settled; `result` says how, for the records."""

    result: str = "accepted"


@dataclass(frozen=True)
class RetryAt:
    """Try again then, as this job."""

    when: datetime
    job: Job
    reason: str


@dataclass(frozen=True)
class RestDevice:
    """As RetryAt, and nothing else goes to the device until then."""

    when: datetime
    job: Job
    reason: str


@dataclass(frozen=True)
class Forget:
    """The registration goes if it is older than `since` (None: than this push); else the alert is tried once more."""

    since: datetime | None


@dataclass(frozen=True)
class MarkInvalid:
    """The registration stays and says why it does not work; the job is a dead letter."""

    reason: str


@dataclass(frozen=True)
class RememberUnknown:
    """Nobody under this account: not tried again for a while."""


@dataclass(frozen=True)
class BuryStep:
    """Ends here, kept for a person to look at."""

    cause: Cause
    reason: str


@dataclass(frozen=True)
class PauseLane:
    """The job waits, no attempt counts, and so does its lane until a probe gets through."""

    reason: str
    until: datetime | None
    kind: PauseKind = PauseKind.FAULT


Step = Done | RetryAt | RestDevice | Forget | MarkInvalid | RememberUnknown | BuryStep | PauseLane
Backoff = Callable[[int], timedelta]
_LONGEST_REST = timedelta(hours=1)


def next_step(job: Job, outcome: Outcome, now: datetime, backoff: Backoff, *, is_out: bool = False) -> Step:
    """What to do with a job once the provider has answered. Only the alert's own expiry ends the retries.

    `is_out`: the provider fails all alike, so its failure says nothing about this job.
    """
    match outcome:
        case Accepted():
            return Done()
        case Unregistered(since):
            return Forget(since)
        case Misaddressed(reason):
            return MarkInvalid(reason)
        case UnknownAccount():
            return RememberUnknown()
        case Rejected(reason) | Impossible(reason):
            return BuryStep(Cause.REJECTED, reason)
        case Deferred(reason, retry_after, _, About.PROVIDER) if retry_after > timedelta(0):
            return PauseLane(reason, now + min(retry_after, _LONGEST_REST), PauseKind.REST)
        case Deferred(reason, _, _, About.PROVIDER) if is_out:
            return PauseLane(reason, None, PauseKind.BREAKER)
        case Deferred(reason, retry_after, counts, about):
            attempt = job.attempt + 1 if counts else job.attempt
            remaining = max(job.alert.expires_at - now, timedelta(0))  # a longer wait could end beyond any calendar
            when = now + min(max(retry_after, backoff(job.attempt)), remaining)
            step = retry_or_give_up(replace(job, attempt=attempt), when, reason)
            if about is About.DEVICE and isinstance(step, RetryAt):
                return RestDevice(step.when, step.job, step.reason)
            return step
        case CredentialsExpired():  # the sender has renewed them once already
            return PauseLane("provider token expired", None)
        case OurFault(reason, until):
            return PauseLane(reason, until)
        case Split(reason):  # of one: there is nothing left to halve
            return BuryStep(Cause.REJECTED, reason)
        case _:
            assert_never(outcome)


def retry_or_give_up(job: Job, when: datetime, reason: str) -> Step:
    """Again at `when`, unless the alert is no longer worth showing then."""
    if when < job.alert.expires_at:
        return RetryAt(when, job, reason)
    return BuryStep(Cause.EXPIRED, f"too late: {reason}")


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
