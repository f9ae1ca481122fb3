"""What becomes of a job: before it is sent, once the provider has answered, and after a removal."""

from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.domain.alerts import Alert, AlertText, Order, Update
from proxy.domain.dead_letters import Cause
from proxy.domain.decisions import (
    Decision,
    MarkInvalid,
    PauseLane,
    RememberUnknown,
    RemoveDevice,
    RestDevice,
    Result,
    after_removal,
    check,
    decide,
    exponential_backoff,
)
from proxy.domain.devices import Address, ApnsEnvironment, Destination, Device, Platform, RemovalResult
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
from proxy.domain.settlements import Bury, Finish, Move, Postpone, Shown

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)
SENT = NOON - SECOND  # when the request left whose answer comes at NOON
ALERT = Alert("m1", "p2p:ann", AlertText("ann", "hi"), Order(1, 1, 1), expires_at=NOON + DAY)
JOB = Job("main", "apns", "ben", "phone", ALERT, attempt=3)
ENTRY = b"0-1"
APNS, SANDBOX, MIPUSH = (Lane("77", "main", channel) for channel in ("apns", "apns-sandbox", "mipush"))
PHONE = Device("main", "ben", "phone", Platform.APNS, "a1b2", NOON)
OF_JOB = Deferred("busy", 99 * SECOND, about=About.JOB)
TOO_LATE = Bury(ENTRY, Cause.EXPIRED, "too late: busy", JOB)


def ten_seconds(_attempt: int) -> timedelta:
    return 10 * SECOND


def claimed(job: Job = JOB) -> ClaimedJob:
    return ClaimedJob(ENTRY, job)


def decided(outcome: Outcome, job: Job = JOB, now: datetime = NOON, *, is_paused: bool = False) -> Decision:
    return decide(claimed(job), outcome, sent_at=SENT, now=now, backoff=ten_seconds, is_paused=is_paused)


def finished(result: Result, reason: str = "") -> Decision:
    return Decision(Finish(ENTRY), result, reason)


def buried(cause: Cause, reason: str, job: Job = JOB) -> Decision:
    return Decision(Bury(ENTRY, cause, reason, job), Result.DEAD_LETTER, reason)


def retried(reason: str, when: datetime, attempt: int = 4) -> Decision:
    return Decision(Postpone(ENTRY, replace(JOB, attempt=attempt).tried(NOON, reason), when), Result.RETRY, reason)


def paused(pause: PauseLane, when: datetime = NOON) -> Decision:
    """No attempt counts while the lane is paused."""
    return Decision(Postpone(ENTRY, JOB.tried(NOON, pause.reason), when), Result.PAUSED, pause.reason, pause)


