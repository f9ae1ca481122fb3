"""The emulated MIMC's API, talked to over sockets: push, groups and history, and the three ways to prove who calls.

Each row of the tables of calls in MIMC's documents has its test.
"""

import base64
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

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


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
