import base64
import json
import unicodedata
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.domain.alerts import AlertText
from proxy.domain.kinds import MESSAGE_TYPES, SILENT, WITH_TEXT, Kind, Rule
from proxy.domain.messages import DEFAULT_READING, MAX_BODY, MAX_TITLE, Content, MessageReading, clean
from proxy.domain.words import ENGLISH, Vocabulary

RELAXED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the machine may be busy
FAMILY = "👨\u200d👩\u200d👧"


def envelope(**members: Any) -> bytes:
    return json.dumps({"version": 0, "msgId": "TEXT_12345", **members}).encode()


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def alert_text(payload: bytes, biz_type: str, sender: str, reading: MessageReading = DEFAULT_READING) -> Any:
    """What is said in English; None where nothing is."""
    content = reading.read(payload, biz_type)
    return None if content.silent else Vocabulary().say(content.alert_text(sender), "en")


def words(payload: bytes, biz_type: str = "") -> str | None:
    alert = alert_text(payload, biz_type, "ann")
    return None if alert is None else alert.body


@pytest.mark.parametrize("row", MESSAGE_TYPES, ids=lambda row: row.spelling)
@pytest.mark.parametrize("place", ["MIMC's own", "msgType", "type", "bizType", "biz_type"])
def test_every_spelling_of_a_type_is_known_in_every_place(row: Any, place: str) -> None:
    expected = None if row.kind in SILENT else "hi there" if row.kind in WITH_TEXT else ENGLISH[row.kind]
    for spelling in (row.spelling, row.spelling.lower(), f" {row.spelling.capitalize()} "):
        if place == "MIMC's own":
            assert words(envelope(payload="hi there"), spelling) == expected
        else:
            assert words(envelope(payload="hi there", **{place: spelling})) == expected


def test_a_spelling_stands_once_in_the_table_in_capitals() -> None:
    spellings = [row.spelling for row in MESSAGE_TYPES]
    assert sorted(spellings) == sorted({spelling.upper() for spelling in spellings})
    assert all(row.source for row in MESSAGE_TYPES)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("PIC_FILE", "[Photo]"),
        ("AUDIO_FILE", "[Voice message]"),
        ("VIDEO_FILE", "[Video]"),
        ("BIN_FILE", "[File]"),
        ("ADD_FRIEND_REQUEST", "Wants to be friends"),
        ("104", "[Photo]"),
        ("107", "Wants to be friends"),
        ("ORDER_PAID", "New message"),
    ],
)
def test_what_is_no_text_is_named_and_its_content_never_shown(kind: str, body: str) -> None:
    assert alert_text(envelope(type=kind, payload="https://files.example/1"), "", "ann").body == body


@pytest.mark.parametrize(
    "kind",
    ["PING", "PONG", "TEXT_READ", "BIN_FILE_RECALL", "RECALL", "READ", "ADD_FRIEND_RESPONSE", "CHAT_STATE_CHANGE"],
)
def test_signals_between_apps_ring_nobody(kind: str) -> None:
    assert alert_text(b"anything", kind, "ann") is None


@pytest.mark.parametrize(
    ("members", "biz_type", "body"),
    [
        ({"msgType": "PING", "payload": "hi"}, "TEXT", "hi"),  # MIMC's own bizType comes first
        ({"msgType": "PING", "payload": "hi"}, "shop", None),  # where we know it
        ({"msgType": "TEXT", "type": "PING", "payload": "hi"}, "", "hi"),
        ({"type": "TEXT", "bizType": "PING", "biz_type": "PONG", "payload": "hi"}, "", "hi"),
        ({"msgType": "", "type": None, "bizType": 103, "payload": "hi"}, "", "hi"),
        ({"msgType": 103, "payload": "hi"}, "", "hi"),
        ({"msgType": 101, "payload": "hi"}, "", None),
        ({"msgType": True, "type": ["TEXT"], "payload": "hi"}, "", "New message"),
        ({"payload": "hi"}, "", "New message"),
        ({"msgType": "9" * 5000, "payload": "hi"}, "", "New message"),
    ],
)
def test_the_type_is_the_first_that_is_known(members: dict[str, Any], biz_type: str, body: str | None) -> None:
    assert words(envelope(**members), biz_type) == body


