"""The auditor on small invented runs: each offence is found, each excuse holds, and what only looks like one passes.

Times are milliseconds from the story's begin. Alice, Bob and Carl have an APNs phone each in the section `other`; in
`main` they are reached by Mi Push under their accounts.
"""

import ast
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.auditor import audit
from tests.chaos.faults import Times
from tests.chaos.runlog import check_event
from tests.chaos.verdict import KINDS, Verdict

ROOT = Path(__file__).resolve().parents[2]
PEOPLE = ("alice", "bob", "carl")
OTHER, MAIN = "other", "main"


class Story:
    """A run as it might have been, line by line."""

    def __init__(self, people: Sequence[str] = PEOPLE) -> None:
        self.events: list[dict[str, Any]] = []
        self.apns: list[dict[str, Any]] = []
        self.sandbox: list[dict[str, Any]] = []
        self.mipush: list[dict[str, Any]] = []
        self._last_ms = 0
        for name in people:
            self.registered(name, at=0)
            self._write("registered", 1, asked_ms=0, **_device(MAIN, name, "android", "mipush", name))

    def registered(self, account: str, *, at: int, phone: str | None = None, **more: Any) -> None:
        """In the section `other`; `phone` says whose phone it is."""
        device = _device(OTHER, account, more.pop("device", "phone"), "apns", token(phone or account))
        device |= {name: more.pop(name) for name in ("platform", "push_token") if name in more}
        self._write(more.pop("event", "registered"), at + 1, asked_ms=at, **device, **more)

    def sent(
        self, word: str, readers: Sequence[str], *, at: int, app: str = OTHER, number: int | None = None, **more: Any
    ) -> None:
        """A message with one callback that is answered 200 at once."""
        facts = {"sender": "zoe", "topic_id": "1", "conversation": "topic:1", **more}
        self._write(
            "message", at, word=word, app_id="1", app=app, sequence=number or at, sent_at_ms=number or at, **facts
        )
        self.posted(word, readers, at=at)

    def posted(self, word: str, readers: Sequence[str], *, at: int, status: int = 200, **more: Any) -> None:
        facts = {"callback": 1, "kind": "OFFLINE_TOPIC_MSG", "form": "new", "attempt": 1, "duplicate": False, **more}
        self._write("posted", at + 2, word=word, recipients=list(readers), asked_ms=at, status=status, **facts)

    def fault(
        self, kind: str, begin: int, end: int | None = None, *, target: str = "-", ports: list[int] | None = None
    ) -> None:
        self._write("fault", end or begin, kind=kind, target=target, pid=None, begin_ms=begin, end_ms=end, ports=ports)

    def pushed(self, word: str, phone: str, *, at: int, port: int = 1001, took: int = 1, **more: Any) -> None:
        """APNs accepted it for that phone; its sandbox with `sandbox`."""
        journal = self.sandbox if more.pop("sandbox", False) else self.apns
        journal.append({
            "number": len(journal) + 1, "monotonic_ms": at + took, "came_ms": at, "connection": port - 1000,
            "peer_port": port, "device_token": token(phone), "accepted": True, "answered": "lost" not in more,
            "lost": None, "fault": None, "collapse_id": f"id-of-{word}",
            "payload": {"aps": {"alert": {"title": "zoe", "body": f"hello, {word}!"}}}, **more,
        })  # fmt: skip

    def mi_pushed(self, word: str, *accounts: str, at: int, port: int = 1001, took: int = 1, **more: Any) -> None:
        """Mi Push accepted it for those accounts."""
        self.mipush.append({
            "number": len(self.mipush) + 1, "monotonic_ms": at + took, "came_ms": at, "connection": port - 1000,
            "peer_port": port, "kind": "send", "outcome": "accepted", "target_kind": "user_account",
            "targets": list(accounts), "bad_targets": [], "jobkey": f"key-of-{word}", "notify_id": "77",
            "shown_title": "zoe", "shown_description": f"hello, {word}!", **more,
        })  # fmt: skip

    def verdict(self) -> Verdict:
        journals = {"apns": self.apns, "sandbox": self.sandbox, "mipush": self.mipush}
        return audit(self.events, journals, Times())

    def _write(self, event: str, ms: int, **facts: Any) -> None:
        check_event(event, facts)
        self.events.append({"event": event, "ms": ms, **facts})


def token(name: str) -> str:
    return name.encode().hex()


def _device(app: str, account: str, device: str, platform: str, push_token: str) -> dict[str, Any]:
    return {"app": app, "account": account, "device": device, "platform": platform, "push_token": push_token}


def found(story: Story) -> dict[str, int]:
    verdict = story.verdict()
    return {kind: verdict.count(kind) for kind in KINDS if verdict.count(kind)}


def passes(story: Story) -> bool:
    verdict = story.verdict()
    assert verdict.findings == (), verdict.report()
    return True


