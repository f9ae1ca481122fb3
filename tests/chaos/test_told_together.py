"""The auditor on small invented runs in which messages are told together: which are lost, counted twice, told early."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from tests.chaos.auditor import audit
from tests.chaos.faults import Times
from tests.chaos.test_auditor import MAIN, OTHER, found, passes
from tests.chaos.test_taken_back import Ended
from tests.chaos.verdict import Verdict

WINDOW = 2000


class Folded(Ended):
    """Zoe writes in one group; what follows within 2 s is told together. `came` are said and alerted at once."""

    def wrote(self, word: str, *, at: int, readers: Sequence[str] = ("alice",), app: str = OTHER, **more: Any) -> None:
        self.sent(word, readers, at=at, app=app, **more)

    def came(self, word: str, *, at: int, app: str = OTHER, **more: Any) -> None:
        self.wrote(word, at=at, app=app, **more)
        if app == OTHER:
            self.pushed(word, "alice", at=at + 10)
        else:
            self.mi_pushed(word, "alice", at=at + 10)

    def told_of(
        self, number: int, *, at: int, fold: str = "first", app: str = OTHER, phone: str = "alice", **more: Any
    ) -> None:
        body, data = f"{number} new message{'s' * (number != 1)}", {"mimc": {"conversation": "topic:1"}}
        data["mimc"] |= {"sequence": str(more.pop("sequence"))} if "sequence" in more else {}
        if app == OTHER:
            payload = {"aps": {"alert": {"title": "zoe", "body": body}}} | data
            self.pushed("-", phone, at=at, payload=payload, collapse_id=f"fold-of-{fold}", **more)
        else:
            said = {"shown_description": body, "payload": json.dumps(data), "jobkey": f"fold-{at}"}
            self.mi_pushed("-", phone, at=at, **said | more)

    def verdict(self) -> Verdict:
        journals = {"apns": self.apns, "sandbox": self.sandbox, "mipush": self.mipush}
        return audit(self.events, journals, Times(fold_s=WINDOW / 1000), phones=self._phones)


def story(number: int | None, app: str = OTHER) -> Folded:
    """Three messages, of which the first has an alert; and what is told at the end of the window."""
    it = Folded()
    it.came("apple", at=100, app=app)
    it.wrote("pear", at=300, app=app)
    it.wrote("plum", at=1500, app=app)
    if number is not None:
        it.told_of(number, at=2120, app=app)
    return it


# how many


@pytest.mark.parametrize(("app", "right"), [(OTHER, 2), (MAIN, 3)])
def test_each_message_has_an_alert_or_is_counted_once_and_mi_push_counts_the_alert_too(app: str, right: int) -> None:
    it = story(right, app)
    assert passes(it)
    verdict = it.verdict()
    assert (verdict.due, verdict.told, verdict.wordless) == (3, 2, 0)
    assert verdict.told_together == {"folds pushed": 1, "conversations counted": 1}
    assert found(story(right - 1, app)) == {"lost": 1}
    assert found(story(right + 1, app)) == {"counted twice": 1}


@pytest.mark.parametrize("app", [OTHER, MAIN])
def test_what_no_fold_tells_of_is_lost(app: str) -> None:
    assert found(story(None, app)) == {"lost": 2}
    it = story(2 if app == OTHER else 3, app)
    it.wrote("fig", at=2300, app=app)
    assert it.verdict().count("lost") >= 1


def test_a_fold_goes_on_from_the_one_before_it() -> None:
    it = story(2)
    it.wrote("fig", at=2500)
    it.told_of(3, at=4200)
    assert passes(it)
    it.wrote("kiwi", at=4500)
    it.told_of(1, at=6300)
    assert found(it) == {"lost": 1}


@pytest.mark.parametrize(("app", "number"), [(OTHER, 1), (MAIN, 2)])
def test_after_a_pause_it_begins_anew(app: str, number: int) -> None:
    it = story(number + 1, app)
    it.came("fig", at=5000, app=app)
    it.wrote("kiwi", at=5100, app=app)
    it.told_of(number, at=7020, fold="fig", app=app)
    assert passes(it)
    it.told_of(number + 1, at=9100, fold="fig", app=app)
    assert found(it) == {"counted twice": 1}


def test_what_was_recalled_before_the_fold_is_not_counted() -> None:
    for number, verdict in ((1, {}), (2, {"counted twice": 1})):
        it = story(number)
        it.recalled("pear", at=400)
        assert found(it) == verdict


@pytest.mark.parametrize("number", [1, 2])
def test_what_was_recalled_or_read_just_before_may_be_counted(number: int) -> None:
    for why in ("recall", "read"):
        it = story(number)
        if why == "recall":
            it.recalled("pear", at=2000)
        else:
            it.read("pear", at=400)
        assert passes(it)


def test_a_fold_of_which_everything_was_recalled_is_left_out() -> None:
    it = story(None)
    it.recalled("pear", at=400)
    it.recalled("plum", at=1600)
    assert passes(it)
    it.told_of(0, at=2120)
    assert found(it) == {"counted twice": 1}


def test_a_worker_that_was_held_up_may_come_last_with_what_it_had_read_before() -> None:
    it = story(2)
    it.told_of(1, at=2300)
    assert found(it) == {"lost": 1, "too early": 1}
    it.fault("stop_worker", 2110, 2290, ports=[1001])
    assert passes(it)
    assert it.verdict().told_together["told again soon, excused by stop_worker"] == 1


@pytest.mark.parametrize("app", [OTHER, MAIN])
def test_a_fold_takes_the_place_of_no_later_one(app: str) -> None:
    it = story(None, app)
    it.told_of(2 if app == OTHER else 3, at=2120, app=app, sequence=1500)
    it.wrote("fig", at=2300, app=app, number=1400)
    number = 3 if app == OTHER else 4
    it.told_of(number, at=4200, app=app, sequence=1500)
    assert passes(it)
    it.told_of(number, at=6300, app=app, sequence=1400)
    assert found(it) == {"order": 1}


# when


@pytest.mark.parametrize("app", [OTHER, MAIN])
def test_there_is_one_fold_a_window(app: str) -> None:
    it = story(2 if app == OTHER else 3, app)
    it.wrote("fig", at=2200, app=app)
    it.told_of(3 if app == OTHER else 4, at=3000, app=app)
    assert found(it) == {"too early": 1}
    journal = it.apns if app == OTHER else it.mipush
    journal[-2] |= {"lost": "rst_stream"} if app == OTHER else {"fault": "reset_after"}
    assert passes(it)


@pytest.mark.parametrize("at", [400, 3000])
def test_what_comes_within_a_window_has_no_alert_of_its_own(at: int) -> None:
    it = story(2)
    it.came("fig", at=at)
    assert found(it) == {"too early": 1}


def test_what_was_said_before_may_come_later() -> None:
    it = Folded()
    it.wrote("pear", at=90)
    it.came("apple", at=100)
    it.pushed("pear", "alice", at=150)
    assert passes(it)


# whose


def test_a_fold_goes_to_readers_alone() -> None:
    it = story(2)
    it.told_of(2, at=2120, phone="bob")
    assert found(it) == {"wrong phone": 1}


def test_where_a_phone_changed_hands_a_fold_after_the_message_is_enough() -> None:
    it = story(1)
    it.registered("bob", at=4000, phone="alice", device="second")
    assert passes(it)
    assert it.verdict().told_together["conversations not counted, for what happened to the phone"] == 1


def test_nobody_counts_what_a_store_forgot() -> None:
    it = story(1)
    it.fault("empty_store", 1000, 1100)
    it.registered("alice", at=1200)
    assert passes(it)


def test_mi_push_takes_back_what_is_told_together_only_when_it_was_read() -> None:
    it = story(3, MAIN)
    it.recalled("plum", at=2200)
    it.revoked("alice", at=2300)
    assert found(it) == {"taken back": 1}
    it.recalled("apple", at=2250)
    assert passes(it)
    assert it.verdict().still_there == {"the alert before a fold was recalled": 1}
    it.read("plum", at=2260)
    assert it.verdict().still_there == {}


def test_an_alert_that_waited_for_a_fault_may_be_covered_by_a_fold_that_does_not_count_it() -> None:
    it = story(3, MAIN)
    it.wrote("fig", at=5000, app=MAIN)
    it.wrote("kiwi", at=7500, app=MAIN)
    it.wrote("lime", at=7600, app=MAIN)
    it.told_of(2, at=9700, app=MAIN)
    assert found(it) == {"lost": 1}
    it.fault("provider_503", 4900, 9600, target="mipush")
    assert passes(it)
