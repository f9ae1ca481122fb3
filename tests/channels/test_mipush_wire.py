"""Xiaomi push: what we send for a batch, and what each of its answers means."""

import json
import re
import unicodedata
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.channels.mipush.codes import next_day_in_china
from proxy.channels.mipush.template import clean
from proxy.channels.mipush.wire import MipushWire, authorization
from proxy.domain.alerts import Alert, AlertText, Update
from proxy.domain.jobs import Push
from proxy.domain.kinds import Kind
from proxy.domain.outcomes import (
    About,
    Accepted,
    Deferred,
    Impossible,
    Misaddressed,
    OurFault,
    Outcome,
    Rejected,
    Split,
    UnknownAccount,
    Unregistered,
)
from proxy.domain.previews import Preview
from proxy.domain.transfers import Response
from proxy.domain.words import Vocabulary
from tests.channels.pushes import (
    NOON,
    RELAXED,
    SECRET,
    a_fold,
    alerts,
    an_alert,
    header,
    long_words,
    mipush_settings,
    to_account,
    to_regid,
)

TEMPLATE = {"id": "M12762", "variables": {"keywords1": "sender", "keywords2": "text"}}
GROUP_TEMPLATE = {"id": "M12763", "variables": {"keywords1": "group", "keywords2": "sender", "keywords3": "text"}}
ACCOUNTS = MipushWire(mipush_settings(channel_id="123456", template=TEMPLATE, group_template=GROUP_TEMPLATE))
REGIDS = MipushWire(mipush_settings(address="regid"))
MIDNIGHT_IN_CHINA = datetime(2026, 11, 23, 16, tzinfo=UTC)


def form(alert: Alert, wire: MipushWire = ACCOUNTS) -> dict[str, str]:
    body = wire.build([to_account("alice", alert)], "key=k", NOON).body
    pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, strict_parsing=True, errors="strict")
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def template_values(alert: Alert, wire: MipushWire = ACCOUNTS) -> dict[str, str]:
    values: dict[str, str] = json.loads(form(alert, wire)["extra.template_param"])
    return values


def read(wire: MipushWire, pushes: list[Push], body: object, status: int = 200, wait: str = "") -> list[Outcome]:
    return wire.read(pushes, Response(status, {"retry-after": wait}, json.dumps(body).encode()), NOON)


def read_code(wire: MipushWire, pushes: list[Push], code: object) -> Outcome:
    outcomes = set(read(wire, pushes, {"result": "error", "reason": "prose", "description": "prose", "code": code}))
    (outcome,) = outcomes
    return outcome