def test_the_auditor_shares_no_code_with_the_service() -> None:
    read, waiting = set[str](), {"tests.chaos.auditor"}
    while waiting:
        read.add(name := waiting.pop())
        imported = {
            node.module for node in ast.walk(ast.parse((ROOT / f"{name.replace('.', '/')}.py").read_text()))
            if isinstance(node, ast.ImportFrom) and node.module
        }  # fmt: skip
        assert not {module for module in imported if module.partition(".")[0] == "proxy"}, name
        waiting |= {module for module in imported if module.startswith("tests.")} - read
    assert "tests.chaos.pushes" in read


# the ordinary run


def test_an_ordinary_run_passes_with_one_push_an_alert() -> None:
    story = Story()
    story.sent("apple", ["alice", "bob"], at=100)
    story.sent("pear", ["carl"], at=200, app=MAIN)
    story.pushed("apple", "alice", at=110)
    story.pushed("apple", "bob", at=111)
    story.mi_pushed("pear", "carl", at=220)
    verdict = story.verdict()
    assert verdict.ok
    assert (verdict.messages, verdict.due, verdict.undecidable) == (2, 3, 0)
    assert verdict.pushes_per_alert == 1.0
    assert verdict.row()["pushes per alert"] == "1.00"
    assert verdict.row()["worst recovery"] == "-"
    assert verdict.row()["faults"] == "none"


def test_the_report_names_the_first_offenders() -> None:
    story = Story()
    for number in range(9):
        story.sent(f"word{number}", ["alice"], at=100 + number)
    report = story.verdict().report()
    assert "lost: word0 for other/alice/phone: answered 200 at 102, never pushed" in report
    assert report.count("lost: ") == 5


# lost


def test_an_alert_that_was_never_pushed_is_lost() -> None:
    story = Story()
    story.sent("apple", ["alice", "bob"], at=100)
    story.pushed("apple", "bob", at=110)
    assert found(story) == {"lost": 1}


def test_a_mi_push_alert_is_due_to_the_account() -> None:
    story = Story()
    story.sent("apple", ["alice", "unknown"], at=100, app=MAIN)
    assert found(story) == {"lost": 1}


def test_a_push_that_was_refused_delivers_nothing() -> None:
    story = Story()
    story.sent("apple", ["alice"], at=100)
    story.sent("pear", ["alice"], at=100, app=MAIN)
    story.pushed("apple", "alice", at=110, accepted=False)
    story.mi_pushed("pear", "alice", at=110, outcome="fault")
    story.mi_pushed("pear", "alice", at=110, bad_targets=["alice"])
    assert found(story) == {"lost": 2}


def test_a_push_whose_text_has_not_the_word_delivers_nothing() -> None:
    story = Story()
    story.sent("apple", ["alice"], at=100)
    story.pushed("pineapple", "alice", at=110)
    assert found(story) == {"lost": 1}
    assert story.verdict().wordless == 1


def test_what_was_never_answered_200_is_not_due() -> None:
    story = Story()
    story.sent("apple", [], at=100)
    story.posted("apple", ["alice"], at=110, status=503)
    story.posted("apple", ["alice"], at=120, status=0)
    assert passes(story)
    assert (story.verdict().due, story.verdict().never_taken) == (0, 1)


def test_an_instant_callback_makes_nothing_due() -> None:
    story = Story()
    story.sent("apple", [], at=100)
    story.posted("apple", ["alice"], at=110, kind="NORMAL_TOPIC_MSG")
    assert passes(story)


def test_nothing_is_due_to_the_sender_himself() -> None:
    story = Story()
    story.sent("apple", ["alice"], at=100, sender="alice")
    assert passes(story)


def test_a_device_is_due_only_what_its_login_missed() -> None:
    story = Story(people=())
    story.registered("alice", at=0, resource="ios")
    story.sent("apple", [], at=100)
    story.posted("apple", ["alice"], at=110, resources={"alice": ["web"]})
    assert passes(story)
    story.posted("apple", ["alice"], at=120, resources={"alice": ["web", "ios"]})
    assert found(story) == {"lost": 1}


def test_a_device_that_registered_after_the_callback_is_not_due() -> None:
    story = Story(people=())
    story.sent("apple", ["alice"], at=100)
    story.registered("alice", at=101)
    assert passes(story)
    assert story.verdict().due == 0
    story.posted("apple", ["alice", "bob"], at=200)  # another callback about the same message
    assert found(story) == {"lost": 1}


