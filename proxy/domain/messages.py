"""What a message says on a lock screen, if anything. MIMC sees bytes: what is inside is a custom among its apps.

A `MessageReading` knows one app's custom. The default is the one that kinds.py has the types of.
"""

import base64
import re
import unicodedata
from codecs import BOM_UTF8
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from typing import Final
from urllib.parse import unquote_to_bytes

from proxy import strict_json
from proxy.domain.alerts import AlertText
from proxy.domain.kinds import KNOWN_TYPES, SILENT, UNKNOWN_TYPE, WITH_TEXT, WITHDRAWING, Kind, Rule
from proxy.text import ELLIPSIS, code_points, cut, first_characters

MAX_BODY: Final = 1000  # characters
MAX_TITLE: Final = 100
MAX_ID: Final = 256
MAX_MENTIONS: Final = 100

Path = tuple[str, ...]  # the names of members, one within the other
OF_CALLBACK: Final = "bizType of the callback"
_JSON_IN_BASE64: Final = b"eyJ"  # of {\"
_ABOUT: Final[Mapping[str, str]] = {Kind.READ: "read_msgId", Kind.RECALL: "recall_msgId"}  # MIMC's gitbook, 0504
_PERCENT_ENCODED: Final = re.compile(r"(?:[A-Za-z0-9\-_.!~*'()]|%[0-9A-Fa-f]{2})+")  # what encodeURIComponent leaves
_AVATAR: Final = re.compile(r"https://[!-~]{1,504}")
_SMALL, _CAPITAL = re.compile("[a-z]"), re.compile("[A-Z]")
_OVERRIDES: Final = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")

_Envelope = Mapping[str, object]


@dataclass(slots=True)
class Content:
    """What a payload says, cleaned. `sender_name` and `group_name` are "" where it names none.

    `kind` is a Kind, or the app's own type. `msg_id` is the app's own id of the message; `about` the one that a message
    of kind READ or RECALL names. `silent`: no alert follows. `avatar` is the https address of the sender's picture, and
    `tells_sender` says that a group's alerts name the account of who writes: both for iPhones, where the settings want
    it. Not frozen, because freezing costs each message a microsecond.
    """

    kind: str
    text: str = field(default="", repr=False)
    sender_name: str = field(default="", repr=False)
    group_name: str = field(default="", repr=False)
    msg_id: str = ""
    about: str = ""
    mentions: tuple[str, ...] = ()
    silent: bool = False
    urgent: bool = False
    expiry: timedelta | None = None
    avatar: str = field(default="", repr=False)
    tells_sender: bool = False

    def alert_text(self, sender: str) -> AlertText:
        """`sender`: their account, for a payload that does not name them."""
        title = self.sender_name or clean(sender, MAX_TITLE)
        return AlertText(title, self.text, self.kind, self.group_name, avatar=self.avatar)


@dataclass(slots=True)
class Found:
    """Where something was found, and what: for whoever asks why. Not frozen, for each alert makes several."""

    place: str
    value: str = field(repr=False)


