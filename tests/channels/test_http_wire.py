"""The channel `http` in its own words: what the developer's sender gets, and what its answers mean."""

import base64
import hashlib
import hmac
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given

from proxy.channels.http.wire import HttpWire
from proxy.domain.alerts import Alert, AlertText, Update
from proxy.domain.devices import Platform
from proxy.domain.jobs import Push
from proxy.domain.kinds import Kind
from proxy.domain.outcomes import (
    About,
    Accepted,
    Deferred,
    Impossible,
    OurFault,
    Outcome,
    Rejected,
    UnknownAccount,
    Unregistered,
)
from proxy.domain.previews import Preview
from proxy.domain.transfers import Request, Response
from proxy.signatures import Signer, signer_of
from tests.channels.pushes import (
    NOON,
    RELAXED,
    WEBHOOK_SECRET,
    a_fold,
    alerts,
    an_alert,
    header,
    http_settings,
    to_account,
    to_device,
)

GONE = b'{"reason": "unregistered"}'


def to_phone(alert: Alert | None = None, push_token: str = "huawei:abc") -> Push:  # noqa: S107  an address
    return to_device(alert, push_token, platform=Platform.HTTP)


def built(push: Push | None = None, now: datetime = NOON, **settings: Any) -> Request:
    return HttpWire(http_settings(**settings)).build([push or to_phone()], "", now)


def outcome(status: int, body: bytes = b"", headers: dict[str, str] | None = None, **settings: Any) -> Outcome:
    (found,) = HttpWire(http_settings(**settings)).read([to_phone()], Response(status, headers or {}, body), NOON)
    return found


def test_an_alert_is_one_event_about_one_phone() -> None:
    request = built()
    assert request.url == "https://push.example.com/alerts?key=vErYsEcReT"
    assert header(request.headers, "content-type") == "application/json"
    assert json.loads(request.body) == {
        "type": "alert",
        "timestamp": "1970-01-01T00:00:00.000Z",
        "data": {
            "message_id": an_alert().message_id,
            "app": "main",
            "account": "alice",
            "device": {"id": "phone", "push_token": "huawei:abc", "locale": ""},
            "conversation": "p2p:lilei",
            "sequence": "7",
            "kind": "text",
            "title": "Li Lei",
            "body": "hello",
            "silent": False,
            "urgent": False,
            "expires_at": "2026-11-24T12:00:00.000Z",
        },
    }


def test_an_alert_to_an_account_names_no_device() -> None:
    data = json.loads(built(to_account("alice"), address="account").body)["data"]
    assert data["account"] == "alice"
    assert "device" not in data


def test_words_are_in_the_device_s_language_and_show_no_more_than_its_preview() -> None:
    picture = replace(an_alert(), text=AlertText("Li Lei", "", Kind.PICTURE, "Family"), urgent=True, silent=True)
    push = to_phone(picture)
    assert push.device is not None
    chinese = replace(push, device=replace(push.device, locale="zh-TW"))
    data = json.loads(built(chinese).body)["data"]
    assert (data["kind"], data["title"], data["group"], data["body"]) == ("picture", "Li Lei", "Family", "[圖片]")
    assert (data["silent"], data["urgent"]) == (True, True)
    private = replace(push, device=replace(push.device, preview=Preview.NONE))
    body = built(private).body
    data = json.loads(body)["data"]
    assert (data["kind"], data["title"], data["body"]) == ("new", "New message", "New message")
    assert b"Li Lei" not in body
    assert b"Family" not in body


