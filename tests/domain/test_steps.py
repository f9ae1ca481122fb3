from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.domain.alerts import Alert, AlertText, Order
from proxy.domain.dead_letters import Cause
from proxy.domain.jobs import Job
from proxy.domain.lanes import PauseKind
from proxy.domain.outcomes import (
    About,
    Accepted,
    CredentialsExpired,
    Deferred,
    Misaddressed,
    OurFault,
    Outcome,
    Rejected,
    Split,
    UnknownAccount,
    Unregistered,
)
from proxy.domain.steps import (
    BuryStep,
    Done,
    Forget,
    MarkInvalid,
    PauseLane,
    RememberUnknown,
    RestDevice,
    RetryAt,
    Step,
    exponential_backoff,
    next_step,
    retry_or_give_up,
)

RELAXED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the machine may be busy
NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)
ALERT = Alert("m1", "p2p:ann", AlertText("ann", "hi"), Order(1, 1, 1), expires_at=NOON + DAY)
JOB = Job("main", "apns", "ben", "phone", ALERT, attempt=3)

OF_JOB = Deferred("busy", 99 * SECOND, about=About.JOB)


def ten_seconds(_attempt: int) -> timedelta:
    return 10 * SECOND


@pytest.mark.parametrize(
    ("outcome", "step"),
    [
        (Accepted(), Done()),
        (Unregistered(NOON), Forget(NOON)),
        (Unregistered(None), Forget(None)),
        (Misaddressed("BadDeviceToken"), MarkInvalid("BadDeviceToken")),
        (UnknownAccount(), RememberUnknown()),
        (Rejected("PayloadTooLarge"), BuryStep(Cause.REJECTED, "PayloadTooLarge")),
        (CredentialsExpired(), PauseLane("provider token expired", None)),
        (OurFault("InvalidProviderToken"), PauseLane("InvalidProviderToken", None)),
        (OurFault("quota", NOON + DAY), PauseLane("quota", NOON + DAY)),
        (Split("invalid target"), BuryStep(Cause.REJECTED, "invalid target")),
        (Deferred("busy"), RetryAt(NOON + 10 * SECOND, replace(JOB, attempt=4), "busy")),
        (replace(OF_JOB, retry_after=3 * SECOND), RetryAt(NOON + 10 * SECOND, replace(JOB, attempt=4), "busy")),
        (OF_JOB, RetryAt(NOON + 99 * SECOND, replace(JOB, attempt=4), "busy")),
        (replace(OF_JOB, about=About.DEVICE), RestDevice(NOON + 99 * SECOND, replace(JOB, attempt=4), "busy")),
        (replace(OF_JOB, about=About.PROVIDER), PauseLane("busy", NOON + 99 * SECOND, PauseKind.REST)),
        (Deferred("busy", -DAY), RetryAt(NOON + 10 * SECOND, replace(JOB, attempt=4), "busy")),
        (Deferred("no connection", counts=False), RetryAt(NOON + 10 * SECOND, JOB, "no connection")),
        (replace(OF_JOB, retry_after=DAY), BuryStep(Cause.EXPIRED, "too late: busy")),
        (replace(OF_JOB, retry_after=timedelta.max), BuryStep(Cause.EXPIRED, "too late: busy")),
        (Deferred("busy", timedelta.max), PauseLane("busy", NOON + timedelta(hours=1), PauseKind.REST)),
    ],
)
def test_an_outcome_has_its_step(outcome: Outcome, step: Step) -> None:
    assert next_step(JOB, outcome, NOON, ten_seconds) == step


def test_while_the_provider_is_out_its_failures_stop_the_lane_and_count_for_no_job() -> None:
    def step(outcome: Outcome) -> Step:
        return next_step(JOB, outcome, NOON, ten_seconds, is_out=True)

    assert step(Deferred("http 503")) == PauseLane("http 503", None, PauseKind.BREAKER)
    assert step(Deferred("http 503", 9 * SECOND)) == PauseLane("http 503", NOON + 9 * SECOND, PauseKind.REST)
    assert step(OF_JOB) == RetryAt(NOON + 99 * SECOND, replace(JOB, attempt=4), "busy")
    assert step(Accepted()) == Done()


