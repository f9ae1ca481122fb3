"""The intake's route: who may post, what is taken, what is answered."""

import gzip
import io
import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from proxy.app import create_app
from proxy.errors import StoreFull, StoreUnavailable
from proxy.metrics import WEB
from tests.web.world import (
    APP_ID,
    APP_SECRET,
    NOW,
    OTHER_APP_ID,
    OTHER_URL_SECRET,
    URL_SECRET,
    World,
    app_section,
    other_section,
    settings,
)

PATH = f"/callbacks/mimc/{URL_SECRET}"
NOW_MS = int(NOW.timestamp() * 1000)
# made for 1516763973000_2882303761517000001 with APP_SECRET
AUTHENTICATION = "lSRe+2nN91bgK+SR9BPweFQpCGztJm5ozgPoQNrOp1FILzs4fKo4sS4gDYkRUr6O"
AUTHENTIC_MS = 1516763973000


def offline(**changes: object) -> dict[str, object]:
    body: dict[str, object] = {
        "msgType": "OFFLINE_MSG",
        "fromAppId": APP_ID,
        "fromAccount": "1000",
        "toAppId": int(APP_ID),
        "toAccount": "1001",
        "payload": "aGVsbG8=",
        "timestamp": str(NOW_MS),
        "sequence": "154503794553568001",
        "packetId": "4711-1",
    }
    return body | changes


def from_the_future() -> float:
    return WEB.get_sample_value("app_proxy_callbacks_from_the_future_total") or 0.0


def counted(kind: str, result: str) -> float:
    return WEB.get_sample_value("app_proxy_callbacks_total", {"kind": kind, "result": result}) or 0.0


def test_a_callback_is_stored_and_then_answered_200() -> None:
    world = World()
    before = counted("OFFLINE_MSG", "accepted")
    answer = world.client.post(PATH, json=offline())
    assert (answer.status_code, answer.json) == (
        200,
        {"code": 200, "message": "success", "data": {"duplicate": False}},
    )
    (stored,) = world.inbox.stored.values()
    assert (stored.recipients[0].account, stored.payload) == ("1001", b"hello")
    assert counted("OFFLINE_MSG", "accepted") == before + 1


def test_a_repeat_is_answered_200_and_says_so() -> None:
    world = World()
    world.client.post(PATH, json=offline())
    answer = world.client.post(PATH, json=offline(timestamp=NOW_MS))
    assert answer.status_code == 200
    assert json.loads(answer.data)["data"] == {"duplicate": True}


@pytest.mark.parametrize(
    ("body", "kind", "result"),
    [
        (offline(msgType="NORMAL_MSG"), "NORMAL_MSG", "instant"),
        (offline(msgType="UCTOPIC_MSG"), "UCTOPIC_MSG", "ignored"),
        ({"msgType": "UCTOPIC_MSG"}, "UCTOPIC_MSG", "ignored"),
        ({"msgType": "RESOURCE_OFFLINE", "appId": APP_ID}, "other", "ignored"),
        (offline(toAccount=""), "OFFLINE_MSG", "no_recipients"),
        (offline(timestamp=NOW_MS - 86_400_001), "OFFLINE_MSG", "stale"),
    ],
)
def test_what_becomes_no_alert_is_answered_200_and_counted(body: dict[str, object], kind: str, result: str) -> None:
    world = World()
    before = counted(kind, result)
    assert world.client.post(PATH, json=body).status_code == 200
    assert world.inbox.stored == {}
    assert counted(kind, result) == before + 1


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "body"),
        (b"{", "body"),
        (b"[]", "body"),
        (b"{}", "msgType"),
        (json.dumps(offline(fromAccount=7)).encode(), "fromAccount"),
    ],
)
def test_what_no_callback_can_be_is_400_and_names_the_field(body: bytes, field: str) -> None:
    before = counted("other", "bad")
    with capture_logs() as lines:
        answer = World().client.post(PATH, data=body)
    assert answer.status_code == 400
    (line,) = lines
    assert (line["event"], line["reason"].partition(":")[0]) == ("request", field)  # the log alone says what was wrong
    assert json.loads(answer.data)["message"].startswith(f"{field}: expected")
    assert counted("other", "bad") == before + 1