def test_the_signature_is_that_of_the_scheme_by_its_own_example() -> None:
    """The example is that of the scheme's reference libraries."""
    signer = Signer((base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),))
    at = datetime.fromtimestamp(1614265330, UTC)
    assert signer.headers("msg_p5jXN8AQM9LWM0D4loKWxJek", b'{"test": 2432232314}', at) == (
        "webhook-id: msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp: 1614265330",
        "webhook-signature: v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    )


def test_while_secrets_change_each_of_them_signs() -> None:
    keys = [b"a" * 24, b"b" * 64]
    more = ["whsec_" + base64.b64encode(key).decode() for key in keys]
    request = built(secrets=more)
    stamped, id_ = header(request.headers, "webhook-timestamp"), header(request.headers, "webhook-id")
    assert stamped == str(int(NOON.timestamp()))
    content = f"{id_}.{stamped}.".encode() + request.body
    own = base64.b64decode(WEBHOOK_SECRET.removeprefix("whsec_"))
    expected = [base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode() for key in [own, *keys]]
    assert header(request.headers, "webhook-signature") == " ".join(f"v1,{one}" for one in expected)


def test_a_repeat_has_the_same_identity_and_another_time() -> None:
    first, again = built(), built(now=NOON + timedelta(minutes=9))
    assert header(first.headers, "webhook-id") == header(again.headers, "webhook-id") == to_phone().job.id
    assert header(first.headers, "webhook-timestamp") != header(again.headers, "webhook-timestamp")
    assert header(first.headers, "webhook-signature") != header(again.headers, "webhook-signature")
    assert first.body == again.body


@RELAXED
@given(alert=alerts)
def test_any_alert_stays_within_what_the_scheme_asks_for(alert: Alert) -> None:
    request = built(to_phone(alert, "x" * 1024))
    assert len(request.body) < 20_000
    assert set(json.loads(request.body)) == {"type", "timestamp", "data"}


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, b"", Accepted()),
        (202, b"queued", Accepted()),
        (204, b"", Accepted()),
        (410, GONE, Unregistered(None)),
        (404, GONE, Unregistered(None)),
        # the scheme's own 410, "this endpoint wants no more", and a wrong path must not cost people their devices
        (410, b"", OurFault("http 410")),
        (410, b'{"reason": "moved"}', OurFault("http 410")),
        (404, b"<html>", OurFault("http 404")),
        (400, GONE, Rejected("http 400")),
        (413, b"", Rejected("http 413")),
        (422, b"", Rejected("http 422")),
        (401, b"", OurFault("http 401")),
        (403, b"", OurFault("http 403")),
        (405, b"", OurFault("http 405")),
        (302, b"", OurFault("http 302")),
        (408, b"", Deferred("http 408")),
        (429, b"", Deferred("http 429")),
        (500, b"", Deferred("http 500", unanswered=True)),
        (503, b"", Deferred("http 503", unanswered=True)),
    ],
)
def test_each_answer_has_one_meaning(status: int, body: bytes, expected: Outcome) -> None:
    assert outcome(status, body) == expected


@pytest.mark.parametrize("status", [429, 503, 500])
def test_a_sender_may_ask_for_time(status: int) -> None:
    found = outcome(status, headers={"retry-after": "7"})
    assert isinstance(found, Deferred)
    assert (found.retry_after, found.about) == (timedelta(seconds=7), About.PROVIDER)


def test_an_account_without_a_phone_is_unknown_for_a_while() -> None:
    assert outcome(410, GONE, address="account") == UnknownAccount()


def test_what_was_planned_before_the_address_changed_is_refused() -> None:
    by_device, by_account = HttpWire(http_settings()), HttpWire(http_settings(address="account"))
    assert by_device.refuse(to_phone()) is None
    assert by_device.refuse(to_account("alice")) == Rejected("address")
    assert by_account.refuse(to_phone()) == Rejected("address")
    assert by_account.refuse(to_account("")) == Impossible("empty address")


def test_neither_key_nor_address_is_in_a_repr() -> None:
    settings = http_settings()
    shown = repr((settings, vars(HttpWire(settings)), signer_of(settings.all_secrets), built()))
    assert "vErYsEcReT" not in shown
    assert WEBHOOK_SECRET.removeprefix("whsec_") not in shown
    assert "a-key-that-signs" not in shown


def test_a_withdrawal_is_an_event_without_a_text() -> None:
    push = to_account()
    alert = replace(push.job.alert, update=Update.READ)
    request = HttpWire(http_settings(address="account")).build(
        [replace(push, job=replace(push.job, alert=alert))], "", NOON
    )
    event = json.loads(request.body)
    assert event["type"] == "withdrawal"
    assert event["data"] == {
        "message_id": alert.message_id, "app": "main", "account": "alice", "conversation": "p2p:lilei",
        "sequence": "7", "reason": "read", "expires_at": "2026-11-24T12:00:00.000Z",
    }  # fmt: skip


def test_a_fold_says_how_many_messages_it_tells_of() -> None:
    plain, fold = (json.loads(built(to_phone(it)).body)["data"] for it in (an_alert(), a_fold(3)))
    assert "count" not in plain
    assert fold == plain | {"kind": "fold", "body": "3 new messages", "count": 3}
    ids = [header(built(to_phone(a_fold(count))).headers, "webhook-id") for count in (3, 3, 4)]
    assert ids[0] == ids[1] != ids[2]
