"""What kind of thing a message is, and the spellings of its type that MIMC's apps use.

The spellings are those of MIMC's manual, its SDKs' demos and public apps. A new message type is a row; an app's own are
in its settings, `[apps.NAME.messages.types]`.
"""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """What a reader sees of a message: its text, words of ours, or nothing at all."""

    TEXT = "text"
    REPLY = "reply"  # a text too
    PICTURE = "picture"
    VOICE = "voice"
    VIDEO = "video"
    FILE = "file"
    LOCATION = "location"
    FRIEND_REQUEST = "friend_request"
    CALL = "call"
    CUSTOM = "custom"
    NEW = "new"  # a message; no more is known of it, or to be shown
    READ = "read"  # from here on nothing is shown
    RECALL = "recall"
    SIGNAL = "signal"


FOLD: Final = "fold"  # several messages of a conversation told as one alert: no message is of this kind
WITH_TEXT: Final = frozenset({Kind.TEXT, Kind.REPLY})
SILENT: Final = frozenset({Kind.READ, Kind.RECALL, Kind.SIGNAL})
WITHDRAWING: Final = frozenset({Kind.READ, Kind.RECALL})
SAID: Final = tuple(kind for kind in Kind if kind not in SILENT)  # those that words can be chosen for


@dataclass(frozen=True)
class Rule:
    """What becomes of messages of one type.

    `kind`: a Kind, or the type itself in capitals where the app has words of its own for it. `expiry`: how long such an
    alert is worth showing, None: as long as any. `source`: where the type was seen.
    """

    kind: str
    silent: bool
    urgent: bool
    expiry: timedelta | None
    source: str


def rule_of(kind: Kind, source: str) -> Rule:
    """What becomes of a kind where the settings say nothing else. Nobody answers a call that has stopped ringing."""
    is_call = kind is Kind.CALL
    return Rule(kind, kind in SILENT, is_call, timedelta(seconds=30) if is_call else None, source)


@dataclass(frozen=True)
class MessageType:
    """One spelling of a message type, in capitals; `source` is where it was seen."""

    spelling: str
    kind: Kind
    source: str


_MANUAL: Final = "operation manual"
_JAVA_DEMO: Final = "plain Java demo"
_CONSUMER: Final = "a public consumer of callbacks (ordinaryroad)"

MESSAGE_TYPES: Final = (
    MessageType("PING", Kind.SIGNAL, _MANUAL),
    MessageType("PONG", Kind.SIGNAL, _MANUAL),
    MessageType("TEXT", Kind.TEXT, _MANUAL + "; in small letters: flutter_mimc"),
    MessageType("TEXT_READ", Kind.READ, _MANUAL),
    MessageType("TEXT_RECALL", Kind.RECALL, _MANUAL),
    MessageType("PIC_FILE", Kind.PICTURE, _MANUAL),
    MessageType("PIC_FILE_READ", Kind.READ, _MANUAL),
    MessageType("PIC_FILE_RECALL", Kind.RECALL, _MANUAL),
    MessageType("AUDIO_FILE", Kind.VOICE, _MANUAL),
    MessageType("AUDIO_FILE_READ", Kind.READ, _MANUAL),
    MessageType("AUDIO_FILE_RECALL", Kind.RECALL, _MANUAL),
    MessageType("BIN_FILE", Kind.FILE, _MANUAL),
    MessageType("BIN_FILE_READ", Kind.READ, _MANUAL),
    MessageType("BIN_FILE_RECALL", Kind.RECALL, _MANUAL),
    MessageType("ADD_FRIEND_REQUEST", Kind.FRIEND_REQUEST, _MANUAL),
    MessageType("ADD_FRIEND_RESPONSE", Kind.SIGNAL, _MANUAL),
    MessageType("101", Kind.SIGNAL, _JAVA_DEMO),  # PING
    MessageType("102", Kind.SIGNAL, _JAVA_DEMO),  # PONG
    MessageType("103", Kind.TEXT, _JAVA_DEMO),  # TEXT
    MessageType("104", Kind.PICTURE, _JAVA_DEMO),  # PIC_FILE
    MessageType("105", Kind.READ, _JAVA_DEMO),  # TEXT_READ
    MessageType("106", Kind.RECALL, _JAVA_DEMO),  # TEXT_RECALL
    MessageType("107", Kind.FRIEND_REQUEST, _JAVA_DEMO),  # ADD_FRIEND_REQUEST
    MessageType("108", Kind.SIGNAL, _JAVA_DEMO),  # ADD_FRIEND_RESPONSE
    MessageType("REPLY", Kind.REPLY, _CONSUMER),
    MessageType("VIDEO_FILE", Kind.VIDEO, _CONSUMER),
    MessageType("RECALL", Kind.RECALL, _CONSUMER),
    MessageType("CHAT_STATE_CHANGE", Kind.SIGNAL, _CONSUMER),
    MessageType("READ", Kind.READ, "the short form of x_READ, as RECALL is of x_RECALL"),
)

KNOWN_TYPES: Final = {row.spelling: rule_of(row.kind, row.source) for row in MESSAGE_TYPES}
UNKNOWN_TYPE: Final = rule_of(Kind.NEW, "no type that is known")