def utf16_length(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


# what is sent


def test_the_secret_is_sent_as_a_key() -> None:
    assert authorization(mipush_settings()) == f"key={SECRET}"


@pytest.mark.parametrize(
    ("wire", "pushes", "path", "target"),
    [
        (ACCOUNTS, [to_account("alice"), to_account("李")], "user_account", ("user_account", "alice,李")),
        (REGIDS, [to_regid("a+/="), to_regid("b")], "regid", ("registration_id", "a+/=,b")),
    ],
)
def test_one_request_names_all_targets(
    wire: MipushWire, pushes: list[Push], path: str, target: tuple[str, str]
) -> None:
    request = wire.build(pushes, "key=k", NOON)

    assert request.url == f"https://api.xmpush.xiaomi.com/v2/message/{path}"
    assert target in parse_qsl(request.body.decode("ascii"))


def test_a_request_is_a_form_without_libcurls_own_headers() -> None:
    headers = ACCOUNTS.build([to_account()], "key=k", NOON).headers

    assert header(headers, "authorization") == "key=k"
    assert header(headers, "content-type") == "application/x-www-form-urlencoded;charset=UTF-8"
    assert {line for line in headers if line.endswith(":")} == {"user-agent:", "accept:", "expect:", "accept-encoding:"}


def test_a_message_between_two_people_has_these_parameters() -> None:
    sent = form(an_alert("Li Lei", "hello & 你好", sequence=7))

    assert json.loads(sent.pop("payload")) == {"mimc": {"conversation": "p2p:lilei", "sequence": "7"}}
    assert json.loads(sent.pop("extra.template_param")) == {"keywords1": "Li Lei", "keywords2": "hello & 你好"}
    assert re.fullmatch(r"[0-9A-Za-z-][0-9A-Za-z_-]{11}", sent.pop("extra.jobkey"))
    assert sent == {
        "user_account": "alice",
        "restricted_package_name": "com.example.chat",
        "title": "Li Lei",
        "description": "hello & 你好",
        "pass_through": "0",
        "notify_type": "-1",
        "notify_id": "1863196932",  # for good: another id would not replace what phones show
        "time_to_live": "86400000",
        "extra.notify_effect": "1",
        "extra.channel_id": "123456",
        "extra.template_id": "M12762",
    }


def test_a_silent_alert_asks_for_no_sound_and_no_other_request_is_its_neighbours() -> None:
    loud, silent = an_alert(), replace(an_alert(), silent=True)
    assert (form(loud)["notify_type"], form(silent)["notify_type"]) == ("-1", "0")
    wire = MipushWire(mipush_settings())
    assert wire.batch_key(to_account(alert=loud).job) != wire.batch_key(to_account(alert=silent).job)


def test_a_group_has_a_template_of_its_own_where_one_is_set() -> None:
    group = an_alert("Li Lei", "hello", conversation="topic:4711")

    assert template_values(group) == {"keywords1": "4711", "keywords2": "Li Lei", "keywords3": "hello"}
    assert form(group)["extra.template_id"] == "M12763"
    only_one = MipushWire(mipush_settings(template=TEMPLATE))
    assert form(group, only_one)["extra.template_id"] == "M12762"
    assert "extra.template_id" not in form(group, MipushWire(mipush_settings(group_template=None)))
    only_groups = MipushWire(mipush_settings(group_template=GROUP_TEMPLATE))
    assert "extra.template_id" not in form(an_alert(), only_groups)


MENTION = {"id": "M12771", "variables": {"keywords1": "sender", "keywords2": "group"}}
CALL = {"id": "M12764", "variables": {"keywords1": "sender"}}


@pytest.mark.parametrize(
    ("conversation", "kind", "mentioned", "template"),
    [
        ("p2p:ann", Kind.TEXT, True, "M12762"),
        ("p2p:ann", Kind.CALL, False, "M12764"),
        ("topic:1", Kind.TEXT, False, "M12763"),
        ("topic:1", Kind.TEXT, True, "M12771"),
        ("topic:1", Kind.CALL, True, "M12764"),
    ],
)
def test_each_kind_of_alert_has_a_template_of_its_own_where_one_is_set(
    conversation: str, kind: Kind, mentioned: bool, template: str
) -> None:
    groups = {"template": TEMPLATE, "group_template": GROUP_TEMPLATE}
    wire = MipushWire(mipush_settings(**groups, mention_template=MENTION, call_template=CALL))
    alert = replace(an_alert(conversation=conversation), mentioned=mentioned)
    alert = replace(alert, text=replace(alert.text, kind=kind))
    assert form(alert, wire)["extra.template_id"] == template

    without = MipushWire(mipush_settings(**groups))
    assert form(alert, without)["extra.template_id"] == ("M12763" if conversation.startswith("topic") else "M12762")


def test_a_tap_leads_to_the_conversation_where_the_address_names_its_place() -> None:
    uri = "intent:#Intent;component=a.b/.Chat;S.with={conversation};end"
    wire = MipushWire(mipush_settings(notify_effect="2", intent_uri=uri))
    opened = form(an_alert(conversation="p2p:li;lei#李 %"), wire)["extra.intent_uri"]
    assert opened == uri.replace("{conversation}", "p2p%3Ali%3Blei%23%E6%9D%8E%20%25")  # Intent.parseUri decodes it
    web = MipushWire(mipush_settings(notify_effect="3", web_uri="https://a.example/?c={conversation}"))
    assert form(an_alert(conversation="topic:7"), web)["extra.web_uri"] == "https://a.example/?c=topic%3A7"
    far = an_alert(conversation="p2p:" + "李" * 200)
    assert form(far, wire)["extra.intent_uri"] == uri.replace("{conversation}", "")


@pytest.mark.parametrize(
    ("settings", "extras"),
    [
        ({}, {"extra.notify_effect": "1"}),
        (
            {"notify_effect": "2", "intent_uri": "intent:#Intent;end"},
            {"extra.notify_effect": "2", "extra.intent_uri": "intent:#Intent;end"},
        ),
        (
            {"notify_effect": "3", "web_uri": "https://a.example"},
            {"extra.notify_effect": "3", "extra.web_uri": "https://a.example"},
        ),
        ({"channel_id": "5"}, {"extra.notify_effect": "1", "extra.channel_id": "5"}),
    ],
)
def test_a_notification_always_has_a_click_action(settings: dict[str, Any], extras: dict[str, str]) -> None:
    sent = form(an_alert(), MipushWire(mipush_settings(**settings)))

    assert {name: sent[name] for name in sent if name.startswith("extra.") and name != "extra.jobkey"} == extras


@pytest.mark.parametrize(
    ("channel", "left", "time_to_live"),
    [
        ("1", timedelta(days=40), timedelta(days=10)),
        ("", timedelta(days=40), timedelta(days=1)),
        ("", timedelta(hours=1), timedelta(hours=1)),
        ("", timedelta(0), timedelta(milliseconds=1)),  # 0 might be taken for "none given"
    ],
)
def test_a_message_is_kept_for_a_phone_until_the_alert_expires(
    channel: str, left: timedelta, time_to_live: timedelta
) -> None:
    wire = MipushWire(mipush_settings(channel_id=channel))
    sent = form(replace(an_alert(), expires_at=NOON + left), wire)

    assert int(sent["time_to_live"]) == time_to_live / timedelta(milliseconds=1)


def test_a_repeat_has_the_jobkey_of_its_message_and_another_message_another() -> None:
    assert form(an_alert(sequence=1))["extra.jobkey"] == form(an_alert(body="x", sequence=1))["extra.jobkey"]
    assert len({form(an_alert(sequence=n))["extra.jobkey"] for n in range(300)}) == 300


@RELAXED
@given(alert=alerts)
def test_what_is_sent_keeps_all_bounds_whatever_people_write(alert: Alert) -> None:
    sent = form(alert)

    for name, below in (("title", 50), ("description", 128)):
        assert utf16_length(sent[name]) < below
        assert sent[name].strip()
    assert 0 <= int(sent["notify_id"]) < 2**31
    assert len(sent["payload"].encode()) <= 4096
    assert re.fullmatch(r"[0-9A-Za-z-][0-9A-Za-z_-]{11}", sent["extra.jobkey"])
    assert sum(len(name) + utf16_length(sent[name]) for name in sent if name.startswith("extra.")) < 1024


def test_a_title_of_49_and_a_description_of_127_are_sent_whole() -> None:
    sent = form(an_alert("t" * 49, "d" * 127))
    longer = form(an_alert("t" * 50, "d" * 128))

    assert (sent["title"], sent["description"]) == ("t" * 49, "d" * 127)
    assert (longer["title"], longer["description"]) == ("t" * 48 + "…", "d" * 126 + "…")


def test_an_emoji_counts_twice_as_a_java_server_may_count_it() -> None:
    assert form(an_alert("👍" * 30))["title"] == "👍" * 24 + "…"


def test_a_blank_text_is_replaced() -> None:
    sent = form(an_alert("", " \u3000\u200b"))
    own = MipushWire(mipush_settings(template=TEMPLATE | {"fallback": "[消息]"}))

    assert (sent["title"], sent["description"]) == ("New message", "[message]")
    assert form(an_alert(" ", " "))["title"] == "[message]"
    assert form(an_alert("Li Lei", " "), own)["description"] == "[消息]"


def regid(text: AlertText, locale: str = "") -> Push:
    push = to_regid("regid", replace(an_alert(), text=text))
    assert push.device is not None
    return replace(push, device=replace(push.device, locale=locale))


def told(text: AlertText, locale: str = "", wire: MipushWire = REGIDS) -> tuple[str, str]:
    sent = dict(parse_qsl(wire.build([regid(text, locale)], "key=k", NOON).body.decode()))
    return sent["title"], sent["description"]


def test_what_is_no_text_is_said_in_the_phone_s_language_and_names_the_group_first() -> None:
    assert told(AlertText("ann", "", Kind.PICTURE), "zh-TW") == ("ann", "[圖片]")
    assert told(AlertText("", "", Kind.NEW), "zh-CN") == ("新消息", "新消息")
    assert told(AlertText("ann", "hi", Kind.TEXT, "The family")) == ("The family", "ann: hi")


def test_accounts_are_told_in_the_app_s_language() -> None:
    wire = MipushWire(mipush_settings(template=TEMPLATE), Vocabulary("zh-Hans"))
    sent = form(replace(an_alert(), text=AlertText("ann", "", Kind.CALL)), wire)
    assert sent["description"] == "来电"
    assert json.loads(sent["extra.template_param"]) == {"keywords1": "ann", "keywords2": "来电"}


def test_one_request_is_for_phones_that_are_told_the_same() -> None:
    picture, text = AlertText("ann", "", Kind.PICTURE), AlertText("ann", "hi")
    assert REGIDS.variant(regid(picture, "zh-CN")) == REGIDS.variant(regid(picture, "zh-SG"))
    assert REGIDS.variant(regid(picture, "zh-CN")) != REGIDS.variant(regid(picture, "zh-TW"))
    assert REGIDS.variant(regid(text, "zh-CN")) == REGIDS.variant(regid(text, "en"))
    loud = regid(text, "en")
    quiet = replace(loud, job=replace(loud.job, alert=replace(loud.job.alert, silent=True)))
    assert REGIDS.variant(loud) != REGIDS.variant(quiet)
    open_, shy = regid(text), regid(text)
    assert shy.device is not None
    shy = replace(shy, device=replace(shy.device, preview=Preview.SENDER))
    assert REGIDS.variant(open_) != REGIDS.variant(shy)


def test_a_template_s_group_is_its_name_where_the_payload_has_one() -> None:
    alert = replace(an_alert(conversation="topic:77"), text=AlertText("ann", "hi", Kind.TEXT, "The family"))
    assert json.loads(form(alert)["extra.template_param"])["keywords1"] == "The family"
    assert json.loads(form(an_alert(conversation="topic:77"))["extra.template_param"])["keywords1"] == "77"


def test_nine_long_variables_and_a_long_intent_keep_the_bound_of_the_newest_document() -> None:
    template = {"id": "M" * 64, "variables": {f"{n}" * 32: "text" for n in range(1, 10)}, "fallback": '"' * 128}
    settings = {"notify_effect": "2", "intent_uri": "intent:" + "x" * 1003 + "{conversation}", "channel_id": "1" * 64}
    settings |= {"receipts": "https://" + "a" * 192, "receipt_secret": "s" * 48}
    for text in ('"' * 1000, "\\" * 1000, "👍" * 1000, "你" * 1000):
        sent = form(an_alert(text, text), MipushWire(mipush_settings(template=template, **settings)))

        assert sum(len(name) + utf16_length(sent[name]) for name in sent if name.startswith("extra.")) < 2048


# templates


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("hello", "hello"),
        ("👍", "[none]"),
        ("👍🏽 ok", "ok"),
        ("good 👍🏽 morning", "good morning"),
        ("👨\u200d👩\u200d👧", "[none]"),
        ("❤\ufe0f", "[none]"),
        ("1\ufe0f\u20e3", "1"),
        ("🇨🇳!", "!"),
        ("🏴\U000e0067\U000e0062\U000e007f", "[none]"),
        ("^_^ `code`", "^_^ `code`"),  # category Sk as well, but typed by everybody
        ("\u0378a", "a"),  # unassigned
        ("\ue000a", "a"),  # private use: an emoji of old phones
        ("a\nb\tc\x00", "a b c"),
        ("  ", "[none]"),
        ("\u3000\u200b", "[none]"),
        ("", "[none]"),
        ("你好，世界", "你好，世界"),
        ("x" * 128, "x" * 128),
        ("x" * 129, "x" * 127 + "…"),
    ],
)
def test_a_template_value_has_no_emoji_and_is_never_empty(text: str, value: str) -> None:
    assert clean(text, "[none]") == value