def test_a_later_message_of_the_conversation_covers_an_earlier_one_on_mi_push_alone() -> None:
    story = Story()
    for app in (MAIN, OTHER):
        story.sent(f"first-{app}", ["alice"], at=100, app=app)
        story.sent(f"second-{app}", ["alice"], at=200, app=app)
    story.mi_pushed("second-main", "alice", at=210)
    story.pushed("second-other", "alice", at=210)
    assert [(finding.kind, finding.word) for finding in story.verdict().findings] == [("lost", "first-other")]
    assert story.verdict().superseded == 1


@pytest.mark.parametrize("changed", [{"conversation": "topic:2"}, {"number": 50}])
def test_neither_another_conversation_nor_an_earlier_message_covers(changed: Mapping[str, Any]) -> None:
    story = Story()
    story.sent("first", ["alice"], at=100, app=MAIN)
    story.sent("second", ["alice"], at=200, app=MAIN, **changed)
    story.mi_pushed("second", "alice", at=210)
    assert found(story) == {"lost": 1}


def test_of_two_messages_under_one_identity_one_is_lost() -> None:
    story = Story()
    for word in ("apple", "pear"):
        story.sent(word, ["alice"], at=100)
        story.pushed(word, "alice", at=110, collapse_id="the same")
    assert found(story) == {"lost": 1}


def test_a_device_that_changed_hands_leaves_it_open_what_was_due() -> None:
    story = Story()
    story.sent("apple", ["alice"], at=100)
    story.registered("bob", at=150, phone="alice", device="second")
    assert passes(story)
    assert (story.verdict().due, story.verdict().undecidable) == (0, 1)


@pytest.mark.parametrize("event", ["removed", "registration_unknown"])
def test_a_device_that_was_given_up_leaves_it_open_what_was_due(event: str) -> None:
    story = Story(people=())
    story.registered("alice", at=0)
    story.sent("apple", ["alice"], at=100)
    story.registered("alice" if event == "removed" else "bob", at=150, phone="alice", event=event)
    assert passes(story)
    assert story.verdict().undecidable == 1


def test_a_registration_that_is_repeated_until_it_is_answered_changes_nothing() -> None:
    story = Story(people=())
    story.registered("alice", at=0)
    story.sent("apple", ["alice"], at=100)
    story.registered("alice", at=150, event="registration_unknown")
    story.registered("alice", at=650)
    assert found(story) == {"lost": 1}


def test_a_device_that_had_changed_hands_before_is_due_nothing_more() -> None:
    story = Story(people=())
    story.registered("alice", at=0)
    story.registered("bob", at=50, phone="alice")
    story.sent("apple", ["alice", "bob"], at=100)
    assert [finding.alert for finding in story.verdict().findings] == ["other/bob/phone"]
    assert story.verdict().undecidable == 0


def test_what_was_registered_during_a_failover_may_be_forgotten() -> None:
    story = Story(people=())
    story.registered("alice", at=0)
    story.registered("bob", at=1_050, phone="alice")
    story.sent("apple", ["alice", "bob"], at=5_000)
    assert [finding.alert for finding in story.verdict().findings] == ["other/bob/phone"]
    story.fault("failover", 1_552, 3_000)  # a replica had long had it
    assert found(story) == {"lost": 1}
    story.fault("failover", 1_100, 3_000)
    assert passes(story)
    assert story.verdict().undecidable == 2
    story.pushed("apple", "alice", at=6_000)
    assert passes(story)


def test_so_may_a_sign_out_that_was_followed_by_a_registration() -> None:
    story = Story(people=())
    story.registered("alice", at=0)
    story.fault("failover", 600, 3_000)
    story.registered("alice", at=1_000, event="removed")
    story.sent("apple", ["alice"], at=5_000)
    story.registered("alice", at=9_000)
    assert passes(story)
    assert story.verdict().undecidable == 1


def test_a_callback_that_was_answered_200_survives_a_failover() -> None:
    story = Story()
    story.sent("apple", ["alice"], at=100)
    story.fault("failover", 600, 3_000)
    assert found(story) == {"lost": 1}


def test_a_device_that_registers_again_stays_due_wherever_it_is_reached() -> None:
    story = Story(people=())
    story.registered("alice", at=0)
    story.sent("apple", ["alice"], at=100)
    story.registered("alice", at=150)
    story.registered("alice", at=160, phone="new token")
    assert found(story) == {"lost": 1}
    story.pushed("apple", "new token", at=170)
    assert passes(story)


def test_a_device_is_due_nothing_from_when_the_provider_called_it_dead() -> None:
    story = Story()
    story.sent("apple", ["alice", "bob"], at=100)
    story.fault("provider_410", 90, 190, target=token("alice"))
    story.fault("provider_410", 150, None, target=token("bob"))
    assert passes(story)
    assert (story.verdict().due, story.verdict().undecidable) == (0, 1)
    story.registered("alice", at=200)
    story.sent("pear", ["alice"], at=300)
    assert found(story) == {"lost": 1}


# the store comes back empty


