"""APNs: what we send for a push, and what each of its answers means."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given

from proxy.channels.apns.wire import ApnsWire
from proxy.domain.alerts import Alert, AlertText, Update
from proxy.domain.devices import ApnsEnvironment
from proxy.domain.kinds import Kind
from proxy.domain.outcomes import (
    About,
    Accepted,
    CredentialsExpired,
    Deferred,
    Misaddressed,
    OurFault,
    Outcome,
    Rejected,
    Unregistered,
)
from proxy.domain.previews import Preview
from proxy.domain.transfers import Request, Response
from proxy.domain.words import Vocabulary
from tests.channels.pushes import (
    DEVICE_TOKEN,
    NOON,
    RELAXED,
    a_fold,
    alerts,
    an_alert,
    apns_settings,
    header,
    to_account,
    to_device,
)

WIRE = ApnsWire(apns_settings(), ApnsEnvironment.PRODUCTION)
NOON_MS = 1_795_435_200_000


def built(alert: Alert) -> Request:
    return WIRE.build([to_device(alert)], "bearer JWT", NOON)


def read(status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> Outcome:
    (outcome,) = WIRE.read([to_device()], Response(status, headers or {}, body), NOON)
    return outcome


def refusal(reason: object, **more: object) -> bytes:
    return json.dumps({"reason": reason, **more}).encode()


@pytest.mark.parametrize(
    ("environment", "host"),
    [
        (ApnsEnvironment.PRODUCTION, "https://api.push.apple.com"),
        (ApnsEnvironment.SANDBOX, "https://api.sandbox.push.apple.com"),
    ],
)
def test_a_push_goes_to_the_host_of_its_environment(environment: ApnsEnvironment, host: str) -> None:
    request = ApnsWire(apns_settings(), environment).build([to_device(environment=environment)], "bearer JWT", NOON)

    assert request.url == f"{host}/3/device/{DEVICE_TOKEN}"


def test_a_push_has_the_headers_that_apns_asks_for_and_none_of_libcurls_own() -> None:
    push = to_device()
    headers = WIRE.build([push], "bearer JWT", NOON).headers

    assert sorted(headers) == sorted(
        [
            "authorization: bearer JWT",
            "apns-topic: com.example.chat",
            "apns-push-type: alert",
            "apns-priority: 10",
            f"apns-id: {push.job.id}",
            f"apns-collapse-id: {push.job.alert.message_id}",
            f"apns-expiration: {NOON_MS // 1000 + 86_400}",
            "content-type:",
            "user-agent:",
            "accept:",
        ]
    )


def test_a_repeat_has_the_same_identity_on_the_wire() -> None:
    push = to_device()
    again = replace(push, job=replace(push.job, attempt=5, second_chance=True))

    assert WIRE.build([push], "a", NOON) == WIRE.build([again], "a", NOON + timedelta(hours=1))


def test_no_push_is_to_be_stored_longer_than_thirty_days() -> None:
    alert = replace(an_alert(), expires_at=NOON + timedelta(days=400))

    assert header(built(alert).headers, "apns-expiration") == str(NOON_MS // 1000 + 30 * 86_400)


def test_the_payload_shows_the_message_and_tells_the_app_where_it_is() -> None:
    alert = an_alert("李雷", "你好 👋", "topic:9007199254740993", sequence=9_007_199_254_740_995)
    body = built(alert).body

    assert json.loads(body) == {
        "aps": {"alert": {"title": "李雷", "body": "你好 👋"}, "thread-id": alert.conversation_id, "sound": "default"},
        "mimc": {"conversation": "topic:9007199254740993", "sequence": "9007199254740995"},
    }
    assert "李雷".encode() in body
    assert b": " not in body


def told(text: AlertText, locale: str = "", preview: Preview = Preview.FULL, **of: Any) -> dict[str, Any]:
    """What the phone shows of it."""
    wire = ApnsWire(apns_settings(**of), ApnsEnvironment.PRODUCTION, Vocabulary(preview=preview))
    push = to_device(replace(an_alert(), text=text))
    assert push.device is not None
    push = replace(push, device=replace(push.device, locale=locale))
    shown: dict[str, Any] = json.loads(wire.build([push], "a", NOON).body)["aps"]["alert"]
    return shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (AlertText("ann", "", Kind.PICTURE), {"title": "ann", "body": "[图片]"}),
        (AlertText("ann", "hi", Kind.TEXT, "家"), {"title": "ann", "subtitle": "家", "body": "hi"}),
        (AlertText("", "hi"), {"body": "hi"}),
        (AlertText("", "", Kind.NEW), {"body": "新消息"}),
    ],
)
def test_what_is_no_text_is_said_in_the_phone_s_language(text: AlertText, shown: dict[str, str]) -> None:
    assert told(text, "zh-Hans-CN") == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (AlertText("ann", "", Kind.FRIEND_REQUEST), {"title": "ann", "loc-key": "MIMC_FRIEND_REQUEST"}),
        (AlertText("ann", "", "ORDER_PAID"), {"title": "ann", "loc-key": "MIMC_ORDER_PAID"}),
        (AlertText("ann", "hi"), {"title": "ann", "body": "hi"}),
    ],
)
def test_an_app_may_choose_the_words_on_the_phone(text: AlertText, shown: dict[str, str]) -> None:
    assert told(text, "zh-Hans-CN", localized="device") == shown


def test_a_job_that_is_older_than_the_setting_shows_no_more_than_the_setting_allows() -> None:
    text = AlertText("ann", "hi", Kind.TEXT, "family")
    assert told(text, preview=Preview.SENDER) == {"title": "ann", "subtitle": "family", "body": "New message"}
    assert told(text, preview=Preview.NONE) == {"body": "New message"}
    assert told(text, preview=Preview.NONE, localized="device") == {"loc-key": "MIMC_NEW"}


def test_a_device_that_became_stricter_since_the_plan_shows_less() -> None:
    push = to_device()
    assert push.device is not None
    shy = replace(push, device=replace(push.device, preview=Preview.NONE))
    assert json.loads(WIRE.build([shy], "a", NOON).body)["aps"]["alert"] == {"body": "New message"}


def test_an_urgent_alert_is_time_sensitive_and_no_other() -> None:
    assert "interruption-level" not in json.loads(built(an_alert()).body)["aps"]
    urgent = json.loads(built(replace(an_alert(), urgent=True)).body)["aps"]
    assert urgent["interruption-level"] == "time-sensitive"


def test_long_names_give_way_before_the_text_is_cut() -> None:
    alert = replace(an_alert(), text=AlertText("你" * 3000, "hi", Kind.TEXT, "家" * 3000))
    shown = json.loads(built(alert).body)["aps"]["alert"]
    assert (shown["body"], shown["title"][-1], shown["subtitle"][-1]) == ("hi", "…", "…")


def test_a_silent_alert_arrives_passively_and_without_sound() -> None:
    silent = to_device(replace(an_alert(), silent=True))
    aps = json.loads(ApnsWire(apns_settings(), ApnsEnvironment.PRODUCTION).build([silent], "a", NOON).body)["aps"]
    assert ("sound" in aps, aps["interruption-level"]) == (False, "passive")


def test_an_app_without_sound_gets_none() -> None:
    request = ApnsWire(apns_settings(sound=""), ApnsEnvironment.PRODUCTION).build([to_device()], "a", NOON)

    assert "sound" not in json.loads(request.body)["aps"]


@RELAXED
@given(alert=alerts)
def test_no_payload_is_over_4096_bytes_whatever_people_write(alert: Alert) -> None:
    body = built(alert).body
    shown = json.loads(body)["aps"]["alert"]

    assert len(body) <= 4096
    for text, whole in ((shown.get("title", ""), alert.text.title), (shown["body"], alert.text.body or "New message")):
        assert text == whole or (text.endswith("…") and whole.startswith(text[:-1]))


@pytest.mark.parametrize("character", ["a", '"', "\n", "\x01", "é", "你", "👍"])
def test_a_long_text_fills_the_payload_up_to_its_last_character(character: str) -> None:
    body = built(an_alert(body=character * 5000)).body

    assert 4096 - 6 < len(body) <= 4096
    assert json.loads(body)["aps"]["alert"]["body"].strip(character) == "…"


def test_a_long_text_is_not_cut_inside_a_family() -> None:
    family = "👨\u200d👩\u200d👧"
    text = json.loads(built(an_alert(body=family * 1000)).body)["aps"]["alert"]["body"]

    assert text.replace(family, "") == "…"


def test_an_account_too_long_for_the_payload_leaves_room_for_the_text() -> None:
    payload = json.loads(built(an_alert(conversation="p2p:" + "x" * 5000)).body)

    assert payload["aps"]["alert"]["body"] == "hello"
    assert payload["mimc"] == {"sequence": "7"}


@pytest.mark.parametrize("address", ["", "abc", "zz" * 32, "00/../11", "00 ", "٠٠" * 16, "00\n", "00" * 257])
def test_what_is_no_device_token_never_becomes_a_url(address: str) -> None:
    assert WIRE.refuse(to_device(push_token=address)) == Misaddressed("address")


@pytest.mark.parametrize("address", ["00", "aF" * 32, "1b" * 100])
def test_a_device_token_may_have_any_length(address: str) -> None:
    assert WIRE.refuse(to_device(push_token=address)) is None


def test_an_account_is_no_device() -> None:
    assert WIRE.refuse(to_account("abcd")) == Rejected("address")


def test_a_200_is_accepted_under_the_id_that_apns_gives_back() -> None:
    assert read(200) == Accepted()


# Apple, "Handling notification responses from APNs"; every row of its table
@pytest.mark.parametrize(
    ("status", "reason", "outcome"),
    [
        (400, "BadCollapseId", Rejected("BadCollapseId")),
        (400, "BadDeviceToken", Misaddressed("BadDeviceToken")),
        (400, "BadExpirationDate", Rejected("BadExpirationDate")),
        (400, "BadMessageId", Rejected("BadMessageId")),
        (400, "BadPriority", Rejected("BadPriority")),
        (400, "BadTopic", OurFault("BadTopic")),
        (400, "DeviceTokenNotForTopic", Misaddressed("DeviceTokenNotForTopic")),
        (400, "DuplicateHeaders", Rejected("DuplicateHeaders")),
        (400, "IdleTimeout", Deferred("IdleTimeout")),
        (400, "InvalidPushType", Rejected("InvalidPushType")),
        (400, "MissingDeviceToken", Rejected("MissingDeviceToken")),
        (400, "MissingTopic", OurFault("MissingTopic")),
        (400, "PayloadEmpty", Rejected("PayloadEmpty")),
        (400, "TopicDisallowed", OurFault("TopicDisallowed")),
        (403, "BadCertificate", OurFault("BadCertificate")),
        (403, "BadCertificateEnvironment", OurFault("BadCertificateEnvironment")),
        (403, "BadEnvironmentKeyIdInToken", OurFault("BadEnvironmentKeyIdInToken")),
        (403, "ExpiredProviderToken", CredentialsExpired()),
        (403, "Forbidden", OurFault("Forbidden")),
        (403, "InvalidProviderToken", OurFault("InvalidProviderToken")),
        (403, "MissingProviderToken", OurFault("MissingProviderToken")),
        (403, "UnrelatedKeyIdInToken", OurFault("UnrelatedKeyIdInToken")),
        (404, "BadPath", Rejected("BadPath")),
        (405, "MethodNotAllowed", Rejected("MethodNotAllowed")),
        (410, "ExpiredToken", Unregistered(None)),
        (410, "Unregistered", Unregistered(None)),
        (413, "PayloadTooLarge", Rejected("PayloadTooLarge")),
        (429, "TooManyProviderTokenUpdates", Deferred("TooManyProviderTokenUpdates")),
        (429, "TooManyRequests", Deferred("TooManyRequests", about=About.DEVICE)),
        (500, "InternalServerError", Deferred("InternalServerError")),
        (503, "ServiceUnavailable", Deferred("ServiceUnavailable")),
        (503, "Shutdown", Deferred("Shutdown")),
        # not in Apple's list: must neither be repeated for ever nor cost a device
        (400, "Teapot", Rejected("Teapot")),
        (418, "Teapot", Rejected("Teapot")),
        (410, "Teapot", Rejected("Teapot")),
        (400, 17, Rejected("http 400")),
        (429, "Teapot", Deferred("Teapot")),
        (502, "Teapot", Deferred("Teapot")),
        (503, "BadDeviceToken", Deferred("BadDeviceToken")),  # a server in trouble does not judge the device
    ],
)
def test_a_reason_is_an_outcome(status: int, reason: object, outcome: Outcome) -> None:
    assert read(status, refusal(reason)) == outcome


@pytest.mark.parametrize(
    ("timestamp", "since"),
    [
        (NOON_MS - 1500, NOON - timedelta(seconds=1.5)),  # milliseconds
        (NOON_MS // 1000, datetime(1970, 1, 21, 18, 43, 55, 200_000, UTC)),  # never taken for seconds
        (NOON_MS + 60_000, NOON),  # a clock ahead of ours says no more than now
        (10**400, None),
        (0, None),
        (-5, None),
        (True, None),
        (1.5, None),
        ("1795435200000", None),
        (None, None),
    ],
)
@pytest.mark.parametrize("reason", ["Unregistered", "ExpiredToken", None])
def test_a_dead_token_is_dead_since_its_timestamp(reason: str | None, timestamp: object, since: datetime) -> None:
    assert read(410, refusal(reason, timestamp=timestamp)) == Unregistered(since)


@pytest.mark.parametrize("status", [400, 403, 404, 410, 413, 500, 502, 503, 0, 600])
@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"null", b"\xff", b"[" * 16_000])
def test_an_answer_without_json_is_not_apns_speaking_and_comes_again(status: int, body: bytes) -> None:
    assert read(status, body) == Deferred(f"http {status}")


@pytest.mark.parametrize("status", [204, 301, 302, 307])
def test_a_stranger_in_the_way_of_apns_pauses_the_lane(status: int) -> None:
    assert read(status) == OurFault(f"http {status}")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("17", 17), (" 17 ", 17), ("9" * 5000, 3600), ("", 0), ("-5", 0), ("١٧", 0), ("Mon, 23 Nov 2026 12:00:00 GMT", 0)],
)
def test_retry_after_is_honoured_up_to_an_hour(value: str, seconds: int) -> None:
    outcome = read(429, refusal("TooManyRequests"), {"retry-after": value})

    assert outcome == Deferred("TooManyRequests", timedelta(seconds=seconds), about=About.DEVICE)


@pytest.mark.parametrize("reason", ["é", "x" * 61, "no Hello for you", "ab12" * 8, "Bad\nToken"])
def test_an_invented_reason_that_is_not_one_word_is_not_repeated(reason: str) -> None:
    assert read(400, refusal(reason)) == Rejected("unreadable reason")
    assert read(500, refusal(reason)) == Deferred("unreadable reason")


# communication notifications

GROUP_TEXT = AlertText("ann", "hi", Kind.TEXT, "The family", sender="1001", avatar="https://a.example/ann.png")


def told_app(text: AlertText, conversation: str = "p2p:1001", **of: Any) -> tuple[object, dict[str, Any]]:
    """`mutable-content`, and what the app's service extension reads."""
    wire = ApnsWire(apns_settings(**of), ApnsEnvironment.PRODUCTION)
    body = json.loads(wire.build([to_device(replace(an_alert(conversation=conversation), text=text))], "a", NOON).body)
    return body["aps"].get("mutable-content"), body["mimc"]


