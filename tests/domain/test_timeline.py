"""Notes as a story: the order of its lines is the order in which things happened."""

from dataclasses import replace

import pytest

from proxy.domain.history import Note, Noted, Reason
from proxy.domain.jobs import Try
from proxy.domain.receipts import NOTED, Delivery
from proxy.domain.timeline import Step, stories
from proxy.domain.times import to_ms
from tests.store.samples import MS, NOON, SECOND

NOON_MS = to_ms(NOON)
ACCEPTED = Note(
    "m1", "p2p:ann", NOON_MS, NOON_MS - 900, "accepted", "ben", "phone", "main", "apns",
    planned_at_ms=NOON_MS + 5, pushed_at_ms=NOON_MS + 9, ended_at_ms=NOON_MS + 70,
)  # fmt: skip


def told(*noted: Noted) -> list[tuple[Step, str, str]]:
    (story,) = stories(noted)
    return [(event.step, event.device_id, event.says) for event in story.events]


def test_an_alert_that_was_accepted() -> None:
    assert told(Noted(NOON + SECOND, ACCEPTED)) == [
        (Step.SENT, "", ""),
        (Step.ACCEPTED, "", ""),
        (Step.PLANNED, "phone", ""),
        (Step.PUSHED, "phone", ""),
        (Step.ANSWERED, "phone", "accepted"),
    ]


def test_one_that_was_late_tells_each_try_and_what_held_it_up_once() -> None:
    tries = (Try(NOON + SECOND, "503 ServiceUnavailable"), Try(NOON + 3 * SECOND, "no answer in time"))
    late = replace(ACCEPTED, pushed_at_ms=NOON_MS + 7000, ended_at_ms=NOON_MS + 7100, tries=tries, silent=True)
    first = replace(ACCEPTED, result="retry", reason=tries[0].reason, tries=tries[:1])
    assert told(Noted(NOON + SECOND, first), Noted(NOON + 8 * SECOND, late))[2:] == [
        (Step.PLANNED, "phone", ""),
        (Step.TRIED, "phone", "503 ServiceUnavailable"),
        (Step.TRIED, "phone", "no answer in time"),
        (Step.PUSHED, "phone", "without a sound"),
        (Step.ANSWERED, "phone", "accepted"),
    ]


def test_a_pause_of_the_lane_is_told_and_one_that_still_waits_says_so() -> None:
    paused = replace(ACCEPTED, result="paused", reason="lane paused", pushed_at_ms=0, ended_at_ms=0)
    waits = replace(paused, result=Reason.WAITS_IN_LANE, reason="the lane is paused (fault): InvalidProviderToken")
    assert told(Noted(NOON + SECOND, paused))[-1] == (Step.WAITS, "phone", "paused: lane paused")
    assert [says for _, _, says in told(Noted(NOON + SECOND, paused), Noted(NOON + 2 * SECOND, waits))[3:]] == [
        "paused: lane paused",
        "waits in its lane: the lane is paused (fault): InvalidProviderToken",
    ]


def test_each_target_of_a_message_has_lines_of_its_own_and_messages_come_in_order() -> None:
    none = Note("m1", "p2p:ann", NOON_MS, 0, Reason.ONLINE, "ben", "pad", "main", "apns")
    later = Note("m2", "topic:7", NOON_MS + 1, 0, Reason.MUTED, "ben")
    first, second = stories([Noted(NOON + MS, later), Noted(NOON + MS, none), Noted(NOON + SECOND, ACCEPTED)])
    assert [(first.message_id, second.message_id), (first.conversation, second.conversation)] == [
        ("m1", "m2"),
        ("p2p:ann", "topic:7"),
    ]
    assert [event.device_id for event in first.events] == ["", "pad", "phone", "phone", "phone"]
    assert [(event.step, event.says) for event in second.events] == [
        (Step.ACCEPTED, ""),
        (Step.ENDED, "conversation is muted"),
    ]


def test_what_the_provider_says_later_comes_after_the_answer_each_once_even_with_a_clock_that_is_behind() -> None:
    def receipt(what: Delivery, at_ms: int) -> Noted:
        note = Note(
            "m1", "", 0, 0, NOTED[what], "ben", "phone", "main", "apns", pushed_at_ms=NOON_MS + 9, ended_at_ms=at_ms
        )
        return Noted(NOON + (at_ms - NOON_MS) * MS, note)

    delivered, clicked = receipt(Delivery.DELIVERED, NOON_MS - 500), receipt(Delivery.CLICKED, NOON_MS + 3009)
    blocked = receipt(Delivery.BLOCKED_BY_USER, NOON_MS + 4000)
    assert told(delivered, delivered, Noted(NOON + SECOND, ACCEPTED), clicked, blocked)[-4:] == [
        (Step.ANSWERED, "phone", "accepted"),
        (Step.DELIVERED, "phone", ""),
        (Step.CLICKED, "phone", "3.000 s after it was sent"),
        (Step.REPORTED, "phone", "blocked by the user"),
    ]
    assert told(clicked) == [(Step.CLICKED, "phone", "3.000 s after it was sent")]  # the rest is older than the history


def test_an_alert_that_was_taken_back_says_so_and_one_that_was_not_says_why() -> None:
    def told_last(result: str, reason: str) -> tuple[Step, str, str]:
        later = replace(ACCEPTED, result=result, reason=reason, planned_at_ms=0, pushed_at_ms=0, ended_at_ms=0)
        lines = told(Noted(NOON + SECOND, ACCEPTED), Noted(NOON + 2 * SECOND, later))
        assert [step for step, _, _ in lines].count(Step.PLANNED) == 1
        return lines[-1]

    assert told_last(Reason.TAKEN_BACK, "recalled") == (Step.TAKEN_BACK, "phone", "recalled")
    assert told_last(Reason.NOT_TAKEN_BACK, "read elsewhere, but dropped: BadTopic") == (
        Step.TAKEN_BACK, "phone", "not taken back: read elsewhere, but dropped: BadTopic",
    )  # fmt: skip


@pytest.mark.parametrize(("result", "to"), [("other environment", "apns-sandbox"), ("goes to a fallback", "http")])
def test_a_job_that_went_to_another_lane_says_so_and_goes_on(result: str, to: str) -> None:
    moved = replace(ACCEPTED, result=result, reason=to, pushed_at_ms=0)
    ended = replace(ACCEPTED, channel=to, pushed_at_ms=NOON_MS + 8, ended_at_ms=NOON_MS + 9)
    assert told(Noted(NOON + 7 * MS, moved), Noted(NOON + 9 * MS, ended))[-3:] == [
        (Step.WAITS, "phone", f"{result}: {to}"),
        (Step.PUSHED, "phone", ""),
        (Step.ANSWERED, "phone", "accepted"),
    ]


def test_a_result_of_a_later_version_is_no_silence() -> None:
    assert "does not know" in told(Noted(NOON, replace(ACCEPTED, result="")))[-1][2]