@pytest.mark.parametrize(
    ("members", "body"),
    [
        ({"payload": "hi"}, "hi"),
        ({"content": "hi"}, "hi"),
        ({"payload": "hi", "content": "no"}, "hi"),
        ({"payload": "", "content": "hi"}, "hi"),
        ({"payload": 42}, "42"),
        ({"payload": {"text": "hi"}}, "New message"),
        ({"payload": None}, "New message"),
        ({}, "New message"),
    ],
)
def test_the_text_is_in_payload_or_content(members: dict[str, Any], body: str) -> None:
    assert words(envelope(msgType="TEXT", **members)) == body


@pytest.mark.parametrize(
    "text",
    [
        "test",
        "abcd",
        "hello123",
        "6666",
        "66666666",
        "13800138000",
        "你好",
        "YES",
        "OK=",
        "=",
        "password",
        "Tomorrow",
        "100%25",
        "SGVsbG8",
        "a+b=c",
        "good",
        "NjY2",
    ],
)
def test_clear_text_that_could_be_base64_stays_as_it_is(text: str) -> None:
    assert words(envelope(msgType="TEXT", payload=text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "hello123",
        "你好",
        "test it",
        "a",
        "ok",
        "100%",
        "50% of 你",
        "one\ttwo",
        f"{FAMILY} hi",
        "é",
        "Hello, this is a longer message.",
    ],
)
def test_text_in_base64_is_shown_in_clear(text: str) -> None:
    shown = text.replace("\t", " ")
    assert words(envelope(msgType="TEXT", payload=encoded(text))) == shown
    assert words(envelope(payload=encoded(text)), "TEXT") == shown
    assert words(envelope(msgType="103", content=encoded(quote(text, safe="")))) == shown


@pytest.mark.parametrize("text", ["好", "666", "555", "abc", "OK!"])
def test_short_text_without_padding_is_decoded_only_from_the_demos_that_always_encode(text: str) -> None:
    assert words(envelope(payload=encoded(text)), "TEXT") == text
    assert words(envelope(payload=encoded(text), msgType="TEXT"), "TEXT") == encoded(text)


@pytest.mark.parametrize("text", ["test", "abcd", "hello123", "6666", "你好", "hi"])
def test_clear_text_under_mimcs_own_biz_type_stays_as_it_is(text: str) -> None:
    assert words(envelope(payload=text), "TEXT") == text


@pytest.mark.parametrize(
    "text",
    [
        "aGVsbG8gdGhlcmX=",  # does not round-trip: bits are left over
        base64.b64encode(b"\xff\xfe\xfd\xfc").decode(),
        base64.b64encode(b"one\x00two").decode(),
        base64.b64encode("private \ue000".encode()).decode(),
        "aGVsbG8 dGhlcmU=",
    ],
)
def test_what_does_not_decode_to_clean_text_is_shown_as_it_came(text: str) -> None:
    assert words(envelope(msgType="TEXT", payload=text)) == text


def test_percent_encoding_that_is_no_utf8_stays() -> None:
    assert words(envelope(msgType="TEXT", payload=encoded("%ff%fe and"))) == "%ff%fe and"
    assert words(envelope(msgType="TEXT", payload=encoded("%ff%fe"))) == "%ff%fe"


def test_an_envelope_in_base64_is_opened() -> None:
    twice = base64.b64encode(envelope(biz_type="text", payload="hi there"))
    assert words(twice) == "hi there"
    assert words(twice + b"\n") == "hi there"


