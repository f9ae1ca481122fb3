"""The auditor on small invented runs: what was read or recalled and is still shown, what went without a reason, and
numbers that are not those of the unread messages."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from tests.chaos.auditor import audit
from tests.chaos.faults import Times
from tests.chaos.test_auditor import MAIN, OTHER, Story, found, passes, token
from tests.chaos.verdict import Verdict

EVERYBODY = ("alice", "bob", "carl", "zoe")


class Ended(Story):
    """A run with what its phones show in the end. Zoe writes, in one group."""

    def __init__(self, people: Sequence[str] = ("alice", "bob", "carl")) -> None:
        super().__init__(people)
        self._phones: dict[str, list[dict[str, Any]]] = {"apns": [], "sandbox": [], "mipush": []}
        self._notices = 100

    def recalled(self, word: str, *, at: int, by: str = "zoe", **more: Any) -> None:
        self._noticed("recall", word, at, by, **more)

    def read(self, word: str, by: str = "alice", *, at: int, **more: Any) -> None:
        self._noticed("read", word, at, by, **more)

    def replaced(self, word: str, phone: str, *, at: int) -> None:
        """APNs accepted that it says "Message recalled" in the place of that word."""
        payload = {"aps": {"alert": {"title": "zoe", "body": "Message recalled"}}}
        self.pushed(word, phone, at=at, payload=payload)

    def woken(self, word: str, phone: str, *, at: int, why: str = "read") -> None:
        payload = {"aps": {"content-available": 1}, "mimc": {"withdrawn": why, "message": f"id-of-{word}"}}
        self.pushed(word, phone, at=at, payload=payload, collapse_id=None)

    def revoked(self, *accounts: str, at: int) -> None:
        path = "/v3/message/user_account/revoke"
        self.mi_pushed("-", *accounts, at=at, kind="revoke", path=path, notify_id=77)

    def told(self, phone: str, number: int, *, at: int) -> None:
        self.pushed("-", phone, at=at, payload={"aps": {"badge": number}}, collapse_id=None)

    def shows(self, phone: str, *words: str, at: int = 0, badge: int | None = None, sandbox: bool = False) -> None:
        """An iPhone; `at` is when it was told the number."""
        alerts = [{"title": "zoe", "body": f"hello, {word}!"} for word in words]
        entry = {"device_token": token(phone), "shown": alerts, "badge": badge, "badge_ms": at}
        self._put("sandbox" if sandbox else "apns", "device_token", entry)

    def mi_shows(self, account: str, *words: str) -> None:
        alerts = [{"title": "zoe", "description": f"hello, {word}!", "target": account} for word in words]
        self._put("mipush", "accounts", {"accounts": [account], "shown": alerts})

    def verdict(self) -> Verdict:
        journals = {"apns": self.apns, "sandbox": self.sandbox, "mipush": self.mipush}
        return audit(self.events, journals, Times(), phones=self._phones)

    def _put(self, emulator: str, name: str, phone: dict[str, Any]) -> None:
        others = [it for it in self._phones[emulator] if it[name] != phone[name]]
        self._phones[emulator] = [*others, phone]

    def _noticed(self, why: str, word: str, at: int, by: str, status: int = 200, **more: Any) -> None:
        self._notices += 1
        facts = {"kind": "NORMAL_TOPIC_MSG", "recipients": EVERYBODY, "form": "new", "attempt": 1, "duplicate": False}
        self._write(
            "notice", at + 2, callback=self._notices, word=word, why=why, by=by, asked_ms=at, status=status,
            **facts | more,
        )  # fmt: skip


def pushed(*words: str, people: Sequence[str] = ("alice", "bob"), **more: Any) -> Ended:
    """One after the other, to the iPhones of these people and to Mi Push."""
    story = Ended()
    for number, word in enumerate(words):
        for app in (OTHER, MAIN):
            story.sent(f"{word}-{app}", people, at=100 + 100 * number, app=app, **more)
        for account in people:
            story.pushed(f"{word}-{OTHER}", account, at=110 + 100 * number)
        story.mi_pushed(f"{word}-{MAIN}", *people, at=110 + 100 * number)
    return story


# recalled


def test_a_recalled_text_may_be_on_no_phone() -> None:
    story = pushed("apple")
    story.recalled("apple-other", at=500)
    for account in ("alice", "bob"):
        story.replaced("apple-other", account, at=510)
    story.shows("alice")
    assert passes(story)
    assert story.verdict().taken_back["withdrawals pushed"] == 2
    story.shows("bob", "apple-other")
    assert found(story) == {"recalled text": 1}
    assert "apple-other for 626f62: pushed at 110, recall answered 200 at 502" in story.verdict().report()


@pytest.mark.parametrize("changed", [{"status": 0}, {"by": "bob"}, {"recipients": ["alice", "carl"]}])
def test_a_recall_that_was_not_taken_or_is_not_for_them_to_make_or_for_others_takes_nothing_back(
    changed: Mapping[str, Any],
) -> None:
    story = pushed("apple")
    story.recalled("apple-other", at=500, **changed)
    story.shows("bob", "apple-other")
    assert passes(story)


def test_what_was_recalled_before_it_was_pushed_need_not_come() -> None:
    story = Ended()
    story.sent("apple", ["alice"], at=100)
    story.recalled("apple", at=90)
    assert passes(story)
    assert (story.verdict().due, story.verdict().withdrawn) == (1, 1)


def test_what_another_recalls_or_reads_is_lost_when_it_does_not_come() -> None:
    story = Ended()
    story.sent("apple", ["alice"], at=100)
    story.recalled("apple", at=90, by="bob")
    story.read("apple", "bob", at=120)
    assert found(story) == {"lost": 1}


# read elsewhere


def test_a_read_takes_the_message_and_those_before_it_from_its_readers_phones_alone() -> None:
    story = pushed("apple", "pear", "plum")
    story.read("pear-other", at=500)
    story.read("pear-main", at=500)
    story.shows("bob", "apple-other", "pear-other", "plum-other")
    story.shows("alice", "plum-other")
    story.mi_shows("alice", "plum-main")
    assert passes(story)
    story.mi_shows("alice", "apple-main")
    story.shows("alice", "apple-other", "pear-other")
    assert found(story) == {"read alert": 3}


def test_what_was_not_pushed_yet_when_it_was_read_may_be_shown() -> None:
    story = Ended()
    story.sent("apple", ["alice"], at=100)
    story.read("apple", at=105)
    story.pushed("apple", "alice", at=110)
    story.shows("alice", "apple")
    assert passes(story)
    story.read("apple", at=120)
    assert found(story) == {"read alert": 1}


def test_another_conversation_is_not_read() -> None:
    story = pushed("apple")
    story.sent("pear", ["alice"], at=300, conversation="topic:2")
    story.pushed("pear", "alice", at=310)
    story.read("pear", at=500)
    story.shows("alice", "apple-other")
    assert passes(story)


# taken back without a reason


def test_a_message_that_was_refused_or_taken_twice_may_have_come_later_than_its_first_post() -> None:
    story = pushed("apple", "pear")
    story.posted("apple-other", ["alice"], at=600, status=503, callback=9)
    story.read("apple-other", at=700)
    story.woken("pear-other", "alice", at=720)
    assert passes(story)
    story = pushed("apple", "pear")
    story.posted("apple-other", ["alice", "bob"], at=600, duplicate=True)
    story.read("apple-other", at=700)
    story.woken("pear-other", "alice", at=720)
    assert found(story) == {"taken back": 1}


def test_a_message_is_stored_by_its_first_200_though_that_calls_it_a_duplicate() -> None:
    """The service asked the store twice. What came before is read with it, and need not have been pushed."""
    story = Ended()
    story.sent("apple-other", ["alice"], at=100, app=OTHER)
    story.sent("pear-other", ["alice"], at=200, app=OTHER)
    story.events[-1]["duplicate"] = True
    story.events.append(dict(story.events[-1]))  # posted and answered in the same milliseconds
    story.pushed("pear-other", "alice", at=210)
    story.read("pear-other", at=300)
    story.woken("pear-other", "alice", at=310)
    assert passes(story)


@pytest.mark.parametrize("why", ["recall", "read"])
def test_nothing_goes_from_a_phone_that_nobody_took_back(why: str) -> None:
    story = pushed("apple", "pear")
    story.recalled("pear-other", at=500, by="bob")
    story.read("apple-other", at=500)
    story.replaced("pear-other", "alice", at=510)
    story.woken("pear-other", "alice", at=520, why=why)
    assert found(story) == {"taken back": 2}


def test_mi_push_may_take_back_only_what_it_shows() -> None:
    story = pushed("apple", "pear")
    story.recalled("pear-main", at=500)
    story.revoked("alice", "bob", at=510)
    assert passes(story)
    story.mi_pushed("apple-main", "alice", at=600)
    story.revoked("alice", at=610)
    assert story.verdict().count("taken back") == 1
    story.read("pear-main", at=605)
    assert story.verdict().count("taken back") == 0


def test_what_was_asked_for_later_is_no_reason() -> None:
    story = pushed("apple")
    story.replaced("apple-other", "alice", at=490)
    story.recalled("apple-other", at=500)
    assert found(story) == {"taken back": 1}


# numbers


def test_the_number_is_that_of_the_unread_messages() -> None:
    story = pushed("apple", "pear", "plum")
    story.posted("plum-other", ["alice"], at=320, callback=2)
    story.shows("alice", badge=3, at=310)
    assert passes(story)
    assert story.verdict().taken_back["numbers exactly known"] == 1
    story.shows("bob", badge=4, at=310)
    assert found(story) == {"badge": 1}
    assert "other/bob/phone was told 4 at 310, unread: 3" in story.verdict().report()


def test_what_is_read_or_recalled_counts_no_longer() -> None:
    story = pushed("apple", "pear", "plum", "fig")
    story.read("pear-other", at=600)
    story.recalled("plum-other", at=600)
    story.told("alice", 1, at=700)
    story.shows("alice", badge=1, at=700)
    story.shows("bob", badge=3, at=700)
    assert passes(story)
    story.shows("alice", badge=2, at=2_701)
    assert found(story) == {"badge": 1}


@pytest.mark.parametrize("number", [1, 2])
def test_what_may_have_been_counted_or_read_leaves_the_number_open(number: int) -> None:
    story = pushed("apple")
    story.sent("pear-other", [], at=200)
    story.posted("pear-other", ["alice"], at=200, status=0)
    story.shows("alice", badge=number, at=210)
    assert passes(story)
    assert story.verdict().taken_back["numbers exactly known"] == 0


# excuses


def excused(story: Ended) -> Mapping[str, int]:
    assert passes(story)
    return story.verdict().still_there


def test_without_an_id_or_a_sequence_a_message_is_not_found_by_a_later_read() -> None:
    story = pushed("apple", "pear")
    for event in story.events:
        if event["event"] == "message":
            event["has_id"] = event["app"] == OTHER
        if event["event"] == "posted" and event["word"].endswith(OTHER):
            event["form"] = "old"
    for app in (OTHER, MAIN):
        story.read(f"pear-{app}", at=500)
    story.shows("alice", "apple-other")
    story.mi_shows("alice", "apple-main")
    assert excused(story) == {"it has no id of its own": 1, "it has no sequence": 1}


def test_a_phone_that_changed_hands_or_environments_may_show_what_was_taken_back() -> None:
    story = pushed("apple", people=["alice", "bob", "carl"])
    story.registered("bob", at=400, phone="alice", device="second")
    story.registered("carl", at=410, event="registration_unknown")
    story.recalled("apple-other", at=500)
    story.shows("alice", "apple-other", badge=7, at=120)
    for sandbox in (True, False):
        story.shows("bob", *([] if sandbox else ["apple-other"]), sandbox=sandbox)
    assert excused(story) == {"the phone changed hands": 2, "the phone changed environments": 1}


def test_a_store_that_came_back_empty_knows_neither_what_is_shown_nor_what_was_read() -> None:
    story = pushed("apple")
    story.fault("empty_store", 400, 450)
    story.registered("alice", at=460)
    story.recalled("apple-other", at=500)
    story.shows("alice", "apple-other", badge=9, at=420)
    assert excused(story) == {"the store came back empty": 2}


def test_a_failover_may_have_lost_what_was_pushed_or_told_just_then() -> None:
    story = pushed("apple")
    story.recalled("apple-other", at=5_000)
    story.shows("alice", "apple-other", badge=9, at=720)
    story.fault("failover", 700, 1_000)
    assert excused(story) == {"a failover": 2}
    covered = pushed("apple", "pear")  # Mi Push shows the pear
    covered.recalled("apple-main", at=5_000)
    covered.revoked("alice", at=5_010)
    assert found(covered) == {"taken back": 1}
    covered.fault("failover", 700, 1_000)
    assert excused(covered) == {"a failover": 1}
    later = pushed("apple")
    later.recalled("apple-other", at=5_000)
    later.shows("alice", "apple-other", badge=9, at=720)
    later.fault("failover", 3_000, 4_000)
    assert found(later) == {"recalled text": 1, "badge": 1}


def test_what_mi_push_took_and_nobody_heard_of_is_taken_back_much_later() -> None:
    story = Ended()
    story.sent("apple", ["alice"], at=100, app=MAIN)
    story.mi_pushed("apple", "alice", at=110, fault="truncated")
    story.recalled("apple", at=500)
    story.mi_shows("alice", "apple")
    assert excused(story) == {"its answer was not heard": 1}


def test_what_mi_push_may_show_is_taken_back_with_what_it_shows_instead() -> None:
    story = pushed("apple")
    story.sent("pear", ["alice"], at=300, app=MAIN)
    refused: dict[str, Any] = {"outcome": "fault", "fault": "silence"}
    story.mi_pushed("pear", "alice", at=310, **refused)
    story.recalled("pear", at=400)
    story.revoked("alice", at=410)
    assert excused(story) == {"what is recalled may be shown": 1}
    story.mipush[-2]["fault"] = "code"
    assert found(story) == {"taken back": 1}
    story.fault("kill_worker", 320, 350)
    assert excused(story) == {"what is recalled may be shown": 1}


def test_two_pushes_to_a_phone_may_pass_each_other() -> None:
    story = pushed("apple", "pear")
    story.told("alice", 2, at=300)
    story.told("alice", 1, at=350)
    story.shows("alice", badge=1, at=350)
    assert excused(story) == {"two pushes passed each other": 1}
    story.shows("alice", badge=1, at=2_301)
    assert found(story) == {"badge": 1}


def test_a_phone_whose_login_had_the_latest_message_online_need_not_know_of_it() -> None:
    story = Ended(people=())
    story.registered("alice", at=0, resource="ios")
    story.registered("alice", at=0, phone="pad", device="pad", resource="pad")
    story.sent("apple", [], at=100)
    story.posted("apple", ["alice"], at=100, resources={"alice": ["pad", "ios"]})
    story.sent("pear", [], at=200)
    story.posted("pear", ["alice"], at=200, resources={"alice": ["pad"]})
    for word, at in (("apple", 110), ("pear", 210)):
        story.pushed(word, "pad", at=at)
    story.pushed("apple", "alice", at=110)
    story.shows("alice", badge=1, at=110)
    story.shows("pad", badge=2, at=210)
    assert excused(story) == {"its login had the latest online": 1}