def test_a_fallback_of_emoji_is_replaced_too() -> None:
    assert clean("👍", "💬") == "[message]"


@RELAXED
@given(text=st.text() | long_words, fallback=st.text(min_size=1, max_size=128))
def test_any_text_becomes_a_value_that_a_template_takes(text: str, fallback: str) -> None:
    value = clean(text, fallback)

    assert 1 <= utf16_length(value) <= 128
    assert value == value.strip()
    assert not {unicodedata.category(character) for character in value} & {"So", "Cn", "Cs"}
    assert not set(value) & {"\u200d", "\ufe0f", "\u20e3", "\U0001f3fd"}


# who is refused


@pytest.mark.parametrize(
    "address",
    ["", "alice,bob", ",", " a", "a\tb", "a\n", "a\x00", "a\x7f", "\u3000", "a\u00a0", "\ud800", "x" * 65],
)
@pytest.mark.parametrize("regid", [True, False])
def test_what_would_not_be_one_target_never_enters_a_list(address: str, regid: bool) -> None:
    refusal = REGIDS.refuse(to_regid(address)) if regid else ACCOUNTS.refuse(to_account(address))

    assert isinstance(refusal, Impossible)


@pytest.mark.parametrize("address", ["alice", "li lei", "x" * 64, "李雷", "a+/=", "a@b.example", "0", "👍"])
def test_other_names_are_targets(address: str) -> None:
    assert ACCOUNTS.refuse(to_account(address)) is None
    assert REGIDS.refuse(to_regid(address)) is None


