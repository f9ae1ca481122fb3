"""The emulated MIMC, talked to over sockets: what it answers, what it refuses, what it posts and how it can fail."""

import base64
import http.client
import json
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import requests

from proxy.emulators.mimc import MimcConfig
from proxy.emulators.mimc.accounts import authentication
from tests.emulators.config_faults import faults_of
from tests.emulators.mimc_peer import (
    APP_ID,
    APP_SECRET,
    ASKED,
    OTHER_APP_ID,
    OTHER_SECRET,
    Emulator,
    Listener,
    listening_for_callbacks,
    running,
    settings,
)


@pytest.fixture(scope="module")
def listening() -> Iterator[Listener]:
    with listening_for_callbacks() as listener:
        yield listener


@pytest.fixture(scope="module")
def started(listening: Listener, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    with running(tmp_path_factory.mktemp("mimc"), settings(listening)) as (emulator, _):
        yield emulator


@pytest.fixture
def listener(listening: Listener) -> Listener:
    listening.bodies.clear()
    listening.statuses.clear()
    return listening


@pytest.fixture
def mimc(started: Emulator) -> Emulator:
    started.control("DELETE", "faults")
    return started


# --- the token service


def test_a_token_reply_has_the_captured_shape_order_and_types(mimc: Emulator) -> None:
    reply = mimc.token()
    assert reply.status_code == 200
    assert reply.headers["Content-Type"].startswith("application/json")
    data = reply.json()["data"]
    assert reply.content == json.dumps(reply.json(), separators=(",", ":")).encode()
    assert list(reply.json()) == ["code", "message", "data"]
    assert {name: type(value) for name, value in data.items()} == {
        "appId": str, "appPackage": str, "appAccount": str, "miChid": int, "miUserId": str, "miUserSecurityKey": str,
        "token": str, "regionBucket": int, "feDomainName": str, "relayDomainName": str,
    }  # fmt: skip
    assert list(data)[:4] == ["appId", "appPackage", "appAccount", "miChid"]
    assert (data["appId"], data["appAccount"], data["miChid"]) == (APP_ID, "1000", 9)
    assert len(data["miUserId"]) == 17
    assert str(int(float(data["miUserId"]))) != data["miUserId"]
    assert len(data["token"]) > 400
    assert len(base64.b64decode(data["token"], validate=True)) == 322
    assert len(data["miUserSecurityKey"]) == 24


def test_an_account_keeps_its_user_id_and_gets_a_new_token_each_time(mimc: Emulator) -> None:
    first, again = (mimc.token(appId=APP_ID, regionKey="REGION_CN").json()["data"] for _ in range(2))
    other = mimc.token(appAccount="李雷").json()["data"]
    assert first["miUserId"] == again["miUserId"] != other["miUserId"]
    assert first["miUserSecurityKey"] == again["miUserSecurityKey"]
    assert first["token"] != again["token"]
    assert other["appAccount"] == "李雷"


def test_each_app_is_known_by_its_own_credentials(mimc: Emulator) -> None:
    data = mimc.token(appId=OTHER_APP_ID, appKey="5800000000002", appSecret=OTHER_SECRET).json()["data"]
    assert (data["appId"], data["appPackage"]) == (OTHER_APP_ID, "com.example.other")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"appSecret": OTHER_SECRET}, 401),
        ({"appKey": "5800000000002"}, 401),
        ({"appId": "2882303761517000009"}, 401),
        ({"appId": 2.5}, 400),
        ({"appId": True}, 400),
        ({"appId": "१२"}, 400),
        ({"appKey": 5800000000001}, 400),
        ({"appAccount": ""}, 400),
        ({"appAccount": 1000}, 400),
        ({"appAccount": "\ud800"}, 400),
        ({"regionKey": 1}, 400),
    ],
)
def test_a_wrong_request_is_refused_in_the_envelope(mimc: Emulator, changes: dict[str, Any], code: int) -> None:
    reply = mimc.token(**changes)
    assert (reply.status_code, reply.json()["code"], reply.json()["data"]) == (200, code, None)
    assert APP_SECRET not in reply.text