def test_what_was_accepted_before_the_store_was_emptied_may_be_lost_and_is_counted() -> None:
    story = Story()
    story.sent("apple", ["alice"], at=1000)
    story.fault("empty_store", 1100, 1500)
    assert passes(story)
    assert story.verdict().lost_with_the_store == 1


def test_what_was_accepted_after_it_may_not() -> None:
    story = Story()
    story.fault("empty_store", 1100, 1500)
    story.registered("alice", at=1600)
    story.sent("apple", ["alice"], at=1700)
    story.sent("spooled meanwhile", ["alice"], at=1450, app=MAIN)
    assert found(story) == {"lost": 2}


def test_a_device_has_to_register_again_after_it() -> None:
    story = Story()
    story.fault("empty_store", 1100, 1500)
    story.sent("apple", ["alice"], at=1700)
    assert passes(story)
    assert story.verdict().due == 0


def test_what_mimc_says_again_to_an_empty_store_may_be_pushed_again() -> None:
    story = Story()
    story.sent("apple", ["alice"], at=1000)
    story.pushed("apple", "alice", at=1010)
    story.fault("empty_store", 60_000, 60_500)
    story.registered("alice", at=61_000)
    story.pushed("apple", "alice", at=62_010)
    assert found(story) == {"unexcused repeat": 1}
    story.posted("apple", ["alice"], at=62_000)
    assert passes(story)
    assert story.verdict().excused == {"said again to an empty store": 1}


# shown twice


def test_one_word_under_two_identities_is_shown_twice() -> None:
    story = Story()
    story.sent("apple", ["alice"], at=100)
    story.sent("pear", ["alice"], at=100, app=MAIN)
    story.fault("kill_worker", 115)
    story.pushed("apple", "alice", at=110)
    story.pushed("apple", "alice", at=120, collapse_id="another")
    story.mi_pushed("pear", "alice", at=110)
    story.mi_pushed("pear", "alice", at=120, jobkey="another")
    assert found(story) == {"shown twice": 2}


def test_without_an_identity_every_push_is_an_item_of_its_own() -> None:
    story = Story()
    story.sent("apple", ["alice"], at=100)
    story.fault("kill_worker", 115)
    for at in (110, 120):
        story.pushed("apple", "alice", at=at, collapse_id=None)
    assert found(story) == {"shown twice": 1}


def test_one_word_on_two_phones_is_shown_once_on_each() -> None:
    story = Story()
    story.registered("alice", at=1, device="tablet", phone="tablet")
    story.sent("apple", ["alice", "bob"], at=100)
    for phone in ("alice", "tablet", "bob"):
        story.pushed("apple", phone, at=110)
    assert passes(story)


# unexcused repeats


def repeated(again_at: int = 9_000, **first: Any) -> Story:
    """Alice is pushed a word at 110 from port 1001, and again later from another worker's port."""
    story = Story()
    story.sent("apple", ["alice"], at=100)
    story.pushed("apple", "alice", at=110, **first)
    story.pushed("apple", "alice", at=again_at, port=1002)
    return story


def test_a_second_push_of_an_alert_needs_an_excuse() -> None:
    assert found(repeated()) == {"unexcused repeat": 1}


def test_so_does_a_third_whose_second_had_one() -> None:
    story = repeated(lost="silence", fault="silence")
    story.pushed("apple", "alice", at=9_500, port=1002)
    assert found(story) == {"unexcused repeat": 1}
    assert story.verdict().excused == {"unheard": 1}


def test_a_phone_that_got_a_new_token_is_the_same_phone() -> None:
    story = Story()
    story.sent("apple", ["alice"], at=100)
    story.pushed("apple", "alice", at=110)
    story.registered("alice", at=5_000, phone="new token")
    story.pushed("apple", "new token", at=9_000)
    assert found(story) == {"unexcused repeat": 1}


def test_a_phone_that_registered_under_another_device_id_is_the_same_phone() -> None:
    story = Story()
    story.sent("apple", ["alice"], at=100)
    story.pushed("apple", "alice", at=110)
    story.registered("alice", at=5_000, device="after a new installation")
    story.pushed("apple", "alice", at=9_000)
    assert found(story) == {"unexcused repeat": 1}


def test_a_phone_that_comes_back_to_a_reader_may_be_told_again() -> None:
    story = Story()
    story.sent("apple", ["alice"], at=100)
    story.pushed("apple", "alice", at=110)
    story.registered("bob", at=5_000, phone="alice", device="second")
    story.registered("alice", at=6_000, device="third")
    story.pushed("apple", "alice", at=20_000)
    assert passes(story)