def test_the_service_extension_is_told_who_writes_where_that_is_set() -> None:
    told = told_app(AlertText("ann", "hi"), communication=True)
    assert told == (1, {"conversation": "p2p:1001", "sequence": "7", "group": False, "sender": "1001"})
    told = told_app(GROUP_TEXT, "topic:7", communication=True)
    assert told == (1, {"conversation": "topic:7", "sequence": "7", "group": True, "sender": "1001",
                        "avatar": "https://a.example/ann.png"})  # fmt: skip
    assert told_app(GROUP_TEXT, "topic:7") == (None, {"conversation": "topic:7", "sequence": "7"})


def test_who_writes_is_told_to_nobody_whose_alerts_do_not_show_it() -> None:
    quiet = GROUP_TEXT.at(Preview.NONE)
    assert told_app(quiet, "topic:7", communication=True) == (None, {"conversation": "topic:7", "sequence": "7"})
    assert told_app(GROUP_TEXT.at(Preview.SENDER), "topic:7", communication=True)[1]["sender"] == "1001"


@RELAXED
@given(alerts)
def test_with_all_that_the_extension_is_told_no_payload_is_too_long(alert: Alert) -> None:
    text = replace(alert.text, group=alert.text.title, sender=alert.text.title, avatar="https://" + "a" * 504)
    wire = ApnsWire(apns_settings(communication=True, sound="s" * 128), ApnsEnvironment.PRODUCTION)
    body = wire.build([to_device(replace(alert, text=text))], "a", NOON).body
    assert len(body) <= 4096
    json.loads(body)


