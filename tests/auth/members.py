"""Built-in accounts in a file of the test's own, with the store's marks in memory."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from proxy.auth.accounts import SessionTokens
from proxy.auth.accounts_db import AccountsDatabase, open_accounts
from proxy.auth.passwords import Argon2Passwords
from proxy.auth.sign_in import SignIns
from proxy.errors import StoreUnavailable
from proxy.settings import AccountsSettings

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
PASSWORD = "correct horse"
KEY = "a key of the tests for accounts, 0123456789abcdef"


@dataclass
class MemoryMarks:
    """Implements ports.BlockMarks."""

    accounts: set[str] = field(default_factory=set)
    sessions: dict[str, timedelta] = field(default_factory=dict)
    failure: StoreUnavailable | None = None

    def is_blocked(self, account: str, session_id: str | None) -> bool:
        self._answer()
        return account in self.accounts or session_id in self.sessions

    def block(self, account: str) -> None:
        self._answer()
        self.accounts.add(account)

    def unblock(self, account: str) -> None:
        self._answer()
        self.accounts.discard(account)

    def block_session(self, session_id: str, life: timedelta) -> None:
        self._answer()
        self.sessions[session_id] = life

    def blocked_among(self, accounts: Sequence[str]) -> set[str]:
        self._answer()
        return self.accounts & set(accounts)

    def _answer(self) -> None:
        if self.failure:
            raise self.failure


class Members:
    """Sign-ins with alice and bob. The same password for both, hashed once: it costs time."""

    def __init__(self, folder: Path) -> None:
        settings = AccountsSettings.model_validate({"key": KEY})
        self.marks = MemoryMarks()
        self.accounts: AccountsDatabase = open_accounts(folder / "accounts.sqlite3")
        self.passwords = Argon2Passwords()
        password_hash = self.passwords.hash(PASSWORD)
        for account in ("alice", "bob"):
            self.accounts.add(account, password_hash, NOON)
        self.sign_ins = SignIns(
            self.accounts,
            self.passwords,
            SessionTokens(settings),
            self.marks,
            access_ttl=settings.access_ttl,
            refresh_ttl=settings.refresh_ttl,
        )

    def is_disabled(self, account: str) -> bool:
        user = self.accounts.find(account)
        assert user is not None
        return user.disabled_at is not None
