"""Messages that are recalled or read elsewhere, from MIMC's callback to the phone: over the emulators."""

import base64
import json
from typing import Any

import pytest

from tests.system.rig import MAIN, TOPIC, Rig, offline, offline_topic, push_token

WITHDRAW = {"APP_PROXY_ALERTS__WITHDRAW": "true"}
GROUP = "21351198708203520"


@pytest.fixture
def started(rig: Rig) -> Rig:
    rig.start_web(workers=1, **WITHDRAW)
    rig.start_worker(**WITHDRAW)
    return rig


def about(body: dict[str, Any], type_: str, sequence: int) -> dict[str, Any]:
    """The same callback as the instant one of a READ or RECALL of the message TEXT_<sequence>."""
    inner = {"msgId": f"{type_}_{sequence}", "msgType": type_, "payload": f"TEXT_{sequence}"}
    payload = base64.b64encode(json.dumps(inner).encode()).decode()
    return {**body, "msgType": body["msgType"].replace("OFFLINE", "NORMAL"), "payload": payload}


def pushes(rig: Rig, phone: str, count: int) -> list[dict[str, Any]]:
    rig.wait(lambda: len(rig.accepted(phone)) >= count, f"{count} pushes")
    return rig.accepted(phone)


def has_mipush_phone(rig: Rig, *accounts: str) -> None:
    for account in accounts:
        phone = {"phone": f"xiaomi of {account}", "accounts": [account], "package": TOPIC[MAIN]}
        rig.http.post(f"{rig.control('mipush')}/devices", json=phone, timeout=10).raise_for_status()


def iphone_shows(rig: Rig, push_token: str) -> list[str]:
    return [it["body"] for phone in rig.phones("apns") if phone["device_token"] == push_token for it in phone["shown"]]


def mipush_shows(rig: Rig, account: str) -> list[str]:
    return [
        it["description"] for phone in rig.phones("mipush") if account in phone["accounts"] for it in phone["shown"]
    ]


def test_a_recalled_text_is_on_no_phone_and_a_read_one_goes_from_the_readers_others(started: Rig) -> None:
    rig, alice, ben = started, push_token(), push_token()
    assert rig.register("alice", "phone", alice).status_code == 200
    assert rig.register("ben", "phone", ben).status_code == 200
    has_mipush_phone(rig, "alice", "ben")

    rig.post(offline("bob", "alice", rig.secret("text", "words to be recalled"), 1))
    (pushed,) = pushes(rig, alice, 1)
    rig.wait(lambda: mipush_shows(rig, "alice") == ["words to be recalled"], "the Mi Push phone's alert")
    rig.settled()
    assert rig.post(about(offline("carl", "alice", "", 101), "TEXT_RECALL", 1)).status_code == 200  # not his to recall
    assert rig.post(about(offline("bob", "alice", "", 102), "TEXT_RECALL", 1)).status_code == 200
    recalled = pushes(rig, alice, 2)[1]
    assert (recalled["collapse_id"], recalled["expiration"]) == (pushed["collapse_id"], "0")
    assert recalled["apns_id"] != pushed["apns_id"]
    assert recalled["payload"]["aps"]["alert"] == {"title": "bob", "body": "Message recalled"}
    assert "sound" not in recalled["payload"]["aps"]
    rig.wait(lambda: mipush_shows(rig, "alice") == [], "the Mi Push phone without it")
    assert iphone_shows(rig, alice) == ["Message recalled"]

    rig.post(offline_topic("bob", ["alice", "ben"], "for the group", 5, topic_id=GROUP))
    group = pushes(rig, alice, 3)[2]
    pushes(rig, ben, 1)
    rig.settled()
    rig.post(about(offline_topic("alice", ["bob", "alice", "ben"], "", 103, topic_id=GROUP), "TEXT_READ", 5))
    read = pushes(rig, alice, 4)[3]
    assert (read["push_type"], read["priority"], read["expiration"]) == ("background", "5", "0")
    assert read["payload"] == {
        "aps": {"content-available": 1},
        "mimc": {**group["payload"]["mimc"], "withdrawn": "read", "message": group["collapse_id"]},
    }
    rig.wait(lambda: mipush_shows(rig, "alice") == [], "the Mi Push phone without it")
    assert (iphone_shows(rig, alice), iphone_shows(rig, ben)) == (["Message recalled"], ["for the group"])
    assert mipush_shows(rig, "ben") == ["for the group"]
    rig.settled()
    assert len(rig.accepted(ben)) == 1
    assert rig.dead_letters() == []


def test_an_alert_that_waits_for_its_provider_is_withdrawn_and_never_pushed(started: Rig) -> None:
    rig, alice = started, push_token()
    assert rig.register("alice", "phone", alice).status_code == 200
    has_mipush_phone(rig, "alice")
    rig.fault("apns", effect="answer", status=503, reason="ServiceUnavailable", target=alice, times=1)
    rig.fault("mipush", effect="status", status=503, times=1)
    rig.post(offline("bob", "alice", "words to be recalled", 1))
    rig.post(about(offline("bob", "alice", "", 102), "TEXT_RECALL", 1))
    rig.settled()
    # the one try that failed may have arrived for all that we know: what follows it has no text
    assert "words to be recalled" not in json.dumps([it["payload"] for it in rig.accepted(alice)])
    assert mipush_shows(rig, "alice") == []


@pytest.mark.trial  # phones are told after 5 s
def test_the_badge_is_the_number_of_unread_messages_and_follows_a_read(rig: Rig) -> None:
    rig.start_web(workers=1, APP_PROXY_ALERTS__BADGE="true")
    rig.start_worker(APP_PROXY_ALERTS__BADGE="true")
    phone = push_token()
    assert rig.register("alice", "phone", phone).status_code == 200
    for sequence in (1, 2, 3):
        assert rig.post(offline("bob", "alice", "hello", sequence)).status_code == 200
        assert rig.post(offline("bob", "alice", "hello", sequence)).status_code == 200
        assert pushes(rig, phone, sequence)[-1]["payload"]["aps"]["badge"] == sequence
    read = about(offline("alice", "bob", "", 104), "TEXT_READ", 2)
    assert rig.post(read).status_code == 200
    told = pushes(rig, phone, 4)[3]
    assert (told["payload"], told["push_type"]) == ({"aps": {"badge": 1}}, "alert")
    assert (told["priority"], told["expiration"]) == ("5", "0")
    headers = {"Authorization": f"Bearer {rig.bearer('alice')}"}
    answer = rig.http.post(f"{rig.web}/api/badge", json={"app": "main"}, headers=headers, timeout=10)
    assert answer.json()["data"]["badge"] == 0
    assert pushes(rig, phone, 5)[4]["payload"] == {"aps": {"badge": 0}}
