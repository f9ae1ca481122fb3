"""What one person should see, and which of two alerts is the later one."""

from dataclasses import dataclass, field
from datetime import datetime

from proxy.domain.callbacks import digest


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
    """The words: who writes, and what (or what kind of thing). Theirs, so no repr shows them."""

    title: str = field(repr=False)
    body: str = field(repr=False)


@dataclass(frozen=True)
class Alert:
    """One message as a person should see it. `message_id` and `conversation` are those of its callback."""

    message_id: str
    conversation: str
    text: AlertText
    order: Order
    expires_at: datetime

    @property
    def conversation_id(self) -> str:
        """The conversation in 32 hex digits, for fields that take no free text."""
        return digest("conversation", self.conversation)