@pytest.mark.parametrize("recall", ["replace", "background"])
@pytest.mark.parametrize("why", [Update.RECALL, Update.READ])
def test_a_withdrawal_replaces_a_recalled_alert_or_wakes_the_app_and_is_never_kept(why: Update, recall: str) -> None:
    alert = an_alert()
    withdrawal = replace(alert, update=why, silent=True, text=AlertText("Li Lei", "", Kind.RECALL))
    pushes = to_device(alert), to_device(withdrawal)
    wire = ApnsWire(apns_settings(recall=recall), ApnsEnvironment.PRODUCTION)
    first, then = (wire.build([push], "bearer t", NOON) for push in pushes)
    assert header(first.headers, "apns-id") != header(then.headers, "apns-id")
    assert header(then.headers, "apns-expiration") == "0"
    body = json.loads(then.body)
    if (why, recall) == (Update.RECALL, "replace"):
        assert header(then.headers, "apns-collapse-id") == header(first.headers, "apns-collapse-id")
        assert body["aps"]["alert"] == {"title": "Li Lei", "body": "Message recalled"}
        assert "sound" not in body["aps"]
        return
    assert (header(then.headers, "apns-push-type"), header(then.headers, "apns-priority")) == ("background", "5")
    assert body["aps"] == {"content-available": 1}
    assert (body["mimc"]["withdrawn"], body["mimc"]["message"]) == (why, alert.message_id)


