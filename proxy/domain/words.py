"""The words for what is no text, in the reader's language. They are chosen when a push is built.

A language is a BCP 47 tag. Of the plural rules one is known: a fold of one message has words of its own, as English has
them; `{count}` in a fold's words is the number.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache, partial
from typing import Final

from proxy.domain.alerts import AlertText
from proxy.domain.kinds import FOLD, Kind
from proxy.domain.previews import Preview

FOLD_ONE: Final = "fold_one"
_COUNT: Final = "{count}"
WORDS: Final[Mapping[str, Mapping[str, str]]] = {
    "en": {
        Kind.REPLY: "[Reply]",
        Kind.PICTURE: "[Photo]",
        Kind.VOICE: "[Voice message]",
        Kind.VIDEO: "[Video]",
        Kind.FILE: "[File]",
        Kind.LOCATION: "[Location]",
        Kind.FRIEND_REQUEST: "Wants to be friends",
        Kind.CALL: "Incoming call",
        Kind.NEW: "New message",
        Kind.RECALL: "Message recalled",
        FOLD: "{count} new messages",
        FOLD_ONE: "{count} new message",
    },
    "zh-Hans": {
        Kind.REPLY: "[回复]",
        Kind.PICTURE: "[图片]",
        Kind.VOICE: "[语音]",
        Kind.VIDEO: "[视频]",
        Kind.FILE: "[文件]",
        Kind.LOCATION: "[位置]",
        Kind.FRIEND_REQUEST: "请求添加你为好友",
        Kind.CALL: "来电",
        Kind.NEW: "新消息",
        Kind.RECALL: "消息已撤回",
        FOLD: "{count}条新消息",
        FOLD_ONE: "{count}条新消息",
    },
    "zh-Hant": {
        Kind.REPLY: "[回覆]",
        Kind.PICTURE: "[圖片]",
        Kind.VOICE: "[語音訊息]",
        Kind.VIDEO: "[影片]",
        Kind.FILE: "[檔案]",
        Kind.LOCATION: "[位置]",
        Kind.FRIEND_REQUEST: "想加你為好友",
        Kind.CALL: "來電",
        Kind.NEW: "新訊息",
        Kind.RECALL: "訊息已收回",
        FOLD: "{count}則新訊息",
        FOLD_ONE: "{count}則新訊息",
    },
}
_TRADITIONAL: Final = frozenset({"tw", "hk", "mo"})
_LOCALES_KEPT: Final = 1024  # users choose them; an app has a few dozen


class Vocabulary:
    """What an app says of a message: in words of every language that it has, its own before ours; and how much.

    Made once, and never changed.
    """

    def __init__(
        self,
        language: str = "en",
        own: Mapping[str, Mapping[str, str]] | None = None,
        preview: Preview = Preview.FULL,
    ) -> None:
        """`language` is spoken to a device whose own we do not have; `own`: language -> kind or type -> words."""
        own = own or {}
        self.language, self._preview = language, preview
        self.languages = tuple({name.lower(): name for name in (*WORDS, *own)}.values())
        self._layers = (
            {tag.lower(): words for tag, words in WORDS.items()},
            {tag.lower(): it for tag, it in own.items()},
        )
        self._base = self._over(WORDS["en"], language)
        self._words_of = lru_cache(maxsize=_LOCALES_KEPT)(partial(self._over, self._base))

    def words(self, kind: str, locale: str) -> str:
        """What a device of that locale is told of a kind, or of a type of the app's own."""
        words = self._words_of(locale)
        return words.get(kind) or words[Kind.NEW]

    def say(self, text: AlertText, locale: str) -> AlertText:
        """The text with words where it has none. Its title stays empty where there is no name to be shown."""
        if text.body:
            return text
        words = self.words(word_of(text), locale)
        return replace(text, body=words.replace(_COUNT, str(text.count)) if text.count else words)

    def say_titled(self, text: AlertText, locale: str) -> AlertText:
        """The same, for a channel that wants a title: where there is no name, the words for a new message."""
        said = self.say(text, locale)
        return said if said.title else replace(said, title=self.words(Kind.NEW, locale))

    def shown(self, text: AlertText) -> AlertText:
        """As much of it as the app shows: a job may be older than the setting, or come back from the dead letters."""
        return text.at(self._preview)

    def _over(self, base: Mapping[str, str], locale: str) -> Mapping[str, str]:
        """The words of the locale over these: each that is nearer goes over those that are farther."""
        words = dict(base)
        for tag in reversed(fallbacks(locale)):
            for layer in self._layers:
                words |= layer.get(tag, {})
        return words


def word_of(text: AlertText) -> str:
    """Which of the words says what a text without a body is of."""
    return FOLD_ONE if text.count == 1 else text.kind


def fallbacks(locale: str) -> list[str]:
    """The tags to look for, the nearest first, in small letters.

    RFC 4647, 3.4 ("Lookup"): the tag, then the tag without its last part. Chinese has two scripts, and a region tells
    which one where the tag does not (CLDR, likely subtags).
    """
    parts = locale.replace("_", "-").lower().split("-")
    tags = ["-".join(parts[:most]) for most in range(len(parts), 0, -1)]
    if parts[0] == "zh":
        is_traditional = "hant" in parts or ("hans" not in parts and not _TRADITIONAL.isdisjoint(parts))
        tags[-1:] = ["zh-hant" if is_traditional else "zh-hans", "zh"]
    return tags


ENGLISH: Final = WORDS["en"]
