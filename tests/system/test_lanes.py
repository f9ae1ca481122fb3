"""One lane's trouble stays its own, and a paused lane goes on by itself."""

import shutil
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import Any

import jwt
import pytest

from proxy.channels import APNS, MIPUSH
from proxy.domain.lanes import Lane
from proxy.store import keys
from tests.system.rig import KEY_ID, MAIN, OTHER, SECTION, TEAM, Rig, offline, push_token

CHINA = timezone(timedelta(hours=8))


def phone_of(rig: Rig, account: str) -> None:
    """A Xiaomi phone on which this account of the app `main` is subscribed."""
    phone = {"phone": f"phone of {account}", "package": "com.example.main", "accounts": [account]}
    rig.http.post(f"{rig.control('mipush')}/devices", json=phone, timeout=5).raise_for_status()


def device(rig: Rig, account: str, app_id: str) -> str:
    token = push_token()
    assert rig.register(account, f"{account}'s {token[:32]}", token, app_id=app_id).status_code == 200
    return token


def post(rig: Rig, reader: str, numbers: Sequence[int], app_id: str) -> None:
    for number in numbers:
        body = offline("bob", reader, f"message {number}", number, app_id=app_id)
        assert rig.post(body, app_id).status_code == 200


def notified(rig: Rig) -> list[dict[str, Any]]:
    return [it for it in rig.journal("mipush") if it["outcome"] == "accepted"]


def both_reached(rig: Rig, ipad: str, count: int) -> bool:
    return len(rig.accepted(ipad)) >= count and len(notified(rig)) >= count


@pytest.mark.trial
def test_5000_jobs_for_an_apns_that_is_silent_hold_up_no_other_lane(place: Path) -> None:
    with Rig(place, without=("mimc",)) as rig:
        rig.start_web(workers=1)
        ipad = device(rig, "ann", OTHER)
        phone_of(rig, "carl")
        tokens = [device(rig, "alice", MAIN) for _ in range(50)]
        faults = [{"effect": "silent_connection", "target": token} for token in tokens]
        rig.http.post(f"{rig.control('apns')}/faults", json=faults, timeout=5).raise_for_status()
        post(rig, "alice", range(100), MAIN)
        worker = rig.start_worker()
        planned = {"app": "main", "channel": "apns"}
        rig.wait(
            lambda: rig.metric(worker, "app_proxy_jobs_planned_total", **planned) == 5000, "the plan of 5000 jobs", 90
        )
        for number in range(100, 120):
            post(rig, "ann", [number], OTHER)
            post(rig, "carl", [number], MAIN)
            rig.wait(partial(both_reached, rig, ipad, number - 99), "both")
        assert rig.backlog(MAIN) > 4900
        assert not [it for it in rig.accepted() if it["answered"] and it["device_token"] != ipad]
        rig.end_faults("apns")
        rig.settled(MAIN)
        delivered = {(it["collapse_id"], it["device_token"]) for it in rig.accepted() if it["answered"]}
        assert len(delivered) == 5000 + 20
        assert rig.dead_letters(MAIN) == []


def test_a_wrong_apns_key_stops_its_lane_until_it_is_mended(place: Path) -> None:
    with Rig(place, without=("mimc",)) as rig:
        rig.start_web(workers=1)
        phone, ipad = device(rig, "ann", OTHER), device(rig, "alice", MAIN)
        key = rig.folder / "other.p8"
        shutil.copy(key, rig.folder / "right.p8")
        shutil.copy(rig.folder / "main.p8", key)
        worker = rig.start_worker()
        post(rig, "ann", range(30), OTHER)
        post(rig, "alice", [1], MAIN)
        rig.wait(lambda: rig.accepted(ipad), "the neighbour's push")
        told = rig.wait(lambda: rig.readiness().get("lane other/apns"), "the pause in /readyz")
        assert "InvalidProviderToken" in told
        assert rig.readiness().keys().isdisjoint({"lane main/apns", "lane main/mipush", "lane other/mipush"})
        assert worker.stop() == 0
        shutil.copy(rig.folder / "right.p8", key)
        rig.start_worker()
        rig.settled(OTHER)
        assert len({it["apns_id"] for it in rig.accepted(phone)}) == len(rig.accepted(phone)) == 30
        assert rig.dead_letters(OTHER) == []
        rig.wait(lambda: "lane other/apns" not in rig.readiness(), "the end of the pause in /readyz")