def test_the_number_of_unread_messages_is_in_the_alert_or_all_that_there_is() -> None:
    wire, alert = ApnsWire(apns_settings(), ApnsEnvironment.PRODUCTION), an_alert()
    told = replace(to_device(replace(alert, update=Update.BADGE)), badge=3)
    shown, number, none = (
        wire.build([it], "bearer t", NOON) for it in (replace(to_device(alert), badge=3), told, to_device(alert))
    )
    assert json.loads(shown.body)["aps"]["badge"] == 3
    assert "badge" not in json.loads(none.body)["aps"]
    assert json.loads(number.body) == {"aps": {"badge": 3}}
    headers = [header(number.headers, f"apns-{name}") for name in ("push-type", "priority", "expiration")]
    assert headers == ["alert", "5", "0"]


# folds


def test_a_fold_has_a_collapse_id_of_its_own_in_the_thread_and_each_time_another_identity() -> None:
    of_three, of_five = built(a_fold(3)), built(a_fold(5))
    assert header(of_three.headers, "apns-collapse-id") == header(of_five.headers, "apns-collapse-id")
    assert header(of_three.headers, "apns-collapse-id") != an_alert().message_id
    assert len({header(it.headers, "apns-id") for it in (of_three, of_five, built(a_fold(3)))}) == 2
    assert header(of_three.headers, "apns-expiration") == header(built(an_alert()).headers, "apns-expiration")
    aps = json.loads(of_three.body)["aps"]
    assert aps == json.loads(built(an_alert()).body)["aps"] | {"alert": {"title": "Li Lei", "body": "3 new messages"}}


