"""The built-in accounts: users who may sign in here, and their sessions."""

from dataclasses import dataclass, field
from datetime import datetime

MIN_PASSWORD_CHARACTERS = 8  # of a new one; NIST SP 800-63B, 5.1.1.1
MAX_PASSWORD_BYTES = 1024  # hashing more would be a way to keep us busy


@dataclass(frozen=True)
class User:
    """`account` is in NFC. `changed_at` is when the password changed, or when the user was last disabled or enabled."""

    account: str
    password_hash: str = field(repr=False)
    created_at: datetime
    changed_at: datetime
    disabled_at: datetime | None = None


@dataclass(frozen=True)
class Session:
    """One sign-in. `refresh_hash` None: a browser's, which holds a cookie and nothing to refresh.

    `device_id` is the device that signs out with it, in the section `app`, or in every section where that is None.
    """

    id: str
    account: str
    refresh_hash: bytes | None = field(repr=False)
    created_at: datetime
    expires_at: datetime
    device_id: str | None = None
    app: str | None = None


def fits(password: str) -> bool:
    """Can this be a password? 1 to MAX_PASSWORD_BYTES bytes in UTF-8."""
    try:
        return 1 <= len(password.encode()) <= MAX_PASSWORD_BYTES
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
