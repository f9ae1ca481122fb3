"""What the operator sees of the whole service: counts, backlogs, readiness, and reasons."""

import os
import signal
import string
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from tests.system.rig import MAIN, OTHER, Process, Rig, offline, push_token

QUIET = ("mimc", "mipush")  # emulators that are not needed here


@pytest.fixture
def rig(place: Path) -> Iterator[Rig]:
    with Rig(place, without=QUIET) as it:
        it.start_web(workers=2)
        yield it


def samples(rig: Rig, name: str, url: str = "") -> list[Sample]:
    text = rig.http.get(url or f"{rig.operator}/metrics", timeout=10).text
    return [it for family in text_string_to_metric_families(text) for it in family.samples if it.name == name]


def figure(rig: Rig, name: str, **labels: str) -> float:
    (found,) = [it.value for it in samples(rig, name) if labels.items() <= it.labels.items()]
    return found


def children_of(process: Process) -> set[int]:
    told = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    return {
        int(pid) for pid, parent in (line.split() for line in told.splitlines()) if int(parent) == process.popen.pid
    }


def test_counts_of_all_web_processes_add_up_and_outlive_the_death_of_one(place: Path) -> None:
    with Rig(place, without=QUIET) as rig:
        web = rig.start_web(workers=2)
        accepted = {"kind": "OFFLINE_MSG", "result": "accepted"}
        for sequence in range(40):
            assert rig.post(offline("bob", "alice", "hello", sequence)).status_code == 200
        before = rig.wait(lambda: workers if len(workers := children_of(web)) == 2 else None, "two workers")
        assert [figure(rig, "app_proxy_callbacks_total", **accepted) for _ in range(8)] == [40] * 8
        os.kill(min(before), signal.SIGKILL)
        rig.wait(lambda: len(children_of(web) - before) == 1 and len(children_of(web)) == 2, "a new worker")
        assert [figure(rig, "app_proxy_callbacks_total", **accepted) for _ in range(8)] == [40] * 8
        for sequence in range(40, 50):
            assert rig.post(offline("bob", "alice", "hello", sequence)).status_code == 200
        assert [figure(rig, "app_proxy_callbacks_total", **accepted) for _ in range(8)] == [50] * 8
        # as is what lies in the store, which no process counts
        assert {figure(rig, "app_proxy_callbacks_waiting", app_id=MAIN) for _ in range(8)} == {50}


def test_kinds_and_reasons_that_others_invent_make_no_labels_without_end(rig: Rig) -> None:
    worker = rig.start_worker()
    token = push_token()
    assert rig.register("alice", "phone", token, app_id=OTHER).status_code == 200
    for number in range(150):
        body = offline("bob", "alice", "hello", number, app_id=OTHER)
        assert rig.post({**body, "msgType": f"INVENTED_{number}"}, OTHER).status_code == 200
    assert {it.labels["kind"] for it in samples(rig, "app_proxy_callbacks_total")} == {"other"}
    letters = string.ascii_letters
    reasons = [f"Invented{letters[number % 50]}{letters[number // 50]}" for number in range(150)]
    orders = [{"effect": "answer", "times": 1, "status": 400, "reason": reason} for reason in reasons]
    rig.http.post(f"{rig.control('apns')}/faults", json=orders, timeout=10).raise_for_status()
    for number in range(150):
        assert rig.post(offline("bob", "alice", "hello", 1000 + number, app_id=OTHER), OTHER).status_code == 200
    rig.settled(OTHER)
    rig.wait(lambda: len(rig.dead_letters(OTHER)) == 150, "the refusals")
    settled = samples(rig, "app_proxy_jobs_settled_total", worker.facts["metrics"])
    dead = {it.labels["reason"]: it.value for it in settled if it.labels["outcome"] == "dead letter"}
    assert sum(dead.values()) == 150
    assert len(dead) <= 121
    assert dead["other"] >= 30