@pytest.mark.parametrize(
    ("payload", "body"),
    [
        (b"hi there", "hi there"),
        ("你好".encode(), "你好"),
        (b"\xef\xbb\xbfhi", "hi"),
        (b"[1, 2]", "[1, 2]"),
        (b"5", "5"),
        (encoded("hello there").encode(), "hello there"),
        (b"", "New message"),
        (b" \n", "New message"),
        (b"\xff\xfe", "New message"),
        (b'{"text": "hi"}', "New message"),  # some JSON of the app's: not for people
    ],
)
def test_a_payload_without_an_envelope_is_text_where_mimcs_own_type_says_so(payload: bytes, body: str) -> None:
    assert words(payload, "TEXT") == body
    assert words(payload) == "New message"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("one\ntwo\r\n\tthree  ", "one two three"),
        ("a\x00b\x07c\x1b[31m", "abc[31m"),
        ("a\x85b\u2028c\u3000d", "a b c d"),
        ("pay \u202egpj.exe\u2066\u200e", "pay gpj.exe"),
        ("half \ud83d", "half"),
        (f"{FAMILY} ❤\ufe0f 🇨🇳", f"{FAMILY} ❤\ufe0f 🇨🇳"),
        ("\x00\n", ""),
    ],
)
def test_a_line_has_no_control_characters(text: str, line: str) -> None:
    assert clean(text, 100) == line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("12345", "12345"),
        ("123456", "1234…"),
        ("123 56", "123…"),
        ("123e\u0301x", "123…"),
        ("12e\u0301x!", "12e\u0301…"),
        ("1" + FAMILY + "2", "1…"),
        ("123👍🏽4", "123…"),
        ("123🇨🇳4", "123…"),
        ("123\u1100\u1161\u11a8", "123…"),  # a syllable of three code points
        ("12\uff76\uff9e\uff76\uff9e", "12\uff76\uff9e…"),  # a mark of half-width Katakana
        ("12🇨🇳🇨🇳", "12🇨🇳…"),
    ],
)
def test_a_long_line_is_cut_between_characters(text: str, line: str) -> None:
    assert clean(text, 5) == line


def test_a_syllable_at_the_end_of_a_full_body_is_whole_or_left_out() -> None:
    syllable = unicodedata.normalize("NFD", "\uac01")

    assert clean("a" * 998 + syllable, 1000) == "a" * 998 + "…"
    assert clean("a" * 997 + syllable, 1000) == "a" * 997 + syllable
    assert clean("\x00" * 3998 + syllable, 1000) == ""


def test_title_and_body_are_bounded() -> None:
    alert = alert_text(envelope(type="TEXT", payload="你" * 5000), "", "a" * 5000)
    assert alert is not None
    assert (len(alert.title), len(alert.body)) == (MAX_TITLE, MAX_BODY)
    assert alert.body.endswith("…")


def test_a_sender_without_a_visible_name_has_no_title() -> None:
    assert alert_text(b"hi", "TEXT", "\x00 ") == AlertText("", "hi")


def test_deep_nesting_is_no_text_and_no_crash() -> None:
    assert words(b'{"a":' * 100_000) == "New message"
    assert words(b'{"msgType":"TEXT","payload":' + b"[" * 200_000) == "New message"


def test_no_repr_shows_the_words() -> None:
    assert "hi there" not in repr(alert_text(b"hi there", "TEXT", "ann"))


def envelopes() -> st.SearchStrategy[bytes]:
    alphabet = st.sampled_from("aZ09+/=% \x00\n\u202eé你😀\u200d\ud800")
    content = st.text(alphabet) | st.binary(max_size=40).map(lambda raw: base64.b64encode(raw).decode())
    kinds = st.sampled_from(["TEXT", "text", "103", "PIC_FILE", "PING", "other"])
    members = st.dictionaries(
        st.sampled_from(["msgType", "type", "bizType", "payload", "content"]),
        kinds | content | st.integers(),
        max_size=4,
    )
    plain = members.map(lambda made: json.dumps(made).encode())
    return plain | plain.map(base64.b64encode) | st.text(alphabet).map(lambda text: text.encode("utf-8", "replace"))