def test_two_readers_who_had_one_phone_one_after_the_other_are_told_each() -> None:
    story = Story()
    story.sent("apple", ["alice", "bob"], at=100)
    story.pushed("apple", "alice", at=110)
    story.pushed("apple", "bob", at=110)
    story.registered("carl", at=5_000, phone="alice", device="second")
    story.posted("apple", ["alice", "bob", "carl"], at=6_000)
    story.pushed("apple", "carl", at=9_000)
    story.pushed("apple", "alice", at=9_000)
    assert passes(story)


def test_two_readers_of_whom_either_may_have_had_the_phone_are_told_each_but_not_twice() -> None:
    """Seed 11: a registration that was not answered for a while moved the phone."""
    story = Story()
    story.registered("bob", at=100, phone="alice", device="second", event="registration_unknown")
    story.registered("bob", at=1_100, phone="alice", device="second")
    story.sent("apple", ["alice", "bob"], at=200)
    story.pushed("apple", "bob", at=210)
    story.pushed("apple", "alice", at=1_000)
    story.pushed("apple", "alice", at=2_000)
    assert passes(story)
    story.pushed("apple", "alice", at=2_500)
    assert found(story) == {"unexcused repeat": 1}


@pytest.mark.parametrize("first", [
    {"lost": "silence"}, {"lost": "rst_stream"}, {"lost": "reset"}, {"lost": "closed"}, {"lost": "silent_connection"},
    {"took": 1000}, {"took": 1400, "lost": "stream reset by the client"},
])  # fmt: skip
def test_a_push_whose_answer_was_lost_or_late_may_be_repeated(first: Mapping[str, Any]) -> None:
    assert passes(repeated(**first))


@pytest.mark.parametrize("first", [
    {"lost": "stream reset by the client"}, {"lost": "connection lost"}, {"fault": "delay", "took": 500},
    {"lost": "protocol error"},
])  # fmt: skip
def test_a_push_that_its_client_gave_up_without_reason_may_not(first: Mapping[str, Any]) -> None:
    assert found(repeated(**first)) == {"unexcused repeat": 1}


@pytest.mark.parametrize("effect", ["reset_after", "silence_after", "close_after", "truncated"])
def test_a_mi_push_call_whose_answer_was_lost_by_a_fault_may_be_repeated(effect: str) -> None:
    story = Story()
    story.sent("apple", ["alice", "bob"], at=100, app=MAIN)
    story.mi_pushed("apple", "alice", "bob", at=110, fault=effect)
    story.mi_pushed("apple", "alice", at=600, port=1002)
    story.mi_pushed("apple", "bob", at=600, port=1002)
    assert passes(story)


@pytest.mark.parametrize("kind", ["kill_worker", "stop_worker"])
def test_the_senders_death_or_sleep_excuses_a_repeat(kind: str) -> None:
    story = repeated()
    story.fault(kind, 120, 3_000, ports=[1000, 1001])
    assert passes(story)
    assert story.verdict().excused == {kind: 1}


def test_an_outcome_waits_while_its_slot_moves_so_a_senders_later_death_excuses_a_repeat() -> None:
    story = repeated()
    story.fault("migrate_slots", 50, 6_000)
    story.fault("kill_worker", 7_900, 8_500, ports=[1001])
    assert passes(story)
    other = repeated()
    other.fault("migrate_slots", 50, 4_000)
    other.fault("kill_worker", 7_900, 8_500, ports=[1001])
    assert found(other) == {"unexcused repeat": 1}


def test_a_worker_whose_ports_are_unknown_may_have_been_the_sender() -> None:
    story = repeated()
    story.fault("kill_worker", 120)
    assert passes(story)


@pytest.mark.parametrize(
    ("kind", "begin", "end", "ports"),
    [
        ("kill_worker", 400, 3_000, [1002]),  # of another worker
        ("stop_worker", 9_100, 9_500, [1001]),  # after the repeat
        ("kill_worker", 8_000, 8_500, [1001]),  # long after the outcome was settled
        ("stop_worker", 20, 100, [1001]),  # before the first push
        ("restart_worker", 120, 3_000, [1001]),  # a worker that is asked to end finishes what it holds
        ("kill_web", 120, 3_000, None),
        ("provider_503", 0, 9_999, None),
        ("provider_goaway", 120, 121, None),
        ("spool_full", 0, 9_999, None),
        ("replica_away", 0, 9_999, None),
        ("migrate_slots", 0, 9_999, None),
    ],
)
def test_what_cannot_have_touched_the_sender_excuses_nothing(
    kind: str, begin: int, end: int, ports: list[int] | None
) -> None:
    story = repeated()
    story.fault(kind, begin, end, ports=ports, target="apns")
    assert found(story) == {"unexcused repeat": 1}


def test_a_connection_opened_while_its_worker_was_looked_at_is_the_workers() -> None:
    story = repeated()
    story.fault("kill_worker", 200, 3_000, ports=[])
    assert passes(story)


