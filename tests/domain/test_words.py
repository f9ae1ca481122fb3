"""What is said of a message in which language, and how much."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.domain.alerts import AlertText
from proxy.domain.kinds import FOLD, SAID, Kind
from proxy.domain.previews import Preview, strictest
from proxy.domain.words import WORDS, Vocabulary, fallbacks

PICTURE = AlertText("ann", "", Kind.PICTURE)


@pytest.mark.parametrize(
    ("locale", "words"),
    [
        ("en", "[Photo]"),
        ("en-GB", "[Photo]"),
        ("zh", "[图片]"),
        ("zh-CN", "[图片]"),
        ("zh_CN", "[图片]"),
        ("ZH-hans-cn", "[图片]"),
        ("zh-Hans-HK", "[图片]"),
        ("zh-Hant", "[圖片]"),
        ("zh-Hant-CN", "[圖片]"),
        ("zh-TW", "[圖片]"),
        ("zh_HK", "[圖片]"),
        ("zh-MO", "[圖片]"),
        ("zh-SG", "[图片]"),
        ("", "[Photo]"),
        ("fr-FR", "[Photo]"),
        ("-", "[Photo]"),
        ("zh-" + "x-" * 16, "[图片]"),
    ],
)
def test_a_locale_is_spoken_to_in_the_nearest_language(locale: str, words: str) -> None:
    assert Vocabulary().say(PICTURE, locale) == AlertText("ann", words, Kind.PICTURE)


def test_a_locale_without_words_hears_the_app_s_own_language() -> None:
    assert Vocabulary("zh-hans").words(Kind.CALL, "fr") == "来电"
    assert Vocabulary("fr", {"fr": {Kind.CALL: "Appel"}}).words(Kind.CALL, "de") == "Appel"
    assert Vocabulary("fr", {"fr": {Kind.CALL: "Appel"}}).words(Kind.VIDEO, "de") == "[Video]"


def test_an_app_s_own_words_come_first_and_those_that_it_lacks_are_ours() -> None:
    vocabulary = Vocabulary("en", {"EN": {Kind.PICTURE: "A picture!"}, "pt-BR": {Kind.PICTURE: "Foto"}})
    assert [vocabulary.words(Kind.PICTURE, it) for it in ("en-US", "zh-CN", "pt-BR", "pt-PT")] == [
        "A picture!",
        "[图片]",
        "Foto",
        "A picture!",
    ]
    assert vocabulary.words(Kind.VIDEO, "pt-BR") == "[Video]"
    assert vocabulary.words("ORDER_PAID", "zh") == "新消息"  # a type that has left the settings since


@pytest.mark.parametrize("language", ["zh-TW", "zh-Hant-HK", "ZH-HANT"])
def test_an_app_s_language_is_looked_up_as_a_locale_is(language: str) -> None:
    assert Vocabulary(language).words(Kind.PICTURE, "fr") == "[圖片]"
    assert Vocabulary(language, {"ZH-hant": {Kind.CALL: "響鈴"}}).words(Kind.PICTURE, "fr") == "[圖片]"


def test_a_region_s_few_words_lie_over_those_of_its_language() -> None:
    vocabulary = Vocabulary("en", {"zh-TW": {"GIFT": "禮物"}, "zh-Hant": {Kind.CALL: "響鈴"}})
    assert [vocabulary.words(it, "zh-TW") for it in ("GIFT", Kind.CALL, Kind.PICTURE)] == ["禮物", "響鈴", "[圖片]"]
    assert vocabulary.words("GIFT", "zh-HK") == "新訊息"


def test_a_text_is_said_as_it_is_in_every_language() -> None:
    text = AlertText("ann", "hi there")
    assert Vocabulary().say(text, "zh-CN") is text


def test_every_kind_has_words_in_every_language_of_ours() -> None:
    # text and custom say that there is a message
    with_words = {str(kind) for kind in SAID} - {"text", "custom"} | {"recall", "fold", "fold_one"}
    assert all(words.keys() == with_words for words in WORDS.values())
    assert Vocabulary().words(Kind.CUSTOM, "zh-TW") == Vocabulary().words(Kind.TEXT, "zh-TW") == "新訊息"


def test_no_words_have_a_place_for_words() -> None:
    """Nothing but a fold's number is put into them, so that no text of a message can be taken for a format."""
    plain = [text.replace("{count}", "") for words in WORDS.values() for text in words.values()]
    assert not any(mark in text for text in plain for mark in "{}%")


def test_a_fold_is_told_in_the_words_for_one_or_for_several_and_its_name_is_no_place_for_a_number() -> None:
    def said(count: int, locale: str, vocabulary: Vocabulary = Vocabulary(), name: str = "ann") -> tuple[str, str]:  # noqa: B008
        text = vocabulary.say(AlertText(name, "secret words").folded(is_group=False), locale)
        assert text.body == vocabulary.say(AlertText(name, "", FOLD, count=1), locale).body
        told = vocabulary.say_titled(AlertText(name, "", FOLD, count=count), locale)
        return told.title, told.body

    assert said(3, "en-GB") == ("ann", "3 new messages")
    assert said(1, "en") == ("ann", "1 new message")
    assert [said(n, "zh-CN")[1] for n in (1, 1000)] == ["1条新消息", "1000条新消息"]
    assert said(2, "zh-HK") == ("ann", "2則新訊息")
    assert said(2, "en", name="{count}") == ("{count}", "2 new messages")
    assert said(3, "en", name="") == ("New message", "3 new messages")


def test_a_fold_shows_whose_it_is_as_far_as_the_preview_goes_and_of_a_group_no_one_writer() -> None:
    text = AlertText("ann", "secret words", Kind.TEXT, "Book club", sender="ann-1", avatar="https://a.example/1")
    assert text.folded(is_group=False).at(Preview.SENDER).title == "ann"
    assert text.folded(is_group=True) == AlertText("Book club", "", FOLD, "Book club", count=1)
    assert text.folded(is_group=True).at(Preview.NONE) == AlertText("", "", FOLD, count=1)


@given(st.text(st.sampled_from("zhantsTWen-_09é"), max_size=40))
def test_any_locale_has_words(locale: str) -> None:
    assert Vocabulary().words(Kind.PICTURE, locale) in {words[Kind.PICTURE] for words in WORDS.values()}
    assert fallbacks(locale)


def test_the_strictest_preview_wins_in_any_order() -> None:
    order = [Preview.FULL, Preview.SENDER, Preview.NONE]
    for three in product(order, repeat=3):
        assert strictest(*three) is order[max(map(order.index, three))]


@pytest.mark.parametrize("preview", Preview)
@pytest.mark.parametrize("again", Preview)
def test_a_text_shown_twice_is_shown_as_the_stricter_says(preview: Preview, again: Preview) -> None:
    text = AlertText("ann", "hi there", Kind.TEXT, "The family")
    assert text.at(preview).at(again) == text.at(strictest(preview, again))


def test_a_preview_of_the_sender_shows_names_and_one_of_nothing_only_that_there_is_a_message() -> None:
    text = AlertText("ann", "hi there", Kind.TEXT, "The family")
    assert text.at(Preview.SENDER) == AlertText("ann", "", Kind.NEW, "The family")
    assert text.at(Preview.NONE) == AlertText("", "", Kind.NEW, "")
