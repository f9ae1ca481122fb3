"""The emulated MIMC's API, talked to over sockets: push, groups and history, and the three ways to prove who calls.

Each row of the tables of calls in MIMC's documents has its test.
"""

import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from proxy.emulators.mimc.credentials import Tokens
from proxy.emulators.mimc.history import History, between
from proxy.emulators.mimc.orders import Numbers, read_order
from proxy.emulators.mimc.quotas import Quota
from proxy.emulators.mimc.refusals import Refused
from tests.emulators.mimc_peer import (
    APP_ID,
    APP_SECRET,
    OTHER_APP_ID,
    OTHER_SECRET,
    Emulator,
    Listener,
    listening_for_callbacks,
    running,
    settings,
)

APP_KEY = "5800000000001"
APP = {"appId": APP_ID, "appKey": APP_KEY, "appSecret": APP_SECRET}
PUSH = APP | {"fromAccount": "system", "fromResource": "resWeb", "msg": "hello", "msgType": ""}
DAY_MS = 86_400_000


@pytest.fixture(scope="module")
def listening() -> Iterator[Listener]:
    with listening_for_callbacks() as listener:
        yield listener


@pytest.fixture(scope="module")
def started(listening: Listener, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    head = "p2p_per_second = 50\ntopic_per_second = 20\ntopic_members = 6"
    with running(tmp_path_factory.mktemp("mimc"), settings(listening, head)) as (emulator, _):
        yield emulator


@pytest.fixture
def listener(listening: Listener) -> Listener:
    listening.bodies.clear()
    return listening


@pytest.fixture
def mimc(started: Emulator) -> Emulator:
    started.control("DELETE", "faults")
    started.control("PUT", "online", {"app_id": APP_ID, "accounts": []})
    return started


def token_of(mimc: Emulator, account: str, **changes: Any) -> dict[str, str]:
    """The header of a user's calls."""
    return {"token": mimc.token(appAccount=account, **changes).json()["data"]["token"]}


def data(reply: requests.Response) -> Any:
    assert (reply.status_code, reply.json()["code"]) == (200, 200), reply.text
    return reply.json()["data"]


def code(reply: requests.Response) -> int:
    assert (reply.status_code, reply.json()["data"]) == (200, None), reply.text
    return int(reply.json()["code"])


def group(mimc: Emulator, owner: str, *others: str, **more: str) -> str:
    body = {"topicName": "a group", "accounts": ",".join(others)} | more
    made = data(mimc.api("POST", f"/api/topic/{APP_ID}", body, **token_of(mimc, owner)))
    return str(made["topicInfo"]["topicId"])


def settled(mimc: Emulator) -> None:
    assert mimc.control("GET", "callbacks/pending?wait_ms=50000") == {"pending": 0}


# --- push


@pytest.mark.parametrize("path", ["/api/push/p2p/", "/api/push/p2p"])
def test_a_push_to_an_account_makes_the_callbacks_of_a_message(mimc: Emulator, listener: Listener, path: str) -> None:
    pushed = data(mimc.api("POST", path, PUSH | {"toAccount": "alice", "bizType": "TEXT"}))
    settled(mimc)
    normal, offline = listener.by_kind()["NORMAL_MSG"], listener.by_kind()["OFFLINE_MSG"]
    assert offline | {"msgType": "NORMAL_MSG"} == normal
    assert (normal["fromAccount"], normal["fromResource"], normal["toAccount"]) == ("system", "resWeb", "alice")
    assert base64.b64decode(normal["payload"]) == b"hello"
    assert (normal["packetId"], normal["bizType"]) == (pushed["packetId"], "TEXT")


def test_who_is_signed_in_misses_nothing(mimc: Emulator, listener: Listener) -> None:
    mimc.control("PUT", "online", {"app_id": APP_ID, "accounts": ["alice"]})
    pushed = data(mimc.api("POST", "/api/push/p2p/more", PUSH | {"toAccounts": ["alice", "bob"]}))
    settled(mimc)
    assert len(pushed["packetIds"]) == len(set(pushed["packetIds"])) == 2
    assert sorted((body["msgType"], body["toAccount"]) for _, body in listener.bodies) == [
        ("NORMAL_MSG", "alice"),
        ("NORMAL_MSG", "bob"),
        ("OFFLINE_MSG", "bob"),
    ]


def test_a_push_to_groups_reaches_their_members(mimc: Emulator, listener: Listener) -> None:
    mimc.control("PUT", "online", {"app_id": APP_ID, "accounts": {"alice": ["web"]}})
    first, second = group(mimc, "alice", "bob", "carol"), group(mimc, "alice")
    one = data(mimc.api("POST", "/api/push/p2t/", PUSH | {"topicId": int(first)}))
    settled(mimc)
    normal, offline = listener.by_kind()["NORMAL_TOPIC_MSG"], listener.by_kind()["OFFLINE_TOPIC_MSG"]
    assert (normal["topicId"], normal["packetId"], normal["fromAccount"]) == (first, one["packetId"], "system")
    assert (normal["toAccounts"], offline["toAccounts"]) == (["alice", "bob", "carol"], ["bob", "carol"])
    listener.bodies.clear()
    more = data(mimc.api("POST", "/api/push/p2t/more", PUSH | {"topicIds": [int(first), int(second)]}))
    settled(mimc)
    assert len(more["packetIds"]) == 2
    assert {body["topicId"] for _, body in listener.bodies} == {first, second}


def test_a_message_may_come_as_base64(mimc: Emulator, listener: Listener) -> None:
    content = bytes(range(256)) * 60
    body = PUSH | {"msgType": "base64", "msg": base64.b64encode(content).decode(), "toAccount": "alice"}
    data(mimc.api("POST", "/api/push/p2p/", body))
    settled(mimc)
    assert base64.b64decode(listener.by_kind()["NORMAL_MSG"]["payload"]) == content


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({"msg": "x" * 15_361}, 400),
        ({"msg": "é" * 7_681}, 400),
        ({"msg": base64.b64encode(bytes(15_361)).decode(), "msgType": "base64"}, 400),
        ({"msg": "no base64", "msgType": "base64"}, 400),
        ({"msgType": "hex"}, 400),
        ({"msg": ""}, 400),
        ({"isStore": "true"}, 400),
        ({"bizType": 1}, 400),
        ({"toAccount": 1000}, 400),
        ({"fromAccount": ""}, 400),
        ({"appId": "x"}, 401),
        ({"appSecret": OTHER_SECRET}, 401),
        ({"appId": OTHER_APP_ID}, 401),
    ],
)
def test_a_wrong_push_is_refused_and_writes_nothing(
    mimc: Emulator, listener: Listener, changes: dict[str, Any], refused: int
) -> None:
    assert code(mimc.api("POST", "/api/push/p2p/", PUSH | {"toAccount": "alice"} | changes)) == refused
    assert listener.bodies == []


