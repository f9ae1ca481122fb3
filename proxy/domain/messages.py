"""What a message says on a lock screen, if anything. MIMC sees bytes: what is inside is a custom among its apps.

The spellings below are those of MIMC's manual, its SDKs' demos and public apps. A new message type is a row.
"""

import base64
import re
import unicodedata
from codecs import BOM_UTF8
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final
from urllib.parse import unquote_to_bytes

from proxy import strict_json
from proxy.domain.alerts import AlertText
from proxy.text import ELLIPSIS, code_points, cut, first_characters

MAX_BODY: Final = 1000  # characters
MAX_TITLE: Final = 100


class Shown(Enum):
    """What a reader sees of a message: nothing at all, its text, or these words."""

    NOTHING = ""
    ITS_TEXT = "its text"
    PHOTO = "[Photo]"
    VOICE = "[Voice message]"
    VIDEO = "[Video]"
    FILE = "[File]"
    FRIEND_REQUEST = "Wants to be friends"
    SOMETHING = "New message"


@dataclass(frozen=True)
class MessageType:
    """One spelling of a message type, in capitals; `source` is where it was seen."""

    spelling: str
    shown: Shown
    source: str


_MANUAL: Final = "operation manual"
_JAVA_DEMO: Final = "plain Java demo"
_CONSUMER: Final = "a public consumer of callbacks (ordinaryroad)"

MESSAGE_TYPES: Final = (
    MessageType("PING", Shown.NOTHING, _MANUAL),
    MessageType("PONG", Shown.NOTHING, _MANUAL),
    MessageType("TEXT", Shown.ITS_TEXT, _MANUAL + "; in small letters: flutter_mimc"),
    MessageType("TEXT_READ", Shown.NOTHING, _MANUAL),
    MessageType("TEXT_RECALL", Shown.NOTHING, _MANUAL),
    MessageType("PIC_FILE", Shown.PHOTO, _MANUAL),
    MessageType("PIC_FILE_READ", Shown.NOTHING, _MANUAL),
    MessageType("PIC_FILE_RECALL", Shown.NOTHING, _MANUAL),
    MessageType("AUDIO_FILE", Shown.VOICE, _MANUAL),
    MessageType("AUDIO_FILE_READ", Shown.NOTHING, _MANUAL),
    MessageType("AUDIO_FILE_RECALL", Shown.NOTHING, _MANUAL),
    MessageType("BIN_FILE", Shown.FILE, _MANUAL),
    MessageType("BIN_FILE_READ", Shown.NOTHING, _MANUAL),
    MessageType("BIN_FILE_RECALL", Shown.NOTHING, _MANUAL),
    MessageType("ADD_FRIEND_REQUEST", Shown.FRIEND_REQUEST, _MANUAL),
    MessageType("ADD_FRIEND_RESPONSE", Shown.NOTHING, _MANUAL),
    MessageType("101", Shown.NOTHING, _JAVA_DEMO),  # PING
    MessageType("102", Shown.NOTHING, _JAVA_DEMO),  # PONG
    MessageType("103", Shown.ITS_TEXT, _JAVA_DEMO),  # TEXT
    MessageType("104", Shown.PHOTO, _JAVA_DEMO),  # PIC_FILE
    MessageType("105", Shown.NOTHING, _JAVA_DEMO),  # TEXT_READ
    MessageType("106", Shown.NOTHING, _JAVA_DEMO),  # TEXT_RECALL
    MessageType("107", Shown.FRIEND_REQUEST, _JAVA_DEMO),  # ADD_FRIEND_REQUEST
    MessageType("108", Shown.NOTHING, _JAVA_DEMO),  # ADD_FRIEND_RESPONSE
    MessageType("REPLY", Shown.ITS_TEXT, _CONSUMER),
    MessageType("VIDEO_FILE", Shown.VIDEO, _CONSUMER),
    MessageType("RECALL", Shown.NOTHING, _CONSUMER),
    MessageType("CHAT_STATE_CHANGE", Shown.NOTHING, _CONSUMER),
    MessageType("READ", Shown.NOTHING, "the short form of x_READ, as RECALL is of x_RECALL"),
)

_SHOWN: Final = {row.spelling: row.shown for row in MESSAGE_TYPES}
_TYPE_MEMBERS: Final = ("msgType", "type", "bizType", "biz_type")
_CONTENT_MEMBERS: Final = ("payload", "content")
_PERCENT_ENCODED: Final = re.compile(r"(?:[A-Za-z0-9\-_.!~*'()]|%[0-9A-Fa-f]{2})+")  # what encodeURIComponent leaves
_OVERRIDES: Final = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")

_Envelope = Mapping[str, object]


def alert_text(payload: bytes, biz_type: str, sender: str) -> AlertText | None:
    """The words of the alert, None for a message without an alert. Never raises, whatever the bytes.

    `payload` is out of MIMC's own base64: the app's JSON object, or base64 of one (flutter_mimc). The type is the
    first that we know among `biz_type`, which is MIMC's own, and the members msgType, type, bizType and biz_type;
    a type that we do not know is "New message". Text comes from the member payload or content, or is all of the
    payload where that is no JSON object.
    """
    envelope = _envelope(payload)
    inner_types = [kind for name in _TYPE_MEMBERS if (kind := _spelling((envelope or {}).get(name)))]
    shown = next((_SHOWN[kind] for kind in (_spelling(biz_type), *inner_types) if kind in _SHOWN), Shown.SOMETHING)
    title = clean(sender, MAX_TITLE) or Shown.SOMETHING.value
    match shown:
        case Shown.NOTHING:
            return None
        case Shown.ITS_TEXT:
            text = _plain_text(payload) if envelope is None else _content(envelope, encoder=not inner_types)
            return AlertText(title, clean(text, MAX_BODY) or Shown.SOMETHING.value)
        case _:
            return AlertText(title, shown.value)


def wordless_text(conversation: str) -> AlertText:
    """What is shown of a message whose words are gone; the sender is known only where two people talk."""
    sender = conversation.removeprefix("p2p:") if conversation.startswith("p2p:") else ""
    return AlertText(clean(sender, MAX_TITLE) or Shown.SOMETHING.value, Shown.SOMETHING.value)


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


def _envelope(payload: bytes) -> _Envelope | None:
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


def _content(envelope: _Envelope, *, encoder: bool) -> str:
    """`encoder`: the envelope comes from a demo that always puts its text in base64."""
    for name in _CONTENT_MEMBERS:
        value = envelope.get(name)
        if isinstance(value, str) and value:
            return _decoded(value, encoder=encoder)
    return ""


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
    has_small, has_capital = bool(re.search("[a-z]", text)), bool(re.search("[A-Z]", text))
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