@pytest.mark.parametrize(
    ("outcome", "decision"),
    [
        (Accepted(), finished(Result.ACCEPTED)),
        (Misaddressed("bad"), replace(buried(Cause.MISADDRESSED, "bad"), effect=MarkInvalid("bad"))),
        (UnknownAccount(), replace(finished(Result.UNKNOWN_ACCOUNT), effect=RememberUnknown())),
        (Impossible("account too long"), finished(Result.IMPOSSIBLE, "account too long")),
        (Rejected("PayloadTooLarge"), buried(Cause.REJECTED, "PayloadTooLarge")),
        (Split("invalid target"), buried(Cause.REJECTED, "invalid target")),
        (CredentialsExpired(), paused(PauseLane("provider token expired", PauseKind.FAULT))),
        (OurFault("InvalidProviderToken"), paused(PauseLane("InvalidProviderToken", PauseKind.FAULT))),
        (OurFault("quota", NOON + DAY), paused(PauseLane("quota", PauseKind.FAULT, NOON + DAY))),
        (Deferred("busy"), retried("busy", NOON + 10 * SECOND)),
        (replace(OF_JOB, retry_after=3 * SECOND), retried("busy", NOON + 10 * SECOND)),
        (OF_JOB, retried("busy", NOON + 99 * SECOND)),
        (Deferred("busy", -DAY), retried("busy", NOON + 10 * SECOND)),
        (Deferred("unseen", counts=False), retried("unseen", NOON + 10 * SECOND, attempt=3)),
        (
            replace(OF_JOB, about=About.DEVICE),
            replace(retried("busy", NOON + 99 * SECOND), effect=RestDevice(NOON + 99 * SECOND)),
        ),
        (
            replace(OF_JOB, about=About.PROVIDER),
            paused(PauseLane("busy", PauseKind.REST, NOON + 99 * SECOND), NOON + 99 * SECOND),
        ),
        (
            Deferred("busy", timedelta.max),
            paused(PauseLane("busy", PauseKind.REST, NOON + timedelta(hours=1)), NOON + timedelta(hours=1)),
        ),
        (replace(OF_JOB, retry_after=DAY), buried(Cause.EXPIRED, "too late: busy")),
        (replace(OF_JOB, retry_after=timedelta.max), buried(Cause.EXPIRED, "too late: busy")),
        (replace(OF_JOB, retry_after=DAY, about=About.DEVICE), buried(Cause.EXPIRED, "too late: busy")),
    ],
)
def test_an_outcome_has_its_decision(outcome: Outcome, decision: Decision) -> None:
    assert decided(outcome) == decision


@pytest.mark.parametrize(("since", "before"), [(NOON - DAY, NOON - DAY), (None, SENT)])
def test_a_dead_token_goes_if_it_was_registered_before_the_provider_says_or_else_before_the_push(
    since: datetime | None, before: datetime
) -> None:
    assert decided(Unregistered(since)) == Decision(None, Result.DEVICE_GONE, "unregistered", RemoveDevice(before))


def test_while_the_provider_fails_all_its_failures_pause_the_lane_and_count_for_no_job() -> None:
    assert decided(Deferred("http 503"), is_paused=True) == paused(PauseLane("http 503", PauseKind.BREAKER))
    assert decided(Deferred("http 503", 9 * SECOND), is_paused=True) == paused(
        PauseLane("http 503", PauseKind.REST, NOON + 9 * SECOND), NOON + 9 * SECOND
    )
    assert decided(OF_JOB, is_paused=True) == retried("busy", NOON + 99 * SECOND)
    assert decided(Accepted(), is_paused=True) == finished(Result.ACCEPTED)


def test_a_retry_is_worth_it_until_the_alert_expires() -> None:
    last = ALERT.expires_at - 10 * SECOND
    assert decided(Deferred("busy"), now=last - timedelta(microseconds=1)).result is Result.RETRY
    assert decided(Deferred("busy"), now=last).settlement == TOO_LATE
    assert decided(Deferred("busy"), now=ALERT.expires_at + DAY).settlement == TOO_LATE


def test_no_number_of_attempts_ends_the_retries() -> None:
    tired = replace(JOB, attempt=10_000)
    decision = decide(
        claimed(tired), Deferred("busy"), sent_at=SENT, now=NOON, backoff=exponential_backoff(lambda: 0.0)
    )
    again = replace(tired, attempt=10_001).tried(NOON, "busy")
    assert decision.settlement == Postpone(ENTRY, again, NOON + timedelta(minutes=5))


def test_a_retried_job_is_the_same_job_one_attempt_on_and_remembers_its_try() -> None:
    job = replace(JOB, second_chance=True, token_digest="d1")
    settlement = decided(Deferred("busy"), job).settlement
    assert isinstance(settlement, Postpone)
    again = settlement.job
    assert again.id == job.id
    changed = [field.name for field in fields(Job) if getattr(again, field.name) != getattr(job, field.name)]
    assert changed == ["attempt", "history"]