@RELAXED
@given(
    st.binary() | envelopes(),
    st.sampled_from(["", "TEXT", "BIN_FILE", "\ud800"]),
    st.sampled_from(["ann", "\ud800", ""]),
)
def test_any_bytes_are_a_bounded_printable_alert_or_none(payload: bytes, biz_type: str, sender: str) -> None:
    alert = alert_text(payload, biz_type, sender)
    if alert is not None:
        assert len(alert.title) <= MAX_TITLE
        assert 0 < len(alert.body) <= MAX_BODY
        assert alert.body == clean(alert.body, MAX_BODY)
        (alert.title + alert.body).encode()


@RELAXED
@given(st.text(st.sampled_from("aZ09 你😀é,.!?"), min_size=5))
def test_text_survives_each_of_the_forms(text: str) -> None:
    shown = clean(text, MAX_BODY) or "New message"
    assert words(envelope(payload=encoded(text)), "TEXT") == shown
    assert words(base64.b64encode(envelope(type="TEXT", payload=text + " ."))) == clean(text + " .", MAX_BODY)


OWN = MessageReading(
    type=(("head", "kind"), ("t",)),
    text=(("body", "text"), ("t1",)),
    sender_name=(("user", "nick"), ("nick",)),
    group_name=(("group",),),
    message_id=(("id",),),
    mentions=(("at", "users"), ("at",)),
    rules={
        "CHAT": Rule("text", silent=False, urgent=False, expiry=None, source="settings"),
        "ORDER_PAID": Rule("ORDER_PAID", silent=False, urgent=True, expiry=None, source="settings"),
        "TYPING": Rule("custom", silent=True, urgent=False, expiry=None, source="settings"),
    },
)


def own(**members: Any) -> Content:
    return OWN.read(json.dumps(members).encode(), "")


def test_an_app_says_where_its_payload_has_what() -> None:
    everything = own(
        head={"kind": "chat"},
        body={"text": "hi\nthere"},
        user={"nick": "Ann\u202e "},
        group="The family",
        id=17,
        at={"users": ["ben", "cai"]},
    )
    assert everything == Content("text", "hi there", "Ann", "The family", "17", mentions=("ben", "cai"))
    assert everything.alert_text("ann") == AlertText("Ann", "hi there", "text", "The family")


def test_paths_are_tried_in_order_and_a_path_that_ends_early_finds_nothing() -> None:
    later = own(head="chat", t="chat", body=["text"], t1="hi", nick="Ann", at="ben")
    assert (later.kind, later.text, later.sender_name, later.mentions) == ("text", "hi", "Ann", ("ben",))


@pytest.mark.parametrize("wrong", [None, 5.5, True, {}, [], [[]], {"nick": {}}, "x" * 100_000])
def test_a_member_of_any_other_shape_is_as_good_as_none_or_bounded(wrong: Any) -> None:
    read = own(t="chat", t1="hi", user=wrong, nick=wrong, group=wrong, id=wrong, at=wrong)
    assert (read.kind, read.text) == ("text", "hi")
    assert max(len(read.sender_name), len(read.group_name), len(read.msg_id)) <= 256
    assert all(len(it) <= 256 for it in read.mentions)


def test_mentions_are_bounded() -> None:
    assert len(own(at=[f"user {number}" for number in range(5000)]).mentions) == 100


def test_a_type_of_the_app_s_own_is_urgent_or_silent_as_its_rule_says() -> None:
    assert own(t="order_paid", t1="not shown") == Content("ORDER_PAID", urgent=True)
    assert own(t="typing").silent


@pytest.mark.parametrize(
    ("members", "kind", "about"),
    [
        ({"type": "TEXT_READ", "payload": "m7"}, Kind.READ, "m7"),
        ({"type": "106", "payload": "m7"}, Kind.RECALL, "m7"),
        ({"type": "READ", "payload": {"read_msgId": "m7"}}, Kind.READ, "m7"),
        ({"type": "RECALL", "content": {"recall_msgId": 7}}, Kind.RECALL, "7"),
        ({"type": "RECALL", "payload": "x" * 1000}, Kind.RECALL, ""),
        ({"type": "RECALL"}, Kind.RECALL, ""),
    ],
)
def test_a_receipt_and_a_recall_are_kinds_of_their_own_that_name_a_message(
    members: dict[str, Any], kind: Kind, about: str
) -> None:
    assert DEFAULT_READING.read(envelope(**members), "") == Content(kind, msg_id="TEXT_12345", about=about, silent=True)


