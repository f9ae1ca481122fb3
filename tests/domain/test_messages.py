import base64
import json
import unicodedata
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.domain.alerts import AlertText
from proxy.domain.messages import MAX_BODY, MAX_TITLE, MESSAGE_TYPES, Shown, alert_text, clean

RELAXED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the machine may be busy
FAMILY = "👨\u200d👩\u200d👧"


def envelope(**members: Any) -> bytes:
    return json.dumps({"version": 0, "msgId": "TEXT_12345", **members}).encode()


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def words(payload: bytes, biz_type: str = "") -> str | None:
    alert = alert_text(payload, biz_type, "ann")
    return None if alert is None else alert.body


@pytest.mark.parametrize("row", MESSAGE_TYPES, ids=lambda row: row.spelling)
@pytest.mark.parametrize("place", ["MIMC's own", "msgType", "type", "bizType", "biz_type"])
def test_every_spelling_of_a_type_is_known_in_every_place(row: Any, place: str) -> None:
    expected = {Shown.NOTHING: None, Shown.ITS_TEXT: "hi there"}.get(row.shown, row.shown.value)
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
    assert alert_text(envelope(type=kind, payload="https://files.example/1"), "", "ann") == AlertText("ann", body)


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


def test_a_sender_without_a_visible_name_has_a_title_all_the_same() -> None:
    assert alert_text(b"hi", "TEXT", "\x00 ") == AlertText("New message", "hi")


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
        assert 0 < len(alert.title) <= MAX_TITLE
        assert 0 < len(alert.body) <= MAX_BODY
        assert alert.body == clean(alert.body, MAX_BODY)
        (alert.title + alert.body).encode()


@RELAXED
@given(st.text(st.sampled_from("aZ09 你😀é,.!?"), min_size=5))
def test_text_survives_each_of_the_forms(text: str) -> None:
    shown = clean(text, MAX_BODY) or "New message"
    assert words(envelope(payload=encoded(text)), "TEXT") == shown
    assert words(base64.b64encode(envelope(type="TEXT", payload=text + " ."))) == clean(text + " .", MAX_BODY)
