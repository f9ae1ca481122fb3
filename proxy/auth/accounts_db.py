"""The built-in accounts' database: a SQLite file that several web processes and the command line share.

Write-ahead log: reads never wait, and a writer waits for another at most `_BUSY_S`. Times are whole milliseconds since
1970: they sort, and SQLite has no time of its own.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from proxy.domain.accounts import Session, User
from proxy.domain.times import from_ms, to_ms
from proxy.errors import BadSettings, StoreUnavailable
from proxy.files import new_file

SCHEMA_VERSION = 1
_BUSY_S = 5.0
_SCHEMA = (
    "CREATE TABLE schema_version (version INTEGER NOT NULL)",
    """CREATE TABLE users (
        account VARCHAR NOT NULL PRIMARY KEY,
        password_hash VARCHAR NOT NULL,
        created_at BIGINT NOT NULL,
        changed_at BIGINT NOT NULL,
        disabled_at BIGINT
    )""",
    """CREATE TABLE sessions (
        id VARCHAR NOT NULL PRIMARY KEY,
        account VARCHAR NOT NULL REFERENCES users (account) ON DELETE CASCADE,
        refresh_hash BLOB,
        created_at BIGINT NOT NULL,
        refreshed_at BIGINT NOT NULL,
        expires_at BIGINT NOT NULL,
        revoked_at BIGINT,
        device_id VARCHAR,
        app VARCHAR
    )""",
    "CREATE INDEX ix_sessions_account ON sessions (account)",
    "CREATE INDEX ix_sessions_expires_at ON sessions (expires_at)",
)
# changed_at is another time with each change, whatever the clock says: by it a sign-in sees a change meanwhile
_DISABLE = "UPDATE users SET disabled_at = :now, changed_at = MAX(:now, changed_at + 1) WHERE account = :account"
_ENABLE = "UPDATE users SET disabled_at = NULL, changed_at = MAX(:now, changed_at + 1) WHERE account = :account"
_SET_HASH = """UPDATE users SET password_hash = :hash, changed_at = MAX(:now, changed_at + 1)
    WHERE account = :account"""
_SELECT_USERS = "SELECT account, password_hash, created_at, changed_at, disabled_at FROM users"
_SELECT_LIVE_SESSIONS = """SELECT id, account, refresh_hash, created_at, expires_at, device_id, app FROM sessions
    WHERE revoked_at IS NULL AND expires_at > :now
    AND account IN (SELECT account FROM users WHERE disabled_at IS NULL)"""
_CANNOT_OPEN = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_PERM}


def open_accounts(path: Path, key: str = "auth.accounts.database") -> "AccountsDatabase":
    """The database at `path`, which `key` of the settings names, made when it is missing.

    Raises BadSettings for a file that is none of ours.
    """
    place = f"{key}: {path}"
    try:
        if not path.exists():
            _make(path)
        with closing(_connect(path)) as connection:
            versions = [version for (version,) in connection.execute("SELECT version FROM schema_version")]
    except OSError as error:
        raise BadSettings([f"{place} cannot be made: {error.strerror or type(error).__name__}"]) from None
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in _CANNOT_OPEN:  # the primary result code
            raise BadSettings([f"{place} cannot be opened"]) from None
        raise BadSettings([f"{place} is not a database of accounts; name another file"]) from None
    if not versions:
        raise BadSettings([f"{place} has no version"])
    if versions != [SCHEMA_VERSION]:
        raise BadSettings([f"{place} has version {versions[0]}, this program works with {SCHEMA_VERSION}"])
    return AccountsDatabase(path)


@dataclass(frozen=True)
class AccountsTransaction:
    """What is done here is done together, and no other process writes meanwhile. False: there is no such user."""

    connection: sqlite3.Connection

    def disable(self, account: str, now: datetime) -> bool:
        """Also ends the user's sessions."""
        _revoke_all(self.connection, account, now)
        return self.connection.execute(_DISABLE, {"account": account, "now": to_ms(now)}).rowcount == 1

    def enable(self, account: str, now: datetime) -> bool:
        return self.connection.execute(_ENABLE, {"account": account, "now": to_ms(now)}).rowcount == 1

    def set_password(self, account: str, password_hash: str, now: datetime) -> bool:
        """Also ends the user's sessions."""
        _revoke_all(self.connection, account, now)
        values = {"account": account, "hash": password_hash, "now": to_ms(now)}
        return self.connection.execute(_SET_HASH, values).rowcount == 1

    def live_sessions(self, account: str, now: datetime) -> list[Session]:
        select = f"{_SELECT_LIVE_SESSIONS} AND account = :account"
        return [_session(row) for row in self.connection.execute(select, {"account": account, "now": to_ms(now)})]

    def users(self) -> list[User]:
        return [_user(row) for row in self.connection.execute(f"{_SELECT_USERS} ORDER BY account")]