def test_a_push_to_a_group_that_is_not_there_is_refused(mimc: Emulator) -> None:
    for topic_id in (12345678901234567, "12345678901234567"):
        assert code(mimc.api("POST", "/api/push/p2t/", PUSH | {"topicId": topic_id})) == 404
    assert code(mimc.api("POST", "/api/push/p2t/more", PUSH | {"topicIds": []})) == 400


def test_more_messages_than_an_app_may_push_in_a_second_are_refused(mimc: Emulator, listener: Listener) -> None:
    topic_id = int(group(mimc, "alice"))
    many = [str(number) for number in range(51)]
    assert code(mimc.api("POST", "/api/push/p2p/more", PUSH | {"toAccounts": many})) == 429
    assert code(mimc.api("POST", "/api/push/p2t/more", PUSH | {"topicIds": [topic_id] * 21})) == 429
    assert listener.bodies == []


# --- credentials


def test_a_server_calls_with_the_apps_headers_in_the_name_of_an_account(mimc: Emulator) -> None:
    topic_id = group(mimc, "alice", "李雷")
    path = f"/api/topic/{APP_ID}/{topic_id}"
    app = {"appKey": APP_KEY, "appSecret": APP_SECRET}
    for account in ({"appAccount": "alice"}, {"appAccount": _base64("李雷"), "appAccountEncode": "base64"}):
        assert data(mimc.api("GET", path, **app, **account))["topicInfo"]["topicId"] == topic_id
    assert code(mimc.api("GET", path, **app, appAccount="mallory")) == 403
    assert code(mimc.api("GET", path, **app)) == 400
    assert code(mimc.api("GET", path, **app, appAccount="é")) == 400
    assert code(mimc.api("GET", path, **app, appAccount="no base64", appAccountEncode="base64")) == 400
    assert code(mimc.api("GET", path, **app | {"appSecret": "wrong"}, appAccount="alice")) == 401
    assert code(mimc.api("GET", path)) == 401
    # the token wins where both are there
    assert code(mimc.api("GET", path, **app, appAccount="alice", **token_of(mimc, "mallory"))) == 403
    assert code(mimc.api("GET", path, **app, appAccount="alice", token="made up")) == 401


def test_a_token_is_good_for_its_own_app_alone(mimc: Emulator) -> None:
    other = token_of(mimc, "alice", appId=OTHER_APP_ID, appKey="5800000000002", appSecret=OTHER_SECRET)
    assert code(mimc.api("GET", f"/api/topic/{APP_ID}/account", **other)) == 403
    assert data(mimc.api("GET", f"/api/topic/{OTHER_APP_ID}/account", **other)) == []


def test_a_revoked_token_is_refused(mimc: Emulator) -> None:
    alice, bob = token_of(mimc, "revoked"), token_of(mimc, "bob")
    assert mimc.control("DELETE", "tokens?account=revoked") == {"revoked": 1}
    assert code(mimc.api("GET", f"/api/topic/{APP_ID}/account", **alice)) == 401
    data(mimc.api("GET", f"/api/topic/{APP_ID}/account", **bob))


def test_only_json_is_read(mimc: Emulator) -> None:
    url = f"{mimc.url}/api/topic/{APP_ID}"
    for content, kind in (('{"topicName":"a"}', "text/plain"), ("{", "application/json"), ("[]", "application/json")):
        headers = {"Content-Type": kind} | token_of(mimc, "alice")
        assert code(mimc.session.post(url, data=content, headers=headers, timeout=60)) == 400


def test_the_journal_tells_of_each_call_and_holds_no_secret(mimc: Emulator) -> None:
    before = len(mimc.journal())
    data(mimc.api("POST", "/api/push/p2p/", PUSH | {"toAccount": "alice", "msg": "a private word"}))
    mimc.api("POST", "/api/push/p2p/", PUSH | {"toAccount": "alice", "appSecret": "wrong-secret"})
    token = token_of(mimc, "alice")
    data(mimc.api("GET", f"/api/topic/{APP_ID}/account/", **token))
    entries = [entry for entry in mimc.journal()[before:] if entry["kind"] == "api"]
    assert [
        (entry["path"], entry["account"], entry["app_id"], entry["outcome"], entry["code"]) for entry in entries
    ] == [
        ("/api/push/p2p/", "system", APP_ID, "accepted", 200),
        ("/api/push/p2p/", "system", APP_ID, "refused", 401),
        ("/api/topic/{appId}/account", "alice", APP_ID, "accepted", 200),
    ]
    written = json.dumps(mimc.journal())
    assert not any(text in written for text in ("a private word", APP_SECRET, "wrong-secret", APP_KEY, token["token"]))