@pytest.mark.parametrize("kind", ["kill_store", "store_away", "empty_store", "failover"])
@pytest.mark.parametrize(("begin", "end"), [(50, 105), (112, 3_000), (2_000, 8_000)])
def test_the_stores_absence_around_a_push_excuses_a_repeat(kind: str, begin: int, end: int) -> None:
    story = repeated()
    story.fault(kind, begin, end)
    assert story.verdict().count("unexcused repeat") == 0


@pytest.mark.parametrize(("begin", "end"), [(3_000, 8_000), (9_500, None)])
def test_the_stores_absence_long_after_a_push_excuses_nothing(begin: int, end: int | None) -> None:
    story = repeated()
    story.fault("kill_store", begin, end)
    assert found(story) == {"unexcused repeat": 1}


def test_a_reset_may_overtake_the_answers_before_it() -> None:
    story = repeated()
    story.sent("pear", ["bob"], at=100)
    story.pushed("pear", "bob", at=112, lost="reset")
    assert passes(story)
    later = repeated()
    later.sent("pear", ["bob"], at=100)
    later.pushed("pear", "bob", at=2_000, lost="reset")
    assert found(later) == {"unexcused repeat": 1}


def test_a_connection_that_was_reset_while_idle_may_have_taken_its_last_answers_along() -> None:
    story = repeated()
    story.fault("provider_reset", 120, 120, target="apns")
    assert passes(story)
    other = repeated()
    other.fault("provider_reset", 120, 120, target="mipush")
    assert found(other) == {"unexcused repeat": 1}


# order


def test_an_earlier_message_must_not_cover_a_later_one() -> None:
    story = Story()
    story.sent("first", ["alice"], at=100, app=MAIN)
    story.sent("second", ["alice"], at=200, app=MAIN)
    story.mi_pushed("second", "alice", at=210)
    story.mi_pushed("first", "alice", at=220)
    assert found(story) == {"order": 1}


def test_after_a_failover_it_may_where_the_later_ones_push_is_forgotten() -> None:
    story = Story()
    story.sent("first", ["alice"], at=100, app=MAIN)
    story.sent("second", ["alice"], at=200, app=MAIN)
    story.mi_pushed("second", "alice", at=210)
    story.mi_pushed("first", "alice", at=900)
    story.fault("failover", 300, 800)
    assert passes(story)


def test_a_repeat_of_an_earlier_message_covers_nothing_because_the_phone_drops_it() -> None:
    story = Story()
    story.sent("first", ["alice"], at=100, app=MAIN)
    story.sent("second", ["alice"], at=200, app=MAIN)
    story.mi_pushed("first", "alice", at=110, fault="reset_after")
    story.mi_pushed("second", "alice", at=210)
    story.mi_pushed("first", "alice", at=900)
    assert passes(story)


@pytest.mark.parametrize("at", [6_000, 4_010])
def test_an_earlier_message_for_a_new_owner_may_cover_what_the_former_was_shown(at: int) -> None:
    """Seed 21: a phone changed hands within a group."""
    story = Story()
    phone: dict[str, Any] = {"target_kind": "registration_id", "notify_id": "77"}
    story.registered("alice", at=10, platform="mipush", push_token="regid-1", device="android")
    story.registered("bob", at=3_000, platform="mipush", push_token="regid-1", device="second")
    story.sent("first", ["alice", "bob"], at=4_000)
    story.sent("second", ["alice"], at=500)
    for word, number in (("first", 1), ("second", 2)):
        next(event for event in story.events if event.get("word") == word)["sequence"] = number
    story.mi_pushed("second", "regid-1", at=600, **phone)
    story.mi_pushed("first", "regid-1", at=at, **phone)
    assert story.verdict().count("order") == 0


def test_messages_that_do_not_cover_each_other_have_no_order() -> None:
    story = Story()
    story.sent("first", ["alice"], at=100)
    story.sent("second", ["alice"], at=200)
    story.pushed("second", "alice", at=210)
    story.pushed("first", "alice", at=220)
    story.sent("third", ["bob"], at=300, app=MAIN)
    story.sent("fourth", ["bob"], at=400, app=MAIN, conversation="topic:2")
    story.mi_pushed("fourth", "bob", at=410, notify_id="78")
    story.mi_pushed("third", "bob", at=420)
    assert passes(story)


def test_in_the_old_form_the_time_of_sending_decides_what_is_later() -> None:
    story = Story()
    story.sent("first", [], at=100, app=MAIN, number=100)
    story.sent("second", [], at=200, app=MAIN, number=200)
    for event in story.events:
        if event["event"] == "message":
            event["sequence"] = 7
    for word, at in (("first", 100), ("second", 200)):
        story.posted(word, ["alice"], at=at, form="old")
    story.mi_pushed("second", "alice", at=210)
    assert passes(story)
    story.mi_pushed("first", "alice", at=220)
    assert found(story) == {"order": 1}