class AccountsDatabase:
    """Safe to share between threads. Every call raises StoreUnavailable."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._idle: list[sqlite3.Connection] = []  # as many as threads were at it at once

    def close(self) -> None:
        """Closes the connections that no thread is using; the database may be used again."""
        while self._idle:
            self._idle.pop().close()

    @contextmanager
    def alone(self) -> Iterator[AccountsTransaction]:
        """Holds the write lock until the end; an exception undoes everything."""
        with self._writing() as connection:
            yield AccountsTransaction(connection)

    def users(self) -> list[User]:
        with self._connection() as connection:
            return AccountsTransaction(connection).users()

    def find(self, account: str) -> User | None:
        with self._connection() as connection:
            row = connection.execute(f"{_SELECT_USERS} WHERE account = ?", [account]).fetchone()
        return _user(row) if row else None

    def add(self, account: str, password_hash: str, now: datetime) -> bool:
        """False: the account is there already."""
        insert = "INSERT INTO users VALUES (?, ?, ?, ?, NULL) ON CONFLICT (account) DO NOTHING"
        with self._writing() as connection:
            return connection.execute(insert, [account, password_hash, to_ms(now), to_ms(now)]).rowcount == 1

    def start_session(self, session: Session, user: User, new_hash: str | None) -> bool:
        """Keeps the session, and `new_hash` of the same password where there is one; deletes expired sessions.

        False, and nothing is kept: the password changed, or the user was disabled, after `user` was read.
        """
        rehash = "UPDATE users SET password_hash = ? WHERE account = ? AND changed_at = ? AND disabled_at IS NULL"
        hashed = [new_hash or user.password_hash, user.account, to_ms(user.changed_at)]
        created = to_ms(session.created_at)
        insert = "INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?, NULL, ?, ?)"
        with self._writing() as connection:
            if connection.execute(rehash, hashed).rowcount == 0:
                return False
            connection.execute("DELETE FROM sessions WHERE expires_at < ?", [created])
            values = [session.id, session.account, session.refresh_hash, created, created, to_ms(session.expires_at)]
            connection.execute(insert, [*values, session.device_id, session.app])
        return True

    def live_session(self, session_id: str, now: datetime) -> Session | None:
        """None where it is unknown, ended or expired, or its user is disabled."""
        with self._connection() as connection:
            return _live_session(connection, session_id, now)

    def live_sessions(self, account: str, now: datetime) -> list[Session]:
        with self._connection() as connection:
            return AccountsTransaction(connection).live_sessions(account, now)

    def rotate(self, session: Session, new_hash: bytes, now: datetime, expires_at: datetime) -> bool:
        """Replaces the refresh token of the session as it was read. False: another call did, or it has ended."""
        change = "UPDATE sessions SET refresh_hash = ?, refreshed_at = ?, expires_at = ? WHERE id = ?"
        with self._writing() as connection:
            current = _live_session(connection, session.id, now)
            if current is None or current.refresh_hash != session.refresh_hash:
                return False
            connection.execute(change, [new_hash, to_ms(now), to_ms(expires_at), session.id])
        return True

    def revoke(self, session_id: str, now: datetime) -> None:
        change = "UPDATE sessions SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL"
        with self._writing() as connection:
            connection.execute(change, [to_ms(now), session_id])

    def erase(self, account: str) -> bool:
        """The user and their sessions are gone from the file too. False: there was none."""
        with self._connection() as connection:
            connection.execute("PRAGMA secure_delete = ON")
        with self._writing() as connection:
            connection.execute("DELETE FROM sessions WHERE account = ?", [account])
            done = connection.execute("DELETE FROM users WHERE account = ?", [account]).rowcount > 0
        with self._connection() as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return done

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction. It takes the lock at once: one that read first could not take it after another's write."""
        with self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            with connection:
                yield connection

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        try:
            try:
                connection = self._idle.pop()
            except IndexError:
                connection = _connect(self._path)
            try:
                yield connection
            finally:
                self._idle.append(connection)
        except sqlite3.Error as error:
            raise StoreUnavailable(f"the accounts' database failed: {type(error).__name__}") from None


def _make(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with new_file(path) as draft, closing(_connect(draft)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        with connection:
            connection.execute("BEGIN")
            for statement in _SCHEMA:
                connection.execute(statement)
            connection.execute("INSERT INTO schema_version VALUES (?)", [SCHEMA_VERSION])


def _connect(path: Path) -> sqlite3.Connection:
    """Transactions begin where we say so, not where the driver thinks they should."""
    connection = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def _live_session(connection: sqlite3.Connection, session_id: str, now: datetime) -> Session | None:
    select = f"{_SELECT_LIVE_SESSIONS} AND id = :id"
    row = connection.execute(select, {"id": session_id, "now": to_ms(now)}).fetchone()
    return _session(row) if row else None


def _revoke_all(connection: sqlite3.Connection, account: str, now: datetime) -> None:
    connection.execute(
        "UPDATE sessions SET revoked_at = ? WHERE account = ? AND revoked_at IS NULL", [to_ms(now), account]
    )


def _user(row: tuple[Any, ...]) -> User:
    account, password_hash, created_at, changed_at, disabled_at = row
    disabled = None if disabled_at is None else from_ms(disabled_at)
    return User(account, password_hash, from_ms(created_at), from_ms(changed_at), disabled)


def _session(row: tuple[Any, ...]) -> Session:
    session_id, account, refresh_hash, created_at, expires_at, device_id, app = row
    return Session(session_id, account, refresh_hash, from_ms(created_at), from_ms(expires_at), device_id, app)