def test_a_page_whose_name_was_made_to_point_here_reads_no_journal(mimc: Emulator) -> None:
    url = f"{mimc.url}/_emulator/journal"
    assert mimc.session.get(url, headers={"Host": "rebound.example.com"}, timeout=60).status_code == 421


def test_only_json_is_read(mimc: Emulator) -> None:
    for content, kind in [(json.dumps(ASKED), "text/plain"), ("{", "application/json"), ("[]", "application/json")]:
        headers = {"Content-Type": kind}
        reply = mimc.session.post(f"{mimc.url}/api/account/token", data=content, headers=headers, timeout=60)
        assert reply.json()["code"] == 400
    assert mimc.session.get(f"{mimc.url}/api/account/token", timeout=60).json()["code"] == 405
    assert mimc.session.get(f"{mimc.url}/api/elsewhere", timeout=60).json()["code"] == 404


def test_the_journal_tells_who_asked_and_holds_no_secret(mimc: Emulator) -> None:
    before = len(mimc.journal())
    token = mimc.token(appAccount="journal").json()["data"]["token"]
    mimc.token(appAccount="journal", appSecret="wrong-secret")
    accepted, refused = mimc.journal()[before:]
    assert (accepted["account"], accepted["app_id"], accepted["outcome"]) == ("journal", APP_ID, "accepted")
    assert (refused["outcome"], refused["status"], refused["code"]) == ("refused", 200, 401)
    written = json.dumps(mimc.journal())
    assert not any(secret in written for secret in (token, APP_SECRET, "wrong-secret", "5800000000001", "url-secret"))


def test_connections_are_kept_and_told_apart(mimc: Emulator) -> None:
    before = len(mimc.journal())
    mimc.token()
    mimc.token()
    with requests.Session() as other:
        other.trust_env = False
        other.post(f"{mimc.url}/api/account/token", json=ASKED, timeout=60)
    first, second, third = (entry["connection"] for entry in mimc.journal()[before:])
    assert first == second != third


