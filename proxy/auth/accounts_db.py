"""The built-in accounts' database: a SQLite file that several web processes and the command line share.

Write-ahead log, so that who reads waits for nobody; a writer waits for another at most `_BUSY_S`.
"""

import os
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import (
    URL,
    BigInteger,
    Column,
    Connection,
    Dialect,
    Engine,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    Select,
    String,
    Table,
    TypeDecorator,
    create_engine,
    delete,
    event,
    insert,
    select,
    update,
)
from sqlalchemy.exc import DBAPIError, IntegrityError

from proxy.domain.accounts import Session, User
from proxy.errors import BadSettings, StoreUnavailable

SCHEMA_VERSION = 1
_BUSY_S = 5.0


class _Utc(TypeDecorator[datetime]):
    """Aware UTC as whole milliseconds since 1970: they sort, and SQLite has no time of its own."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:  # noqa: ARG002
        return None if value is None else round(value.timestamp() * 1000)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        return None if value is None else datetime.fromtimestamp(value / 1000, UTC)


_metadata = MetaData()
_version = Table("schema_version", _metadata, Column("version", Integer, nullable=False))
_users = Table(
    "users",
    _metadata,
    Column("account", String, primary_key=True),
    Column("password_hash", String, nullable=False),
    Column("created_at", _Utc, nullable=False),
    Column("changed_at", _Utc, nullable=False),
    Column("disabled_at", _Utc),
)
_sessions = Table(
    "sessions",
    _metadata,
    Column("id", String, primary_key=True),
    Column("account", ForeignKey("users.account", ondelete="CASCADE"), nullable=False, index=True),
    Column("refresh_hash", LargeBinary),
    Column("created_at", _Utc, nullable=False),
    Column("refreshed_at", _Utc, nullable=False),
    Column("expires_at", _Utc, nullable=False, index=True),
    Column("revoked_at", _Utc),
    Column("device_id", String),
    Column("app", String),
)
_SESSION = [column for column in _sessions.c if column.name != "revoked_at"]


def open_accounts(path: Path) -> "AccountsDatabase":
    """The database at `path`, made when it is missing. Raises BadSettings for a file that is none of ours."""
    place, engine = f"auth.accounts.database: {path}", _engine(path)
    try:
        if not path.exists():
            _make(path)
        with engine.connect() as connection:
            versions = connection.scalars(select(_version.c.version)).all()
    except OSError as error:
        raise BadSettings([f"{place} cannot be made: {error.strerror or type(error).__name__}"]) from None
    except DBAPIError as error:
        if _code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_PERM):
            raise BadSettings([f"{place} cannot be opened"]) from None
        raise BadSettings([f"{place} is not a database of accounts; name another file"]) from None
    finally:
        engine.dispose()  # what follows opens connections of its own, perhaps in another process
    if versions != [SCHEMA_VERSION]:
        told = f"has version {versions[0]}, this program works with {SCHEMA_VERSION}" if versions else "has no version"
        raise BadSettings([f"{place} {told}"])
    return AccountsDatabase(engine)


class AccountsTransaction:
    """Implements ports.AccountsTransaction: what is done here is done together, and nobody else writes meanwhile."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def disable(self, account: str, now: datetime) -> bool:
        """Also ends his sessions. False: there is no such user."""
        _revoke(self._connection, _sessions.c.account == account, now)
        return self._set(account, disabled_at=now, changed_at=now)

    def enable(self, account: str, now: datetime) -> bool:
        return self._set(account, disabled_at=None, changed_at=now)

    def users(self) -> list[User]:
        return _all_users(self._connection)

    def _set(self, account: str, **values: Any) -> bool:
        known = update(_users).where(_users.c.account == account)
        return self._connection.execute(known.values(**values)).rowcount == 1


