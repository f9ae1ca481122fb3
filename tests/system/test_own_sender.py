"""The channel `http`: alerts to a sender of the developer's own, over its emulator."""

import base64
import hashlib
import hmac
import json
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.system.rig import OTHER, SENDER_SECRET, Process, Rig, offline, push_token

PHONE = "oppo:phone-of-alice"


@pytest.fixture(scope="module")
def started() -> Iterator[tuple[Rig, Process]]:
    """All tests share it; each has people of its own."""
    with (
        tempfile.TemporaryDirectory(prefix="rig-", dir="/tmp") as folder,
        Rig(Path(folder) / "r", without=("mimc", "mipush"), http={}) as rig,
    ):
        rig.start_web(workers=1)
        names = {"URL": f"{rig.facts['http']['url']}/names", "SECRET": SENDER_SECRET, "TIMEOUT_S": "2"}
        yield rig, rig.start_worker(**{f"APP_PROXY_APPS__OTHER__PROFILES__{key}": text for key, text in names.items()})


def registered(rig: Rig, account: str, push_token: str) -> str:
    answer = rig.register(account, "phone", push_token, app_id=OTHER, platform="http", locale="zh-Hans-CN")
    assert answer.status_code == 200, answer.text
    return push_token


def post(rig: Rig, reader: str, text: str, sequence: int) -> None:
    assert rig.post(offline("bob", reader, text, sequence, app_id=OTHER), OTHER).status_code == 200


def requests_for(rig: Rig, push_token: str) -> list[dict[str, Any]]:
    return [it for it in rig.journal("http") if it.get("push_token") == push_token]


def is_good(request: dict[str, Any]) -> bool:
    """By the words of the scheme: HMAC-SHA256 over id, time and body, with dots between them."""
    key = base64.b64decode(SENDER_SECRET.removeprefix("whsec_"))
    content = f"{request['webhook_id']}.{request['webhook_timestamp']}.{request['content']}"
    signature = base64.b64encode(hmac.new(key, content.encode(), hashlib.sha256).digest()).decode()
    return f"v1,{signature}" in request["webhook_signature"].split(" ")


def test_an_alert_is_one_signed_request_and_a_phone_that_is_gone_gets_no_more(started: tuple[Rig, Process]) -> None:
    rig, _ = started
    alice, carol = registered(rig, "alice", PHONE), registered(rig, "carol", "oppo:phone-of-carol")
    rig.fault("http", effect="gone", target=carol)
    text = rig.secret("message text", "words that no log may have")
    name = rig.secret("name that the server of names tells", "Bob of no log")
    rig.fault("http", effect="raw", body=json.dumps({"name": name}), target="bob")
    post(rig, "alice", text, 1)
    post(rig, "carol", "hello", 2)
    rig.settled(OTHER)
    assert [it["account"] for it in rig.journal("http") if it.get("type") == "names"] == ["bob"]  # asked once
    (request,) = requests_for(rig, alice)
    assert request["outcome"] == "accepted"
    assert is_good(request)
    event = json.loads(request["content"])
    assert abs(int(request["webhook_timestamp"]) - time.time()) < 60
    data = event["data"]
    assert (data["app"], data["account"], data["title"], data["body"]) == ("other", "alice", name, text)
    assert data["device"] == {"id": "phone", "push_token": PHONE, "locale": "zh-Hans-CN"}
    assert (data["conversation"], data["sequence"]) == ("p2p:bob", str(154503794553568001))

    post(rig, "carol", "hello again", 3)
    rig.settled(OTHER)
    assert [it["outcome"] for it in requests_for(rig, carol)] == ["fault"]
    headers = {"Authorization": f"Bearer {rig.bearer('carol')}"}
    answer = rig.http.get(f"{rig.web}/api/devices/phone", params={"app": "other"}, headers=headers, timeout=5)
    assert answer.status_code == 404
    assert not rig.dead_letters(OTHER)


def test_a_phone_that_its_vendor_calls_dead_gets_the_alert_at_its_fallback_once(started: tuple[Rig, Process]) -> None:
    rig, _ = started
    iphone, fallback = push_token(), rig.secret("push token", "fcm:phone-of-frank")
    fallbacks = [{"platform": "http", "push_token": fallback}]
    answer = rig.register("frank", "phone", iphone, app_id=OTHER, fallbacks=fallbacks)
    assert answer.status_code == 200, answer.text
    post(rig, "frank", "to the vendor", 10)
    rig.settled(OTHER)
    rig.fault("apns", effect="answer", reason="Unregistered", code=time.time_ns() // 1_000_000 + 60_000, target=iphone)
    post(rig, "frank", "to the fallback", 11)
    rig.settled(OTHER)
    assert rig.post(offline("bob", "frank", "to the fallback", 11, app_id=OTHER), OTHER).json()["data"]["duplicate"]
    post(rig, "frank", "to the fallback too", 12)
    rig.settled(OTHER)
    bodies = [json.loads(it["content"])["data"]["body"] for it in requests_for(rig, fallback)]
    assert bodies == ["to the fallback", "to the fallback too"]
    assert [it["reason"] for it in rig.journal("apns") if it["device_token"] == iphone] == [None, "Unregistered"]
    headers = {"Authorization": f"Bearer {rig.bearer('frank')}"}
    told = rig.http.get(f"{rig.web}/api/alerts", params={"app": "other"}, headers=headers, timeout=5).json()["data"]
    assert Counter((it["channel"], it["result"]) for it in told["alerts"]) == {
        ("apns", "accepted"): 1, ("apns", "retry"): 1, ("http", "goes to a fallback"): 1, ("http", "accepted"): 2,
    }  # fmt: skip
    assert not rig.dead_letters(OTHER)


def test_a_sender_that_asks_for_time_gets_it(started: tuple[Rig, Process]) -> None:
    rig, _ = started
    dave = registered(rig, "dave", "vivo:phone-of-dave")
    rig.fault("http", effect="status", status=503, retry_after="1", target=dave, times=1)
    post(rig, "dave", "hello", 4)
    rig.settled(OTHER)
    refused, accepted = requests_for(rig, dave)
    assert (refused["outcome"], accepted["outcome"]) == ("fault", "accepted")
    assert accepted["monotonic_ms"] - refused["monotonic_ms"] >= 1000
    assert accepted["webhook_id"] == refused["webhook_id"]
    assert is_good(accepted)


def test_a_killed_workers_alert_comes_again_under_the_same_identity(started: tuple[Rig, Process]) -> None:
    """So that a sender which knows what it has taken shows it once."""
    rig, worker = started
    erin = registered(rig, "erin", "honor:phone-of-erin")
    rig.fault("http", effect="silence_after", target=erin, times=1)
    post(rig, "erin", "hello", 5)
    rig.wait(lambda: requests_for(rig, erin), "the request")
    worker.kill()
    rig.start_worker()
    rig.settled(OTHER)
    assert [it["outcome"] for it in requests_for(rig, erin)] == ["accepted", "repeated"]
    assert len({it["webhook_id"] for it in requests_for(rig, erin)}) == 1
