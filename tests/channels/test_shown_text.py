"""From any payload to what a phone is sent: whole characters within each limit, and text only ever as text."""

import json
import unicodedata
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.channels.apns.wire import ApnsWire
from proxy.channels.http.wire import HttpWire
from proxy.channels.mipush.template import LONGEST_VALUE
from proxy.channels.mipush.wire import MipushWire
from proxy.domain.alerts import Alert, AlertText
from proxy.domain.devices import ApnsEnvironment, Platform
from proxy.domain.messages import MAX_BODY, MAX_TITLE, MessageReading, clean
from proxy.domain.previews import Preview
from proxy.domain.profiles import Question, named
from proxy.domain.transfers import Response
from proxy.domain.words import Vocabulary
from proxy.profiles.wire import ProfileWire
from proxy.settings import ProfileSettings
from tests.channels.pushes import (
    NOON,
    RELAXED,
    WEBHOOK_SECRET,
    an_alert,
    apns_settings,
    http_settings,
    mipush_settings,
    to_account,
    to_device,
)
from tests.test_text import CHARACTERS

TEMPLATE = {"id": "M12762", "variables": {"who": "sender", "what": "text", "where": "group"}}
APNS = ApnsWire(apns_settings(), ApnsEnvironment.PRODUCTION)
MIPUSH = MipushWire(mipush_settings(template=TEMPLATE))
HTTP = HttpWire(http_settings())
NAMES = ProfileWire(ProfileSettings.model_validate({"url": "https://chat.example.com/names", "secret": WEBHOOK_SECRET}))
READING = MessageReading(sender_name=(("nick",),), group_name=(("group",),))
NO_BLANKS = CHARACTERS.filter(lambda it: not it.isspace())
# what a template may carry of them: letters with their marks, no symbols
LETTERS = NO_BLANKS.filter(lambda it: unicodedata.category(it[0]) in ("Ll", "Lo"))


def apns(alert: Alert) -> dict[str, Any]:
    body = APNS.build([to_device(alert)], "bearer", NOON).body
    assert len(body) <= 4096
    aps: dict[str, Any] = json.loads(body)["aps"]
    return aps


def mipush(alert: Alert) -> dict[str, str]:
    body = MIPUSH.build([to_account("ben", alert)], "key", NOON).body
    return dict(parse_qsl(body.decode("ascii"), keep_blank_values=True, strict_parsing=True, errors="strict"))


def is_cut_between(shown: str, characters: list[str]) -> bool:
    """It is all of them, or as many of the first as there is room for, and "…"."""
    starts = {"".join(characters[:count]) for count in range(len(characters))}
    return shown == "".join(characters) or (shown.endswith("…") and shown[:-1] in starts)


@RELAXED
@given(some=st.lists(NO_BLANKS, min_size=1, max_size=12), times=st.sampled_from([1, 5, 40]))
def test_a_text_is_cut_between_characters_at_each_limit(some: list[str], times: int) -> None:
    characters = some * times
    alert = an_alert(title="".join(characters), body="".join(characters))
    shown, sent = apns(alert)["alert"], mipush(alert)
    for text in (shown["title"], shown["body"], sent["title"], sent["description"]):
        assert is_cut_between(text, characters)
    assert len(sent["title"].encode("utf-16-le")) <= 2 * 49
    assert len(sent["description"].encode("utf-16-le")) <= 2 * 127


@RELAXED
@given(some=st.lists(LETTERS, min_size=1, max_size=12), times=st.sampled_from([1, 5, 40]))
def test_a_value_of_a_template_is_cut_between_characters(some: list[str], times: int) -> None:
    characters = some * times
    values = json.loads(mipush(an_alert(body="".join(characters)))["extra.template_param"])
    assert is_cut_between(values["what"], characters)
    assert len(values["what"].encode("utf-16-le")) <= 2 * LONGEST_VALUE


HOSTILE = [  # texts and names
    "%s%n%x %(sender)s {0} {sender} ${jndi:ldap://x} #{7*7} {{7*7}}",
    "{{" * 1000 + "7*7" + "}}" * 1000,
    "".join(f"{{{{t{number}}}}}" for number in range(1000)),
    "<script>alert(1)</script><img src=x onerror=y> &lt;b&gt;",
    '"},"loc-key":"OTHER","sound":"x","aps":{"badge":9,"a":"',
    "a&extra.notify_effect=3&extra.web_uri=https://evil.example&b=",
    "hi\u202e\u2066evil\u2069 \u200f\x00\x07\x1b[31m\x7f\x85",
    "alice\r\nx-injected: 1\r\n\r\nbody",
    "\ufeff\u200b\u200d\ufe0f",
    "\u0301" * 5000,
]


DIRECTIONS = "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
PLACES = ["text", "nick", "group", "name told", "group told", "account"]
A_GROUP = "topic:21351198708203521"