def test_a_push_of_the_other_kind_is_refused() -> None:
    assert ACCOUNTS.refuse(to_regid("regid")) == Rejected("address")
    assert REGIDS.refuse(to_account("alice")) == Rejected("address")


# what is answered


ALICE, BOB = to_account("alice"), to_account("bob")
SPOILT = Deferred("unreadable answer", timedelta(minutes=10), about=About.JOB, unanswered=True)
ONE, TWO, THREE = to_regid("one"), to_regid("two"), to_regid("three")


@pytest.mark.parametrize(
    "body",
    [
        {"code": 0, "data": {"id": "Xcm1"}, "trace_id": "Xt"},
        {"code": 0},
        {"code": "0"},
        {"code": 0, "data": [], "trace_id": None},
        {"code": 0, "data": {"bad_regids": "alice"}},  # accounts have no such list
    ],
)
def test_code_0_is_accepted_whatever_is_beside_it(body: object) -> None:
    assert read(ACCOUNTS, [ALICE, BOB], body) == [Accepted()] * 2


def test_an_acceptance_whose_prose_is_gbk_is_accepted() -> None:
    body = '{"result":"ok","description":"成功","code":0}'.encode("gbk")

    assert ACCOUNTS.read([ALICE], Response(200, {}, body), NOON) == [Accepted()]