def test_backlogs_and_their_ages_are_told_until_a_worker_comes(rig: Rig) -> None:
    assert rig.register("alice", "phone", push_token(), app_id=OTHER).status_code == 200
    for sequence in range(3):
        assert rig.post(offline("bob", "alice", "hello", sequence, app_id=OTHER), OTHER).status_code == 200
    rig.wait(lambda: figure(rig, "app_proxy_callbacks_oldest_seconds", app_id=OTHER) > 0.3, "a backlog of some age")
    assert figure(rig, "app_proxy_callbacks_waiting", app_id=OTHER) == 3
    assert figure(rig, "app_proxy_callbacks_waiting", app_id=MAIN) == 0
    assert figure(rig, "app_proxy_callbacks_oldest_seconds", app_id=MAIN) == 0
    rig.fault("apns", effect="answer", status=403, reason="InvalidProviderToken")
    rig.start_worker()
    lane = {"app": "other", "channel": "apns"}
    rig.wait(lambda: figure(rig, "app_proxy_lane_paused", **lane) == 1, "the pause")
    rig.wait(lambda: figure(rig, "app_proxy_callbacks_waiting", app_id=OTHER) == 0, "the plan")
    rig.wait(
        lambda: figure(rig, "app_proxy_jobs_waiting", **lane) + figure(rig, "app_proxy_jobs_retrying", **lane) == 3,
        "all three jobs in the lane",
    )
    rig.wait(lambda: figure(rig, "app_proxy_jobs_oldest_seconds", **lane) > 0, "jobs of some age")
    assert figure(rig, "app_proxy_lane_paused", app="main", channel="apns") == 0
    rig.end_faults("apns")
    rig.wait(lambda: figure(rig, "app_proxy_lane_paused", **lane) == 0, "the end of the pause")
    rig.settled(OTHER)
    assert figure(rig, "app_proxy_jobs_waiting", **lane) == figure(rig, "app_proxy_jobs_retrying", **lane) == 0
    assert figure(rig, "app_proxy_jobs_oldest_seconds", **lane) == 0


def test_readyz_says_what_is_missing_at_risk_or_paused(rig: Rig) -> None:
    def status() -> int:
        return rig.http.get(f"{rig.operator}/readyz", timeout=10).status_code

    assert status() == 503
    missing = rig.readiness()
    assert "no consumer group" in missing["groups"]
    assert "nothing is pushed" in missing["workers"]
    rig.start_worker()
    rig.wait(lambda: status() == 200, "readiness")
    rig.wait(lambda: "workers" not in rig.readiness(), "the worker's own word")
    well = rig.readiness()
    (worker,) = well.keys() - {"store", "spool"}
    assert worker.startswith("worker ")
    assert well[worker] == "works"

    with rig.redis() as redis:
        redis.config_set("appendfsync", "everysec")
        redis.config_set("maxmemory-policy", "allkeys-lru")
    rig.wait(lambda: status() == 503, "the next look at the store")  # the answer is remembered for a second
    risks = rig.readiness()
    assert "appendfsync is everysec" in risks["persistence"]
    assert "maxmemory-policy is allkeys-lru" in risks["eviction"]
    with rig.redis() as redis:
        redis.config_set("maxmemory-policy", "noeviction")
    rig.wait(lambda: status() == 200, "readiness")

    assert rig.register("alice", "phone", push_token()).status_code == 200
    rig.fault("apns", effect="answer", status=403, reason="InvalidProviderToken")
    assert rig.post(offline("bob", "alice", "hello", 1)).status_code == 200
    rig.wait(lambda: "lane main/apns" in rig.readiness(), "the pause")
    assert rig.readiness()["lane main/apns"].endswith("UTC: InvalidProviderToken")
    assert status() == 200

    rig.store.kill()
    rig.wait(lambda: status() == 503, "the absence of the store")
    assert rig.readiness().keys() == {"store", "spool"}
    assert figure(rig, "app_proxy_store_up") == 0
    rig.store = rig.start_store()
    rig.wait(lambda: status() == 200, "the return of the store")
    assert figure(rig, "app_proxy_store_up") == 1
    assert "lane main/apns" in rig.readiness()