def alert_with(text: str, place: str, preview: Preview = Preview.FULL) -> Alert:
    """A message that has it in this place: its payload, what the server of names tells, or the sender's account."""
    in_payload = {"text": "hello", "nick": "Ann", "group": "The climbers"}
    told = {"name": "Ann", "group_name": "The climbers"}
    missing = {"name told": "nick", "account": "nick", "group told": "group"}.get(place, "")
    payload = {name: value for name, value in in_payload.items() if name != missing}
    payload |= {place: text} if place in in_payload else {}
    told |= {"name": text} if place == "name told" else {"group_name": text} if place == "group told" else {}
    content = READING.read(json.dumps({"type": "TEXT", "payload": payload.pop("text"), **payload}).encode(), "")
    if place != "account":
        profile = NAMES.read(Question("ann", "211"), Response(200, {}, json.dumps(told, ensure_ascii=False).encode()))
        assert profile is not None
        content = named(content, profile)
    alert = an_alert(conversation="p2p:lilei" if place == "account" else A_GROUP)
    return replace(alert, text=content.alert_text(text if place == "account" else "ann").at(preview))


def shown_on(alert: Alert) -> dict[str, tuple[list[str], object]]:
    """On each channel: the texts that a person sees, and all the rest of the request."""
    payload = json.loads(APNS.build([to_device(alert)], "bearer", NOON).body)
    on_iphone = payload["aps"].pop("alert")
    assert on_iphone.keys() <= {"title", "subtitle", "body"}
    form = mipush(alert)
    values = json.loads(form.pop("extra.template_param"))
    assert values.keys() == {"who", "what", "where"}
    event = json.loads(HTTP.build([to_device(alert, platform=Platform.HTTP)], "", NOON).body)
    said = [event["data"].pop(name, "") for name in ("title", "body", "group")]
    return {
        "apns": (list(on_iphone.values()), payload),
        "mipush": ([form.pop("title"), form.pop("description"), *values.values()], form),
        "http": (said, event),
    }


def is_harmless(text: str) -> bool:
    is_short = len(text) <= MAX_BODY + MAX_TITLE
    return is_short and not any(unicodedata.category(it) in ("Cc", "Cs") or it in DIRECTIONS for it in text)


def without_kind(rest: Any) -> Any:
    """The event without the name of its kind, which tells whether there is a text."""
    return {**rest, "data": {**rest["data"], "kind": ""}} if "data" in rest else rest


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_text_or_name_is_shown_as_text_and_changes_nothing_else(text: str, place: str) -> None:
    plain, odd = shown_on(alert_with("hi", place)), shown_on(alert_with(text, place))
    for channel, (texts, rest) in odd.items():
        assert rest == plain[channel][1], channel
        assert all(map(is_harmless, texts)), channel
    first = clean(text, 10).rstrip("…")  # a name may be cut, and what is not visible is no name
    assert all(any(first in it for it in texts) for texts, _ in (odd["apns"], odd["http"]))


@RELAXED
@given(text=st.text(), place=st.sampled_from(PLACES))
def test_whatever_is_written_anywhere_is_shown_as_text(text: str, place: str) -> None:
    plain = shown_on(alert_with("hi", place))
    for channel, (texts, rest) in shown_on(alert_with(text, place)).items():
        assert without_kind(rest) == without_kind(plain[channel][1])
        assert all(map(is_harmless, texts))


PAYLOADS = {
    "deep JSON": b'{"type":"TEXT","payload":' * 50_000,
    "deep arrays": b"[" * 262_144,
    "a text of 256 KiB": b'{"type":"TEXT","payload":"' + b"%n" * 131_072 + b'"}',
    "a name of 256 KiB": b'{"type":"TEXT","payload":"hi","nick":"' + b"${x}" * 65_536 + b'"}',
    "controls": rb'{"type":"TEXT","payload":"\u0000\u001b[2J\u202e\ud800","nick":"\u0007\u2066"}',
    "controls as they are": b'{"type":"TEXT","payload":"\x00\x1b"}',
    "nested templates": b'{"type":"TEXT","payload":"' + b"{{" * 1000 + b"}}" * 1000 + b'"}',
    "a type that is a format": b'{"type":"%s{0}","payload":"hi"}',
    "members of other shapes": b'{"type":["TEXT"],"payload":{"a":1},"nick":7,"group":[]}',
    "no UTF-8": b"\xff\xfe\x00",
    "nothing": b"",
}


@pytest.mark.parametrize("what", PAYLOADS)
def test_a_hostile_payload_is_text_or_that_there_is_a_message(what: str) -> None:
    content = READING.read(PAYLOADS[what], "")
    plain = shown_on(replace(an_alert(conversation=A_GROUP), text=AlertText("ann", "hi")))
    alert = replace(an_alert(conversation=A_GROUP), text=content.alert_text("ann"))
    for channel, (texts, rest) in shown_on(alert).items():
        assert without_kind(rest) == without_kind(plain[channel][1]), channel
        assert texts[1], channel
        assert all(map(is_harmless, texts))


@pytest.mark.parametrize("place", PLACES)
def test_where_nothing_is_shown_no_text_no_name_and_no_account_is_among_the_words(place: str) -> None:
    alert = alert_with("canary", place, Preview.NONE)
    two = replace(alert, conversation="p2p:canary")
    for it in (alert, two):
        for channel, (texts, rest) in shown_on(it).items():
            assert not any("canary" in text or "2135" in text for text in texts), channel
            assert "canary" not in str(rest).replace("p2p:canary", "").replace("p2p%3Acanary", "")  # where a tap leads


def test_words_are_put_beside_names_and_never_into_one_another() -> None:
    text = AlertText("{0} %s", "", "GIFT")
    assert Vocabulary("en", {"en": {"GIFT": "{title} %s sent a gift"}}).say(text, "en") == replace(
        text, body="{title} %s sent a gift"
    )
