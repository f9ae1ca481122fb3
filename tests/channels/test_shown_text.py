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
from proxy.channels.mipush.template import LONGEST_VALUE
from proxy.channels.mipush.wire import MipushWire
from proxy.domain.alerts import Alert, AlertText
from proxy.domain.devices import ApnsEnvironment
from proxy.domain.messages import MAX_BODY, MessageReading, clean
from proxy.domain.words import Vocabulary
from tests.channels.pushes import NOON, RELAXED, an_alert, apns_settings, mipush_settings, to_account, to_device
from tests.test_text import CHARACTERS

TEMPLATE = {"id": "M12762", "variables": {"who": "sender", "what": "text"}}
APNS = ApnsWire(apns_settings(), ApnsEnvironment.PRODUCTION)
MIPUSH = MipushWire(mipush_settings(template=TEMPLATE))
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


HOSTILE = [
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


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_text_or_name_is_shown_as_text_and_changes_nothing_else(text: str) -> None:
    plain, odd = (
        an_alert_of(json.dumps({"type": "TEXT", "payload": it, "nick": it, "group": it}).encode())
        for it in ("hi", text)
    )
    aps, sent = apns(odd), mipush(odd)
    whole = clean(text, MAX_BODY)
    assert aps["alert"]["body"] in (whole, "New message") or whole.startswith(aps["alert"]["body"].rstrip("…"))
    assert {**aps, "alert": 0} == {**apns(plain), "alert": 0}
    assert aps["alert"].keys() <= {"title", "subtitle", "body"}
    said = {"title", "description", "extra.template_param"}
    assert {name: sent[name] for name in sent if name not in said} == {
        name: value for name, value in mipush(plain).items() if name not in said
    }
    assert json.loads(sent["extra.template_param"]).keys() == {"who", "what"}


def an_alert_of(payload: bytes) -> Alert:
    content = READING.read(payload, "")
    assert not content.silent
    return replace(an_alert(), text=content.alert_text("ann"))


def test_words_are_put_beside_names_and_never_into_one_another() -> None:
    text = AlertText("{0} %s", "", "GIFT")
    assert Vocabulary("en", {"en": {"GIFT": "{title} %s sent a gift"}}).say(text, "en") == replace(
        text, body="{title} %s sent a gift"
    )
