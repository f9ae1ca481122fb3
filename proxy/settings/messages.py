"""What an app's payloads look like, and what is said of them: [apps.NAME.messages].

The names of kinds are those of domain/kinds.py, which settings do not import; a test holds the two together.
"""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from proxy.settings.fields import Seconds, Section, refuse, written_as

_MOST_LEVELS = 8


def _path(value: str) -> str:
    if not re.fullmatch(r"[^.\x00-\x1f\x7f]+(\.[^.\x00-\x1f\x7f]+)*", value):
        raise ValueError("expected a member's name, or names with dots between, like body.text")
    if value.count(".") >= _MOST_LEVELS:
        raise ValueError(f"at most {_MOST_LEVELS} names with dots between")
    return value


def _one_or_several(value: object) -> object:
    return (value,) if isinstance(value, str) else value


MemberPath = Annotated[str, Field(max_length=256), AfterValidator(_path)]
MemberPaths = Annotated[tuple[MemberPath, ...], Field(max_length=16), BeforeValidator(_one_or_several)]
Language = Annotated[
    str, written_as(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,4}", "a language tag (BCP 47), like en, zh-Hans or pt-BR")
]
TypeName = Annotated[str, written_as(r"\S([^\x00-\x1f\x7f]{0,62}\S)?", "1 to 64 characters on one line")]
Words = Annotated[
    str, written_as(r"(?=.*\S)[^\x00-\x1f\x7f]{1,200}", "1 to 200 characters on one line, not only blanks")
]
KindName = Literal[
    "text", "reply", "picture", "voice", "video", "file", "location", "friend_request", "call", "custom", "new",
    "read", "recall", "signal",
]  # fmt: skip


class TypeSettings(Section):
    """One type of message. None: as its kind has it. `words`: one text for all languages, or one for each."""

    kind: KindName = "custom"
    words: Words | dict[Language, Words] | None = None
    silent: bool | None = None
    urgent: bool | None = None
    expiry: Seconds | None = Field(None, alias="expiry_s")

    @model_validator(mode="after")
    def _words_have_a_place(self) -> "TypeSettings":
        shows_text, is_silent = self.kind in ("text", "reply"), self.kind in ("read", "recall", "signal")
        refuse(
            [
                ("words", f"have no use with kind {self.kind}") if self.words and (shows_text or is_silent) else None,
                ("silent", f"kind {self.kind} never makes an alert") if is_silent and self.silent is False else None,
            ]
        )
        return self


class WordsSettings(Section):
    """An app's own words of one language. None: ours, or those of `language` where we have none.

    In `fold` and `fold_one`, for several messages and for one, `{count}` is their number. Without `fold_one` those of
    `fold` are said of one, too.
    """

    reply: Words | None = None
    picture: Words | None = None
    voice: Words | None = None
    video: Words | None = None
    file: Words | None = None
    location: Words | None = None
    friend_request: Words | None = None
    call: Words | None = None
    custom: Words | None = None
    new: Words | None = None
    recall: Words | None = None
    fold: Words | None = None
    fold_one: Words | None = None

    @model_validator(mode="after")
    def _one_has_others(self) -> "WordsSettings":
        refuse([("fold_one", "has no use without fold") if self.fold_one and not self.fold else None])
        return self


class MessageSettings(Section):
    """Where a payload has what, its types, and the words. The paths of a part are tried in order; none: not looked for.

    `preview` is how much of a message alerts show; `language` is for devices whose own has no words.
    """

    type: MemberPaths = ("msgType", "type", "bizType", "biz_type")
    text: MemberPaths = ("payload", "content")
    sender_name: MemberPaths = ()
    group_name: MemberPaths = ()
    sender_avatar: MemberPaths = ()
    message_id: MemberPaths = ("msgId",)
    mentions: MemberPaths = ()
    language: Language = "en"
    preview: Literal["full", "sender", "none"] = "full"
    types: dict[TypeName, TypeSettings] = Field(default_factory=dict, max_length=1000)
    words: dict[Language, WordsSettings] = Field(default_factory=dict, max_length=100)

    @model_validator(mode="after")
    def _names_are_told_apart(self) -> "MessageSettings":
        refuse([*_twins("types", self.types), *_twins("words", self.words)])
        return self

    @property
    def reading(self) -> dict[str, object]:
        """What decides how a payload is read: the same for all sections of one appId."""
        return self.model_dump(exclude={"language", "preview", "words"})


def _twins(key: str, names: dict[str, TypeSettings] | dict[str, WordsSettings]) -> list[tuple[str, str] | None]:
    """Names that differ in small and capital letters alone, which count for nothing here."""
    first: dict[str, str] = {}
    return [
        (f"{key}.{name}", f"is the same as {twin}: small and capital letters count alike")
        for name in names
        if (twin := first.setdefault(name.upper(), name)) != name
    ]