def test_faults_hit_the_calls_of_an_account(mimc: Emulator) -> None:
    alice, bob = token_of(mimc, "alice"), token_of(mimc, "bob")
    path = f"/api/topic/{APP_ID}/account"
    mimc.fault(effect="refuse", target="alice", status=401, code=401, reason="token expired")
    reply = mimc.api("GET", path, **alice)
    assert (reply.status_code, reply.content) == (401, b'{"code":401,"message":"token expired","data":null}')
    assert data(mimc.api("GET", path, **bob)) is not None
    mimc.control("DELETE", "faults")
    mimc.fault(effect="reset_after", target="f-carol", times=1)
    carol = {"appKey": APP_KEY, "appSecret": APP_SECRET, "appAccount": "f-carol"}
    with pytest.raises(requests.ConnectionError):
        mimc.api("POST", f"/api/topic/{APP_ID}", {"topicName": "made, but not answered"}, **carol)
    assert [made["topicName"] for made in data(mimc.api("GET", path, **carol))] == ["made, but not answered"]


# --- groups


def test_a_group_is_created_with_its_owner_and_queried_by_a_member(mimc: Emulator) -> None:
    body = {"topicName": "the team", "accounts": "bob,alice,李雷", "extra": "{}"}
    made = data(mimc.api("POST", f"/api/topic/{APP_ID}", body, **token_of(mimc, "alice")))
    uuid = mimc.token(appAccount="alice").json()["data"]["miUserId"]
    assert made["topicInfo"] == {
        "topicId": made["topicInfo"]["topicId"], "ownerUuid": uuid, "ownerAccount": "alice", "topicName": "the team",
        "bulletin": "", "extra": "{}",
    }  # fmt: skip
    assert [member["account"] for member in made["members"]] == ["alice", "bob", "李雷"]
    assert made["members"][0] == {"uuid": uuid, "account": "alice"}
    path = f"/api/topic/{APP_ID}/{made['topicInfo']['topicId']}"
    assert data(mimc.api("GET", path, **token_of(mimc, "bob"))) == made
    assert code(mimc.api("GET", path, **token_of(mimc, "mallory"))) == 403
    assert code(mimc.api("GET", f"/api/topic/{APP_ID}/1", **token_of(mimc, "bob"))) == 404
    assert code(mimc.api("GET", f"/api/topic/{APP_ID}/one", **token_of(mimc, "bob"))) == 400


def test_an_account_lists_the_groups_that_it_is_in(mimc: Emulator) -> None:
    first, second = group(mimc, "list-a", "list-b"), group(mimc, "list-b")
    listed = data(mimc.api("GET", f"/api/topic/{APP_ID}/account", **token_of(mimc, "list-b")))
    assert [info["topicId"] for info in listed] == [first, second]
    assert set(listed[0]) == {"topicId", "ownerUuid", "ownerAccount", "topicName", "bulletin"}


def test_any_member_invites_and_a_full_group_takes_nobody_more(mimc: Emulator) -> None:
    path = f"/api/topic/{APP_ID}/{group(mimc, 'alice', 'bob')}/accounts"
    whole = data(mimc.api("POST", path, {"accounts": "carol,dave,bob"}, **token_of(mimc, "bob")))
    assert [member["account"] for member in whole["members"]] == ["alice", "bob", "carol", "dave"]
    assert code(mimc.api("POST", path, {"accounts": "e,f,g"}, **token_of(mimc, "bob"))) == 400
    assert code(mimc.api("POST", path, {"accounts": ""}, **token_of(mimc, "bob"))) == 400
    assert code(mimc.api("POST", path, {"accounts": ["e"]}, **token_of(mimc, "bob"))) == 400
    assert code(mimc.api("POST", path, {"accounts": "e"}, **token_of(mimc, "mallory"))) == 403


def test_a_member_leaves_and_the_owner_cannot(mimc: Emulator) -> None:
    path = f"/api/topic/{APP_ID}/{group(mimc, 'alice', 'bob')}"
    assert data(mimc.api("DELETE", f"{path}/account", **token_of(mimc, "bob"))) is None
    assert code(mimc.api("DELETE", f"{path}/account", **token_of(mimc, "bob"))) == 403
    refused = mimc.api("DELETE", f"{path}/account", **token_of(mimc, "alice"))
    assert refused.content == b'{"code":500,"message":"quit topic fail","data":null}'
    assert [member["account"] for member in data(mimc.api("GET", path, **token_of(mimc, "alice")))["members"]] == [
        "alice"
    ]


def test_the_owner_removes_members(mimc: Emulator) -> None:
    path = f"/api/topic/{APP_ID}/{group(mimc, 'alice', 'bob', 'carol', '李雷')}/accounts"
    assert code(mimc.api("DELETE", f"{path}?accounts=carol", **token_of(mimc, "bob"))) == 403
    assert code(mimc.api("DELETE", path, **token_of(mimc, "alice"))) == 400
    assert code(mimc.api("DELETE", f"{path}?accounts=bob,alice", **token_of(mimc, "alice"))) == 400
    left = data(mimc.api("DELETE", f"{path}?accounts=bob,李雷,stranger", **token_of(mimc, "alice")))
    assert [member["account"] for member in left["members"]] == ["alice", "carol"]


def test_the_owner_changes_a_group_in_the_members_of_both_editions(mimc: Emulator) -> None:
    topic_id = group(mimc, "alice", "bob")
    path = f"/api/topic/{APP_ID}/{topic_id}"
    changed = data(
        mimc.api("PUT", path, {"topicName": "new", "bulletin": "read", "extra": "x"}, **token_of(mimc, "alice"))
    )
    assert changed["topicInfo"] | {"ownerUuid": ""} == {
        "topicId": topic_id, "ownerUuid": "", "ownerAccount": "alice", "topicName": "new", "bulletin": "read",
        "extra": "x",
    }  # fmt: skip
    bob = mimc.token(appAccount="bob").json()["data"]["miUserId"]
    older = {"topicId": topic_id, "ownerUuid": bob, "topicName": "old", "bulletin": ""}
    assert data(mimc.api("PUT", path, older, **token_of(mimc, "alice")))["topicInfo"]["ownerAccount"] == "bob"
    assert code(mimc.api("PUT", path, {"ownerAccount": "alice"}, **token_of(mimc, "alice"))) == 403
    for wrong in ({"ownerAccount": "stranger"}, {"ownerUuid": "1"}, {"topicName": ""}, {"bulletin": 1}, {}):
        assert code(mimc.api("PUT", path, wrong, **token_of(mimc, "bob"))) == 400
    given = data(mimc.api("PUT", path, {"ownerAccount": "alice"}, **token_of(mimc, "bob")))
    assert given["topicInfo"]["ownerAccount"] == "alice"


