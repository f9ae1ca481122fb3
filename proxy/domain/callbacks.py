"""A callback: a message that a user wrote, and those of its readers who were not online."""

import hashlib
import json
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property, lru_cache

_KEPT = 8192  # digests of each kind


class Kind(StrEnum):
    """The callbacks that we read; MIMC's `msgType`. OFFLINE_* names people whom the message did not reach."""

    NORMAL_MSG = "NORMAL_MSG"
    OFFLINE_MSG = "OFFLINE_MSG"
    NORMAL_TOPIC_MSG = "NORMAL_TOPIC_MSG"
    OFFLINE_TOPIC_MSG = "OFFLINE_TOPIC_MSG"

    @property
    def is_offline(self) -> bool:
        return self in (Kind.OFFLINE_MSG, Kind.OFFLINE_TOPIC_MSG)


@dataclass(frozen=True)
class Recipient:
    """An account that missed the message; `resources` are the logins that missed it, none named: all of them."""

    account: str
    resources: tuple[str, ...] = ()


@dataclass(frozen=True)
class CallbackOrigin:
    """What a callback says about its origin: `authentication` as it came, None where the field is absent.

    `recipient_app_id` decides which configured app it is for; `app_ids` are all that the body names; `timestamp` is
    the body's own, as text, because `authentication` repeats it.
    """

    recipient_app_id: str | None
    app_ids: tuple[str, ...]
    timestamp: str | None
    authentication: str | None = field(repr=False)


@dataclass(frozen=True)
class Ignored:
    """A callback that we take and drop: UCTOPIC_MSG, or a kind that we do not know. `kind` is text of theirs."""

    kind: str
    origin: CallbackOrigin


@dataclass(frozen=True)
class Callback:
    """One message callback. Ids are text: they exceed 2^53 and come as number or text. `sent_at` is aware UTC.

    `topic_id` is None between two people. `payload` is out of MIMC's base64; what is inside is the app's own.
    """

    kind: Kind
    app_id: str
    from_account: str
    topic_id: str | None
    recipients: tuple[Recipient, ...]
    payload: bytes = field(repr=False)
    origin: CallbackOrigin
    sent_at: datetime | None = None
    sequence: str | None = None
    packet_id: str | None = None
    biz_type: str = ""

    @cached_property
    def message_id(self) -> str:
        """Names the message, the same in every callback about it, NORMAL or OFFLINE, to all recipients. 32 hex digits.

        (topicId, or sender and reader) and sequence; without it packetId and sender; without both a digest of
        everything that the message itself is. Never `authentication`, which a repeat may carry anew.
        """
        people = ("topic", self.topic_id) if self.topic_id else ("p2p", self.from_account, self._reader)
        if self.sequence:
            return digest("sequence", *people, self.sequence)
        if self.packet_id:
            return digest("packet", self.packet_id, self.from_account)
        apps = digest(*sorted(self.origin.app_ids))
        return digest("content", apps, self.from_account, *people, self.origin.timestamp or "", self.payload)

    @property
    def callback_id(self) -> str:
        """Names this very callback: a repeat of it has the same, one with other recipients another. 32 hex digits."""
        recipients = sorted((r.account, *sorted(r.resources)) for r in self.recipients)
        # one text: 10,000 digests would keep the web process from all others for 10 ms
        return digest("callback", self.kind, self.app_id, self.message_id, json.dumps(recipients))

    @property
    def conversation(self) -> str:
        """Where a reader finds the message: the group, or the talk with the sender."""
        return f"topic:{self.topic_id}" if self.topic_id else f"p2p:{self.from_account}"

    @property
    def _reader(self) -> str:
        return self.recipients[0].account if self.recipients else ""


@dataclass(frozen=True)
class Receipt:
    """What became of a callback: new, or the repeat of one that is stored already.

    `spooled`: on this machine's disk, for the store is away; whether it is a repeat will be seen later.
    """

    duplicate: bool
    spooled: bool = False


def digest(*parts: str | bytes | None) -> str:
    """16 bytes of BLAKE2b over the parts, each with its length before it, as 32 hex digits."""
    whole = bytearray()
    for part in parts:
        raw = part if isinstance(part, bytes) else (part or "").encode("utf-8", "surrogatepass")
        whole += len(raw).to_bytes(4, "big") + raw
    return hashlib.blake2b(whole, digest_size=16).hexdigest()


@lru_cache(maxsize=_KEPT)
def account_digest(account: str) -> str:
    """`digest` of an account, which one alert needs six times, and mostly that of the next message again."""
    return digest(account)


@lru_cache(maxsize=_KEPT)
def conversation_digest(conversation: str) -> str:
    """Of "p2p:<account>" or "topic:<id>"; all readers of a group have one."""
    return digest("conversation", conversation)