def test_a_fold_of_a_group_names_the_group_and_no_writer() -> None:
    alert = replace(
        an_alert(conversation="topic:7"), text=AlertText("ann", "hi", Kind.TEXT, "Book club", sender="1001")
    )
    wire = ApnsWire(apns_settings(communication=True), ApnsEnvironment.PRODUCTION)
    payload = json.loads(wire.build([to_device(a_fold(2, alert))], "bearer JWT", NOON).body)
    assert payload["aps"]["alert"] == {"title": "Book club", "body": "2 new messages"}
    assert payload["mimc"] == {"conversation": "topic:7", "sequence": "7"}
    unnamed = a_fold(2, an_alert(conversation="topic:7"))
    assert json.loads(built(unnamed).body)["aps"]["alert"] == {"body": "2 new messages"}


def test_an_iphone_that_chooses_the_words_of_a_fold_gets_the_number() -> None:
    wire = ApnsWire(apns_settings(localized="device"), ApnsEnvironment.PRODUCTION)
    shown = [
        json.loads(wire.build([to_device(a_fold(count))], "bearer JWT", NOON).body)["aps"]["alert"] for count in (1, 7)
    ]
    assert shown == [
        {"title": "Li Lei", "loc-key": "MIMC_FOLD_ONE", "loc-args": ["1"]},
        {"title": "Li Lei", "loc-key": "MIMC_FOLD", "loc-args": ["7"]},
    ]


@RELAXED
@given(alerts)
def test_any_fold_shows_no_word_of_its_messages_and_stays_within_4096_bytes(alert: Alert) -> None:
    body = built(a_fold(999, alert)).body
    assert len(body) <= 4096
    assert json.loads(body)["aps"]["alert"]["body"] == "999 new messages"