def test_the_owner_destroys_a_group(mimc: Emulator) -> None:
    path = f"/api/topic/{APP_ID}/{group(mimc, 'alice', 'bob')}"
    assert code(mimc.api("DELETE", path, **token_of(mimc, "bob"))) == 403
    destroyed = mimc.api("DELETE", path, **token_of(mimc, "alice"))
    assert destroyed.content.decode() == '{"code":200,"message":"success！","data":null}'
    assert code(mimc.api("GET", path, **token_of(mimc, "alice"))) == 404


# --- history


def ask(mimc: Emulator, path: str, asker: str, /, **body: Any) -> requests.Response:
    return mimc.api("POST", f"/api/msg/{path}", body, **token_of(mimc, asker))


def test_both_sides_read_what_was_pushed_and_what_was_written(mimc: Emulator) -> None:
    pair = {"fromAccount": "h-alice", "toAccount": "h-bob"}
    start = int(time.time() * 1000)
    first = mimc.write(from_account="h-alice", to_account="h-bob", text="hi", inner="plain")
    data(mimc.api("POST", "/api/push/p2p/", PUSH | {"fromAccount": "h-bob", "toAccount": "h-alice", "bizType": "B"}))
    window = {"utcFromTime": str(start), "utcToTime": start + 60_000}
    for path in ("query/", "queryOnTime/", "queryOnTime"):
        for account in ("h-alice", "h-bob"):
            found = data(ask(mimc, f"p2p/{path}", account, appId=APP_ID, **pair, **window))
            assert (found["appId"], found["row"], len(found["messages"])) == (APP_ID, 2, 2)
    one, two = found["messages"]
    assert one == {
        "sequence": first["sequence"], "payload": _base64("hi"), "ts": one["ts"], "fromAccount": "h-alice",
        "toAccount": "h-bob",
    }  # fmt: skip
    assert (two["fromAccount"], two["payload"], two["bizType"]) == ("h-bob", _base64("hello"), "B")
    filtered = data(ask(mimc, "p2p/query/", "h-bob", **pair, **window, bizType="B"))
    assert filtered["messages"] == [two]


def test_a_window_of_time_holds_its_start_and_not_its_end_and_is_a_day_at_most(mimc: Emulator) -> None:
    pair = {"fromAccount": "t-alice", "toAccount": "t-bob"}
    for at in (1000, 2000, 3000):
        mimc.write(from_account="t-alice", to_account="t-bob", text=str(at), inner="plain", timestamp=at)
    found = data(ask(mimc, "p2p/queryOnTime/", "t-bob", **pair, utcFromTime=1000, utcToTime=3000))
    assert [message["ts"] for message in found["messages"]] == [1000, 2000]
    assert found["row"] == 2
    data(ask(mimc, "p2p/queryOnTime/", "t-bob", **pair, utcFromTime=1, utcToTime=DAY_MS + 1))
    for start, end in ((0, DAY_MS + 1), (2, 1), ("one", 2), (None, 2), (1.5, 2), (True, 2)):
        assert code(ask(mimc, "p2p/queryOnTime/", "t-bob", **pair, utcFromTime=start, utcToTime=end)) == 400


def test_a_count_goes_backwards_from_a_time(mimc: Emulator) -> None:
    pair = {"fromAccount": "c-bob", "toAccount": "c-alice"}
    for at in (1000, 2000, 3000, 4000):
        mimc.write(from_account="c-alice", to_account="c-bob", text=str(at), inner="plain", timestamp=at)
    found = data(ask(mimc, "p2p/queryOnCount/", "c-bob", **pair, utcToTime=4000, count="2"))
    assert [message["ts"] for message in found["messages"]] == [2000, 3000]
    assert (found["row"], found["timestamp"]) == (2, 2000)
    nothing = data(ask(mimc, "p2p/queryOnCount/", "c-bob", **pair, utcToTime="1000", count=20))
    assert nothing == {"appId": APP_ID, "messages": [], "row": 0}
    for count in (0, -1, "many", 1001):
        assert code(ask(mimc, "p2p/queryOnCount/", "c-bob", **pair, utcToTime=4000, count=count)) == 400


def test_sequences_are_asked_for_up_to_one_and_for_a_week(mimc: Emulator) -> None:
    pair = {"fromAccount": "s-alice", "toAccount": "s-bob"}
    order = {"from_account": "s-alice", "to_account": "s-bob", "text": "x", "inner": "plain"}
    numbers = [int(mimc.write(**order)["sequence"]) for _ in range(3)]
    old = int(mimc.write(**order, timestamp=int(time.time() * 1000) - 8 * DAY_MS)["sequence"])
    asked = {"startSeq": str(numbers[1]), "stopSeq": old + 1}
    found = data(ask(mimc, "p2p/queryOnSequence/", "s-alice", **pair, **asked))
    assert [int(message["sequence"]) for message in found["messages"]] == numbers[1:]
    found = data(ask(mimc, "p2p/queryOnSequence/", "s-alice", **pair, startSeq=numbers[0], stopSeq=numbers[1]))
    assert [int(message["sequence"]) for message in found["messages"]] == numbers[:1]