def test_the_wait_is_that_of_the_attempts_made_so_far() -> None:
    asked: list[int] = []

    def backoff(attempt: int) -> timedelta:
        asked.append(attempt)
        return SECOND

    for outcome in (Deferred("busy"), Deferred("unseen", counts=False)):
        decide(claimed(), outcome, sent_at=SENT, now=NOON, backoff=backoff)
    assert asked == [3, 3]


SANDBOX_PHONE = replace(PHONE, environment=ApnsEnvironment.SANDBOX)
SANDBOX_JOB = replace(JOB, channel="apns-sandbox")
TO_ACCOUNT = replace(JOB, channel="mipush", device_id="")


@pytest.mark.parametrize(
    ("job", "lane", "destination", "expected"),
    [
        (JOB, APNS, Destination(PHONE), Push(JOB, PHONE)),
        (SANDBOX_JOB, SANDBOX, Destination(SANDBOX_PHONE), Push(SANDBOX_JOB, SANDBOX_PHONE)),
        (TO_ACCOUNT, MIPUSH, Destination(), Push(TO_ACCOUNT, None)),
        (JOB, APNS, Destination(), finished(Result.DEVICE_MOVED)),
        (JOB, APNS, Destination(replace(PHONE, platform=Platform.MIPUSH)), finished(Result.DEVICE_MOVED)),
        (JOB, APNS, Destination(PHONE, blocked=True), finished(Result.BLOCKED)),
        (TO_ACCOUNT, MIPUSH, Destination(blocked=True), finished(Result.BLOCKED)),
        (TO_ACCOUNT, MIPUSH, Destination(unknown=True), finished(Result.UNKNOWN_ACCOUNT)),
        (
            JOB, APNS, Destination(PHONE, rests=7 * SECOND),
            Decision(Postpone(ENTRY, JOB, NOON + 7 * SECOND), Result.RETRY, "device rests"),
        ),
        (
            JOB, APNS, Destination(SANDBOX_PHONE),
            Decision(Move(ENTRY, JOB, SANDBOX), Result.OTHER_ENVIRONMENT),
        ),
        (
            SANDBOX_JOB, SANDBOX, Destination(PHONE, rests=7 * SECOND),
            Decision(Move(ENTRY, SANDBOX_JOB, APNS), Result.OTHER_ENVIRONMENT),
        ),
    ],
)  # fmt: skip
def test_a_job_is_sent_or_ends_as_its_registration_says_now(
    job: Job, lane: Lane, destination: Destination, expected: Push | Decision
) -> None:
    assert check(claimed(job), destination, lane, NOON) == expected


@pytest.mark.parametrize("destination", [Destination(PHONE), Destination(blocked=True), Destination(SANDBOX_PHONE)])
def test_an_expired_job_is_a_dead_letter_whatever_its_registration_says(destination: Destination) -> None:
    reason = "too late: expired while waiting"
    assert check(claimed(), destination, APNS, ALERT.expires_at) == buried(Cause.EXPIRED, reason)
    assert check(claimed(), Destination(PHONE), APNS, ALERT.expires_at - timedelta(microseconds=1)) == Push(JOB, PHONE)


def test_a_job_that_changes_its_environment_is_the_same_job_and_has_the_same_mark() -> None:
    assert SANDBOX_JOB.id == JOB.id
    assert SANDBOX_JOB.mark == JOB.mark


SPENT = replace(JOB, second_chance=True)


@pytest.mark.parametrize(
    ("job", "removal", "decision"),
    [
        (JOB, RemovalResult.REMOVED, finished(Result.DEVICE_GONE)),
        (JOB, RemovalResult.GONE, finished(Result.DEVICE_GONE)),
        (JOB, RemovalResult.HELD, buried(Cause.UNREGISTERED, "unregistered, and kept: too many at once")),
        (
            JOB, RemovalResult.KEPT,
            Decision(Postpone(ENTRY, SPENT.tried(NOON, "registered again"), NOON), Result.RETRY, "registered again"),
        ),
        (SPENT, RemovalResult.KEPT, buried(Cause.UNREGISTERED, "unregistered, yet registered again", SPENT)),
        (SPENT, RemovalResult.REMOVED, finished(Result.DEVICE_GONE)),
    ],
)  # fmt: skip
def test_a_device_that_registered_again_since_its_token_died_has_one_more_chance(
    job: Job, removal: RemovalResult, decision: Decision
) -> None:
    assert after_removal(claimed(job), removal, NOON) == decision


