"""What each answer of a provider comes to, over sockets."""

import time
from pathlib import Path
from typing import Any

import requests

from proxy.channels import MIPUSH
from tests.system.rig import MAIN, OTHER, Rig, offline, offline_topic, push_token

RETRIED = ("TooManyRequests", "ServiceUnavailable", "InternalServerError")
PACKAGE = "com.example.main"


def register(rig: Rig, account: str, token: str) -> None:
    assert rig.register(account, "phone", token, app_id=OTHER).status_code == 200


def registration(rig: Rig, account: str) -> requests.Response:
    headers = {"Authorization": f"Bearer {rig.bearer(account)}"}
    return rig.http.get(f"{rig.web}/api/devices/phone", params={"app": "other"}, headers=headers, timeout=5)


def know(rig: Rig, token: str, state: str, **more: int) -> None:
    device = {"device_token": token, "state": state, **more}
    rig.http.post(f"{rig.control('apns')}/devices", json=device, timeout=5).raise_for_status()


def phones(rig: Rig, accounts: list[str]) -> None:
    made = [{"phone": f"phone of {it}", "package": PACKAGE, "accounts": [it]} for it in accounts]
    rig.http.post(f"{rig.control('mipush')}/devices", json=made, timeout=5).raise_for_status()


def shown(rig: Rig) -> dict[str, dict[str, Any]]:
    told = rig.http.get(f"{rig.control('mipush')}/phones", timeout=5).json()["phones"]
    return {it["phone"]: it for it in told}


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def test_each_answer_of_apns_comes_to_its_own_end(place: Path) -> None:
    with Rig(place, without=("mimc", "mipush")) as rig:
        rig.start_web(workers=1)
        tokens: dict[str, str] = {}

        def reader(account: str) -> str:
            register(rig, account, tokens.setdefault(account, push_token()))
            return tokens[account]

        for reason in RETRIED:
            rig.fault("apns", effect="answer", reason=reason, target=reader(reason), times=1)
        rig.fault("apns", effect="no_body_503", target=reader("no body"), times=1)
        rig.fault("apns", effect="answer", status=400, reason="Teapot", target=reader("Teapot"))
        know(rig, reader("foreign"), "other environment")
        know(rig, reader("gone"), "unregistered", timestamp_ms=now_ms() + 60_000)
        know(rig, reader("gone before"), "unregistered", timestamp_ms=now_ms() - 60_000)
        unregistered = {"effect": "answer", "reason": "Unregistered", "code": now_ms() - 60_000}
        rig.fault("apns", target=reader("came back"), times=1, **unregistered)
        worker = rig.start_worker()
        for number, account in enumerate(tokens):
            body = offline("bob", account, f"hello {account}", number, app_id=OTHER)
            assert rig.post(body, OTHER).status_code == 200
        rig.settled(OTHER)

        answers = {name: [it["reason"] for it in rig.journal("apns") if it["device_token"] == tokens[name]]
                   for name in tokens}  # fmt: skip
        assert answers == {
            **{reason: [reason, None] for reason in RETRIED},
            "no body": [None, None],
            "Teapot": ["Teapot"],
            "foreign": ["BadDeviceToken"],
            "gone": ["Unregistered"],
            "gone before": ["Unregistered", "Unregistered"],  # registered later: at once once more, and no third time
            "came back": ["Unregistered", None],
        }
        assert all(len({it["apns_id"] for it in rig.journal("apns") if it["device_token"] == token}) == 1
                   for token in tokens.values())  # fmt: skip
        first, again = (it["monotonic_ms"] for it in rig.journal("apns") if it["device_token"] == tokens["came back"])
        assert again - first < 1000
        assert sorted(rig.dead_letters(OTHER)) == ["BadDeviceToken", "Teapot", "unregistered, yet registered again"]
        assert registration(rig, "gone").status_code == 404
        assert registration(rig, "came back").status_code == 200
        assert registration(rig, "foreign").json()["data"]["invalid_reason"] == "BadDeviceToken"

        def counted(outcome: str, reason: str) -> float:
            labels = {"app": "other", "channel": "apns", "outcome": outcome, "reason": reason}
            return rig.metric(worker, "app_proxy_jobs_settled_total", **labels)

        assert [counted("retry", reason) for reason in (*RETRIED, "http 503", "registered again")] == [1, 1, 1, 1, 2]
        assert [counted("dead letter", reason) for reason in ("Teapot", "BadDeviceToken")] == [1, 1]
        assert (counted("device gone", ""), counted("accepted", "")) == (1, 5)


