"""Several messages of a conversation that are told to a phone as one: how many they are when that is done."""

from dataclasses import dataclass
from datetime import datetime

from proxy.domain.alerts import Order


@dataclass(frozen=True)
class Fold:
    """The fold of a conversation on one phone, as it is when its update is about to be pushed.

    `first` is the message that names it; `count` how many messages it has now, of which the phone was told `shown`
    before; `seen` how many were ever put into it; `order` the latest one's; `silent`: none of the new ones may sound.
    """

    first: str
    count: int
    shown: int
    seen: int
    order: Order
    expires_at: datetime
    silent: bool = False

    @property
    def has_news(self) -> bool:
        return self.count > self.shown
