"""A provider in trouble: its lane pauses for all workers, few pushes try it, none is lost, and it is eased back in."""

import json
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.system.rig import MAIN, OTHER, Process, Rig, offline, push_token

NO_MIMC = ("mimc", "mipush")


def phones(rig: Rig, account: str, count: int) -> list[str]:
    tokens = [push_token() for _ in range(count)]
    for token in tokens:
        assert rig.register(account, f"phone {token[:32]}", token, app_id=OTHER).status_code == 200
    return tokens


def post(rig: Rig, reader: str, numbers: Iterable[int], app_id: str = OTHER) -> None:
    for number in numbers:
        body = offline("bob", reader, f"message {number}", number, app_id=app_id)
        assert rig.post(body, app_id).status_code == 200


def logged(workers: list[Process], event: str) -> list[dict[str, Any]]:
    lines = [line for worker in workers for line in worker.log.read_text().splitlines() if f'"{event}"' in line]
    return [json.loads(line) for line in lines]


def all_logged(workers: list[Process], event: str) -> list[dict[str, Any]]:
    """Once they have ended: until then their last lines may be on their way."""
    assert [worker.stop() for worker in workers] == [0] * len(workers)
    return logged(workers, event)


def arrivals(entries: Iterable[dict[str, Any]]) -> list[int]:
    """How many came in each second, the first one's being the first."""
    came = sorted(it["came_ms"] for it in entries)
    seconds = Counter((ms - came[0]) // 1000 for ms in came)
    return [seconds[n] for n in range(max(seconds) + 1)]


@pytest.mark.trial
def test_an_apns_out_of_order_stands_its_lane_once_burns_nothing_and_is_spared_when_it_is_back(place: Path) -> None:
    with Rig(place, apns={"delay_ms": 100}, without=NO_MIMC) as rig:
        rig.start_web(workers=1)
        phones(rig, "ann", 50)
        rig.fault("apns", effect="answer", reason="ServiceUnavailable")
        workers = rig.start_workers(2)
        post(rig, "ann", range(30))
        told = rig.wait(lambda: rig.readiness().get("lane other/apns"), "the open breaker in /readyz")
        assert told.startswith("paused by the breaker since ")
        assert told.endswith(": ServiceUnavailable")
        time.sleep(3)  # the outage
        tried = rig.journal("apns")
        seconds = (tried[-1]["came_ms"] - tried[0]["came_ms"]) // 1000
        # each worker may fail ten, and each has one push alone out while nothing gets through; then one probe of both
        # after 0.2 s, 0.4, 0.8, and each second
        assert len(tried) <= 2 * (10 + 1) + 3 + seconds + 1
        assert rig.backlog(OTHER) == 1500
        rig.end_faults("apns")
        rig.settled(OTHER)

        accepted = rig.accepted()
        assert len({it["apns_id"] for it in accepted}) == len(accepted) == 1500
        assert rig.dead_letters(OTHER) == []
        assert sum(rig.metric(it, "app_proxy_lane_pauses_total", kind="breaker") for it in workers) == 1
        (paused,) = all_logged(workers, "lane paused")
        assert (paused["kind"], paused["reason"]) == ("breaker", "ServiceUnavailable")
        assert len(logged(workers, "lane resumed")) == 1
        attempts = [it["attempt"] for it in logged(workers, "push settled") if it["result"] == "accepted"]
        assert sum(attempts) <= 2 * 9  # what failed before it was plain
        first, *later = arrivals(accepted)
        assert first <= 2 * 10 * (4 + 8)  # 4 to 8 in flight for 0.1 s each, in both
        assert max(later) > 2 * first
        rig.wait(lambda: "lane other/apns" not in rig.readiness(), "the end of the pause in /readyz")


@pytest.mark.trial
def test_the_time_that_a_provider_asks_for_is_kept_by_all_workers(place: Path) -> None:
    with Rig(place, without=NO_MIMC) as rig:
        rig.start_web(workers=1)
        phones(rig, "ann", 1)
        rig.fault("apns", effect="no_body_503", retry_after="4", times=1)
        workers = rig.start_workers(2)
        post(rig, "ann", [0])
        told = rig.wait(lambda: rig.readiness().get("lane other/apns"), "the rest in /readyz")
        assert told.startswith("paused as the provider asked since ")
        time.sleep(2)  # every worker looks once a second
        post(rig, "ann", range(1, 20))
        rig.settled(OTHER)
        refused, *others = rig.journal("apns")
        assert refused["status"] == 503
        assert len(others) == 20
        assert min(it["came_ms"] for it in others) - refused["came_ms"] >= 3900
        assert {it["attempt"] for it in all_logged(workers, "push settled")} == {0}
        assert [it["kind"] for it in logged(workers, "lane paused")] == ["rest"]


@pytest.mark.trial
def test_a_device_that_had_too_much_rests_for_all_workers_while_its_neighbours_ring(place: Path) -> None:
    with Rig(place, without=NO_MIMC) as rig:
        rig.start_web(workers=1)
        (busy,), (quiet,) = phones(rig, "ann", 1), phones(rig, "eve", 1)
        rig.fault("apns", effect="answer", reason="TooManyRequests", retry_after="3", target=busy, times=1)
        workers = rig.start_workers(2)
        post(rig, "ann", [0])
        refused = rig.wait(lambda: rig.journal("apns"), "the first push")[0]
        rig.wait(lambda: logged(workers, "push settled"), "its answer")
        post(rig, "eve", [0])
        post(rig, "ann", range(1, 21))
        rig.settled(OTHER)
        (rang,) = rig.accepted(quiet)
        assert rang["came_ms"] < min(it["came_ms"] for it in rig.accepted(busy))
        assert len(rig.accepted(busy)) == 21
        assert min(it["came_ms"] for it in rig.accepted(busy)) - refused["came_ms"] >= 2900
        assert len(rig.journal("apns")) == 1 + 21 + 1  # none was tried meanwhile
        attempts = [it["attempt"] for it in all_logged(workers, "push settled") if it["result"] == "accepted"]
        assert sorted(attempts) == [0] * 21 + [1]
        rig.wait(lambda: "lane other/apns" not in rig.readiness(), "the end of the pause in /readyz")


@pytest.mark.trial
def test_after_an_outage_of_mipush_a_conversation_is_a_few_pushes_and_ends_with_its_last_word(place: Path) -> None:
    with Rig(place, without=("mimc", "apns")) as rig:
        rig.start_web(workers=1)
        phone = {"phone": "carl's", "package": "com.example.main", "accounts": ["carl"]}
        rig.http.post(f"{rig.control('mipush')}/devices", json=phone, timeout=5).raise_for_status()
        rig.fault("mipush", effect="status")
        workers = rig.start_workers(2)
        post(rig, "carl", range(1, 201), MAIN)
        rig.wait(lambda: rig.readiness().get("lane main/mipush"), "the open breaker in /readyz")
        rig.end_faults("mipush")
        rig.settled(MAIN)
        results = Counter(it["result"] for it in all_logged(workers, "push settled"))
        assert results["accepted"] + results["superseded"] == 200
        assert results["accepted"] <= 50
        assert rig.dead_letters(MAIN) == []
        ((shown,),) = [
            it["shown"] for it in rig.http.get(f"{rig.control('mipush')}/phones", timeout=5).json()["phones"]
        ]
        assert shown["description"] == "message 200"


@pytest.mark.trial
def test_a_phone_that_changes_hands_while_pushes_wait_for_a_connection_gets_none_of_its_former_owners(
    place: Path,
) -> None:
    relay = {"silence_min_s": 5.0, "push_timeout_s": 6.0, "lease_s": 9.0, "drain_s": 8.0}
    with Rig(place, relay=relay, without=NO_MIMC) as rig:
        rig.start_web(workers=1)
        (slow,), (moves,) = phones(rig, "ann", 1), phones(rig, "ben", 1)
        rig.fault("apns", effect="delay", delay_ms=4000, target=slow, times=1)  # nothing else leaves until then
        worker = rig.start_worker()
        post(rig, "ann", [0])
        rig.wait(lambda: rig.holders(OTHER), "the push that opens the connection")
        post(rig, "ben", range(4))
        rig.wait(lambda: rig.holders(OTHER).get(worker.popen.pid) == 5, "the pushes that wait for it")
        assert rig.register("cai", "phone", moves, app_id=OTHER).status_code == 200
        post(rig, "cai", [0])
        rig.settled(OTHER)
        results = Counter((it["result"], it["attempt"]) for it in all_logged([worker], "push settled"))
        assert results == {("accepted", 0): 2, ("device moved", 0): 4}
        (rang,) = rig.accepted(moves)
        assert rang["payload"]["mimc"]["sequence"] == rig.accepted(slow)[0]["payload"]["mimc"]["sequence"]
