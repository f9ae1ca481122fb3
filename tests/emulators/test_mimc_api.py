"""The emulated MIMC's API, talked to over sockets: push and groups, and the three ways to prove who calls.

Each row of the tables of calls in MIMC's documents has its test, here or in test_mimc_history.py.
"""

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from tests.emulators.mimc_peer import (
    APP,
    APP_ID,
    APP_KEY,
    APP_SECRET,
    OTHER_APP_ID,
    OTHER_SECRET,
    PUSH,
    Emulator,
    Listener,
    ask,
    code,
    data,
    group,
    in_base64,
    serving,
    settings,
    settled,
    token_of,
)

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


def test_a_message_may_come_asin_base64(mimc: Emulator, listener: Listener) -> None:
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
    for account in ({"appAccount": "alice"}, {"appAccount": in_base64("李雷"), "appAccountEncode": "base64"}):
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


def test_the_journal_tells_of_a_call_that_there_is_not(mimc: Emulator) -> None:
    mimc.api("PUT", "/api/push/p2p/", PUSH)
    assert mimc.journal()[-1].items() >= {"kind": "api", "method": "PUT", "path": "/api/push/p2p/", "code": 405}.items()


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


def test_of_many_invitations_at_once_no_more_succeed_than_there_is_room(mimc: Emulator) -> None:
    path = f"/api/topic/{APP_ID}/{group(mimc, 'alice', 'bob')}"
    bob = token_of(mimc, "bob")

    def invite(account: str) -> int:
        with requests.Session() as own:
            own.trust_env = False
            reply = own.post(f"{mimc.url}{path}/accounts", json={"accounts": account}, headers=bob, timeout=60)
        return int(reply.json()["code"])

    with ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(invite, "cdefghij"))
    assert (codes.count(200), codes.count(400)) == (4, 4)
    assert len(data(mimc.api("GET", path, **bob))["members"]) == 6


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


def test_undocumented_calls_are_echoed_without_secrets_and_refused_with_http_statuses(listening: Listener) -> None:
    head = "undocumented = true\nrefuse_with_http_status = true\nuctopic_per_second = 5\nstored_by_default = false"
    with serving(settings(listening, head)) as mimc:
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