@pytest.mark.parametrize("body", [b'{"result":"ok","data":{"id":"Xcm', b'{"code":null}', b"\x1f\x8b\x08", b"{"])
def test_an_answer_that_was_spoilt_may_mean_yes_so_its_push_is_repeated_rarely(body: bytes) -> None:
    assert ACCOUNTS.read([ALICE], Response(200, {}, body), NOON) == [SPOILT]


@pytest.mark.parametrize("key", ["bad_regids", "bad_regIds"])
def test_only_the_regids_that_are_called_bad_are_gone(key: str) -> None:
    outcomes = read(REGIDS, [ONE, TWO, THREE], {"code": 0, "data": {"id": "Xcm1", key: "three, one,other"}})

    assert outcomes == [Unregistered(None), Accepted(), Unregistered(None)]


@pytest.mark.parametrize("value", [None, 5, ["one"], "", {"one": 1}])
def test_a_list_of_bad_regids_in_another_shape_names_nobody(value: object) -> None:
    assert read(REGIDS, [ONE], {"code": 0, "data": {"bad_regids": value}}) == [Accepted()]


TROUBLE = [-1, 1, 10001, 10002, 10003, 10009, 10037, 20607, 26003, 65029]
TOO_FAST = [10004, 10022, 10023, 10024, 10027, 10028, 200002]
SPENT = [10034, 200001]
CONFIG = [10020, 10026, 10031, 10036, 21301, 21302, 21303, 22000, 22006, 22007, 22022, 27001]
BAD_MESSAGE = [10025, 10041, 22100, 22101, 22102, 22103, 65009, 65014, 65015, 65036, 65037, 65038]
BAD_REQUEST = [100, 10008, 10012, 10016, 10017, 10018, 21305, 65008, 65011, 65012, 65016, 65017]
BAD_TARGET = [10029, 65003]
ELSEWHERE = [10030, 10032, 10033, 10035, 10038, 10039, 20209, 20215, 20216, 20315, 26004, 26005, 26006]
ELSEWHERE += [65006, 65007, 65010, 65013, 65028, 65035]


