"""The accounts of operators, who sign in to the console: a database of their own, so that no chat user is one.

A browser shows the secret of its session, of which the database has a digest. That is what Flask-Login and itsdangerous
would not give: their signed cookie needs a key in the settings, and is good until it expires, whatever happened since.
"""

import base64
import hashlib
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from proxy.auth.accounts_db import AccountsDatabase, open_accounts
from proxy.auth.passwords import Argon2Passwords
from proxy.auth.sign_in import check_password, wrong
from proxy.domain.accounts import Session, fits

_SECRET_BYTES = 32


@dataclass
class Operators:
    """Safe to share between threads. The file is made with the first operator; before there is none.

    Everything here raises StoreUnavailable, and BadSettings where the file is none of ours.
    """

    path: Path
    passwords: Argon2Passwords
    session_life: timedelta
    _opened: AccountsDatabase | None = field(default=None, repr=False)

    def exist(self) -> bool:
        """Is there any who could sign in?"""
        accounts = self._accounts()
        return accounts is not None and any(user.disabled_at is None for user in accounts.users())

    def names(self) -> list[tuple[str, datetime]]:
        """All, and since when."""
        accounts = self._accounts()
        return [(user.account, user.created_at) for user in accounts.users()] if accounts else []

    def add(self, name: str, password: str, now: datetime) -> bool:
        """False: there is such an operator already."""
        return self._made().add(name, self.passwords.hash(password), now)

    def remove(self, name: str) -> bool:
        """Also ends their sessions. False: there was none of that name."""
        accounts = self._accounts()
        return accounts is not None and accounts.erase(name)

    def set_password(self, name: str, password: str, now: datetime) -> bool:
        """Also ends their sessions. False: there is none of that name."""
        accounts = self._accounts()
        if accounts is None:
            return False
        hashed = self.passwords.hash(password)
        with accounts.alone() as change:
            return change.set_password(name, hashed, now)

    def sign_in(self, name: str, password: str, now: datetime) -> str:
        """The secret of a new session. Raises NotSignedIn."""
        accounts = self._accounts()
        if accounts is None or not fits(password):
            raise wrong()
        user, new_hash = check_password(name, password, accounts, self.passwords)
        secret = base64.urlsafe_b64encode(secrets.token_bytes(_SECRET_BYTES)).decode().rstrip("=")
        session = Session(_digest(secret), user.account, None, now, now + self.session_life)
        if not accounts.start_session(session, user, new_hash):
            raise wrong()
        return secret

    def of_session(self, secret: str, now: datetime) -> str | None:
        """Who has signed in with it; None where it is unknown, ended or expired."""
        accounts = self._accounts()
        found = accounts.live_session(_digest(secret), now) if accounts else None
        return found.account if found else None

    def sign_out(self, secret: str, now: datetime) -> None:
        if accounts := self._accounts():
            accounts.revoke(_digest(secret), now)

    def close(self) -> None:
        if self._opened:
            self._opened.close()

    def _accounts(self) -> AccountsDatabase | None:
        """Looked for anew until it is there: the first operator needs no restart."""
        if self._opened is None and not self.path.exists():
            return None
        return self._made()

    def _made(self) -> AccountsDatabase:
        if self._opened is None:
            self._opened = open_accounts(self.path, "console.operators")
        return self._opened


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