def test_a_groups_history_is_for_its_members(mimc: Emulator) -> None:
    topic_id = group(mimc, "g-alice", "g-bob")
    data(mimc.api("POST", "/api/push/p2t/", PUSH | {"topicId": topic_id}))
    now = int(time.time() * 1000)
    body: dict[str, Any] = {"account": "g-bob", "topicId": int(topic_id)}
    window = {"utcFromTime": now - 60_000, "utcToTime": now + 60_000}
    ways: dict[str, dict[str, Any]] = {
        "query/": window,
        "queryOnTime/": window,
        "queryOnCount/": {"utcToTime": now + 60_000, "count": 20},
        "queryOnSequence/": {"startSeq": 0, "stopSeq": "999999999999999999"},
    }
    for path, more in ways.items():
        found = data(ask(mimc, f"p2t/{path}", "g-bob", **body, **more))
        assert (found["topicId"], found["row"]) == (topic_id, 1)
        assert "toAccount" not in found["messages"][0]
        # a remark in MIMC's documents: asked by sequence, fromAccount holds the topicId
        assert found["messages"][0]["fromAccount"] == (topic_id if path == "queryOnSequence/" else "system")
    mallory = body | window | {"account": "mallory"}
    assert code(ask(mimc, "p2t/query/", "mallory", **mallory)) == 403
    assert code(ask(mimc, "p2t/query/", "mallory", **body, **window)) == 403


def test_a_conversation_is_read_by_its_two_sides_alone(mimc: Emulator) -> None:
    pair = {"fromAccount": "t-alice", "toAccount": "t-bob", "utcFromTime": 1000, "utcToTime": 3000}
    assert code(ask(mimc, "p2p/query/", "mallory", **pair)) == 403


def test_a_server_may_ask_for_the_account_that_the_body_names(mimc: Emulator) -> None:
    mimc.write(from_account="a-alice", to_account="a-bob", text="x", inner="plain", timestamp=1000)
    app = {"appKey": APP_KEY, "appSecret": APP_SECRET}
    body = {"appId": APP_ID, "fromAccount": "a-alice", "toAccount": "a-bob", "utcFromTime": 1000, "utcToTime": 2000}
    assert data(mimc.api("POST", "/api/msg/p2p/query/", body, **app))["row"] == 1
    del body["appId"]
    assert data(mimc.api("POST", "/api/msg/p2p/query/", body, **app, appId=APP_ID))["row"] == 1
    assert code(mimc.api("POST", "/api/msg/p2p/query/", body, **app)) == 401


def test_a_push_that_is_not_stored_is_in_no_history(mimc: Emulator) -> None:
    data(mimc.api("POST", "/api/push/p2p/", PUSH | {"toAccount": "n-bob", "isStore": False}))
    data(mimc.api("POST", "/api/push/p2p/", PUSH | {"toAccount": "n-bob", "isStore": True, "msg": "kept"}))
    body = {"fromAccount": "system", "toAccount": "n-bob", "utcToTime": 10**15, "count": 9}
    found = data(ask(mimc, "p2p/queryOnCount/", "n-bob", **body))
    assert [message["payload"] for message in found["messages"]] == [_base64("kept")]


def test_a_message_gets_an_extra_that_history_shows_and_filters_by(mimc: Emulator) -> None:
    pair = {"fromAccount": "e-alice", "toAccount": "e-bob"}
    sequence = mimc.write(from_account="e-alice", to_account="e-bob", text="x", inner="plain")["sequence"]
    mimc.write(from_account="e-alice", to_account="e-bob", text="y", inner="plain")
    assert data(ask(mimc, "p2p/extra/update", "e-bob", **pair, sequence=sequence, extra="seen")) is None
    assert code(ask(mimc, "p2p/extra/update", "e-bob", **pair, sequence=1, extra="seen")) == 404
    found = data(ask(mimc, "p2p/queryOnCount/", "e-bob", **pair, utcToTime=10**15, count=9, extra="seen"))
    assert [(message["sequence"], message["extra"]) for message in found["messages"]] == [(sequence, "seen")]
    topic_id = group(mimc, "e-alice", "e-bob")
    data(mimc.api("POST", "/api/push/p2t/", PUSH | {"topicId": topic_id}))
    here = {"account": "e-bob", "topicId": topic_id}
    (message,) = data(ask(mimc, "p2t/queryOnCount/", "e-bob", **here, utcToTime=10**15, count=9))["messages"]
    assert data(ask(mimc, "p2t/extra/update", "e-bob", **here, sequence=message["sequence"], extra="read")) is None


# --- unlimited groups


def test_an_unlimited_group_is_created_listed_and_dismissed_by_its_id_in_a_header(mimc: Emulator) -> None:
    owner = token_of(mimc, "u-alice")
    made = data(mimc.api("POST", "/api/uctopic", {"topicName": "all of us", "extra": "x"}, **owner))
    topic_id = made["topicId"]
    assert data(mimc.api("GET", "/api/uctopic/topics", **owner)) == [topic_id]
    assert code(mimc.api("DELETE", "/api/uctopic", **token_of(mimc, "mallory"), topicId=topic_id)) == 403
    assert code(mimc.api("DELETE", "/api/uctopic", **owner)) == 400
    gone = mimc.api("DELETE", "/api/uctopic", **owner, topicId=topic_id)
    assert gone.content == b'{"code":200,"message":"success","data":null}'
    assert code(mimc.api("DELETE", "/api/uctopic", **owner, topicId=topic_id)) == 404
    assert code(mimc.api("POST", "/api/uctopic", {"topicName": "all", "extra": "x" * 10_241}, **owner)) == 400


def test_a_server_names_the_app_of_an_unlimited_group_in_a_header(mimc: Emulator) -> None:
    app = {"appId": APP_ID, "appKey": APP_KEY, "appSecret": APP_SECRET, "appAccount": "u-server"}
    topic_id = data(mimc.api("POST", "/api/uctopic", {"topicName": "all"}, **app))["topicId"]
    assert data(mimc.api("GET", "/api/uctopic/topics", **app)) == [topic_id]