def test_a_body_in_chunks_is_read_and_a_broken_one_ends_the_connection(mimc: Emulator) -> None:
    client = http.client.HTTPConnection("127.0.0.1", mimc.port, timeout=60)
    body, headers = json.dumps(ASKED).encode(), {"Content-Type": "application/json"}
    for _ in range(2):
        client.request("POST", "/api/account/token", iter([body[:9], body[9:]]), headers, encode_chunked=True)
        assert b'"code":200' in client.getresponse().read()
    client.close()
    for rest in (b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n", b"Content-Length: -1\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", mimc.port)) as raw:
            raw.sendall(b"POST /api/account/token HTTP/1.1\r\nHost: localhost\r\n" + rest)
            assert raw.recv(100) == b""


# --- faults


GOLDEN = (
    '{ "code" : 200,"message":"success" ,\n\t"data":{"appId":"2882303761517000001","miUserId":"15788717000364153",'
    '"token":"ab\\/c+\\u00e9==","somethingNew":[1.0,1e5,null]}}\r\n'
)


def test_a_golden_body_comes_back_byte_for_byte(mimc: Emulator) -> None:
    content_type = "application/json; charset=UTF-8"
    mimc.fault(effect="raw", times=1, body=GOLDEN, status=203, content_type=content_type)
    reply = mimc.token()
    assert (reply.status_code, reply.content) == (203, GOLDEN.encode())
    assert reply.headers["Content-Type"] == content_type
    assert mimc.token().json()["code"] == 200


def test_a_refusal_can_be_ordered_for_one_account(mimc: Emulator) -> None:
    mimc.fault(effect="refuse", target="unlucky", status=503, code=500, reason="quit topic fail")
    assert mimc.token(appAccount="lucky").status_code == 200
    reply = mimc.token(appAccount="unlucky")
    assert reply.status_code == 503
    assert reply.content == b'{"code":500,"message":"quit topic fail","data":null}'


def test_a_reset_reaches_the_client_as_a_reset(mimc: Emulator) -> None:
    mimc.fault(effect="reset", times=1)
    with socket.create_connection(("127.0.0.1", mimc.port)) as client:
        client.sendall(_request_bytes())
        with pytest.raises(ConnectionResetError):
            client.recv(1000)


@pytest.mark.parametrize(
    ("effect", "failure"),
    [
        ("close", http.client.RemoteDisconnected),
        ("not_http", http.client.BadStatusLine),
        ("truncated", http.client.IncompleteRead),
        ("silence", TimeoutError),
    ],
)
def test_a_client_meets_the_ordered_failure(mimc: Emulator, effect: str, failure: type[Exception]) -> None:
    mimc.fault(effect=effect, times=1)
    client = http.client.HTTPConnection("127.0.0.1", mimc.port, timeout=0.2 if effect == "silence" else 60)
    with pytest.raises(failure):
        _ask(client)
    client.close()
    client.connect()
    assert b'"code":200' in _ask(client)
    client.close()


def test_a_delayed_answer_is_late_and_whole(mimc: Emulator) -> None:
    mimc.fault(effect="delay", times=1, delay_ms=120)
    reply = mimc.token()
    assert reply.elapsed.total_seconds() >= 0.12
    assert reply.json()["code"] == 200


def test_only_a_reused_connection_is_dropped(mimc: Emulator) -> None:
    mimc.fault(effect="close_kept")
    client = http.client.HTTPConnection("127.0.0.1", mimc.port, timeout=60)
    for _ in range(2):
        assert b'"code":200' in _ask(client)
        with pytest.raises(http.client.RemoteDisconnected):
            _ask(client)
        client.close()


def test_a_connection_can_be_closed_after_the_answer_without_a_word(mimc: Emulator) -> None:
    mimc.fault(effect="close_after", times=1)
    client = http.client.HTTPConnection("127.0.0.1", mimc.port, timeout=60)
    client.request("POST", "/api/account/token", json.dumps(ASKED), {"Content-Type": "application/json"})
    reply = client.getresponse()
    assert b'"code":200' in reply.read()
    assert reply.getheader("Connection") is None
    assert client.sock.recv(1) == b""
    client.close()


def _ask(client: http.client.HTTPConnection) -> bytes:
    client.request("POST", "/api/account/token", json.dumps(ASKED), {"Content-Type": "application/json"})
    return client.getresponse().read()


def _request_bytes() -> bytes:
    body = json.dumps(ASKED).encode()
    head = "POST /api/account/token HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    head += f"Content-Length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


# --- callbacks


def test_a_message_to_an_offline_account_makes_two_callbacks_with_the_same_ids(
    mimc: Emulator, listener: Listener
) -> None:
    ids = mimc.write(from_account="1000", to_account="2000", text="hello")
    normal, offline = listener.by_kind()["NORMAL_MSG"], listener.by_kind()["OFFLINE_MSG"]
    assert {path for path, _ in listener.bodies} == {"/one/url-secret"}
    assert listener.content_types == {"application/json;charset=UTF-8"}
    assert offline == normal | {"msgType": "OFFLINE_MSG"}
    assert normal.items() >= {
        "fromAppId": APP_ID, "fromAccount": "1000", "toAppId": APP_ID, "toAccount": "2000", "toResource": "",
        "sequence": ids["sequence"], "packetId": ids["packet_id"], "bizType": "",
    }.items()  # fmt: skip
    assert len(ids["sequence"]) == 18
    inner = json.loads(base64.b64decode(normal["payload"]))
    assert inner.items() >= {"version": 0, "type": "TEXT", "payload": "hello", "timestamp": normal["timestamp"]}.items()
    assert normal["authentication"] == authentication(APP_SECRET, normal["timestamp"], APP_ID)


def test_a_message_to_an_online_account_makes_one_callback(mimc: Emulator, listener: Listener) -> None:
    mimc.write(from_account="1000", to_account="2000", text="hello", offline=[])
    assert list(listener.by_kind()) == ["NORMAL_MSG"]


def test_the_old_form_has_the_members_of_2018_only(mimc: Emulator, listener: Listener) -> None:
    mimc.write(from_account="1000", to_account="2000", text="hello", form="old", ids="number", inner="plain")
    body = listener.by_kind()["OFFLINE_MSG"]
    assert set(body) == {"msgType", "fromAppId", "fromAccount", "toAppId", "toAccount", "payload", "timestamp"}
    assert (body["fromAppId"], body["toAppId"]) == (int(APP_ID), int(APP_ID))
    assert isinstance(body["timestamp"], int)
    assert base64.b64decode(body["payload"]) == b"hello"


def test_a_topic_message_lists_all_members_and_then_those_who_missed_it(mimc: Emulator, listener: Listener) -> None:
    ids = mimc.write(
        from_account="1000", members=["1000", "2000", "3000"], text="hello", offline={"2000": ["res-a", "res-b"]}
    )
    normal, offline = listener.by_kind()["NORMAL_TOPIC_MSG"], listener.by_kind()["OFFLINE_TOPIC_MSG"]
    assert normal["toAccounts"] == ["1000", "2000", "3000"]
    assert offline["toAccounts"] == ["2000"]
    assert offline["offlineAccounts"] == [{"toAccount": "2000", "offlineResources": ["res-a", "res-b"]}]
    assert normal["topicId"] == offline["topicId"] == ids["topic_id"]
    assert normal["sequence"] == offline["sequence"] == ids["sequence"]
    assert len(ids["topic_id"]) == 17
    assert offline["authentication"] == authentication(APP_SECRET, offline["timestamp"], APP_ID)


def test_the_old_topic_form_may_list_every_member_when_one_was_offline(mimc: Emulator, listener: Listener) -> None:
    order = {"members": ["1000", "2000", "3000"], "topic_id": 21351198708203520, "offline_to_accounts": "all"}
    mimc.write(from_account="1000", **order, text="x", offline=["3000"], form="old", ids="number")
    body = listener.by_kind()["OFFLINE_TOPIC_MSG"]
    assert set(body) == {"msgType", "appId", "topicId", "fromAccount", "toAccounts", "payload", "timestamp"}
    assert (body["topicId"], body["toAccounts"]) == (21351198708203520, ["1000", "2000", "3000"])


def test_by_default_all_but_the_sender_missed_the_message(mimc: Emulator, listener: Listener) -> None:
    mimc.write(from_account="1000", members=["1000", "2000", "3000"], text="hello")
    assert listener.by_kind()["OFFLINE_TOPIC_MSG"]["toAccounts"] == ["2000", "3000"]


def test_what_was_written_can_be_read_with_the_ids_that_apps_gave_it(mimc: Emulator, listener: Listener) -> None:
    ids = mimc.write(from_account="1000", to_account="2000", text="hello")
    mimc.write(from_account="1000", members=["1000", "2000"], topic_id="7", text="x", inner="plain")
    first, second = mimc.control("GET", "messages")["messages"][-2:]
    assert first == {
        "sequence": ids["sequence"], "packet_id": ids["packet_id"], "app_id": APP_ID, "from_account": "1000",
        "recipients": ["2000"], "message_id": f"TEXT_{ids['packet_id']}", "type": "TEXT", "text": "hello",
    }  # fmt: skip
    told = {"topic_id": "7", "recipients": ["1000", "2000"], "message_id": "", "type": "", "text": "x"}
    assert second.items() >= told.items()


def test_resources_that_missed_a_message_are_named(mimc: Emulator, listener: Listener) -> None:
    mimc.write(from_account="1000", to_account="2000", text="hello", offline={"2000": ["res-a"]})
    assert listener.by_kind()["OFFLINE_MSG"]["offlineResources"] == ["res-a"]
    assert "offlineResources" not in listener.by_kind()["NORMAL_MSG"]


def test_a_message_across_apps_goes_to_the_recipients_app(mimc: Emulator, listener: Listener) -> None:
    mimc.write(from_account="1", to_account="2", text="x", from_app_id=APP_ID, to_app_id=OTHER_APP_ID)
    assert {path: body["msgType"] for path, body in listener.bodies} == {
        "/two/instant": "NORMAL_MSG",
        "/two/offline": "OFFLINE_MSG",
    }
    body = listener.by_kind()["OFFLINE_MSG"]
    assert (body["fromAppId"], body["toAppId"]) == (APP_ID, OTHER_APP_ID)
    assert body["authentication"] == authentication(APP_SECRET, body["timestamp"], APP_ID)


def test_a_foreign_sender_signs_with_an_unknown_secret(mimc: Emulator, listener: Listener) -> None:
    mimc.write(from_account="1", to_account="2", text="x", from_app_id="77")
    body = listener.by_kind()["OFFLINE_MSG"]
    assert body["fromAppId"] == "77"
    assert body["authentication"] not in {
        authentication(secret, body["timestamp"], "77") for secret in (APP_SECRET, OTHER_SECRET)
    }


@pytest.mark.parametrize(("given", "sent"), [(False, None), ("forged", "forged")])
def test_authentication_can_be_left_out_or_forged(
    mimc: Emulator, listener: Listener, given: bool | str, sent: str | None
) -> None:
    mimc.write(from_account="1", to_account="2", text="x", authentication=given)
    assert listener.by_kind()["OFFLINE_MSG"].get("authentication") == sent


def test_ids_may_be_chosen_so_that_a_message_is_reported_again(mimc: Emulator, listener: Listener) -> None:
    chosen = {"sequence": 154503794553568001, "packet_id": "Zx-1", "timestamp": 1700000000123}
    mimc.write(from_account="1", to_account="2", text="x", offline=["2"], copies=2, **chosen)
    bodies = [body for _, body in listener.bodies if body["msgType"] == "OFFLINE_MSG"]
    assert len(bodies) == 2
    assert bodies[0] == bodies[1]
    assert (bodies[0]["sequence"], bodies[0]["packetId"]) == ("154503794553568001", "Zx-1")


def test_further_offline_recipients_can_be_reported_later(mimc: Emulator, listener: Listener) -> None:
    order = {"from_account": "1", "members": ["2", "3"], "topic_id": "21351198708203520", "text": "x"}
    ids = mimc.write(**order, offline=["2"])
    mimc.write(**order, offline=["3"], instant=False, sequence=ids["sequence"], packet_id=ids["packet_id"])
    observed = [(body["msgType"], body["toAccounts"]) for _, body in listener.bodies]
    assert sorted(observed) == [
        ("NORMAL_TOPIC_MSG", ["2", "3"]),
        ("OFFLINE_TOPIC_MSG", ["2"]),
        ("OFFLINE_TOPIC_MSG", ["3"]),
    ]
    assert {body["sequence"] for _, body in listener.bodies} == {ids["sequence"]}


def test_sequences_grow(mimc: Emulator, listener: Listener) -> None:
    orders = [{"app_id": APP_ID, "from_account": "1", "to_account": "2", "text": str(n)} for n in range(20)]
    answers = mimc.control("POST", "messages", orders)
    sequences = [int(answer["sequence"]) for answer in answers]
    assert sequences == sorted(set(sequences))
    assert mimc.control("GET", "callbacks/pending?wait_ms=50000") == {"pending": 0}
    assert len(listener.bodies) == 40


def _whole_is_base64(payload: bytes) -> str:
    return str(json.loads(base64.b64decode(payload))["payload"])


@pytest.mark.parametrize(
    ("inner", "read", "biz_type"),
    [
        ("type", lambda payload: json.loads(payload)["payload"], ""),
        ("msgType", lambda payload: json.loads(payload)["payload"], ""),
        ("bizType", lambda payload: base64.b64decode(json.loads(payload)["payload"]).decode(), "TEXT"),
        ("inner_bizType", lambda payload: json.loads(payload)["payload"], "TEXT"),
        ("biz_type", _whole_is_base64, ""),
        ("content", lambda payload: json.loads(payload)["content"], ""),
        ("percent", lambda payload: unquote(base64.b64decode(json.loads(payload)["content"]).decode()), ""),
        ("plain", lambda payload: payload.decode(), ""),
    ],
)
def test_text_is_wrapped_as_apps_in_the_field_do(
    mimc: Emulator, listener: Listener, inner: str, read: Callable[[bytes], str], biz_type: str
) -> None:
    mimc.write(from_account="1", to_account="2", text="晚上好 🙂", inner=inner, offline=[])
    body = listener.by_kind()["NORMAL_MSG"]
    assert read(base64.b64decode(body["payload"])) == "晚上好 🙂"
    assert body["bizType"] == biz_type


def test_of_several_orders_all_are_carried_out_or_none(mimc: Emulator, listener: Listener) -> None:
    orders = [{"app_id": APP_ID, "from_account": "1", "to_account": "2", "text": text} for text in ("x", "\ud800")]
    assert mimc.session.post(f"{mimc.url}/_emulator/messages", json=orders, timeout=60).status_code == 400
    assert mimc.control("GET", "callbacks/pending?wait_ms=50000") == {"pending": 0}
    assert listener.bodies == []


def test_payload_bytes_go_through_as_they_are(mimc: Emulator, listener: Listener) -> None:
    mimc.write(from_account="1", to_account="2", payload_base64="AP+AgQ==", offline=[])
    assert listener.by_kind()["NORMAL_MSG"]["payload"] == "AP+AgQ=="


def test_a_refused_callback_is_repeated_three_times_and_then_lost(mimc: Emulator, listener: Listener) -> None:
    listener.statuses += [503, 302, 201, 500]
    before = len(mimc.journal())
    ids = mimc.write(from_account="1", to_account="2", text="x", offline=[])
    attempts = mimc.journal()[before:]
    assert [(entry["attempt"], entry["status"], entry["outcome"]) for entry in attempts] == [
        (1, 503, "refused"),
        (2, 302, "refused"),
        (3, 201, "refused"),
        (4, 500, "given up"),
    ]
    assert {entry["sequence"] for entry in attempts} == {ids["sequence"]}
    first, *_, last = (entry["monotonic_ms"] for entry in attempts)
    assert last - first >= 335_000 * 0.002
    assert [body for _, body in listener.bodies] == [listener.bodies[0][1]] * 4


def test_a_repeat_stops_with_the_first_200_and_tells_what_was_answered(mimc: Emulator, listener: Listener) -> None:
    listener.statuses += [500]
    before = len(mimc.journal())
    mimc.write(from_account="1", to_account="2", text="x", offline=[])
    attempts = mimc.journal()[before:]
    assert [(entry["status"], entry["duplicate"]) for entry in attempts] == [(500, True), (200, True)]


def test_a_receiver_that_is_down_is_tried_again_and_its_address_can_be_changed(
    mimc: Emulator, listener: Listener
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        closed_port = f"http://127.0.0.1:{taken.getsockname()[1]}/secret-path"
    urls = {"app_id": OTHER_APP_ID, "callback_url": listener.url, "offline_callback_url": None}
    mimc.control("PUT", "callbacks/urls", urls | {"instant_callback_url": closed_port})
    before = len(mimc.journal())
    mimc.write(app_id=OTHER_APP_ID, from_account="1", to_account="2", text="x")
    entries = mimc.journal()[before:]
    instant = [entry for entry in entries if entry["msg_type"] == "NORMAL_MSG"]
    assert [entry["error"] for entry in instant] == ["ConnectionError"] * 4
    assert [entry["outcome"] for entry in entries if entry["msg_type"] == "OFFLINE_MSG"] == ["accepted"]
    assert "secret-path" not in json.dumps(entries)
    mimc.control("PUT", "callbacks/urls", urls | {"instant_callback_url": f"{listener.url}/two/instant"})


@pytest.mark.parametrize(
    ("order", "complaint"),
    [
        ({"to_account": "2", "text": "x"}, "from_account"),
        ({"from_account": "1", "text": "x"}, "to_account or members"),
        ({"from_account": "1", "to_account": "2", "members": ["2"], "text": "x"}, "not to both"),
        ({"from_account": "1", "to_account": "2"}, "text or payload_base64"),
        ({"from_account": "1", "to_account": "2", "text": "x" * 15_361, "inner": "plain"}, "15360"),
        ({"from_account": "1", "to_account": "2", "text": "x", "offline": ["3"]}, "not among the recipients: 3"),
        ({"from_account": "1", "to_account": "2", "text": "x", "inner": "odd"}, "inner"),
        ({"from_account": "1", "to_account": "2", "text": "x", "app_id": "9"}, "not configured"),
        ({"from_account": "1", "to_account": "2", "txt": "x"}, "unknown members: txt"),
        ({"from_account": 1, "to_account": "2", "text": "x"}, "from_account: expected str, got int"),
    ],
)
def test_an_order_that_makes_no_sense_is_refused(mimc: Emulator, order: dict[str, Any], complaint: str) -> None:
    reply = mimc.session.post(f"{mimc.url}/_emulator/messages", json={"app_id": APP_ID} | order, timeout=60)
    assert reply.status_code == 400
    assert complaint in reply.json()["error"]


# --- authentication, TLS, settings


@pytest.mark.parametrize(
    ("app_secret", "timestamp", "app_id", "value"),
    [
        (
            "b64-demo-secret+0123456789AB==", "1516763973000", "2882303761517000001",
            "lSRe+2nN91bgK+SR9BPweFQpCGztJm5ozgPoQNrOp1FILzs4fKo4sS4gDYkRUr6O",
        ),
        (
            "b64-demo-secret+0123456789AB==", "1516763973", "5800123456",
            "lbmjtz9KrJTV3HS/ZChDQVmhjZZzelXq4YnP0Z0cXzw=",
        ),
        (
            "PHqmE1sJ7uCk4eT0Yw9Zbg==", "1700000000123", "2882303761517999999",
            "EFwPc7m46x6pRUX15UQiv7PZqUVq9G7jmXR7vbBGpmCPrflW5fIZx2BzyuXWnV4I",
        ),
    ],
)  # fmt: skip
def test_authentication_is_made_as_in_the_known_samples(
    app_secret: str, timestamp: str, app_id: str, value: str
) -> None:
    assert authentication(app_secret, timestamp, app_id) == value


def test_over_tls_only_those_who_trust_its_authority_are_served(listener: Listener, tmp_path: Path) -> None:
    head = f'tls_folder = "{tmp_path / "tls"}"\nrefuse_with_http_status = true'
    with running(tmp_path, settings(listener, head)) as (emulator, _):
        with pytest.raises(requests.exceptions.SSLError):
            emulator.token()
        with socket.create_connection(("127.0.0.1", emulator.port)):  # a client that never shakes hands delays no other
            emulator.session.verify = emulator.announced["ca_file"]
            assert emulator.token().status_code == 200
        assert emulator.token(appKey="wrong").status_code == 401


def test_a_reset_is_a_reset_under_tls_too(listener: Listener, tmp_path: Path) -> None:
    with running(tmp_path, settings(listener, f'tls_folder = "{tmp_path / "tls"}"')) as (emulator, _):
        emulator.session.verify = emulator.announced["ca_file"]
        emulator.fault(effect="reset", times=1)
        context = ssl.create_default_context(cafile=emulator.announced["ca_file"])
        plain = socket.create_connection(("127.0.0.1", emulator.port))
        with plain.dup() as beneath, context.wrap_socket(plain, server_hostname="localhost") as client:
            client.sendall(_request_bytes())
            with pytest.raises(ConnectionResetError):  # read beneath TLS: Python's ssl calls an RST an end of file
                _read_to_the_end(beneath)


def _read_to_the_end(connection: socket.socket) -> None:
    while connection.recv(10_000):  # session tickets come first
        pass


def test_all_faults_in_the_settings_are_named_and_no_secret_is_shown() -> None:
    app = {"app_id": "12x", "app_key": 5, "app_secret": APP_SECRET, "calback_url": "http://127.0.0.1/secret"}
    assert faults_of(MimcConfig, {"apps": [app], "time_scale": "fast", "prot": 1}) == [
        "apps.0.app_id: expected a number of digits",
        "apps.0.app_key: input should be a valid string",
        'apps.0.calback_url: unknown key; did you mean "callback_url"?',
        "time_scale: input should be a valid number, unable to parse string as a number",
        'prot: unknown key; did you mean "port"?',
    ]
    assert faults_of(MimcConfig, {}) == ["apps: missing, and it has no default"]


def test_two_apps_have_two_app_ids() -> None:
    app = {"app_id": 1, "app_key": "k", "app_secret": "s"}
    assert faults_of(MimcConfig, {"apps": [app, app]}) == ["apps: two apps have the same app_id"]


def test_a_config_shows_no_secret() -> None:
    app = {"app_id": 1, "app_key": "the-key", "app_secret": "the-secret", "callback_url": "http://h/the-path"}
    shown = repr(MimcConfig.model_validate({"apps": [app]}))
    assert not any(secret in shown for secret in ("the-key", "the-secret", "the-path"))