@pytest.mark.trial
def test_a_young_provider_token_that_apns_calls_expired_stops_the_lane_until_a_probe_gets_through(place: Path) -> None:
    with Rig(place, without=("mimc", "mipush")) as rig:
        rig.start_web(workers=1)
        phone = device(rig, "ann", OTHER)
        rig.fault("apns", effect="answer", reason="ExpiredProviderToken", times=2)
        worker = rig.start_worker()
        post(rig, "ann", [1], OTHER)
        told = rig.wait(lambda: rig.readiness().get("lane other/apns"), "the pause in /readyz")
        assert told.endswith("UTC: provider token expired")
        post(rig, "ann", [2, 3], OTHER)
        rig.settled(OTHER)
        refused, *_ = pushes = rig.journal("apns")
        assert [it["reason"] for it in pushes[:2]] == ["ExpiredProviderToken"] * 2
        assert pushes[1]["monotonic_ms"] - refused["monotonic_ms"] >= 900  # probe_s
        assert len(rig.accepted(phone)) == 3
        assert rig.counters("apns")["provider_token_updates"] == 1
        rig.wait(lambda: "lane other/apns" not in rig.readiness(), "the end of the pause")
        assert (
            rig.metric(worker, "app_proxy_jobs_settled_total", outcome="paused", reason="provider token expired") == 2
        )


def test_an_old_provider_token_that_apns_calls_expired_is_renewed_once_for_all_workers(place: Path) -> None:
    with Rig(place, without=("mimc", "mipush")) as rig:
        rig.start_web(workers=1)
        phone = device(rig, "ann", OTHER)
        rig.fault("apns", effect="answer", reason="ExpiredProviderToken", times=1)
        workers = rig.start_workers(2)
        share_provider_token(rig, age=timedelta(minutes=30))
        post(rig, "ann", range(50), OTHER)
        rig.settled(OTHER)
        assert len({it["apns_id"] for it in rig.accepted(phone)}) == len(rig.accepted(phone)) == 50
        assert rig.counters("apns")["provider_token_updates"] == 2
        assert sum(rig.metric(it, "app_proxy_jobs_settled_total", outcome="paused") for it in workers) == 0


def share_provider_token(rig: Rig, age: timedelta) -> None:
    """Have the workers find a token of that age in the store, as if one of them had signed it then."""
    issued_at = int((datetime.now(UTC) - age).timestamp())
    key = (rig.folder / f"{SECTION[OTHER]}.p8").read_bytes()
    token = jwt.encode({"iss": TEAM[OTHER], "iat": issued_at}, key, algorithm="ES256", headers={"kid": KEY_ID[OTHER]})
    with rig.redis() as redis:
        redis.set(keys.provider_token(TEAM[OTHER], KEY_ID[OTHER], key), token)


def test_two_workers_that_start_together_make_one_provider_token(place: Path) -> None:
    with Rig(place, without=("mimc", "mipush")) as rig:
        rig.start_web(workers=1)
        device(rig, "ann", OTHER)
        workers = rig.start_workers(2)
        post(rig, "ann", range(100), OTHER)
        rig.settled(OTHER)
        assert all(rig.metric(it, "app_proxy_jobs_settled_total", outcome="accepted") > 0 for it in workers)
        assert rig.counters("apns")["provider_token_updates"] == 1


@pytest.mark.trial
def test_a_spent_mipush_allowance_stops_that_lane_until_midnight_in_china(place: Path) -> None:
    with Rig(place, without=("mimc",)) as rig:
        rig.start_web(workers=1)
        rig.start_worker()
        phone_of(rig, "alice")
        ipad = device(rig, "alice", MAIN)
        rig.fault("mipush", effect="code", code=200001, times=1)
        post(rig, "alice", [1], MAIN)
        told = rig.wait(lambda: rig.readiness().get("lane main/mipush"), "the pause in /readyz")
        assert told.endswith("code 200001 over the daily total")
        post(rig, "alice", [2, 3], MAIN)
        rig.wait(lambda: len(rig.accepted(ipad)) == 3, "the pushes of the lane beside it")
        lane = Lane(MAIN, "main", MIPUSH)
        with rig.redis() as redis:
            assert from_midnight_in_china(redis.pttl(keys.probe(lane))) < 10
            assert redis.hget(keys.pause(lane), "reason") == "code 200001 over the daily total"
        assert rig.readiness().keys().isdisjoint({f"lane main/{APNS}", f"lane other/{MIPUSH}"})
        assert len([it for it in rig.journal("mipush") if it["kind"] == "send"]) == 1
        rig.wait(lambda: rig.backlog(MAIN) == 3, "the settled pushes of the lane beside it")
        assert rig.dead_letters(MAIN) == []


def from_midnight_in_china(left_ms: int) -> float:
    """How many seconds before or after a midnight there a wait ends of which so much is left."""
    end = datetime.now(CHINA) + timedelta(milliseconds=left_ms)
    since = end - end.replace(hour=0, minute=0, second=0, microsecond=0)
    return min(since, timedelta(days=1) - since).total_seconds()