def test_the_members_of_an_unlimited_group_come_page_by_page_and_the_online_ones_are_counted(mimc: Emulator) -> None:
    alice = token_of(mimc, "u-alice")
    topic = {"topicId": data(mimc.api("POST", "/api/uctopic", {"topicName": "many"}, **alice))["topicId"]}
    others = [f"member-{number}" for number in range(100)]
    joined = mimc.control("PUT", f"uctopics/{topic['topicId']}", {"app_id": APP_ID, "accounts": others})
    assert joined == {"members": 101}
    mimc.control("PUT", "online", {"app_id": APP_ID, "accounts": ["u-alice", "member-7", "stranger"]})
    first = data(mimc.api("GET", "/api/uctopic/userlist", **alice, **topic))
    assert set(first["members"][0]) == {"appId", "appAccout", "uuid"}  # MIMC's own spelling
    rest = data(mimc.api("GET", "/api/uctopic/userlist", **alice, **topic, startUuid=first["members"][-1]["uuid"]))
    assert (first["isEnd"], rest["isEnd"]) == (False, True)
    assert {member["appAccout"] for member in first["members"] + rest["members"]} == {"u-alice", *others}
    online = data(mimc.api("GET", "/api/uctopic/onlineinfo", **alice, **topic))
    assert online == {"topicId": topic["topicId"], "userCnt": 2}


def test_an_unlimited_group_has_a_history_for_its_members(mimc: Emulator) -> None:
    topic_id = data(mimc.api("POST", "/api/uctopic", {"topicName": "all"}, **token_of(mimc, "u-alice")))["topicId"]
    order = {"from_account": "u-bob", "members": ["u-alice"], "topic_id": topic_id, "text": "hi", "inner": "plain"}
    mimc.write(**order, timestamp=1000)
    window = {"utcFromTime": 0, "utcToTime": 2000}
    here = {"account": "u-alice", "topicId": topic_id}
    for path, more in (
        ("query/", window),
        ("queryOnTime/", window),
        ("queryOnCount/", {"utcToTime": 2000, "count": 9}),
    ):
        (message,) = data(ask(mimc, f"p2u/{path}", "u-alice", **here, **more))["messages"]
        assert (message["fromAccount"], message["payload"]) == ("u-bob", _base64("hi"))
    assert code(ask(mimc, "p2u/query/", "mallory", account="mallory", topicId=topic_id, **window)) == 403


# --- contacts, blacklist, presence


def test_an_accounts_contacts_are_those_it_wrote_with_newest_first(mimc: Emulator) -> None:
    topic_id = group(mimc, "k-alice", "k-bob")
    mimc.write(from_account="k-carol", to_account="k-alice", text="an hour ago", inner="plain")
    data(mimc.api("POST", "/api/push/p2t/", PUSH | {"topicId": topic_id}))
    month_ago = int(time.time() * 1000) - 31 * DAY_MS
    mimc.write(from_account="k-old", to_account="k-alice", text="x", inner="plain", timestamp=month_ago)
    last = mimc.write(from_account="k-alice", to_account="k-bob", text="hi", inner="plain")
    alice = mimc.token(appAccount="k-alice").json()["data"]
    uuid_of = {name: mimc.token(appAccount=name).json()["data"]["miUserId"] for name in ("k-alice", "k-bob")}
    first, *others = data(mimc.api("GET", "/api/contact/", token=alice["token"]))
    written = {"fromUuid": uuid_of["k-alice"], "fromAccount": "k-alice", "payload": _base64("hi")}
    message = written | {"sequence": last["sequence"]}
    assert first == {
        "userType": "USER", "id": uuid_of["k-bob"], "name": "k-bob", "timestamp": first["timestamp"],
        "lastMessage": message,
    }  # fmt: skip
    assert first["timestamp"].isdigit()
    named = [(contact["userType"], contact["id"], contact["name"]) for contact in others]
    assert named == [("TOPIC", topic_id, "a group"), ("USER", others[1]["id"], "k-carol")]


def test_a_contact_has_an_extra_and_so_may_its_last_message(mimc: Emulator) -> None:
    alice, topic_id = token_of(mimc, "x-alice"), group(mimc, "x-alice")
    sequence = mimc.write(from_account="x-bob", to_account="x-alice", text="hi", inner="plain")["sequence"]
    data(mimc.api("POST", "/api/push/p2t/", PUSH | {"topicId": topic_id}))
    assert data(mimc.api("POST", "/api/contact/p2p/extra/update", {"account": "x-bob", "extra": "a"}, **alice)) is None
    data(mimc.api("POST", "/api/contact/p2t/extra/update", {"topicId": topic_id, "extra": "b"}, **alice))
    assert code(mimc.api("POST", "/api/contact/p2p/extra/update", {"account": "nobody", "extra": "a"}, **alice)) == 404
    data(
        ask(
            mimc, "p2p/extra/update", "x-bob", fromAccount="x-bob", toAccount="x-alice", sequence=sequence, extra="read"
        )
    )
    for path, extra in (("", None), ("v2/", None), ("v2/?msgExtraFlag=true", "read")):
        in_group, with_bob = data(mimc.api("GET", f"/api/contact/{path}", **alice))
        assert (in_group["extra"], with_bob["extra"], with_bob["lastMessage"].get("extra")) == ("b", "a", extra)


def test_a_removed_contact_comes_back_with_its_next_message(mimc: Emulator) -> None:
    alice, topic_id = token_of(mimc, "r-alice"), group(mimc, "r-alice")
    order = {"from_account": "r-bob", "to_account": "r-alice", "text": "hi", "inner": "plain"}
    mimc.write(**order)
    data(mimc.api("POST", "/api/push/p2t/", PUSH | {"topicId": topic_id}))
    left = data(mimc.api("DELETE", "/api/contact/p2p/session?member=r-bob", **alice))
    assert [contact["userType"] for contact in left] == ["TOPIC"]
    assert data(mimc.api("DELETE", f"/api/contact/p2t/session?topicId={topic_id}", **alice)) == []
    mimc.write(**order)
    assert [contact["name"] for contact in data(mimc.api("GET", "/api/contact/", **alice))] == ["r-bob"]


