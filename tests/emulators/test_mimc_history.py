"""What the emulated MIMC keeps: history, unlimited groups, contacts, blocks, who is online; and how much of it."""

import time
from typing import Any

import pytest

from proxy.emulators.mimc.credentials import Tokens
from proxy.emulators.mimc.history import History, between
from proxy.emulators.mimc.orders import Numbers, read_order
from proxy.emulators.mimc.quotas import Quota
from proxy.emulators.mimc.refusals import Refused
from tests.emulators.mimc_peer import (
    APP_ID,
    APP_KEY,
    APP_SECRET,
    PUSH,
    Emulator,
    Listener,
    ask,
    code,
    data,
    group,
    in_base64,
    settled,
    token_of,
)

DAY_MS = 86_400_000


# --- history


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
        "sequence": first["sequence"], "payload": in_base64("hi"), "ts": one["ts"], "fromAccount": "h-alice",
        "toAccount": "h-bob",
    }  # fmt: skip
    assert (two["fromAccount"], two["payload"], two["bizType"]) == ("h-bob", in_base64("hello"), "B")
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
    assert [message["payload"] for message in found["messages"]] == [in_base64("kept")]


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
        assert (message["fromAccount"], message["payload"]) == ("u-bob", in_base64("hi"))
    assert data(mimc.api("GET", "/api/contact/", **token_of(mimc, "u-bob"))) == []
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
    written = {"fromUuid": uuid_of["k-alice"], "fromAccount": "k-alice", "payload": in_base64("hi")}
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
