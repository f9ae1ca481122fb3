"""Replay: what goes back to work, as what, and why a letter must stay."""

from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest

from proxy.domain.alerts import AlertText
from proxy.domain.dead_letters import Cause, DeadLetter, PutBack, Unread
from proxy.domain.forwards import Forward
from proxy.domain.jobs import HISTORY_MOST, Job
from proxy.domain.lanes import Lane
from proxy.domain.offline_messages import OfflineMessage, offline_message
from proxy.domain.settlements import Entry
from proxy.usecases.replay_dead_letter import NotReplayable, Replay, ReplayRules, Throttle, prepare, replay_dead_letter
from tests.store.samples import DAY, NOON, SECOND, alert, callback, job

LANE = Lane("77", "main", "apns")
HOUR = 3600 * SECOND
RULES = ReplayRules(lanes=[LANE], alert_ttl=DAY, dedupe_ttl=DAY, life=HOUR)
JOB = replace(job(LANE, of=alert(life=HOUR)), attempt=7, second_chance=True).tried(NOON, "busy")
MESSAGE = offline_message(callback("77"), NOON)


@dataclass
class Letters:
    """Implements ports.DeadLetters with one letter; `whole_` is what its words make of it."""

    whole_: Job | OfflineMessage | Forward | Entry | None
    answer: PutBack = PutBack.DONE
    is_there: bool = True
    put: list[tuple[Job | OfflineMessage | Forward | Entry, Lane | None]] = field(default_factory=list)

    def has(self, _letter: DeadLetter) -> bool:
        return self.is_there

    def whole(self, _letter: DeadLetter) -> Job | OfflineMessage | Forward | Entry | None:
        return self.whole_

    def put_back(self, _letter: DeadLetter, of: Job | OfflineMessage | Forward | Entry, lane: Lane | None) -> PutBack:
        if self.answer is PutBack.DONE:
            self.put.append((of, lane))
        return self.answer

    def drop(self, _letter: DeadLetter) -> bool:
        return self.is_there


def letter(of: Job | OfflineMessage | Forward | Unread | None = JOB, app_id: str = "77") -> DeadLetter:
    return DeadLetter("1-0", app_id, NOON + SECOND, Cause.REJECTED, "TooLarge", of)


def test_a_job_goes_back_as_the_same_job_tried_anew_with_its_history() -> None:
    letters, now = Letters(JOB), NOON + 2 * SECOND
    outcome = replay_dead_letter(letter(), letters, RULES, now)
    ((back, lane),) = letters.put
    assert isinstance(back, Job)
    assert (back.id, back.alert.text, lane) == (JOB.id, JOB.alert.text, LANE)
    assert (back.attempt, back.second_chance) == (0, False)
    assert [(it.at, it.reason) for it in back.history] == [
        (NOON, "busy"), (NOON + SECOND, "TooLarge"), (now, "replayed"),
    ]  # fmt: skip
    assert outcome == Replay(back, LANE, now + HOUR)


@pytest.mark.parametrize(
    ("waited", "expires_at"),
    [(SECOND, NOON + SECOND + HOUR), (30 * DAY, NOON + 30 * DAY + HOUR)],
)
def test_a_replayed_alert_has_its_new_life_from_now_on(waited: timedelta, expires_at: object) -> None:
    ready = prepare(letter(), Letters(JOB), RULES, NOON + waited)
    assert isinstance(ready, Replay)
    assert ready.expires_at == expires_at


def test_an_alert_that_lives_longer_by_itself_keeps_its_life() -> None:
    long = replace(JOB, alert=replace(JOB.alert, expires_at=NOON + DAY))
    ready = prepare(letter(), Letters(long), RULES, NOON)
    assert isinstance(ready, Replay)
    assert ready.expires_at == NOON + DAY


def test_a_job_that_is_replayed_again_and_again_keeps_a_bounded_history() -> None:
    one = JOB
    for _ in range(20):
        ready = prepare(letter(), Letters(one), RULES, NOON)
        assert isinstance(ready, Replay)
        assert isinstance(ready.of, Job)
        one = ready.of
    assert len(one.history) == HISTORY_MOST