def test_a_blocked_accounts_messages_are_not_delivered(mimc: Emulator, listener: Listener) -> None:
    alice, ask_for_bob = token_of(mimc, "b-alice"), "/api/blacklist/?blackAccount=b-bob"
    assert data(mimc.api("GET", ask_for_bob, **alice)) == {"isBlack": False}
    assert data(mimc.api("POST", "/api/blacklist/", {"blackAccount": "b-bob"}, **alice)) is None
    app = {"appId": APP_ID, "appKey": APP_KEY, "appSecret": APP_SECRET, "appAccount": "b-alice"}
    assert data(mimc.api("GET", ask_for_bob, **app)) == {"isBlack": True}
    order = {"text": "hi", "inner": "plain"}
    mimc.write(from_account="b-bob", to_account="b-alice", **order)
    data(mimc.api("POST", "/api/push/p2p/", PUSH | {"fromAccount": "b-bob", "toAccount": "b-alice"}))
    settled(mimc)
    assert listener.bodies == []
    mimc.write(from_account="b-alice", to_account="b-bob", **order)  # the other direction is open
    assert {body["fromAccount"] for _, body in listener.bodies} == {"b-alice"}
    assert data(mimc.api("DELETE", ask_for_bob, **alice)) is None
    mimc.write(from_account="b-bob", to_account="b-alice", **order)
    pair = {"fromAccount": "b-alice", "toAccount": "b-bob", "utcToTime": 10**15, "count": 9}
    assert data(ask(mimc, "p2p/queryOnCount/", "b-alice", **pair))["row"] == 2


def test_the_status_of_accounts_is_where_they_are_signed_in(mimc: Emulator) -> None:
    mimc.control("PUT", "online", {"app_id": APP_ID, "accounts": {"alice": ["web", ""], "bob": ["mi5"]}})
    assert mimc.control("GET", "online") == {APP_ID: {"alice": ["web", ""], "bob": ["mi5"]}}
    body = {"appId": APP_ID, "accounts": "alice,carol"}
    expected = [{"account": "alice", "onlineResources": ["web", ""]}, {"account": "carol", "onlineResources": []}]
    assert data(mimc.api("POST", "/api/account/status", body, **token_of(mimc, "bob"))) == expected
    app = {"appKey": APP_KEY, "appSecret": APP_SECRET, "appAccount": "bob"}
    assert data(mimc.api("POST", "/api/account/status", body, **app)) == expected


@pytest.mark.parametrize(
    "given",
    [[], {"accounts": []}, {"app_id": APP_ID, "accounts": [1]}, {"app_id": APP_ID, "accounts": {"a": "web"}},
     {"app_id": APP_ID, "acounts": []}, {"app_id": "9", "accounts": []}],
)  # fmt: skip
def test_a_sign_in_that_makes_no_sense_is_refused(mimc: Emulator, given: object) -> None:
    assert mimc.session.put(f"{mimc.url}/_emulator/online", json=given, timeout=60).status_code == 400
    assert mimc.session.put(f"{mimc.url}/_emulator/uctopics/1", json=given, timeout=60).status_code in {400, 404}


# --- about, and what one old source alone knows


UNDOCUMENTED: list[tuple[str, str, dict[str, Any] | None]] = [
    ("POST", "/api/push/ucs/singleMsgPush/", APP | {"fromAccount": "a", "topicId": 1, "message": "hi"}),
    ("POST", "/api/push/ucs/multiMsgPush/", APP | {"fromAccount": "a", "topicId": 1, "messages": ["hi", "ho"]}),
    ("POST", "/api/push/ucs/multiTopicPush/", APP | {"fromAccount": "a", "topicIds": [1, 2], "message": "hi"}),
    ("GET", "/api/uctopic/topic", None),
    ("POST", "/api/uctopic/update", {"topicId": "1", "topicName": "a"}),
    ("POST", "/api/msg/p2p/queryOnCount/v2/", {"fromAccount": "a", "getAllExtra": True}),
    ("POST", "/api/msg/p2t/queryOnCount/v2/", {"account": "a", "getAllExtra": True}),
    ("POST", "/api/msg/p2p/extra/multiupdate/", {"sequenceExtraMap": {"1": "a"}}),
    ("POST", "/api/msg/p2t/extra/multiupdate/", {"sequenceExtraMap": {"1": "a"}}),
    ("POST", "/api/msg/p2p/extra/update/v2/", {"extraKey": "a", "extraValue": "b"}),
    ("POST", "/api/msg/p2t/extra/update/v2/", {"extraKey": "a", "extraValue": "b"}),
    ("POST", "/api/msg/p2p/extra/batchupdate/", {"extraKeyMap": {"a": "b"}}),
    ("POST", "/api/msg/p2t/extra/batchupdate/", {"extraKeyMap": {"a": "b"}}),
    ("POST", "/api/topicblacklist/", {"blackAccount": "a", "blackTopicId": "1"}),
    ("GET", "/api/topicblacklist/1/blackAccount?blackAccount=a", None),
    ("DELETE", "/api/topicblacklist/1/blackAccount?blackAccount=a", None),
]


def test_calls_that_one_old_source_alone_knows_are_none_unless_the_settings_say_so(mimc: Emulator) -> None:
    alice = token_of(mimc, "alice")
    for method, path, body in UNDOCUMENTED:
        assert mimc.api(method, path, body, **alice).json()["code"] in {404, 405}, path