HTTP = Lane("77", "main", "http")
WITH_FALLBACK = replace(PHONE, fallbacks=(Address(Platform.HTTP, "fcm:1"),))
ON_FALLBACK = replace(WITH_FALLBACK.at(1), fallbacks=())


@pytest.mark.parametrize("removal", [RemovalResult.REMOVED, RemovalResult.GONE])  # by this job, or by another
def test_a_job_whose_address_is_dead_goes_on_where_there_is_a_fallback(removal: RemovalResult) -> None:
    reason = "apns: unregistered, on to the next address"
    again = Decision(Postpone(ENTRY, JOB.tried(NOON, reason), NOON), Result.RETRY, reason)
    assert after_removal(claimed(), removal, NOON, has_fallbacks=True) == again


def test_a_job_follows_its_device_to_a_fallback_as_the_same_job_with_the_same_mark() -> None:
    decision = check(claimed(), Destination(ON_FALLBACK), APNS, NOON)
    assert isinstance(decision, Decision)
    move = decision.settlement
    assert isinstance(move, Move)
    assert (move.lane, decision.result) == (HTTP, Result.FALLBACK)
    assert (move.job.channel, move.job.token_digest) == ("http", ON_FALLBACK.token_digest)
    assert (move.job.id, move.job.mark) == (JOB.id, JOB.mark)
    moved = claimed(move.job)
    assert check(moved, Destination(ON_FALLBACK), HTTP, NOON) == Push(move.job, ON_FALLBACK)
    back = check(moved, Destination(PHONE), HTTP, NOON)  # it was registered anew for its first address meanwhile
    assert isinstance(back, Decision)
    assert isinstance(back.settlement, Move)
    assert (back.settlement.lane, back.settlement.job.mark) == (APNS, JOB.mark)


def test_a_number_does_not_follow_its_device_to_a_fallback_that_would_take_it_for_a_withdrawal() -> None:
    badge = replace(JOB, alert=replace(JOB.alert, update=Update.BADGE))
    assert check(claimed(badge), Destination(ON_FALLBACK), APNS, NOON) == finished(Result.DEVICE_MOVED)


def test_a_second_chance_is_worth_it_until_the_alert_expires() -> None:
    late = after_removal(claimed(), RemovalResult.KEPT, ALERT.expires_at)
    assert late == buried(Cause.EXPIRED, "too late: registered again")


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


@given(attempt=st.integers(1, 10**6), jitter=st.floats(0, 1), others=st.floats(0, 1))
def test_a_wait_grows_with_the_attempts_but_for_chance_which_is_in_every_one(
    attempt: int, jitter: float, others: float
) -> None:
    chance = exponential_backoff(lambda: jitter)
    assert chance(attempt) <= chance(attempt + 1)
    assert chance(attempt) >= exponential_backoff(lambda: others)(attempt) / 2
    assert exponential_backoff(lambda: 0.0)(attempt - 1) != exponential_backoff(lambda: 1.0)(attempt - 1)


@st.composite
def outcomes(draw: st.DrawFn) -> Outcome:
    reason = draw(st.sampled_from(["busy", "http 503", "bad"]))
    wait = draw(st.timedeltas(-DAY, 3 * DAY))
    since = draw(st.none() | st.just(NOON - DAY))
    known: list[Outcome] = [
        Accepted(), Unregistered(since), Misaddressed(reason), UnknownAccount(), Impossible(reason), Rejected(reason),
        CredentialsExpired(), OurFault(reason, since), Split(reason),
        *(Deferred(reason, wait, about=about) for about in About),
    ]  # fmt: skip
    return draw(st.sampled_from(known))