# wrong phone


def test_a_phone_shows_nothing_for_its_former_owner() -> None:
    story = Story()
    story.registered("bob", at=1_000, phone="alice", device="second")
    story.sent("apple", ["alice"], at=900)
    story.pushed("apple", "alice", at=1_500)  # on its way when the phone moved
    assert passes(story)
    story.sent("pear", ["alice"], at=950)
    story.pushed("pear", "alice", at=3_500)
    assert found(story) == {"wrong phone": 1}
    assert "other/bob/second's" in str(story.verdict().findings[0])


def test_a_phone_that_was_signed_out_shows_nothing_more() -> None:
    story = Story()
    story.registered("alice", at=1_000, event="removed")
    story.sent("apple", ["alice"], at=900)
    story.pushed("apple", "alice", at=5_000)
    assert found(story) == {"wrong phone": 1}


def test_a_stranger_is_told_nothing() -> None:
    story = Story()
    story.sent("apple", ["alice"], at=100)
    story.sent("pear", ["alice"], at=100, app=MAIN)
    story.pushed("apple", "alice", at=110)
    story.mi_pushed("pear", "alice", at=110)
    story.pushed("apple", "carl", at=110)
    story.pushed("apple", "unknown", at=110)
    story.mi_pushed("pear", "carl", at=110)
    assert found(story) == {"wrong phone": 3}


def test_a_registration_without_an_answer_makes_both_possible_owners() -> None:
    story = Story()
    story.registered("bob", at=1_000, phone="alice", device="second", event="registration_unknown")
    story.sent("apple", ["alice"], at=16_000)
    story.sent("pear", ["bob"], at=16_000)
    story.pushed("apple", "alice", at=20_000)
    story.pushed("pear", "alice", at=20_000)
    story.pushed("pear", "bob", at=20_000)
    assert passes(story)


def test_a_later_answer_settles_whose_it_is() -> None:
    story = Story()
    story.registered("bob", at=1_000, phone="alice", device="second", event="registration_unknown")
    story.registered("carl", at=9_000, phone="alice", device="second")
    story.sent("apple", ["alice"], at=7_000)
    story.sent("pear", ["bob"], at=7_000)
    story.pushed("apple", "alice", at=11_500)
    story.pushed("pear", "bob", at=11_500)
    story.pushed("pear", "alice", at=11_500)
    assert found(story) == {"wrong phone": 2}


# standstill


def waited(ms: int, **push: Any) -> Story:
    """Alice's alert, accepted at 102, is pushed so much later; Bob's comes at once, to a lane of its own."""
    story = Story()
    story.sent("apple", ["alice"], at=100)
    story.sent("pear", ["bob"], at=100)
    story.pushed("apple", "alice", at=102 + ms, **push)
    story.pushed("pear", "bob", at=110, sandbox=True)
    return story


def test_a_lane_that_is_still_while_alerts_wait_is_found_and_its_neighbours_are_no_excuse() -> None:
    assert not waited(5_000).verdict().stood_still
    story = waited(5_001)
    assert story.verdict().stood_still
    assert story.verdict().row()["longest standstill"] == "5.0 s"
    assert "standstill: 5.0 s of other/apns, from 102 to 5103" in story.verdict().report()


def test_a_lane_is_not_still_while_nothing_waits_or_while_other_alerts_are_pushed() -> None:
    story = waited(12_000)
    for number, at in enumerate((4_000, 8_000)):
        story.sent(f"word{number}", ["carl"], at=at - 10)
        story.pushed(f"word{number}", "carl", at=at)
    story.sent("late", ["carl"], at=60_000)
    story.pushed("late", "carl", at=60_100)
    assert story.verdict().standstill_ms == 4_102  # to the push of 12,102


def test_a_sandbox_of_its_own_is_a_lane_of_its_own() -> None:
    assert [standstill.lane for standstill in waited(6_000, sandbox=True).verdict().standstills] == [
        ("other", "sandbox")
    ]


@pytest.mark.parametrize(("kind", "explains_ms"), [
    ("kill_worker", 4_000), ("stop_worker", 4_000), ("slow_worker", 4_000),  # lease + 2 s
    ("kill_store", 2_000), ("store_away", 2_000), ("kill_web", 2_000), ("spool_full", 2_000),
    ("replica_away", 2_000), ("migrate_slots", 2_000),
    ("provider_unreachable", 1_000), ("provider_wrong_key", 1_000), ("provider_slow", 1_000),  # probe_s
])  # fmt: skip
def test_a_fault_explains_stillness_for_as_long_as_recovery_may_take(kind: str, explains_ms: int) -> None:
    story = waited(20_000)
    story.fault(kind, 90, 20_102 - 5_000 - explains_ms, target="apns")
    assert story.verdict().standstill_ms == 5_000
    short = waited(20_000)
    short.fault(kind, 90, 20_102 - 5_001 - explains_ms, target="apns")
    assert short.verdict().stood_still