@dataclass(frozen=True)
class MessageReading:
    """Where an app's payload has what, and what becomes of each type. The paths of a part are tried in order.

    `rules`: a type's spelling in capitals -> its rule.
    """

    type: tuple[Path, ...] = (("msgType",), ("type",), ("bizType",), ("biz_type",))
    text: tuple[Path, ...] = (("payload",), ("content",))
    sender_name: tuple[Path, ...] = ()
    group_name: tuple[Path, ...] = ()
    message_id: tuple[Path, ...] = (("msgId",),)
    mentions: tuple[Path, ...] = ()
    avatar: tuple[Path, ...] = ()
    tells_sender: bool = False
    rules: Mapping[str, Rule] = field(default_factory=lambda: KNOWN_TYPES)

    def read(self, payload: bytes, biz_type: str) -> Content:
        """What the payload says. Never raises, whatever the bytes.

        `payload` is out of MIMC's own base64: the app's JSON object, or base64 of one (flutter_mimc). The type is the
        first that we know among `biz_type`, which is MIMC's own, and the members of `type`; of a type that we do not
        know no more is said than that there is a message. Where the payload is no JSON object all of it is the text.
        """
        envelope = envelope_of(payload)
        types = self.types(envelope, biz_type)
        rule = self.rule(types)
        members: _Envelope = envelope or {}
        msg_id = _id(self.first(members, self.message_id))
        if rule.kind in SILENT:
            return Content(
                rule.kind,
                sender_name=self.name(members, self.sender_name),
                group_name=self.name(members, self.group_name),
                msg_id=msg_id,
                about=_about(self, members, rule.kind),
                silent=True,
            )
        kind, text = rule.kind, ""
        if kind in WITH_TEXT:
            text = clean(self.content(payload, envelope, types).value, MAX_BODY)
            kind = Kind.NEW if not text and kind == Kind.TEXT else kind
        return Content(
            kind,
            text,
            self.name(members, self.sender_name),
            self.name(members, self.group_name),
            msg_id,
            mentions=_mentions(members, self.mentions) if self.mentions else (),
            silent=rule.silent,
            urgent=rule.urgent,
            expiry=rule.expiry,
            avatar=avatar_address(self.first(members, self.avatar).value) if self.avatar else "",
            tells_sender=self.tells_sender,
        )

    def withdrawing(self, payload: bytes, biz_type: str) -> Content | None:
        """What a READ or RECALL says that names a message; None for any other.

        Cheap for those: of a type that MIMC's bizType names the payload is not looked at, and it is only parsed where
        one of the spellings is in it, without blanks around it.
        """
        rule = self.rules.get(_spelling(biz_type))
        if rule is None:
            text = payload if not payload.startswith(_JSON_IN_BASE64) else _from_base64(payload) or b""
            text = text.upper()
            if not any(sign in text for sign in self._withdrawing_signs):
                return None
        elif rule.kind not in WITHDRAWING:
            return None
        content = self.read(payload, biz_type)
        return content if content.kind in WITHDRAWING and content.about else None

    @cached_property
    def _withdrawing_signs(self) -> tuple[bytes, ...]:
        """One of them is in any payload whose type is a READ or RECALL; few, for the end of one serves for several."""
        spellings = [name for name, rule in self.rules.items() if rule.kind in WITHDRAWING]
        if not all(name.isascii() and name.isprintable() and not {'"', "\\", "/"} & set(name) for name in spellings):
            return (b"",)  # JSON may spell it in several ways
        signs = {name.encode() if name.isdigit() else f'{name}"'.encode() for name in spellings}
        return tuple(sorted(sign for sign in signs if not any(other in sign for other in signs - {sign})))

    def types(self, envelope: _Envelope | None, biz_type: str) -> list[Found]:
        """All that could be the type, the first to be believed first; MIMC's own is always there."""
        found = [Found(OF_CALLBACK, _spelling(biz_type))]
        if envelope is not None:
            for path in self.type:
                if kind := _spelling(_at(envelope, path)):
                    found.append(Found(_dotted(path), kind))  # noqa: PERF401  half the time of a comprehension here
        return found

    def type_of(self, payload: bytes, biz_type: str) -> str:
        """The type that decided, in capitals; "" where none is known."""
        types = self.types(envelope_of(payload), biz_type)
        return next((it.value for it in types if it.value in self.rules), "")

    def rule(self, types: Sequence[Found]) -> Rule:
        for it in types:
            if (rule := self.rules.get(it.value)) is not None:
                return rule
        return UNKNOWN_TYPE

    def content(self, payload: bytes, envelope: _Envelope | None, types: Sequence[Found]) -> Found:
        """The text as it was written. A demo that has its type in MIMC's bizType alone always encodes."""
        if envelope is None:
            return Found("the whole payload", _plain_text(payload))
        found = self.first(envelope, self.text)
        return Found(found.place, _decoded(found.value, encoder=len(types) == 1)) if found.value else found

    def first(self, members: _Envelope, paths: Sequence[Path]) -> Found:
        """The first of these that is a text; numbers are texts too."""
        for path in paths:
            value = _at(members, path)
            if isinstance(value, str) and value:
                return Found(_dotted(path), value)
        return _NOTHING

    def name(self, members: _Envelope, paths: Sequence[Path]) -> str:
        return clean(self.first(members, paths).value, MAX_TITLE) if paths else ""


_NOTHING: Final = Found("", "")
DEFAULT_READING: Final = MessageReading()


def wordless_text(conversation: str) -> AlertText:
    """What is shown of a message whose words are gone; the sender is known only where two people talk."""
    sender = conversation.removeprefix("p2p:") if conversation.startswith("p2p:") else ""
    return AlertText(clean(sender, MAX_TITLE), "", Kind.NEW)


