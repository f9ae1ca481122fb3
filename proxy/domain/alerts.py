"""What one person should see, and which of two alerts is the later one."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from proxy.domain.callbacks import conversation_digest
from proxy.domain.kinds import FOLD, Kind
from proxy.domain.previews import Preview


@dataclass(frozen=True)
class Order:
    """Place of a message in its conversation: by MIMC's sequence, else its timestamp, else when we accepted it."""

    sequence: int
    sent_at_ms: int
    accepted_at_ms: int

    def is_later_than(self, other: "Order") -> bool:
        """Compare by the first measure that both have and that differs (0: does not have it)."""
        for mine, theirs in (
            (self.sequence, other.sequence),
            (self.sent_at_ms, other.sent_at_ms),
            (self.accepted_at_ms, other.accepted_at_ms),
        ):
            if mine and theirs and mine != theirs:
                return mine > theirs
        return False


@dataclass(frozen=True)
class AlertText:
    """Who writes, and what. Theirs, so no repr shows it.

    `title` "": the sender has no name to be shown; `body` "": words for `kind` are chosen in the reader's language when
    a push is built (words.py). `kind` is a Kind, or a type for which the app has words of its own. `group`: the name of
    the group, where the payload has one. `sender`: the account of who writes in a group, `avatar`: the https address of
    their picture; both "" where no iPhone is to be told. `count`: of a fold, how many messages it tells of.
    """

    title: str = field(repr=False)
    body: str = field(repr=False)
    kind: str = Kind.TEXT
    group: str = field(default="", repr=False)
    sender: str = field(default="", repr=False)
    avatar: str = field(default="", repr=False)
    count: int = 0

    def at(self, preview: Preview) -> "AlertText":
        """As much of it as may be shown."""
        match preview:
            case Preview.FULL:
                return self
            case Preview.SENDER:
                return replace(self, body="", kind=self._kind_shown)
            case Preview.NONE:
                return AlertText("", "", self._kind_shown, count=self.count)

    @property
    def _kind_shown(self) -> str:
        """That a message was recalled, or how many came, says nothing of them."""
        return self.kind if self.kind in (Kind.RECALL, FOLD) else Kind.NEW

    def folded(self, *, is_group: bool, count: int = 1) -> "AlertText":
        """What is told of this message and others of its conversation: whose they are, and how many; no more of any.

        In a group others write too: the group's name is the title.
        """
        if is_group:
            return AlertText(self.group, "", FOLD, self.group, count=count)
        return AlertText(self.title, "", FOLD, avatar=self.avatar, count=count)


class Update(StrEnum):
    """What is told of alerts that a phone may show already."""

    RECALL = "recall"  # one goes, for the message was taken back by the one who wrote it
    READ = "read"  # one goes, and those before it, for the reader has seen them elsewhere
    BADGE = "badge"  # their number has changed


@dataclass(frozen=True)
class Alert:
    """One message as a person should see it. `message_id` and `conversation` are those of its callback.

    Or a fold: several messages of a conversation, told as one alert. `message_id` names the first of them.

    `urgent`: it may break through what holds others back, as a call may. `silent`: it arrives without a sound.
    `mentioned`: the message names its reader.
    `update`: this is about the alert that the message had; None: this is the alert itself.
    """

    message_id: str
    conversation: str
    text: AlertText
    order: Order
    expires_at: datetime
    urgent: bool = False
    silent: bool = False
    mentioned: bool = False
    update: Update | None = None

    @property
    def conversation_id(self) -> str:
        """The conversation in 32 hex digits, for fields that take no free text."""
        return conversation_digest(self.conversation)

    @property
    def is_fold(self) -> bool:
        return self.text.kind == FOLD

    @property
    def edition(self) -> str:
        """Tells apart what one fold tells from time to time; "" of an alert of one message."""
        order = self.order
        told = f"{self.text.count} {order.sequence} {order.sent_at_ms} {order.accepted_at_ms}"
        return told if self.is_fold else ""

    @property
    def may_fold(self) -> bool:
        """Calls, and messages that name their reader, are told at once."""
        return not (self.urgent or self.mentioned)

    def folded(self) -> "Alert":
        """The update that tells of this message and of those that come before it goes out."""
        text = self.text.folded(is_group=self.conversation.startswith("topic:"))
        return replace(self, text=text)

    def at(self, preview: Preview) -> "Alert":
        """The same with as much of its text as may be shown."""
        return self if preview is Preview.FULL else replace(self, text=self.text.at(preview))
