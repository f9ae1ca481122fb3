"""Alerts that replace each other on a phone: what the store knows of one conversation on one target."""

from dataclasses import dataclass

from proxy.domain.alerts import Order


@dataclass(frozen=True)
class ConversationState:
    """`is_free`: no other push of the conversation is in flight. `shown` is the latest alert that was accepted.

    `sent` is the latest that has left, or was about to, without an answer: it may be shown too.
    """

    is_free: bool
    shown: Order | None = None
    sent: Order | None = None


@dataclass(frozen=True)
class LockRelease:
    """The push of a conversation has ended. `order` is its alert's, None where none went out after all.

    `accepted`: it is shown now. `over`: it is, or it surely is not and will not be by this push.
    """

    conversation: str
    order: Order | None = None
    accepted: bool = False
    over: bool = False
