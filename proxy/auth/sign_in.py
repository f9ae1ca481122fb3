"""Sign in to a built-in account, stay signed in, and sign out."""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from proxy.auth.accounts import SessionTokens
from proxy.auth.accounts_db import AccountsDatabase
from proxy.auth.passwords import Argon2Passwords
from proxy.domain.accounts import Session, User
from proxy.errors import NotSignedIn
from proxy.ports import BlockMarks, DeviceRegistry

_CLOCKS = timedelta(minutes=1)  # a block outlives the proofs that it ends, whichever clock is late


@dataclass(frozen=True)
class SignedIn:
    """Good for `life`. Without tokens: a browser's session, which a cookie shows."""

    session: Session
    life: timedelta
    access_token: str | None = field(default=None, repr=False)
    refresh_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class SignIns:
    """The sign-ins of the built-in accounts. Everything here raises StoreUnavailable; a refusal is NotSignedIn."""

    accounts: AccountsDatabase
    passwords: Argon2Passwords
    tokens: SessionTokens
    blocks: BlockMarks
    access_ttl: timedelta
    refresh_ttl: timedelta

    def sign_in(
        self,
        account: str,
        password: str,
        now: datetime,
        *,
        device_id: str | None = None,
        app: str | None = None,
        by_cookie: bool = False,
    ) -> SignedIn:
        """A new session. One answer, after the same work, to an unknown user, a disabled one and a wrong password."""
        user, new_hash = check_password(account, password, self.accounts, self.passwords)
        if self.blocks.is_blocked(account, None):
            raise wrong()
        session_id = self.tokens.new_session_id()
        refresh_token, kept = (None, None) if by_cookie else self.tokens.new_refresh(session_id)
        session = Session(session_id, account, kept, now, now + self.refresh_ttl, device_id, app)
        if not self.accounts.start_session(session, user, new_hash):
            raise wrong()
        return self._signed_in(session, refresh_token, now) if refresh_token else SignedIn(session, self.refresh_ttl)

    def name_for_log(self, typed: str) -> dict[str, str]:
        """The account of a refused sign-in; where there is none of that name, a digest under a key of our own: people
        type passwords into the wrong field.
        """
        if self.accounts.find(typed) is not None:
            return {"account": typed}
        return {"account_digest": self.tokens.digest_for_log(typed)}

    def refresh(self, refresh_token: str, now: datetime) -> SignedIn:
        """The next pair. A token of the session that is not its last one ends it: the owner or a thief used it before.

        Of two calls with the same token at the same moment one gets a pair, and the other one ends the session.
        """
        shown = self.tokens.read_refresh(refresh_token)
        session = self.accounts.live_session(shown[0], now) if shown else None
        if shown is None or session is None or self.blocks.is_blocked(session.account, session.id):
            raise NotSignedIn("sign in again")
        next_token, kept = self.tokens.new_refresh(session.id)
        is_last = hmac.compare_digest(session.refresh_hash or b"", shown[1])
        if not is_last or not self.accounts.rotate(session, kept, now, now + self.refresh_ttl):
            self._end(session.id, now)
            raise NotSignedIn("the refresh token was used before; sign in again")
        return self._signed_in(session, next_token, now)

    def sign_out(
        self,
        account: str,
        session_id: str,
        now: datetime,
        *,
        devices: DeviceRegistry,
        apps: Sequence[str],
        device_id: str | None = None,
    ) -> None:
        """Ends the session and removes its device, or the one that is named, from its section or from all `apps`.

        The device goes first: a caller who is cut off before the end is still signed in and can repeat it.
        """
        session = self.accounts.live_session(session_id, now)
        device_id = device_id or (session.device_id if session else None)
        if device_id is not None:
            for app in [session.app] if session and session.app else apps:
                devices.remove(app, account, device_id)
        self._end(session_id, now)

    def _signed_in(self, session: Session, refresh_token: str, now: datetime) -> SignedIn:
        access_token = self.tokens.access(session.account, session.id, now)
        return SignedIn(session, self.access_ttl, access_token, refresh_token)

    def _end(self, session_id: str, now: datetime) -> None:
        """First the block, then the database. Where that is cut off in between, it outlives what could be refreshed."""
        self.blocks.block_session(session_id, self.refresh_ttl + self.access_ttl + _CLOCKS)
        self.accounts.revoke(session_id, now)


def change_password(account: str, password_hash: str, sign_ins: SignIns, now: datetime) -> bool:
    """Also ends the user's sessions, for a thief may have one. False: there is no such user.

    No session of the former password begins meanwhile: a sign-in that is under way has to wait, and is refused then.
    """
    with sign_ins.accounts.alone() as change:
        for session in change.live_sessions(account, now):
            sign_ins.blocks.block_session(session.id, sign_ins.access_ttl + _CLOCKS)
        return change.set_password(account, password_hash, now)


def check_password(
    account: str, password: str, accounts: AccountsDatabase, passwords: Argon2Passwords
) -> tuple[User, str | None]:
    """The user whose password this is, and its hash as we make it today, where that is another.

    Raises NotSignedIn, after the same work, for an unknown user, a disabled one and a wrong password.
    """
    user = accounts.find(account)
    is_right = passwords.verify(user.password_hash if user else None, password)
    if user is None or not is_right or user.disabled_at:
        raise wrong()
    return user, passwords.hash(password) if passwords.needs_rehash(user.password_hash) else None


def wrong() -> NotSignedIn:
    """One answer to whatever is wrong with a sign-in."""
    return NotSignedIn("account or password is wrong")