@pytest.mark.parametrize(("kind", "target"), [
    ("provider_unreachable", "sandbox"), ("provider_unreachable", "mipush"), ("provider_410", token("carl")),
    ("restart_worker", "worker"),
])  # fmt: skip
def test_neither_another_lanes_fault_nor_a_harmless_one_explains_anything(kind: str, target: str) -> None:
    story = waited(6_000)
    story.fault(kind, 90, 6_102, target=target)
    assert story.verdict().stood_still


def test_of_a_stillness_with_faults_in_it_the_longest_part_without_counts() -> None:
    story = waited(20_000)
    story.fault("store_away", 5_000, 6_000)
    story.fault("kill_store", 7_000, 9_500)
    story.fault("provider_503", 15_000, 17_000, target="apns")
    assert story.verdict().standstill_ms == 4_898  # from 102 to the first fault


def test_an_outage_is_the_longest_stillness_of_all_lanes_around_a_fault_of_the_store() -> None:
    story = waited(4_000)
    assert story.verdict().outage_ms == 0
    story.fault("failover", 600, 3_000)
    assert story.verdict().outage_ms == 4_102 - 110
    story.sent("fig", ["bob"], at=2_000)
    story.pushed("fig", "bob", at=2_050, sandbox=True)
    assert story.verdict().outage_ms == 4_102 - 2_050


def test_and_the_longest_time_in_which_no_post_was_answered_200() -> None:
    story = Story()
    story.sent("apple", ["alice"], at=100)
    story.pushed("apple", "alice", at=110)
    story.fault("failover", 450, 3_000)
    for at, status in ((500, 503), (900, 503), (950, 200), (2_000, 503)):
        story.posted("apple", ["alice"], at=at, status=status)
    assert story.verdict().no_intake_ms == 402
    assert story.verdict().row()["longest outage"] == "0.0 s without a push, 0.4 s of 503"
    story.fault("kill_web", 480, 600)
    assert story.verdict().no_intake_ms == 2


def test_what_the_store_lost_and_mimc_posted_again_did_not_stand_still() -> None:
    story = Story()
    story.sent("apple", ["alice"], at=1_000)
    story.fault("empty_store", 1_100, 1_500)
    story.registered("alice", at=1_600)
    story.posted("apple", ["alice"], at=30_000)
    story.pushed("apple", "alice", at=30_010)
    assert story.verdict().standstill_ms == 0


def test_the_report_says_for_how_much_of_the_run_no_fault_explains_a_standstill() -> None:
    story = waited(10_000 - 104)
    story.fault("provider_reset", 1_100, 5_100, target="apns")
    assert "apns 49%, sandbox 100%, mipush 100%" in story.verdict().report()


# figures


def test_duplicates_are_posts_of_one_body_after_the_first() -> None:
    story = Story()
    story.sent("apple", ["alice", "bob"], at=100)
    story.posted("apple", ["bob", "alice"], at=100, callback=2)
    story.posted("apple", ["bob"], at=100, callback=3)
    story.pushed("apple", "alice", at=110)
    story.pushed("apple", "bob", at=110)
    assert story.verdict().duplicates == 1
    assert passes(story)


def test_recovery_is_the_wait_in_calm_after_the_first_fault_that_an_alert_met() -> None:
    story = Story()
    story.sent("apple", ["alice"], at=100)
    story.fault("kill_worker", 200, 2_000)  # its neighbours might have gone on with it at once
    story.fault("store_away", 1_000, 4_000)
    story.fault("provider_slow", 3_000, 5_000, target="apns")
    story.pushed("apple", "alice", at=5_500, took=0)
    story.sent("pear", ["alice"], at=6_000)  # in calm
    story.pushed("pear", "alice", at=9_000)
    assert story.verdict().worst_recovery_ms == 800 + 500
    assert story.verdict().row()["worst recovery"] == "1.3 s"


def test_an_alert_recovers_only_from_what_can_have_kept_it() -> None:
    story = Story()
    story.sent("apple", ["alice"], at=100)
    story.fault("provider_503", 50, 5_000, target="apns")  # some get through all the same
    story.fault("provider_slow", 110, 200, target="mipush")
    story.fault("kill_web", 110, 200)
    story.fault("provider_410", 110, target=token("bob"))
    story.pushed("apple", "alice", at=4_000)
    assert story.verdict().worst_recovery_ms is None


def test_faults_are_counted_by_kind() -> None:
    story = Story()
    for kind in ("kill_worker", "kill_web", "kill_worker"):
        story.fault(kind, 1, 2)
    assert story.verdict().row()["faults"] == "kill_web 1, kill_worker 2"
