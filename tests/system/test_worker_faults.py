"""Workers that are killed, stopped and sent away with pushes in flight."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.system.rig import OTHER, Rig, offline, push_token

# the emulated APNs takes a second for an answer, so that everything is in flight for a while
DELAY_MS = 1000
LEASE_S, DRAIN_S = 3.0, 5.0
TIMES = {"lease_s": LEASE_S, "push_timeout_s": 2.5, "silence_min_s": 2.0, "drain_s": DRAIN_S}
DEVICES, MESSAGES = 20, 11


@pytest.fixture
def rig(place: Path) -> Iterator[Rig]:
    with Rig(place, relay=TIMES, apns={"delay_ms": DELAY_MS}, without=("mimc", "mipush")) as it:
        it.start_web(workers=1)
        yield it


def post_220(rig: Rig) -> None:
    """Eleven messages for twenty devices of one reader: a few more than 200, for each worker first sends one alone."""
    for number in range(DEVICES):
        assert rig.register("alice", f"device-{number}", push_token(), app_id=OTHER).status_code == 200
    for number in range(MESSAGES):
        assert rig.post(offline("bob", "alice", f"message {number}", number, app_id=OTHER), OTHER).status_code == 200


def streams_open(rig: Rig) -> int:
    told = rig.http.get(f"{rig.control('apns')}/connections", timeout=5).json()["connections"]
    return sum(it["streams_open"] for it in told)


def identities(pushes: list[dict[str, Any]]) -> dict[tuple[str, str], set[str]]:
    """The apns-ids under which each message reached each device."""
    found: dict[tuple[str, str], set[str]] = {}
    for it in pushes:
        found.setdefault((it["collapse_id"], it["device_token"]), set()).add(it["apns_id"])
    return found


def assert_one_identity_each(pushes: list[dict[str, Any]]) -> None:
    found = identities(pushes)
    assert len(found) == DEVICES * MESSAGES
    assert all(len(apns_ids) == 1 for apns_ids in found.values())
    assert len(set.union(*found.values())) == DEVICES * MESSAGES


def test_what_a_killed_worker_had_in_flight_arrives_under_the_same_identity(rig: Rig) -> None:
    workers = rig.start_workers(2)
    post_220(rig)
    rig.wait(lambda: streams_open(rig) >= 200, "200 pushes in flight")
    victim = max(workers, key=lambda it: rig.holders(OTHER).get(it.popen.pid, 0))
    victim.kill()
    workers.remove(victim)
    in_flight_then = len(rig.journal("apns"))
    rig.settled(OTHER)
    pushes = rig.accepted()
    assert_one_identity_each(pushes)
    assert len(pushes) > in_flight_then
    assert rig.metric(workers[0], "app_proxy_leases_taken_over_total") > 0
    assert rig.dead_letters(OTHER) == []
    assert rig.counters("apns")["provider_token_updates"] == 1


@pytest.mark.trial
def test_a_worker_that_was_stopped_for_two_leases_sends_and_settles_nothing_that_another_took(place: Path) -> None:
    apns = {"delay_ms": DELAY_MS, "raised_streams": 50}
    with Rig(place, relay=TIMES, apns=apns, without=("mimc", "mipush")) as rig:
        rig.start_web(workers=1)
        sleeper = rig.start_worker()
        post_220(rig)
        rig.wait(lambda: streams_open(rig) >= 50, "50 pushes in flight, the others waiting inside the worker")
        rig.wait(lambda: rig.holders(OTHER).get(sleeper.popen.pid) == rig.backlog(OTHER), "all jobs in its hands")
        sleeper.signal(signal.SIGSTOP)
        rig.fault("apns", effect="limit", code=1000)  # nothing but the lease keeps the sleeper from sending them all
        time.sleep(2 * LEASE_S)
        other = rig.start_worker()
        taken = rig.wait(lambda: rig.holders(OTHER).get(other.popen.pid), "the take-over")
        seen = len(rig.journal("apns"))
        sleeper.signal(signal.SIGCONT)
        rig.settled(OTHER)
        rig.wait(lambda: rig.metric(sleeper, "app_proxy_leases_lost_total") >= taken, "the sleeper's insight")
        assert {it["connection"] for it in rig.journal("apns", after=seen)} == {2}
        assert rig.metric(other, "app_proxy_jobs_settled_total", outcome="accepted") == taken
        assert rig.metric(other, "app_proxy_leases_lost_total") == 0
        assert_one_identity_each(rig.accepted())
        assert rig.dead_letters(OTHER) == []


def test_sigterm_lets_what_is_in_flight_be_answered_and_sends_nothing_twice(rig: Rig) -> None:
    first = rig.start_worker()
    post_220(rig)
    rig.wait(lambda: streams_open(rig) >= 200, "200 pushes in flight")
    assert first.stop() == 0
    assert "worker leaves work to others" not in first.log.read_text()  # which it says after drain_s
    assert rig.holders(OTHER) == {}
    rig.start_worker()
    rig.settled(OTHER)
    assert len(rig.accepted()) == DEVICES * MESSAGES
    assert_one_identity_each(rig.accepted())
