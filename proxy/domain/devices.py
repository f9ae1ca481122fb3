"""Where a person can be reached."""

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class Platform(StrEnum):
    """How a device is reached; the values are the names of the channels."""

    APNS = "apns"
    MIPUSH = "mipush"


class ApnsEnvironment(StrEnum):
    """Which of Apple's two worlds a device token belongs to; they do not know each other's."""

    PRODUCTION = "production"
    SANDBOX = "sandbox"


@dataclass(frozen=True)
class Device:
    """One registration: a push token and whose it is. `device_id` is unique within (app, account).

    `push_token` is an APNs device token (hex, any length) or a MiPush regId; `registered_at` is aware UTC, of the last
    registration; `trouble` is why a provider called the address wrong since then.
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


def fingerprint(push_token: str) -> str:
    """Eight hex digits that tell two push tokens apart in a log, and give neither away."""
    return hashlib.sha256(push_token.encode()).hexdigest()[:8]
