"""What MIMC takes from an app, and who may have how much of it.

MIMC limits an app, not its users: a user in a loop would silence everybody else. So an app's quota is shared. A fifth
is kept for services, whose messages the developer wants to arrive whatever users do. One account has at most half of
what is left: it is far more than a person writes, it never keeps all others waiting, and it does not shrink when others
come. Services may have the whole.

An amount counts for the span in which it was sent: in any span no more leaves than the quota, unless one call alone is
more than that. Such a call leaves as soon as there is any room, and then nothing does until all of it is paid for, for
else it would never leave. store/scripts/take_quota.lua counts so, for all processes.
Source of the figures: MIMC's documents, see settings.
"""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum


class Amount(StrEnum):
    """What MIMC counts."""

    PERSONAL = "personal"  # messages to one account, times recipients
    GROUP = "group"
    UNLIMITED_GROUP = "unlimited-group"


class Holder(StrEnum):
    """Whose share is used up."""

    APP = "app"
    USERS = "users"
    ACCOUNT = "account"


@dataclass(frozen=True)
class Quota:
    """`most` in each `span`."""

    most: int
    span: timedelta

    @property
    def of_users(self) -> int:
        return max(self.most * 4 // 5, 1)

    @property
    def of_account(self) -> int:
        return max(self.of_users // 2, 1)


@dataclass(frozen=True)
class QuotaRequest:
    """A call takes `number` from the quota of the section `app`. `account` is the user's; None: a service sends."""

    app: str
    amount: Amount
    number: int
    account: str | None


@dataclass(frozen=True)
class QuotaSpent:
    """There is room for the same after `wait_ms`, if no other sender takes it."""

    amount: Amount
    holder: Holder
    wait_ms: int
