"""What a worker says of itself, and how often."""

from collections.abc import MutableMapping
from typing import Any

import pytest

from proxy.worker.readiness import Readiness

WELL = {"main/apns": "", "main/mipush": ""}
STALLED = {"main/apns": "connection refused", "main/mipush": ""}


@pytest.fixture
def readiness() -> Readiness:
    return Readiness("worker-1", lambda: 100.0)


def test_a_worker_whose_lanes_make_progress_works(readiness: Readiness) -> None:
    assert readiness.take(WELL) == {"state": "ok"}
    assert readiness.details() == (True, {"worker": "works"})


def test_a_lane_that_makes_no_progress_is_named_with_the_reason(readiness: Readiness) -> None:
    assert readiness.take(STALLED) == {"state": "stalled", "main/apns": "connection refused"}
    assert readiness.details() == (False, {"lane main/apns": "makes no progress: connection refused"})
    assert readiness.take(WELL) == {"state": "ok"}
    assert readiness.details()[0]


def test_a_stall_is_logged_when_it_begins_and_when_it_ends_and_not_in_between(
    readiness: Readiness, logged: list[MutableMapping[str, Any]]
) -> None:
    for stalls in (WELL, STALLED, STALLED, {**STALLED, "main/apns": "no answer"}, STALLED, WELL, WELL):
        readiness.take(stalls)
    assert [(entry["log_level"], entry["lane"]) for entry in logged] == [("error", "main/apns"), ("info", "main/apns")]
    assert logged[0]["why"] == "connection refused"


def test_a_worker_whose_event_loop_no_longer_runs_says_so_although_it_cannot_report() -> None:
    now = [100.0]
    readiness = Readiness("worker-1", lambda: now[0])
    assert not readiness.details()[0]  # it has not begun
    readiness.take(WELL)
    now[0] += 9.9
    assert readiness.details()[0]
    now[0] += 0.2
    is_ready, sentences = readiness.details()
    assert not is_ready
    assert "event loop" in sentences["worker"]


def test_a_worker_whose_store_does_not_answer_says_so_until_it_does(readiness: Readiness) -> None:
    readiness.take(WELL)
    readiness.store_answers = False
    assert readiness.details() == (False, {"store": "does not answer: nothing is pushed until it does"})
    readiness.store_answers = True
    assert readiness.details()[0]
