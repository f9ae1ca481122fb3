"""Messages that are told together, from MIMC's callback to the phone, while workers are killed: over the emulators."""

import time
from typing import Any

import pytest

from proxy.domain.lanes import Lane
from tests import stored
from tests.system.rig import CHANNELS, MAIN, SECTION, Rig, offline, push_token
from tests.system.test_withdrawals import about, has_mipush_phone, mipush_shows, pushes

WINDOW_S = 5
FOLD = {"APP_PROXY_ALERTS__FOLD_S": str(WINDOW_S), "APP_PROXY_ALERTS__WITHDRAW": "true"}


def body_of(push: dict[str, Any]) -> str:
    return str(push["payload"]["aps"]["alert"]["body"])


def waiting(rig: Rig) -> int:
    """How many updates wait for their time, of both channels."""
    with rig.redis() as redis:
        return sum(
            stored.scored(redis, stored.retries(redis, Lane(MAIN, SECTION[MAIN], channel))) for channel in CHANNELS
        )


@pytest.mark.trial  # the window ends twice
def test_what_follows_an_alert_is_told_as_one_and_a_worker_killed_in_the_window_loses_nothing(rig: Rig) -> None:
    rig.start_web(workers=1, **FOLD)
    phone = push_token()
    assert rig.register("alice", "phone", phone).status_code == 200
    has_mipush_phone(rig, "alice")
    for sequence in (1, 2, 3, 4, 5):
        text = rig.secret("text", f"folded text {sequence}")
        assert rig.post(offline("bob", "alice", text, sequence)).status_code == 200
    worker = rig.start_worker(**FOLD)
    (first,) = pushes(rig, phone, 1)
    rig.wait(lambda: rig.backlog() == waiting(rig) == 2, "the first alerts, and an update for each channel")
    worker.kill()
    assert waiting(rig) == 2
    rig.post(about(offline("bob", "alice", "", 105), "TEXT_RECALL", 5))
    time.sleep(WINDOW_S)  # both are overdue when a worker comes
    rig.start_worker(**FOLD)
    fold = pushes(rig, phone, 2)[1]
    assert body_of(first) == "folded text 1"
    assert body_of(fold) in ("4 new messages", "3 new messages")  # the recall is planned before it, or after
    assert fold["payload"]["aps"]["alert"]["title"] == "bob"
    assert fold["payload"]["aps"]["thread-id"] == first["payload"]["aps"]["thread-id"]
    assert fold["collapse_id"] != first["collapse_id"]
    rig.wait(lambda: mipush_shows(rig, "alice") in (["5 new messages"], ["4 new messages"]), "the Mi Push phone's fold")
    rig.settled()

    rig.post(offline("bob", "alice", "one more", 6))
    later = pushes(rig, phone, 3)[2]
    assert body_of(later) in ("4 new messages", "one more")  # the latter where this took longer than the window
    assert (later["collapse_id"] == fold["collapse_id"]) is (body_of(later) != "one more")
    rig.settled()
    assert len(rig.accepted(phone)) == 3
    assert rig.dead_letters() == []
