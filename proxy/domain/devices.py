"""Where a person can be reached."""

import hashlib
from collections.abc import Container, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum, StrEnum, auto
from functools import cached_property
from typing import Any

from proxy.domain.callbacks import digest
from proxy.domain.folds import Fold
from proxy.domain.preferences import Preferences, QuietHours
from proxy.domain.previews import Preview


class Platform(StrEnum):
    """How a device is reached."""

    APNS = "apns"
    MIPUSH = "mipush"
    HTTP = "http"


APNS_SANDBOX = "apns-sandbox"
BADGED = frozenset({Platform.APNS, Platform.HTTP})  # their alerts carry the number of unread messages
BADGED_ALONE = frozenset({Platform.APNS})  # and the number can go without an alert


class ApnsEnvironment(StrEnum):
    """Which of Apple's two worlds a device token belongs to; they do not know each other's."""

    PRODUCTION = "production"
    SANDBOX = "sandbox"


FALLBACKS_MOST = 3


@dataclass(frozen=True)
class Address:
    """Where a phone is reached: a push token of a platform."""

    platform: Platform
    push_token: str = field(repr=False)
    environment: ApnsEnvironment = ApnsEnvironment.PRODUCTION

    @property
    def channel(self) -> str:
        return _channel(self.platform, self.environment)


@dataclass(frozen=True)
class Device:
    """One registration: a push token and its owner. `device_id` is unique within (app, account).

    `push_token` is an APNs device token (hex, any length), a MiPush regId, or what the developer's own sender knows the
    phone by; `registered_at` is aware UTC, of the last registration; `invalid_reason` is why a provider called the
    address wrong since then; `preview` is how much of a message it shows.

    `fallbacks` are its further addresses, in the order in which they take the place of one that its provider calls
    dead. `first_platform` is that of the address that was registered first, "" where it is `platform`: a message's mark
    for the device is the same whichever address it goes to.
    """

    app: str
    account: str
    device_id: str
    platform: Platform
    push_token: str = field(repr=False)
    registered_at: datetime
    environment: ApnsEnvironment = ApnsEnvironment.PRODUCTION
    locale: str = ""
    resource: str = ""
    invalid_reason: str = ""
    preview: Preview = Preview.FULL
    fallbacks: tuple[Address, ...] = ()
    first_platform: str = ""

    @property
    def channel(self) -> str:
        """The channel that reaches it; Apple's sandbox is one of its own."""
        return _channel(self.platform, self.environment)

    @cached_property
    def token_digest(self) -> str:
        """Names the push token in the store, and gives it away nowhere."""
        return digest(self.push_token)

    @property
    def addresses(self) -> tuple[Address, ...]:
        """All of them, the present one first."""
        return (Address(self.platform, self.push_token, self.environment), *self.fallbacks)

    @property
    def marked_as(self) -> str:
        """The platform by which a message's mark names it."""
        return self.first_platform or self.platform

    def reached_by(self, channels: Container[str]) -> "Device | None":
        """The same at the first of its addresses that one of these channels reaches; None where none does."""
        place = next((place for place, it in enumerate(self.addresses) if it.channel in channels), None)
        return None if place is None else self.at(place)

    def at(self, place: int) -> "Device":
        """The same with its address of this place as the present one; the others follow in their order."""
        if place == 0:
            return self
        rest = list(self.addresses)
        chosen = rest.pop(place)
        return replace(
            self,
            platform=chosen.platform,
            push_token=chosen.push_token,
            environment=chosen.environment,
            fallbacks=tuple(rest),
            first_platform="" if self.marked_as == chosen.platform else self.marked_as,
        )


@dataclass(frozen=True)
class Registered:
    """A registration was kept. `gone`: ids of the account's oldest devices, which had to make room; mostly none.

    `moved`: the push token was another account's until now.
    """

    gone: list[str]
    moved: bool = False


@dataclass(frozen=True)
class Destination:
    """Where a job goes as things are now. `device` None: gone, or of another owner; or the account is the address.

    `rests`: so long the device takes no more, says the provider. `blocked`: the account is. `unknown`: the provider
    knows no such account. `withdrawn`: the job's alert was taken back. `badge`: how many messages the
    account has not read, None: that was not asked. `preview`: how much the account shows of a message by now, and
    `quiet_hours` when its phones make no sound. `fold`: of an update of one, what it has to tell.
    """

    device: Device | None = None
    rests: timedelta = timedelta(0)
    blocked: bool = False
    unknown: bool = False
    withdrawn: bool = False
    badge: int | None = None
    preview: Preview = Preview.FULL
    quiet_hours: QuietHours | None = None
    fold: Fold | None = None


@dataclass(frozen=True)
class AccountsRead:
    """The devices of each (app section, account) that was asked for; and which of the accounts are blocked.

    `preferences` of those accounts that have set any; `present` are those that have the app open, where that is asked.
    `besides`: the answers to what was asked in the same round trip.
    """

    devices: dict[tuple[str, str], list[Device]]
    blocked: frozenset[str]
    preferences: dict[str, Preferences] = field(default_factory=dict)
    present: frozenset[str] = frozenset()
    besides: Sequence[Any] = ()


@dataclass(frozen=True)
class LaneRead:
    """Where jobs of a lane go, in their order; and whether the lane was paused when that was read."""

    destinations: list[Destination]
    is_paused: bool


class ImportResult(StrEnum):
    """What became, or would become, of a registration that another store has told."""

    DONE = "imported"
    SAME = "here already"
    OLDER = "older than what is here"
    REMOVED = "called dead by a provider since"
    NO_ROOM = "no room in the account"


class RemovalResult(Enum):
    """What became of a registration that was to be removed."""

    REMOVED = auto()
    KEPT = auto()  # registered again after the moment in question
    GONE = auto()  # it has another owner by now, or none
    HELD = auto()  # too many of the app's would go at once: more likely a fault than their end


def _channel(platform: Platform, environment: ApnsEnvironment) -> str:
    is_sandbox = platform is Platform.APNS and environment is ApnsEnvironment.SANDBOX
    return APNS_SANDBOX if is_sandbox else platform.value


def platform_of(channel: str) -> str:
    """The platform of the devices that a channel reaches: both channels of APNs reach the same."""
    return Platform.APNS.value if channel == APNS_SANDBOX else channel


def channels_of(platform: str) -> tuple[str, ...]:
    """The channels that reach devices of a platform."""
    return (platform, APNS_SANDBOX) if platform == Platform.APNS else (platform,)


def shown(device: Device) -> dict[str, Any]:
    """As an operator sees it: a push token is a fingerprint. What is empty is left out."""
    told = {
        "app": device.app, "account": device.account, "device_id": device.device_id, "platform": device.platform,
        "push_token_fingerprint": fingerprint(device.push_token), "environment": device.environment,
        "registered_at": device.registered_at.isoformat(timespec="seconds"), "resource": device.resource,
        "locale": device.locale, "preview": "" if device.preview is Preview.FULL else device.preview.value,
        "invalid_reason": device.invalid_reason,
        "fallbacks": [
            {"platform": it.platform, "push_token_fingerprint": fingerprint(it.push_token)} for it in device.fallbacks
        ],
    }  # fmt: skip
    return {name: value for name, value in told.items() if value}


def fingerprint(push_token: str) -> str:
    """Eight hex digits that distinguish two push tokens in a log, and reveal neither."""
    return hashlib.sha256(push_token.encode()).hexdigest()[:8]