class AccountsDatabase:
    """Implements ports.AccountsDatabase. Safe to share between threads. Every call raises StoreUnavailable."""

    def __init__(self, engine: Engine) -> None:
        self._reading = engine
        self._writing = engine.execution_options(app_proxy_writes=True)

    def close(self) -> None:
        """Closes what no thread is using; it may be used again."""
        self._reading.dispose()

    @contextmanager
    def alone(self) -> Iterator[AccountsTransaction]:
        """Holds the write lock until the end; an exception undoes everything."""
        with _renamed(), self._writing.begin() as connection:
            yield AccountsTransaction(connection)

    def users(self) -> list[User]:
        with _renamed(), self._reading.connect() as connection:
            return _all_users(connection)

    def find(self, account: str) -> User | None:
        with _renamed(), self._reading.connect() as connection:
            row = connection.execute(_select_users().where(_users.c.account == account)).one_or_none()
        return User(**row._mapping) if row else None

    def add(self, account: str, password_hash: str, now: datetime) -> bool:
        """False: he is there already."""
        row = {"account": account, "password_hash": password_hash, "created_at": now, "changed_at": now}
        with _renamed(), self._writing.begin() as connection:
            try:
                connection.execute(insert(_users).values(row))
            except IntegrityError:
                return False
        return True

    def set_password(self, account: str, password_hash: str, now: datetime) -> bool:
        """Also ends his sessions. False: there is no such user."""
        change = update(_users).where(_users.c.account == account)
        with _renamed(), self._writing.begin() as connection:
            _revoke(connection, _sessions.c.account == account, now)
            return connection.execute(change.values(password_hash=password_hash, changed_at=now)).rowcount == 1

    def start_session(self, session: Session, user: User, new_hash: str | None) -> bool:
        """Keeps the session, and `new_hash` of the same password where there is one; forgets expired sessions.

        False, and nothing is kept: the password changed, or he was disabled, after `user` was read.
        """
        unchanged = (_users.c.account == user.account) & (_users.c.changed_at == user.changed_at)
        values = {"password_hash": new_hash or user.password_hash}
        with _renamed(), self._writing.begin() as connection:
            if connection.execute(update(_users).where(unchanged, _enabled()).values(values)).rowcount == 0:
                return False
            connection.execute(delete(_sessions).where(_sessions.c.expires_at < session.created_at))
            connection.execute(insert(_sessions).values(vars(session)))
        return True

    def live_session(self, session_id: str, now: datetime) -> Session | None:
        """None where it is unknown, ended or expired, or its user is disabled."""
        with _renamed(), self._reading.connect() as connection:
            row = connection.execute(select(*_SESSION).where(_live(now), _sessions.c.id == session_id)).one_or_none()
        return Session(**row._mapping) if row else None

    def live_sessions(self, account: str, now: datetime) -> list[Session]:
        with _renamed(), self._reading.connect() as connection:
            rows = connection.execute(select(*_SESSION).where(_live(now), _sessions.c.account == account)).all()
        return [Session(**row._mapping) for row in rows]

    def rotate(self, session: Session, new_hash: bytes, now: datetime, expires_at: datetime) -> bool:
        """Replaces the refresh token of the session as it was read. False: somebody else did, or it has ended."""
        same = (_sessions.c.id == session.id) & (_sessions.c.refresh_hash == session.refresh_hash)
        values = {"refresh_hash": new_hash, "refreshed_at": now, "expires_at": expires_at}
        with _renamed(), self._writing.begin() as connection:
            return connection.execute(update(_sessions).where(same, _live(now)).values(values)).rowcount == 1

    def revoke(self, session_id: str, now: datetime) -> None:
        with _renamed(), self._writing.begin() as connection:
            _revoke(connection, _sessions.c.id == session_id, now)


def _make(path: Path) -> None:
    """A finished file under a name of its own, then under its real one: whoever sees it, sees all of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, made = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)  # for its owner alone
    os.close(handle)
    try:
        engine = _engine(Path(made))
        with engine.connect() as connection:
            connection.exec_driver_sql("COMMIT")  # the log's mode cannot be changed within a transaction
            connection.exec_driver_sql("PRAGMA journal_mode = WAL")
        with engine.begin() as connection:
            _metadata.create_all(connection)
            connection.execute(insert(_version).values(version=SCHEMA_VERSION))
        engine.dispose()
        with suppress(FileExistsError):  # another process was faster
            os.link(made, path)
    finally:
        Path(made).unlink()


def _engine(path: Path) -> Engine:
    """Nothing is opened yet."""
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        connect_args={"timeout": _BUSY_S, "check_same_thread": False},
        max_overflow=-1,  # as many connections as threads
        hide_parameters=True,  # errors would quote hashes
    )
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def _prepare(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # transactions begin below, not where the driver thinks they should
    connection.execute("PRAGMA foreign_keys = ON")


def _begin(connection: Connection) -> None:
    """A writer takes the lock at once: one that read first could not take it any more after another's write."""
    writes = connection.get_execution_options().get("app_proxy_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def _renamed() -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        raise StoreUnavailable(f"the accounts' database failed: {type(error).__name__}") from None


def _code(error: DBAPIError) -> int:
    """SQLite's primary result code."""
    return int(getattr(error.orig, "sqlite_errorcode", 0)) & 0xFF


def _select_users() -> Select[Any]:
    return select(*_users.c)


def _all_users(connection: Connection) -> list[User]:
    rows: Sequence[Any] = connection.execute(_select_users().order_by(_users.c.account)).all()
    return [User(**row._mapping) for row in rows]


def _enabled() -> Any:
    return _users.c.disabled_at.is_(None)


def _live(now: datetime) -> Any:
    owner = select(_users.c.account).where(_enabled())
    return _sessions.c.revoked_at.is_(None) & (_sessions.c.expires_at > now) & _sessions.c.account.in_(owner)


def _revoke(connection: Connection, which: Any, now: datetime) -> None:
    connection.execute(update(_sessions).where(which, _sessions.c.revoked_at.is_(None)).values(revoked_at=now))