@given(outcome=outcomes(), to_expiry=st.timedeltas(-DAY, DAY), is_paused=st.booleans())
def test_every_outcome_settles_its_own_entry_and_none_comes_back_after_its_alert_expired_unless_the_lane_is_paused(
    outcome: Outcome, to_expiry: timedelta, is_paused: bool
) -> None:
    now = ALERT.expires_at - to_expiry
    decision = decide(claimed(), outcome, sent_at=now - SECOND, now=now, backoff=ten_seconds, is_paused=is_paused)
    if isinstance(decision.effect, RemoveDevice):
        assert decision.settlement is None
        return
    assert decision.settlement is not None
    assert decision.settlement.entry_id == ENTRY
    if isinstance(decision.settlement, Postpone) and decision.result is not Result.PAUSED:
        assert now < decision.settlement.when < ALERT.expires_at


def test_a_job_whose_alert_was_taken_back_ends_and_where_it_may_be_shown_its_withdrawal_follows() -> None:
    back = Destination(PHONE, withdrawn=True)
    assert check(ClaimedJob(ENTRY, JOB), back, APNS, NOON) == Decision(Finish(ENTRY), Result.WITHDRAWN)
    late = NOON + 2 * DAY
    assert check(ClaimedJob(ENTRY, JOB), back, APNS, late) == Decision(Finish(ENTRY), Result.WITHDRAWN)
    tried = JOB.tried(NOON, "no answer in time")
    fallen_silent = ClaimedJob(ENTRY, JOB, taken_over=True)
    put_back = (
        fallen_silent.put_off(),
        ClaimedJob(ENTRY, JOB).put_off(may_have_arrived=True),
    )  # as where a lane is paused
    for claimed in (ClaimedJob(ENTRY, tried), fallen_silent, *(ClaimedJob(ENTRY, it) for it in put_back)):
        decision = Decision(Shown(ENTRY, claimed.job), Result.WITHDRAWN)
        assert check(claimed, back, APNS, NOON) == decision


@pytest.mark.parametrize("outcome", [Rejected("Teapot"), OurFault("forbidden"), Split("no")])
def test_an_update_that_a_provider_refuses_is_no_dead_letter_and_pauses_nothing(outcome: Outcome) -> None:
    claimed = ClaimedJob(ENTRY, replace(JOB, alert=replace(ALERT, update=Update.RECALL), attempt=10))
    decision = decide(claimed, outcome, sent_at=SENT, now=NOON, backoff=ten_seconds)
    assert (decision.settlement, decision.result, decision.effect) == (Finish(ENTRY), Result.DROPPED, None)


def test_an_update_that_is_refused_for_a_fault_of_ours_is_tried_again_for_a_while() -> None:
    """Our key was wrong for a moment: what was recalled must not stay on phones for that."""
    job = replace(JOB, alert=replace(ALERT, update=Update.RECALL), attempt=0)
    tries = 0
    while (decision := decided(OurFault("wrong key"), job)).result is Result.RETRY:
        assert isinstance(decision.settlement, Postpone)
        assert (decision.effect, decision.settlement.when) == (None, NOON + 10 * SECOND)
        job, tries = decision.settlement.job, tries + 1
    assert (decision.result, tries) == (Result.DROPPED, 10)


def test_an_update_that_probes_a_paused_lane_leaves_it_paused_where_it_is_refused() -> None:
    claimed = ClaimedJob(ENTRY, replace(JOB, alert=replace(ALERT, update=Update.READ)))
    decision = decide(claimed, OurFault("wrong key"), sent_at=SENT, now=NOON, backoff=ten_seconds, is_paused=True)
    assert decision.result is Result.PAUSED