def test_undocumented_calls_are_echoed_without_secrets_and_refused_with_http_statuses(
    listening: Listener, tmp_path: Path
) -> None:
    head = "undocumented = true\nrefuse_with_http_status = true\nuctopic_per_second = 5\nstored_by_default = false"
    with running(tmp_path, settings(listening, head)) as (mimc, _):
        alice = token_of(mimc, "alice")
        for method, path, body in UNDOCUMENTED:
            echo = data(mimc.api(method, path, body, **alice))
            assert not echo.keys() & {"appKey", "appSecret"}
            assert echo.items() >= {
                (name, value) for name, value in (body or {}).items() if isinstance(value, str | int)
            } - set(APP.items())
        many = APP | {"fromAccount": "a", "topicIds": list(range(6)), "message": "hi"}
        limited = mimc.api("POST", "/api/push/ucs/multiTopicPush/", many)
        assert (limited.status_code, limited.json()["code"]) == (429, 429)
        assert mimc.api("GET", f"/api/topic/{APP_ID}/account", token="made up").status_code == 401
        about = mimc.control("GET", "about")
        assert {(call["method"], call["documented"]) for call in about["calls"] if "/ucs/" in call["path"]} == {
            ("POST", False)
        }
        data(mimc.api("POST", "/api/push/p2p/", PUSH | {"toAccount": "alice"}))
        both = {"fromAccount": "system", "toAccount": "alice", "utcToTime": 10**15, "count": 1}
        assert data(ask(mimc, "p2p/queryOnCount/", "alice", **both))["row"] == 0


DOCUMENTED = {
    "body": """
        POST /api/push/p2p/
        POST /api/push/p2p/more
        POST /api/push/p2t/
        POST /api/push/p2t/more
    """,
    "headers": """
        POST /api/topic/{appId}
        GET /api/topic/{appId}/{topicId}
        GET /api/topic/{appId}/account
        POST /api/topic/{appId}/{topicId}/accounts
        DELETE /api/topic/{appId}/{topicId}/account
        DELETE /api/topic/{appId}/{topicId}/accounts
        PUT /api/topic/{appId}/{topicId}
        DELETE /api/topic/{appId}/{topicId}
        POST /api/uctopic
        DELETE /api/uctopic
        GET /api/uctopic/topics
        GET /api/uctopic/userlist
        GET /api/uctopic/onlineinfo
        POST /api/msg/p2p/query/
        POST /api/msg/p2p/queryOnTime/
        POST /api/msg/p2p/queryOnCount/
        POST /api/msg/p2p/queryOnSequence/
        POST /api/msg/p2p/extra/update
        POST /api/msg/p2t/query/
        POST /api/msg/p2t/queryOnTime/
        POST /api/msg/p2t/queryOnCount/
        POST /api/msg/p2t/queryOnSequence/
        POST /api/msg/p2t/extra/update
        POST /api/msg/p2u/query/
        POST /api/msg/p2u/queryOnTime/
        POST /api/msg/p2u/queryOnCount/
        GET /api/contact/
        GET /api/contact/v2/
        DELETE /api/contact/p2p/session
        DELETE /api/contact/p2t/session
        POST /api/contact/p2p/extra/update
        POST /api/contact/p2t/extra/update
        POST /api/blacklist/
        DELETE /api/blacklist/
        GET /api/blacklist/
        POST /api/account/status
    """,
}


def test_every_call_is_refused_without_credentials_with_and_without_a_slash(mimc: Emulator) -> None:
    calls = mimc.control("GET", "about")["calls"]
    rows = {style: {f"{call['method']} {call['path']}" for call in calls if call["credentials"] == style}
            for style in DOCUMENTED}  # fmt: skip
    assert rows == {style: {row.strip() for row in text.strip().splitlines()} for style, text in DOCUMENTED.items()}
    body = {"appId": APP_ID, "appKey": "x", "appSecret": "x", "fromAccount": "alice", "toAccount": "bob"}
    for call in calls:
        path = call["path"].replace("{appId}", APP_ID).replace("{topicId}", "1").rstrip("/")
        for asked in (path, path + "/"):
            assert code(mimc.api(call["method"], asked, body)) == 401, call


def test_it_tells_which_calls_it_answers_and_what_of_it_is_its_own_invention(mimc: Emulator) -> None:
    about = mimc.control("GET", "about")
    assert {"method": "POST", "path": "/api/push/p2p/", "credentials": "body", "documented": True} in about["calls"]
    assert all(call["documented"] for call in about["calls"])
    assert any("quit topic fail" in invention for invention in about["own_inventions"])
    assert about["pushes_per_second"] == {"p2p": 50, "topic": 20, "uctopic": 1000}


# --- limits, with a clock of the test's own


def test_a_quota_is_of_any_one_second_and_of_one_app() -> None:
    quota = Quota(3)
    quota.take("one", 2, now=10.0)
    quota.take("one", 1, now=10.5)
    quota.take("other", 3, now=10.5)
    with pytest.raises(Refused, match="429"):
        quota.take("one", 1, now=10.9)
    quota.take("one", 2, now=11.0)
    Quota(0).take("one", 1_000_000, now=10.0)


def test_the_oldest_messages_and_tokens_are_forgotten() -> None:
    history = History(2)
    for number in (1, 2, 3):
        order = {"app_id": "1", "from_account": "a", "to_account": "b", "text": "x", "sequence": number}
        history.keep([read_order(order, None, Numbers("0", "p", "0", 1000))], after=lambda: None)
    assert [message.sequence for message in history.read(between("1", "b", "a"), lambda _: True)] == [2, 3]
    tokens = Tokens(2)
    first, second, third = (tokens.issue("1", account) for account in "abc")
    assert [tokens.owner(token) for token in (first, second, third)] == [None, ("1", "b"), ("1", "c")]


def test_a_message_that_only_reports_an_earlier_one_again_is_kept_once() -> None:
    history = History(10)
    order = {"app_id": "1", "from_account": "a", "to_account": "b", "text": "x", "sequence": 7}
    for more in ({}, {}, {"instant": False, "sequence": 8}, {"sequence": "no number"}, {"timestamp": "noon"}):
        history.keep([read_order(order | more, None, Numbers("0", "p", "0", 1000))], after=lambda: None)
    assert [message.sequence for message in history.read(between("1", "a", "b"), lambda _: True)] == [7]


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