def test_one_unknown_account_among_500_costs_the_others_nothing(place: Path) -> None:
    accounts = [f"user-{number}" for number in range(500)]
    with Rig(place, without=("mimc", "apns")) as rig:
        rig.start_web(workers=1)
        worker = rig.start_worker()
        phones(rig, accounts[:333] + accounts[334:])
        assert rig.post(offline_topic("bob", accounts, "hello all", 1)).status_code == 200
        rig.settled(MAIN)
        assert {name: it["rings"] for name, it in shown(rig).items()} == {
            f"phone of {it}": 1 for it in accounts if it != "user-333"
        }
        assert all(it["dropped"] == [] for it in shown(rig).values())
        assert len({it["jobkey"] for it in rig.journal("mipush")}) == 1
        assert rig.metric(worker, "app_proxy_jobs_settled_total", outcome="unknown account") == 1
        assert rig.metric(worker, "app_proxy_jobs_settled_total", outcome="accepted") == 499
        assert rig.dead_letters(MAIN) == []


def test_an_earlier_message_never_covers_a_later_one_of_its_conversation(place: Path) -> None:
    with Rig(place, without=("mimc", "apns")) as rig:
        rig.start_web(workers=1)
        worker = rig.start_worker()
        phones(rig, ["alice", "carl"])
        rig.fault("mipush", effect="code", code=10002, target="alice", times=1)  # busy: the first one must wait
        assert rig.post(offline("bob", "alice", "first", 1)).status_code == 200
        rig.wait(lambda: rig.journal("mipush"), "the answer to the first")
        assert rig.post(offline("bob", "alice", "second", 2)).status_code == 200
        rig.settled(MAIN)
        rig.fault("mipush", effect="delay", delay_ms=500, target="carl", times=1)
        assert rig.post(offline("bob", "carl", "second", 2)).status_code == 200
        rig.wait(lambda: sum(rig.holders(MAIN, MIPUSH).values()), "the later one in flight")
        assert rig.post(offline("bob", "carl", "first", 1)).status_code == 200
        rig.settled(MAIN)
        for name in ("phone of alice", "phone of carl"):
            phone = shown(rig)[name]
            assert [it["description"] for it in phone["shown"]] == ["second"]
            assert phone["rings"] == 1
        assert rig.metric(worker, "app_proxy_jobs_settled_total", outcome="superseded") == 2


def test_a_job_that_waits_for_its_retry_while_the_phone_changes_its_user_is_never_sent(place: Path) -> None:
    with Rig(place, relay={"backoff_initial_s": 1.5}, without=("mimc", "mipush")) as rig:
        rig.start_web(workers=1)
        worker = rig.start_worker()
        phone, other_phone = push_token(), push_token()
        register(rig, "alice", phone)
        register(rig, "carl", other_phone)
        for token in (phone, other_phone):
            rig.fault("apns", effect="answer", reason="ServiceUnavailable", target=token, times=1)
        for number, account in enumerate(("alice", "carl")):
            assert rig.post(offline("bob", account, "a secret", number, app_id=OTHER), OTHER).status_code == 200
        rig.wait(lambda: len(rig.journal("apns")) == 2, "both refusals")
        register(rig, "dora", phone)
        rig.settled(OTHER)
        assert [it["device_token"] for it in rig.accepted()] == [other_phone]  # carl's did wait, and came
        assert rig.metric(worker, "app_proxy_jobs_settled_total", outcome="device moved") == 1
        assert rig.dead_letters(OTHER) == []
        assert rig.post(offline("bob", "dora", "for dora", 9, app_id=OTHER), OTHER).status_code == 200
        rig.wait(lambda: rig.accepted(phone), "the new user's alert")
