"""One case each of what the auditor looks for, with real processes and judged by it. All at once: make chaos."""

from pathlib import Path

import pytest

from tests.system.audited import AuditedRig
from tests.system.rig import MAIN, OTHER
from tests.system.stories import (
    ALERTS,
    FOLDS,
    LATE,
    READERS,
    SLOW,
    a_message_is_recalled,
    a_phone_changes_hands_while_its_alert_waits,
    a_provider_is_busy_for_a_moment,
    a_reader_has_two_phones,
    a_worker_sleeps_and_others_go_on,
    messages_come_closely,
    mimc_says_it_several_times,
    worker_and_store_are_killed,
)

BOTH = ("apns", "mipush")


@pytest.mark.trial
def test_a_calm_run_pushes_each_alert_exactly_once(place: Path) -> None:
    with AuditedRig(place, providers=BOTH) as rig:
        rig.start_web()
        rig.start_workers(2)
        for account in READERS:
            rig.phone(account)
            rig.android(account)
        for number in range(5):
            rig.send(READERS[number:], number)
        rig.send(READERS, 9, app_id=MAIN)
        rig.settled(OTHER)
        rig.settled(MAIN)
        verdict = rig.verdict()
        assert verdict.ok, verdict.report()
        assert (verdict.due, verdict.undecidable) == (20 + 19 + 18 + 17 + 16 + 20, 0)
        assert (verdict.pushes, verdict.pushes_per_alert, verdict.worst_recovery_ms) == (verdict.due, 1.0, None)


def test_a_callback_answered_200_survives_a_kill_of_worker_and_store(place: Path) -> None:
    with AuditedRig(place, **SLOW) as rig:
        worker_and_store_are_killed(rig)
        verdict = rig.verdict()
        assert verdict.ok, verdict.report()
        assert (verdict.due, verdict.undecidable) == (len(READERS), 0)
        assert verdict.faults == {"kill_worker": 1, "kill_store": 1}


def test_a_message_is_shown_once_though_mimc_says_it_several_times(place: Path) -> None:
    with AuditedRig(place) as rig:
        mimc_says_it_several_times(rig)
        verdict = rig.verdict()
        assert verdict.ok, verdict.report()
        assert (verdict.delivered, verdict.pushes_per_alert, verdict.duplicates) == (3, 1.0, 1)


def test_a_push_that_is_repeated_because_nobody_heard_of_it_is_shown_once(place: Path) -> None:
    with AuditedRig(place, providers=BOTH) as rig:
        rig.start_web()
        rig.start_worker()
        rig.phone("alice")
        rig.android("alice")
        rig.fault("apns", effect="rst_stream", times=1)
        rig.fault("mipush", effect="reset_after", times=1)
        rig.send(["alice"])
        rig.send(["alice"], app_id=MAIN)
        rig.settled(OTHER)
        rig.settled(MAIN)
        verdict = rig.verdict()
        assert verdict.ok, verdict.report()
        assert (verdict.delivered, verdict.pushes, verdict.excused) == (2, 4, {"unheard": 2})


@pytest.mark.trial
def test_a_worker_that_was_stopped_for_longer_than_its_lease_repeats_and_loses_nothing(place: Path) -> None:
    with AuditedRig(place, **SLOW) as rig:
        a_worker_sleeps_and_others_go_on(rig)
        verdict = rig.verdict()
        assert verdict.ok, verdict.report()
        assert (verdict.due, verdict.delivered) == (21, 21)


@pytest.mark.trial  # on a machine that is busy enough nothing makes progress
def test_a_provider_that_is_busy_for_a_moment_makes_no_lane_stand_still(place: Path) -> None:
    with AuditedRig(place) as rig:
        a_provider_is_busy_for_a_moment(rig)
        verdict = rig.verdict()
        assert verdict.ok, verdict.report()
        assert not verdict.stood_still, verdict.report()
        assert (verdict.due, verdict.delivered) == (1, 1)


@pytest.mark.trial
def test_an_earlier_message_never_covers_a_later_one(place: Path) -> None:
    with AuditedRig(place, providers=BOTH) as rig:
        rig.start_web()
        rig.start_workers(2)
        for account in ("alice", "bob"):
            rig.android(account)
        rig.fault("mipush", effect="code", code=10002, target="alice", times=1)  # busy: the first one must wait
        rig.send(["alice"], 1, app_id=MAIN)
        rig.wait(lambda: rig.journal("mipush"), "the answer to the first")
        rig.send(["alice", "bob"], 2, app_id=MAIN)
        rig.settled(MAIN)
        rig.send(["bob"], 1, app_id=MAIN)
        rig.settled(MAIN)
        verdict = rig.verdict()
        assert verdict.ok, verdict.report()
        assert (verdict.due, verdict.superseded, verdict.pushes) == (4, 2, 2)


def test_nothing_reaches_a_phone_for_its_former_owner(place: Path) -> None:
    with AuditedRig(place, **LATE) as rig:
        a_phone_changes_hands_while_its_alert_waits(rig)
        verdict = rig.verdict()
        assert verdict.ok, verdict.report()
        assert (verdict.due, verdict.undecidable, verdict.delivered) == (2, 1, 2)


def test_an_empty_restart_of_the_store_is_survived_without_a_hand(place: Path) -> None:
    with AuditedRig(place, providers=BOTH) as rig:
        rig.start_web()
        rig.start_workers(2)
        token = rig.phone("alice")
        rig.android("alice")
        before, in_main = rig.send(["alice"]), rig.send(["alice"], app_id=MAIN)
        rig.settled(OTHER)
        rig.settled(MAIN)
        rig.kill_store(empty=True)
        rig.phone("alice", token=token)
        after = rig.send(["alice"], 2)
        rig.send(["alice"], 2, app_id=MAIN)
        rig.settled(OTHER)
        rig.settled(MAIN)
        assert rig.verdict().ok, rig.verdict().report()
        assert (rig.verdict().due, rig.verdict().pushes_per_alert) == (4, 1.0)
        for message in (before, after, in_main):
            rig.announce(message)  # MIMC heard none of the answers
        rig.settled(OTHER)
        rig.settled(MAIN)
        verdict = rig.verdict()
        assert verdict.ok, verdict.report()
        assert sum(verdict.excused.values()) == 1  # in main a later message is shown by now


@pytest.mark.trial  # phones are told their number after 5 s
def test_a_recalled_text_is_on_no_phone_and_no_other_goes(place: Path) -> None:
    with AuditedRig(place, **ALERTS) as rig:
        a_message_is_recalled(rig)
        verdict = rig.verdict()
        assert verdict.ok, verdict.report()
        assert (verdict.due, verdict.taken_back["withdrawals pushed"]) == (4, 2)
        assert verdict.taken_back["numbers exactly known"] == 2


@pytest.mark.trial  # a dead worker's lease must end
def test_a_number_counts_each_message_once_whatever_is_said_twice_or_killed(place: Path) -> None:
    with AuditedRig(place, **ALERTS) as rig:
        a_reader_has_two_phones(rig)
        verdict = rig.verdict()
        assert verdict.ok, verdict.report()
        assert (verdict.due, verdict.taken_back["numbers exactly known"]) == (4, 2)


@pytest.mark.trial  # the window must end
def test_what_follows_an_alert_is_counted_once(place: Path) -> None:
    with AuditedRig(place, **FOLDS) as rig:
        messages_come_closely(rig)
        verdict = rig.verdict()
        assert verdict.ok, verdict.report()
        assert (verdict.due, verdict.delivered) == (8, 2)
        assert verdict.told_together == {"folds pushed": 2, "conversations counted": 2}
