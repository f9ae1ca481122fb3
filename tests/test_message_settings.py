"""[apps.NAME.messages]: what may be said there, and what comes of it."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from proxy.domain.alerts import AlertText
from proxy.domain.kinds import FOLD, KNOWN_TYPES, SAID, Kind
from proxy.domain.messages import DEFAULT_READING, Content
from proxy.domain.previews import Preview
from proxy.domain.words import FOLD_ONE
from proxy.settings import MessageSettings, Settings, WordsSettings
from proxy.settings.messages import KindName
from proxy.wiring.messages import reading_of, reading_of_app, vocabulary_of

APP: dict[str, Any] = {"app_id": 2882303761517000001, "app_key": "k", "app_secret": "s"}


def settings_of(**apps: dict[str, Any]) -> Settings:
    sections = {name: {**APP, "url_secret": name * 16, "messages": messages} for name, messages in apps.items()}
    return Settings.model_validate({"auth": {"jwt": {"own": {"secret": "x" * 32}}}, "apps": sections})


def messages_of(**keys: Any) -> MessageSettings:
    return MessageSettings.model_validate(keys)


def test_without_settings_a_payload_is_read_as_the_table_of_known_types_has_it() -> None:
    assert reading_of(MessageSettings()) == DEFAULT_READING


def test_the_names_of_kinds_are_those_of_the_domain() -> None:
    assert list(get_args(KindName)) == [kind.value for kind in Kind]
    said = [kind.value for kind in SAID if kind is not Kind.TEXT]
    assert [*WordsSettings.model_fields] == [*said, "recall", FOLD, FOLD_ONE]
    assert get_args(MessageSettings.model_fields["preview"].annotation) == tuple(it.value for it in Preview)


def test_a_type_of_the_app_s_own_is_a_section_and_its_words() -> None:
    messages = messages_of(types={"order_paid": {"words": "Your order is paid"}})
    read = reading_of(messages).read(b'{"type": "Order_Paid", "payload": "42 EUR"}', "")
    assert read == Content("ORDER_PAID")
    assert vocabulary_of(messages).words(read.kind, "zh-CN") == "Your order is paid"


def test_a_type_has_words_for_each_language() -> None:
    messages = messages_of(types={"GIFT": {"words": {"en": "A gift", "ZH-Hans": "礼物"}}})
    said = [vocabulary_of(messages).words("GIFT", locale) for locale in ("en-US", "zh-CN", "zh-TW", "fr")]
    assert said == ["A gift", "礼物", "A gift", "A gift"]


def test_a_type_takes_over_what_its_kind_has_unless_it_says_otherwise() -> None:
    rules = reading_of(
        messages_of(
            types={
                "RING": {"kind": "call"},
                "SLOW_RING": {"kind": "call", "urgent": False, "expiry_s": 90},
                "TEXT": {"silent": True},
                "SEEN": {"kind": "read"},
            }
        )
    ).rules
    assert (rules["RING"].urgent, rules["RING"].expiry) == (True, timedelta(seconds=30))
    assert (rules["SLOW_RING"].urgent, rules["SLOW_RING"].expiry) == (False, timedelta(seconds=90))
    assert rules["TEXT"].silent
    assert (rules["SEEN"].kind, rules["SEEN"].silent) == (Kind.READ, True)
    assert rules["PIC_FILE"] == KNOWN_TYPES["PIC_FILE"]


def test_one_path_need_not_be_a_list() -> None:
    messages = messages_of(text="body.text", sender_name=["from.nick", "nick"])
    read = reading_of(messages).read(b'{"type": "TEXT", "body": {"text": "hi"}, "nick": "Ann"}', "")
    assert (read.text, read.sender_name) == ("hi", "Ann")


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ({"types": {"x": {"kind": "photo"}}}, "types.x.kind"),
        ({"types": {"x": {"kind": "photo"}}}, "'picture'"),
        ({"types": {"x": {"silents": True}}}, "types.x.silents"),
        ({"types": {"x": {"words": " "}}}, "1 to 200 characters on one line, not only blanks"),
        ({"types": {"x": {"words": "two\nlines"}}}, "on one line"),
        ({"types": {"x": {"kind": "text", "words": "Hi"}}}, "words: have no use with kind text"),
        ({"types": {"x": {"kind": "read", "silent": False}}}, "silent: kind read never makes an alert"),
        ({"types": {"x": {"expiry_s": 0}}}, "expiry_s"),
        ({"types": {"x": {}, "X": {}}}, "types.X: is the same as x"),
        ({"types": {" x": {}}}, "1 to 64 characters on one line"),
        ({"words": {"zh_Hans": {}}}, "a language tag (BCP 47), like en, zh-Hans or pt-BR"),
        ({"words": {"en": {"photo": "[Pic]"}}}, "words.en.photo"),
        ({"words": {"en": {}, "EN": {}}}, "words.EN: is the same as en"),
        ({"text": "body..text"}, "names with dots between, like body.text"),
        ({"text": ["ok", "."]}, "text.1"),
        ({"text": "a.b.c.d.e.f.g.h.i"}, "at most 8 names"),
        ({"text": ["x"] * 17}, "at most 16 items"),
        ({"preview": "some"}, "'full', 'sender' or 'none'"),
        ({"language": "English please"}, "a language tag"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_place(document: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError) as failure:
        messages_of(**document)
    assert problem in str(failure.value).replace("\n  ", ": ")


def test_sections_of_one_app_id_read_a_message_alike_and_may_say_it_otherwise() -> None:
    own = {"types": {"GIFT": {"words": "A gift"}}}
    assert settings_of(a={**own, "preview": "none"}, b={**own, "language": "zh-Hans", "words": {"en": {"new": "Hm"}}})
    with pytest.raises(ValidationError, match="paths and types differ from those of a, which has the same app_id"):
        settings_of(a=own, b={})


def test_a_word_in_the_settings_with_marks_of_a_format_is_said_as_it_is() -> None:
    words = "%s {0} {sender} <b>"
    messages = messages_of(types={"x": {"words": words}})
    assert vocabulary_of(messages).words("X", "") == words


@pytest.mark.parametrize(
    ("avatar", "taken"),
    [
        ("https://a.example/ann.png?x=1", True), ("http://a.example/ann.png", False), ("javascript:alert(1)", False),
        ("https://a b", False), ("https://" + "a" * 504, True), ("https://" + "a" * 505, False), ("https://", False),
    ],
)  # fmt: skip
def test_a_picture_is_an_https_address_and_read_for_iphones_alone(avatar: str, taken: bool) -> None:
    messages, payload = messages_of(sender_avatar="from.face"), json.dumps({"from": {"face": avatar}}).encode()
    assert reading_of(messages, tells_sender=True).read(payload, "").avatar == (avatar if taken else "")
    assert reading_of(messages).read(payload, "").avatar == ""


def test_who_writes_is_told_where_one_section_of_the_app_wants_it(tmp_path: Path) -> None:
    key = tmp_path / "key.p8"
    key.write_text("no key")
    apns = {"team_id": "TEAM567890", "key_id": "KEY4567890", "key_file": str(key), "topic": "com.example.chat"}

    def tells(*, communication: bool) -> bool:
        sections = {
            "main": {**APP, "url_secret": "m" * 16},
            "more": {**APP, "url_secret": "n" * 16, "apns": apns | {"communication": communication}},
        }
        settings = Settings.model_validate({"auth": {"jwt": {"own": {"secret": "x" * 32}}}, "apps": sections})
        return reading_of_app(settings, str(APP["app_id"])).tells_sender

    assert tells(communication=True)
    assert not tells(communication=False)


def test_an_app_says_of_one_message_and_of_several_what_it_likes() -> None:
    words = {
        "fr": {"fold": "{count} nouveaux messages", "fold_one": "{count} nouveau message"},
        "de": {"fold": "Neue Nachrichten: {count}"},
        "en": {"fold": "{count} unread", "fold_one": "One unread"},
    }
    vocabulary = vocabulary_of(messages_of(words=words))
    said = {
        locale: [vocabulary.say(AlertText("ann", "", FOLD, count=count), locale).body for count in (1, 2)]
        for locale in ("fr-CH", "de", "en", "zh")
    }
    assert said == {
        "fr-CH": ["1 nouveau message", "2 nouveaux messages"],
        "de": ["Neue Nachrichten: 1", "Neue Nachrichten: 2"],
        "en": ["One unread", "2 unread"],
        "zh": ["1条新消息", "2条新消息"],
    }
    with pytest.raises(ValidationError, match="has no use without fold"):
        messages_of(words={"fr": {"fold_one": "un message"}})