@pytest.mark.parametrize(("wire", "pushes"), [(ACCOUNTS, [ALICE]), (ACCOUNTS, [ALICE, BOB]), (REGIDS, [ONE, TWO])])
def test_a_code_about_the_service_or_the_message_is_the_same_for_every_target(
    wire: MipushWire, pushes: list[Push]
) -> None:
    for code in TROUBLE:
        assert _kind(read_code(wire, pushes, code), code) == Deferred("")
    for code in TOO_FAST:
        assert _kind(read_code(wire, pushes, code), code) == Deferred("", timedelta(seconds=5))
    for code in SPENT:
        assert _kind(read_code(wire, pushes, code), code) == OurFault("", MIDNIGHT_IN_CHINA)
    for code in CONFIG:
        assert _kind(read_code(wire, pushes, code), code) == OurFault("")
    for code in BAD_MESSAGE:
        assert _kind(read_code(wire, pushes, code), code) == Rejected("")
    for code in (*ELSEWHERE, 424242, -7, 10**3000):  # never seen: neither hammered nor lost
        assert _kind(read_code(wire, pushes, code), code) == Deferred("", timedelta(minutes=1), about=About.JOB)


@pytest.mark.parametrize(
    ("code", "by_account", "by_regid"),
    [
        (66007, UnknownAccount(), Unregistered(None)),
        (20301, UnknownAccount(), Misaddressed("code 20301 no valid targets")),
        *((code, Misaddressed(""), Misaddressed("")) for code in BAD_TARGET),
        *((code, Rejected(""), Rejected("")) for code in BAD_REQUEST),
    ],
)
def test_a_code_that_may_be_about_one_target_halves_a_batch_and_settles_a_single(
    code: int, by_account: Outcome, by_regid: Outcome
) -> None:
    assert _kind(read_code(ACCOUNTS, [ALICE, BOB], code), code) == Split("")
    assert _kind(read_code(REGIDS, [ONE, TWO, THREE], code), code) == Split("")
    assert _kind(read_code(ACCOUNTS, [ALICE], code), code) == _kind(by_account, code)
    assert _kind(read_code(REGIDS, [ONE], code), code) == _kind(by_regid, code)


def _kind(outcome: Outcome, code: int) -> Outcome:
    """The outcome without its reason, which is the code and a name of ours."""
    match outcome:
        case Deferred() | OurFault() | Rejected() | Misaddressed() | Split():
            assert outcome.reason == "" or outcome.reason.startswith(f"code {code} "[:60])
            assert "prose" not in outcome.reason
            return replace(outcome, reason="")
        case _:
            return outcome


@pytest.mark.parametrize("code", [None, "ok", True, False, 0.0, [0]])
def test_an_answer_without_a_whole_number_as_code_is_none(code: object) -> None:
    assert read_code(ACCOUNTS, [ALICE, BOB], code) == SPOILT


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"0", b"\xff", b"[" * 16_000])
def test_an_answer_that_is_not_theirs_comes_again(body: bytes) -> None:
    assert ACCOUNTS.read([ALICE], Response(200, {}, body), NOON) == [Deferred("no code", unanswered=True)]


@pytest.mark.parametrize("status", [0, 204, 302, 400, 404, 429, 500, 502, 503])
def test_another_http_status_is_a_failure_of_the_transport_whatever_the_body(status: int) -> None:
    assert read(ACCOUNTS, [ALICE], {"code": 0}, status) == [Deferred(f"http {status}", unanswered=status >= 500)]


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_secret_pauses_the_lane(status: int) -> None:
    assert read(ACCOUNTS, [ALICE], {"code": 0}, status) == [OurFault(f"http {status}")]