@pytest.mark.parametrize("ahead", [timedelta(hours=25), timedelta(hours=-25)])
def test_a_web_machine_s_wrong_clock_makes_no_callback_stale_and_dates_none(ahead: timedelta) -> None:
    world = World()
    client = create_app(replace(world.services, now=lambda: NOW + ahead)).test_client()
    assert client.post(PATH, json=offline(timestamp=NOW_MS)).status_code == 200
    (stored,) = world.inbox.stored.values()
    assert stored.accepted_at == NOW


def test_a_timestamp_in_the_future_is_taken_for_now_and_counted() -> None:
    world, before = World(), from_the_future()
    assert world.client.post(PATH, json=offline(timestamp=NOW_MS + 31 * 366 * 86_400_000)).status_code == 200
    (stored,) = world.inbox.stored.values()
    assert stored.sent_at_ms == NOW_MS
    assert from_the_future() == before + 1


@pytest.mark.parametrize("secret", ["wrong", URL_SECRET[:-1], URL_SECRET + "0", "%ff%fe", "ü", OTHER_URL_SECRET])
def test_a_wrong_url_secret_is_answered_as_a_path_that_does_not_exist(secret: str) -> None:
    world = World()
    answer = world.client.post(f"/callbacks/mimc/{secret}", json=offline())
    nowhere = world.client.post("/nowhere", json=offline())
    assert answer.status_code == 404
    assert (answer.data, answer.headers) == (nowhere.data, nowhere.headers)
    assert world.inbox.stored == {}


def test_a_url_secret_is_good_for_its_own_app_only() -> None:
    world = World(settings({"main": app_section(), "other": other_section()}))
    elsewhere = offline(toAppId=OTHER_APP_ID)
    assert world.client.post(PATH, json=elsewhere).status_code == 404
    assert world.client.post(f"/callbacks/mimc/{OTHER_URL_SECRET}", json=elsewhere).status_code == 200
    assert world.client.post(PATH, json=offline(toAppId="2882303761517999999")).status_code == 404
    assert world.client.post(PATH, json={"msgType": "UCTOPIC_MSG", "appId": OTHER_APP_ID}).status_code == 404


@pytest.mark.parametrize(
    ("allowed", "peer", "forwarded", "status"),
    [
        ([], "203.0.113.9", None, 200),
        (["198.51.100.0/24"], "198.51.100.7", None, 200),
        (["198.51.100.0/24"], "203.0.113.9", None, 404),
        (["198.51.100.0/24"], "10.0.0.1", "198.51.100.7", 200),
        (["198.51.100.0/24"], "10.0.0.1", "203.0.113.9", 404),
        (["198.51.100.0/24"], "203.0.113.9", "198.51.100.7", 404),
        (["2001:db8::/32"], "2001:db8::7", None, 200),
        (["unix"], "", None, 200),
        (["198.51.100.0/24"], "", None, 404),
    ],
)
def test_callbacks_of_other_networks_are_refused_before_anything_else_is_looked_at(
    allowed: list[str], peer: str, forwarded: str | None, status: int
) -> None:
    limits = {"trusted_proxies": ["10.0.0.0/8"]}
    world = World(settings(callbacks={"allowed_networks": allowed}, limits=limits))
    environ: dict[str, Any] = {"REMOTE_ADDR": peer} | ({"HTTP_X_FORWARDED_FOR": forwarded} if forwarded else {})
    unread = io.BytesIO(json.dumps(offline()).encode().ljust(400))
    answer = world.client.post(PATH, input_stream=unread, environ_overrides=environ | {"CONTENT_LENGTH": "400"})
    assert (answer.status_code, len(world.inbox.stored)) == (status, int(status == 200))
    if status == 404:
        assert unread.tell() == 0
        assert answer.data == world.client.post("/nowhere").data


def authenticated(**changes: object) -> dict[str, object]:
    return offline(timestamp=AUTHENTIC_MS, authentication=AUTHENTICATION) | changes