def clean(text: str, most: int) -> str:
    """One line of at most `most` characters: no control characters, no tricks with direction, no half characters."""
    head = first_characters(text, most * 4)  # enough to fill the line, and a bound for the work
    if not (head.isascii() and head.isprintable()):
        head = "".join(character for character in head if _is_shown(character))
    line = " ".join(head.split())
    if len(line) <= most:
        return line
    shown = cut(line, most, code_points)
    return shown if shown == line else shown.removesuffix(ELLIPSIS).rstrip() + ELLIPSIS


def envelope_of(payload: bytes) -> _Envelope | None:
    """The app's JSON object, which may be in base64 once more."""
    envelope = _json_object(payload)
    if envelope is not None:
        return envelope
    decoded = _from_base64(payload)
    return _json_object(decoded) if decoded else None


def _json_object(raw: bytes) -> _Envelope | None:
    return strict_json.object_or_none(raw.removeprefix(BOM_UTF8), parse_int=str, parse_float=str)  # 103 is type "103"


def _spelling(value: object) -> str:
    return value.strip().upper() if isinstance(value, str) else ""


def _plain_text(payload: bytes) -> str:
    try:
        return _decoded(payload.decode("utf-8-sig"), encoder=False)
    except UnicodeDecodeError:
        return ""


def _at(members: _Envelope, path: Path) -> object:
    return members.get(path[0]) if len(path) == 1 else strict_json.at(members, path)


def _dotted(path: Path) -> str:
    return path[0] if len(path) == 1 else ".".join(path)


def _id(found: Found) -> str:
    """The app's own id of a message: compared and never shown."""
    return found.value if len(found.value) <= MAX_ID else ""


def _about(reading: MessageReading, members: _Envelope, kind: str) -> str:
    """The msgId that a READ or RECALL names: it is the text itself (demos), or in an object there (gitbook)."""
    if kind not in _ABOUT:
        return ""
    inside = [(*path, _ABOUT[kind]) for path in reading.text]
    named = reading.first(members, [*inside, *reading.text])
    return _id(Found(named.place, _decoded(named.value, encoder=False)))


def avatar_address(address: str) -> str:
    """As it is, where a phone may fetch it: https alone, and no longer than a push has room for."""
    return address if _AVATAR.fullmatch(address) else ""


def _mentions(members: _Envelope, paths: Sequence[Path]) -> tuple[str, ...]:
    """The accounts at the first path that has some: a list of texts, or one text."""
    for path in paths:
        value = _at(members, path)
        named = [value] if isinstance(value, str) else value
        if isinstance(named, list) and named:
            return tuple(it for it in named[:MAX_MENTIONS] if isinstance(it, str) and 0 < len(it) <= MAX_ID)
    return ()


def _decoded(text: str, *, encoder: bool) -> str:
    """`text` out of the app's own base64 and percent encoding, or as it is.

    Which of the two it is cannot be known: "6666" is base64 of a Korean syllable. We decode what round-trips, is
    UTF-8 without control characters, and
    - has a letter, where it ends in padding or where the type is in MIMC's bizType alone, as in the Java,
      Android and later Web demos, which encode every text;
    - elsewhere has eight characters or more, small and capital letters among them, which words and numbers seldom do.
    """
    if not _looks_encoded(text, encoder=encoder):
        return text
    decoded = _from_base64(text.encode("utf-8", "replace"))
    if decoded is None or base64.b64encode(decoded).decode("ascii") != text:
        return text
    return _utf8(_percent_decoded(decoded)) or _utf8(decoded) or text


def _looks_encoded(text: str, *, encoder: bool) -> bool:
    has_small, has_capital = _SMALL.search(text) is not None, _CAPITAL.search(text) is not None
    if encoder or text.endswith("="):
        return has_small or has_capital
    return len(text) >= 8 and has_small and has_capital


def _from_base64(raw: bytes) -> bytes | None:
    try:
        return base64.b64decode(raw.strip(), validate=True)
    except ValueError:
        return None


def _percent_decoded(raw: bytes) -> bytes:
    text = raw.decode("latin-1")
    return unquote_to_bytes(text) if _PERCENT_ENCODED.fullmatch(text) else raw


def _utf8(raw: bytes) -> str | None:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return text if all(c in "\n\r\t" or unicodedata.category(c) not in ("Cc", "Co") for c in text) else None


def _is_shown(character: str) -> bool:
    return character.isspace() or (unicodedata.category(character) not in ("Cc", "Cs") and character not in _OVERRIDES)