def test_the_longer_of_their_wait_and_ours_counts() -> None:
    (shorter,) = read(ACCOUNTS, [ALICE], {"code": 10027}, wait="3")
    (longer,) = read(ACCOUNTS, [ALICE], {"code": 10027}, wait="30")

    assert shorter == Deferred("code 10027 calls too frequent", timedelta(seconds=5))
    assert longer == Deferred("code 10027 calls too frequent", timedelta(seconds=30))
    assert read(ACCOUNTS, [ALICE], {}, 503, wait="30") == [Deferred("http 503", timedelta(seconds=30), unanswered=True)]


@pytest.mark.parametrize(
    ("now", "midnight"),
    [
        ("2026-11-23T12:00:00+00:00", "2026-11-23T16:00:00+00:00"),
        ("2026-11-23T15:59:59.999+00:00", "2026-11-23T16:00:00+00:00"),
        ("2026-11-23T16:00:00+00:00", "2026-11-24T16:00:00+00:00"),
        ("2026-12-31T20:00:00+00:00", "2027-01-01T16:00:00+00:00"),
    ],
)
def test_allowances_are_renewed_at_the_next_midnight_in_china(now: str, midnight: str) -> None:
    assert next_day_in_china(datetime.fromisoformat(now)) == datetime.fromisoformat(midnight)
    assert next_day_in_china(datetime.fromisoformat(now)).tzinfo == UTC


@pytest.mark.parametrize(
    ("push", "target"), [(to_account("alice"), "user_account"), (to_regid("reg1"), "registration_id")]
)
def test_a_withdrawal_revokes_what_the_conversation_shows(push: Push, target: str) -> None:
    address = "account" if push.device is None else "regid"
    wire = MipushWire(mipush_settings(address=address))
    withdrawal = replace(push, job=replace(push.job, alert=replace(push.job.alert, update=Update.RECALL)))
    sent, revoked = (wire.build([one], "key=s", NOON) for one in (push, withdrawal))
    kind = "user_account" if push.device is None else "regid"
    assert revoked.url.endswith(f"/v3/message/{kind}/revoke")
    form, shown = (dict(parse_qsl(it.body.decode())) for it in (revoked, sent))
    assert form == {name: shown[name] for name in (target, "restricted_package_name", "notify_id")}
    assert wire.batch_key(withdrawal.job) != wire.batch_key(replace(withdrawal.job, account="ben"))


# folds


def test_a_fold_takes_the_conversation_s_place_and_a_repeat_of_it_alone_is_dropped() -> None:
    plain, three, five = form(an_alert()), form(a_fold(3)), form(a_fold(5))
    assert (three["title"], three["description"]) == ("Li Lei", "3 new messages")
    assert plain["notify_id"] == three["notify_id"] == five["notify_id"]
    assert len({it["extra.jobkey"] for it in (plain, three, five, form(a_fold(3)))}) == 3
    assert REGIDS.batch_key(to_regid("a", a_fold()).job) != REGIDS.batch_key(to_regid("a", a_fold(4)).job)


def test_a_fold_has_the_template_of_a_text() -> None:
    assert form(a_fold())["extra.template_id"] == form(an_alert())["extra.template_id"]
    assert "3 new messages" in template_values(a_fold()).values()
    named = replace(an_alert(conversation="topic:4711"), text=AlertText("Li Lei", "hello", Kind.TEXT, "Book club"))
    assert template_values(a_fold(3, named)) == {
        "keywords1": "Book club",
        "keywords2": "Book club",
        "keywords3": "3 new messages",
    }
    assert (form(a_fold(3, named))["title"], form(a_fold(3, named))["description"]) == ("Book club", "3 new messages")


@RELAXED
@given(alerts)
def test_any_fold_keeps_the_bounds_of_titles_descriptions_and_values(alert: Alert) -> None:
    fold = a_fold(999, alert)
    sent = form(fold)
    assert utf16_length(sent["title"]) <= 49
    assert sent["description"] == "999 new messages"
    assert all(0 < utf16_length(value) <= 128 for value in template_values(fold).values())