def test_a_retry_is_worth_it_until_the_alert_expires() -> None:
    last = ALERT.expires_at - 10 * SECOND - timedelta(microseconds=1)
    assert isinstance(next_step(JOB, Deferred("busy"), last, ten_seconds), RetryAt)
    assert next_step(JOB, Deferred("busy"), ALERT.expires_at - 10 * SECOND, ten_seconds) == BuryStep(
        Cause.EXPIRED, "too late: busy"
    )
    assert next_step(JOB, Deferred("busy"), ALERT.expires_at + DAY, ten_seconds) == BuryStep(
        Cause.EXPIRED, "too late: busy"
    )
    assert retry_or_give_up(JOB, ALERT.expires_at, "busy") == BuryStep(Cause.EXPIRED, "too late: busy")


def test_no_number_of_attempts_ends_the_retries() -> None:
    tired = replace(JOB, attempt=10_000)
    step = next_step(tired, Deferred("busy"), NOON, exponential_backoff(lambda: 0.0))
    assert step == RetryAt(NOON + timedelta(minutes=5), replace(tired, attempt=10_001), "busy")


def test_a_retried_job_is_the_same_job_one_attempt_on() -> None:
    job = replace(JOB, second_chance=True)
    step = next_step(job, Deferred("busy"), NOON, ten_seconds)
    assert isinstance(step, RetryAt)
    assert step.job.id == job.id
    changed = [field.name for field in fields(Job) if getattr(step.job, field.name) != getattr(job, field.name)]
    assert changed == ["attempt"]


def test_the_wait_is_that_of_the_attempts_made_so_far() -> None:
    asked: list[int] = []

    def backoff(attempt: int) -> timedelta:
        asked.append(attempt)
        return SECOND

    next_step(JOB, Deferred("busy"), NOON, backoff)
    next_step(JOB, Deferred("no connection", counts=False), NOON, backoff)
    assert asked == [3, 3]


@pytest.mark.parametrize(
    ("attempt", "seconds"), [(0, 1), (1, 2), (2, 4), (7, 128), (8, 256), (9, 300), (30, 300), (31, 300), (10**9, 300)]
)
def test_a_backoff_doubles_up_to_five_minutes(attempt: int, seconds: int) -> None:
    assert exponential_backoff(lambda: 0.0)(attempt) == seconds * SECOND


@pytest.mark.parametrize(("jitter", "seconds"), [(0.0, 1), (0.5, 1.25), (1.0, 1.5)])
def test_chance_adds_up_to_half_to_the_first_wait_so_that_a_crowd_does_not_come_back_as_one(
    jitter: float, seconds: float
) -> None:
    assert exponential_backoff(lambda: jitter)(0) == seconds * SECOND


@pytest.mark.parametrize(("jitter", "seconds"), [(0.0, 128), (0.5, 96), (1.0, 64)])
def test_chance_takes_off_up_to_half(jitter: float, seconds: int) -> None:
    assert exponential_backoff(lambda: jitter)(7) == seconds * SECOND


@RELAXED
@given(
    attempt=st.integers(0, 10**6),
    jitter=st.floats(0, 1),
    first=st.timedeltas(timedelta(milliseconds=1), 30 * DAY),
    factor=st.integers(1, 10**6),
)
def test_a_wait_is_never_shorter_than_the_first_nor_longer_than_the_most(
    attempt: int, jitter: float, first: timedelta, factor: int
) -> None:
    most = min(first * factor, timedelta(days=10**6))
    assert first <= exponential_backoff(lambda: jitter, first, most)(attempt) <= most


@RELAXED
@given(attempt=st.integers(1, 10**6), jitter=st.floats(0, 1), others=st.floats(0, 1))
def test_a_wait_grows_with_the_attempts_but_for_chance_which_is_in_every_one(
    attempt: int, jitter: float, others: float
) -> None:
    chance = exponential_backoff(lambda: jitter)
    assert chance(attempt) <= chance(attempt + 1)
    assert chance(attempt) >= exponential_backoff(lambda: others)(attempt) / 2
    assert exponential_backoff(lambda: 0.0)(attempt - 1) != exponential_backoff(lambda: 1.0)(attempt - 1)