def test_the_kinds_of_the_table_say_whether_anything_is_shown() -> None:
    assert {row.kind for row in MESSAGE_TYPES if row.kind in SILENT} == SILENT


HOSTILE = [
    "%s%n%x {0} {sender} ${jndi:ldap://x} {{7*7}}",
    "<script>alert(1)</script> &lt;b&gt;",
    "".join(f"{{{number}}}" for number in range(1000)),
    '","loc-key":"OTHER","x":"',
    "'; DROP TABLE users; --",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_text_that_looks_like_a_format_is_shown_as_a_text(text: str) -> None:
    assert words(envelope(type="TEXT", payload=text)) == clean(text, MAX_BODY)


@pytest.mark.parametrize(
    "payload",
    [
        b'{"msgType":"TEXT","payload":"' + b"a" * 262_144 + b'"}',
        b'{"msgType":"TEXT","payload":' + b'{"payload":' * 60 + b"1" + b"}" * 61,
        b'{"msgType":"TEXT","payload":' + b'{"payload":' * 100_000,
        b"[" * 262_144,
        b'{"msgType":"TEXT","payload":"' + rb"\u0000\u001b\u202e\u2066\ud800" * 9000 + b'"}',
        json.dumps({"msgType": "TEXT", "payload": "\u0301" * 200_000}).encode(),
        json.dumps({"msgType": "TEXT", "payload": "🇨" * 60_000}).encode(),
        json.dumps({"msgType": "TEXT", "payload": "\u200d" * 80_000}).encode(),
        json.dumps({"msgType": "TEXT" * 60_000, "payload": "hi"}).encode(),
        json.dumps({str(number): "x" for number in range(20_000)}).encode(),
        base64.b64encode(base64.b64encode(b'{"msgType":"TEXT","payload":"' + b"QUJD" * 30_000 + b'"}')),
    ],
    ids=lambda payload: payload[:30].decode("latin-1"),
)
@pytest.mark.parametrize("reading", [DEFAULT_READING, OWN], ids=["default", "own"])
def test_a_hostile_payload_is_a_short_line_without_controls_or_a_general_word(
    payload: bytes, reading: MessageReading
) -> None:
    shown = alert_text(payload, "", "ann", reading)
    assert 0 < len(shown.body) <= MAX_BODY
    assert not any(unicodedata.category(it) in ("Cc", "Cs") or it in "\u202e\u2066" for it in shown.body)
    json.dumps(shown.body, ensure_ascii=False).encode()


TYPES = st.sampled_from([row.spelling for row in MESSAGE_TYPES] + ["text_Read", "105", "unread", ""])


@given(
    st.dictionaries(st.sampled_from(["msgType", "type", "payload", "content", "msgId"]), TYPES | st.integers(90, 120)),
    TYPES,
    st.sampled_from(["plain", "base64", "spaced"]),
)
def test_what_reads_or_recalls_a_message_is_found_without_reading_every_payload(
    members: dict[str, Any], biz_type: str, form: str
) -> None:
    payload = json.dumps(members, indent=1 if form == "spaced" else None).encode()
    payload = base64.b64encode(payload) if form == "base64" else payload
    content = DEFAULT_READING.read(payload, biz_type)
    takes_back = content.kind in (Kind.READ, Kind.RECALL) and content.about
    assert DEFAULT_READING.withdrawing(payload, biz_type) == (content if takes_back else None)


def test_types_of_an_app_s_own_take_messages_back_too() -> None:
    rules = {name: Rule(Kind.RECALL, True, False, None, "own") for name in ("撤回", "UNSENT")}
    reading = MessageReading(rules=rules)
    for name in ("撤回", "unsent"):
        found = reading.withdrawing(json.dumps({"msgType": name, "payload": "TEXT_1"}).encode(), "")
        assert found is not None
        assert (found.kind, found.about) == (Kind.RECALL, "TEXT_1")