@pytest.mark.parametrize(
    ("rule", "body", "status"),
    [
        ("required", authenticated(), 200),
        ("required", offline(), 403),
        ("required", authenticated(timestamp=AUTHENTIC_MS + 61_000), 403),
        ("required", {"msgType": "UCTOPIC_MSG"}, 403),
        ("if_present", authenticated(), 200),
        ("if_present", offline(), 200),
        ("if_present", offline(authentication="bm9uc2Vuc2U="), 403),
        ("if_present", offline(authentication="bm9uc2Vuc2U=", fromAppId="5800123456"), 200),
        ("if_present", offline(authentication="bm9uc2Vuc2U=", msgType="SOMETHING_NEW"), 403),
        ("ignored", offline(authentication="bm9uc2Vuc2U="), 200),
    ],
)
def test_authentication_is_required_checked_or_ignored(rule: str, body: dict[str, object], status: int) -> None:
    world = World(settings({"main": app_section(authentication=rule, app_secret=APP_SECRET)}))
    answer = world.client.post(PATH, json=body)
    assert answer.status_code == status
    assert json.loads(answer.data)["code"] == status


@pytest.mark.parametrize("named", ["fromAppId", "appId"])
def test_what_one_app_s_secret_made_is_no_proof_for_another(named: str) -> None:
    other = other_section(authentication="required", app_secret="the other app's own")
    world = World(settings({"main": app_section(app_secret=APP_SECRET), "other": other}))
    body = authenticated(toAppId=OTHER_APP_ID, **{"fromAppId": OTHER_APP_ID, named: APP_ID})
    assert world.client.post(f"/callbacks/mimc/{OTHER_URL_SECRET}", json=body).status_code == 403


@pytest.mark.parametrize(
    ("failure", "seconds"), [(StoreUnavailable("the store does not answer"), "5"), (StoreFull("full"), "30")]
)
def test_what_cannot_be_stored_is_503_with_a_time_to_come_back(failure: StoreUnavailable, seconds: str) -> None:
    world = World()
    world.inbox.failure = failure
    before = counted("OFFLINE_MSG", "unavailable")
    answer = world.client.post(PATH, json=offline())
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, seconds)
    assert answer.json == {"code": 503, "message": "the store is unavailable", "data": None}
    assert counted("OFFLINE_MSG", "unavailable") == before + 1


def test_a_body_of_a_mebibyte_is_read_and_a_longer_one_is_not() -> None:
    world = World()
    body = json.dumps(offline()).encode()
    assert world.client.post(PATH, data=body.ljust(1 << 20)).status_code == 200
    answer = world.client.post(PATH, data=body.ljust((1 << 20) + 1))
    assert (answer.status_code, json.loads(answer.data)["code"]) == (413, 413)


def test_no_more_is_read_than_to_the_limit() -> None:
    world, body = World(), json.dumps(offline()).encode()
    assert world.client.post(PATH, input_stream=io.BytesIO(body.ljust(1 << 20))).status_code == 200
    endless = io.BytesIO(body.ljust(1 << 22))
    assert world.client.post(PATH, input_stream=endless).status_code == 413
    assert endless.tell() == (1 << 20) + 1


def test_a_callback_touches_no_session_and_asks_for_no_sign_in() -> None:
    answer = World().client.post(PATH, json=offline(), headers={"Cookie": "session=x; remember_token=y"})
    assert answer.status_code == 200
    assert not {"Set-Cookie", "Vary", "Cache-Control"} & set(answer.headers.keys())


PLAIN = json.dumps(offline()).encode()


@pytest.mark.parametrize(
    ("coding", "body", "status"),
    [
        ("gzip", gzip.compress(PLAIN), 200),
        ("X-GZIP", gzip.compress(PLAIN), 200),
        ("identity", PLAIN, 200),
        ("gzip", PLAIN, 400),
        ("gzip", gzip.compress(PLAIN)[:-1], 400),
        ("gzip", gzip.compress(PLAIN) * 2, 400),
        ("gzip", gzip.compress(PLAIN.ljust(1 << 20)), 200),
        ("gzip", gzip.compress(bytes(1 << 24)), 413),
        ("br", PLAIN, 415),
        ("gzip, gzip", gzip.compress(gzip.compress(PLAIN)), 415),
    ],
)
def test_a_body_in_gzip_is_read_to_the_limit_and_another_coding_refused(coding: str, body: bytes, status: int) -> None:
    world = World()
    answer = world.client.post(PATH, data=body, headers={"Content-Encoding": coding})
    assert (answer.status_code, len(world.inbox.stored)) == (status, int(status == 200))
    if status == 415:
        assert answer.headers["Accept-Encoding"] == "gzip, identity"