def test_without_its_words_a_job_stays_unless_the_operator_wants_it_so() -> None:
    kept = replace(JOB, alert=replace(JOB.alert, text=AlertText("", "")))
    assert isinstance(replay_dead_letter(letter(kept), Letters(None), RULES, NOON), NotReplayable)
    letters = Letters(None)
    replay_dead_letter(letter(kept), letters, replace(RULES, without_words=True), NOON)
    ((back, _),) = letters.put
    assert isinstance(back, Job)
    assert back.alert.text == AlertText("ann", "", "new")
    assert back.id == JOB.id


def test_without_words_the_sender_in_a_group_is_not_known() -> None:
    kept = replace(JOB, alert=replace(JOB.alert, conversation="topic:1", text=AlertText("", "")))
    ready = prepare(letter(kept), Letters(None), replace(RULES, without_words=True), NOON)
    assert isinstance(ready, Replay)
    assert isinstance(ready.of, Job)
    assert ready.of.alert.text == AlertText("", "", "new")


@pytest.mark.parametrize(
    ("one", "letters", "reason"),
    [
        (letter(None), Letters(None), "an earlier version kept nothing of it but the reason"),
        (letter(replace(JOB, channel="mipush")), Letters(JOB), "the settings have no lane main/mipush"),
        (letter(JOB, app_id="78"), Letters(JOB), "the settings have no lane main/apns"),
        (letter(), Letters(JOB, PutBack.FULL), "the lane is full"),
        (letter(MESSAGE), Letters(MESSAGE, PutBack.FULL), "the stream of callbacks is full"),
        (
            letter(MESSAGE),
            Letters(None),
            "its words are gone; without them it is unknown whether it is to be alerted",
        ),
        (letter(Unread("main", "mipush", 9)), Letters(Entry(b"1-0", b"?")), "the settings have no lane main/mipush"),
        (letter(Unread("main", "apns", 9)), Letters(None), "its bytes are gone"),
    ],
)
def test_what_cannot_go_back_stays_and_says_why(one: DeadLetter, letters: Letters, reason: str) -> None:
    assert replay_dead_letter(
        one, letters, replace(RULES, without_words=True) if one.subject is MESSAGE else RULES, NOON
    ) == (NotReplayable(reason))
    assert letters.put == []


def test_a_letter_that_another_command_took_is_neither_done_nor_refused() -> None:
    assert replay_dead_letter(letter(), Letters(JOB, PutBack.GONE), RULES, NOON) is None
    words_went_with_it = Letters(None, PutBack.GONE, is_there=False)
    assert replay_dead_letter(letter(), words_went_with_it, RULES, NOON) is None


def test_a_callback_goes_back_as_it_was_with_its_own_life() -> None:
    letters = Letters(MESSAGE)
    assert replay_dead_letter(letter(replace(MESSAGE, payload=b"")), letters, RULES, NOON + HOUR) == (
        Replay(MESSAGE, None, NOON + DAY)
    )
    assert letters.put == [(MESSAGE, None)]


@pytest.mark.parametrize(
    ("rules", "is_too_late"),
    [
        (RULES, False),
        (replace(RULES, alert_ttl=HOUR), True),
        (replace(RULES, alert_ttl=7 * DAY, dedupe_ttl=HOUR), True),  # its jobs may be shown and their marks gone
    ],
)
def test_a_callback_is_planned_again_only_while_it_is_alive_and_the_marks_know_its_jobs(
    rules: ReplayRules, is_too_late: bool
) -> None:
    outcome = replay_dead_letter(letter(MESSAGE), Letters(MESSAGE), rules, NOON + 2 * HOUR)
    assert (outcome == NotReplayable("too late: its alerts have expired")) is is_too_late


@pytest.mark.parametrize("lane", [LANE, None])
def test_an_unreadable_record_goes_back_where_it_came_from(lane: Lane | None) -> None:
    entry = Entry(b"1-0", b'{"v":2}')
    of = Unread(lane.app, lane.channel, 7) if lane else Unread("", "", 7)
    letters = Letters(entry)
    assert replay_dead_letter(letter(of), letters, RULES, NOON) == Replay(entry, lane, None)
    assert letters.put == [(entry, lane)]


def test_the_pace_lets_through_so_many_a_second_and_makes_up_for_nothing() -> None:
    now, slept = [100.0], list[float]()

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    pace = Throttle(4, lambda: now[0], sleep)
    for _ in range(5):
        pace.wait()
    assert sum(slept) == pytest.approx(1.0)
    now[0] += 10  # a long look at one of them
    slept.clear()
    for _ in range(3):
        pace.wait()
    assert slept == pytest.approx([0.25, 0.25])
