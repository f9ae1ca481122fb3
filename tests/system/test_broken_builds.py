"""The auditor is audited: programs that were broken on purpose must fail, each with the finding that it is made for.

The same stories pass with the program as it is: see test_auditors_cases.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.broken_builds import MISTAKES, build_broken
from tests.system.audited import AuditedRig
from tests.system.stories import (
    ALERTS,
    FOLDS,
    LATE,
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

_TRIES = 3
Story = Callable[[AuditedRig], None]
CASES: Mapping[str, tuple[Story, Mapping[str, Any], str]] = {
    "acknowledge before settle": (worker_and_store_are_killed, SLOW, "lost"),
    "no intake mark": (mimc_says_it_several_times, {}, "unexcused repeat"),
    "no plan mark": (mimc_says_it_several_times, {}, "unexcused repeat"),
    "bare XCLAIM heartbeat": (a_worker_sleeps_and_others_go_on, SLOW, "unexcused repeat"),
    "settle without owner check": (a_worker_sleeps_and_others_go_on, SLOW, "unexcused repeat"),
    "retries come late": (a_provider_is_busy_for_a_moment, {}, "standstill"),
    "what is shown stays": (a_message_is_recalled, ALERTS, "recalled text"),
    "anybody may recall": (a_message_is_recalled, {"alerts": {"withdraw": True}}, "taken back"),
    "each phone counts": (a_reader_has_two_phones, ALERTS, "badge"),
    "no fold is due": (messages_come_closely, FOLDS, "lost"),
    "folded twice": (messages_come_closely, FOLDS, "counted twice"),
    "ownership not read again": (a_phone_changes_hands_while_its_alert_waits, LATE, "wrong phone"),
}


def test_every_broken_build_has_a_story() -> None:
    assert CASES.keys() == MISTAKES.keys()


@pytest.mark.trial
@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_auditor_notices(mistake: str, place: Path, tmp_path: Path) -> None:
    """A story does not always come by the broken place: a job that no room waits for is claimed in another way."""
    build = build_broken(mistake, tmp_path / "build")
    noticed, report = set[str](), ""
    for number in range(_TRIES):
        if not noticed:
            noticed, report = told(mistake, place / str(number), build)
    assert noticed == {CASES[mistake][2]}, report


def told(mistake: str, place: Path, build: Path) -> tuple[set[str], str]:
    """The kinds of what the auditor finds, and its report."""
    story, settings, kind = CASES[mistake]
    with AuditedRig(place, build=build, **settings) as rig:
        story(rig)
        verdict = rig.verdict()
    noticed = {finding.kind for finding in verdict.findings}
    if kind == "standstill" and verdict.stood_still:
        noticed.add(kind)
    return noticed, verdict.report()
