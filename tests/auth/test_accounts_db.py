"""The built-in accounts' database: one file, several processes."""

import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from proxy.auth.accounts_db import AccountsDatabase, open_accounts
from proxy.domain.accounts import Session, User
from proxy.errors import BadSettings, StoreUnavailable

DATA = Path(__file__).parent.parent / "data"
NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
LATER = NOON + timedelta(minutes=1)
TOMORROW = NOON + timedelta(days=1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "accounts.sqlite3"


@pytest.fixture
def accounts(path: Path) -> Iterator[AccountsDatabase]:
    database = open_accounts(path)
    assert database.add("alice", "hash", NOON)
    yield database
    database.close()


def session(session_id: str = "s1", account: str = "alice", **changes: object) -> Session:
    values = {"refresh_hash": b"first", "created_at": NOON, "expires_at": TOMORROW} | changes
    return Session(session_id, account, **values)  # type: ignore[arg-type]


def user_of(accounts: AccountsDatabase, account: str = "alice") -> User:
    user = accounts.find(account)
    assert user is not None
    return user


def started(accounts: AccountsDatabase, session_id: str = "s1") -> Session:
    assert accounts.start_session(session(session_id), user_of(accounts), None)
    return session(session_id)


def test_a_missing_file_is_made_for_its_owner_alone(path: Path) -> None:
    open_accounts(path).close()
    assert path.stat().st_mode & 0o777 == 0o600
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("SELECT version FROM schema_version").fetchall() == [(1,)]
    connection.close()


def test_processes_that_start_at_once_open_one_file(path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from datetime import UTC, datetime\n"
        "from proxy.auth.accounts_db import open_accounts\n"
        "assert open_accounts(Path(sys.argv[1])).add(sys.argv[2], 'hash', datetime.now(UTC))"
    )
    children = [subprocess.Popen([sys.executable, "-c", code, str(path), f"user-{n}"]) for n in range(4)]
    assert [child.wait(30) for child in children] == [0] * 4
    database = open_accounts(path)
    assert [user.account for user in database.users()] == [f"user-{n}" for n in range(4)]
    database.close()
    assert {entry.name for entry in path.parent.iterdir()} <= {path.name, f"{path.name}-wal", f"{path.name}-shm"}


def _text(path: Path) -> None:
    path.write_text("these are no accounts" * 100)


def _empty(path: Path) -> None:
    path.touch()


def _foreign(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE users (name)")
    connection.commit()
    connection.close()


def _newer(path: Path) -> None:
    open_accounts(path).close()
    connection = sqlite3.connect(path)
    connection.execute("UPDATE schema_version SET version = 2")
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (_text, "is not a database of accounts; name another file"),
        (_empty, "is not a database of accounts; name another file"),
        (_foreign, "is not a database of accounts; name another file"),
        (_newer, "has version 2, this program works with 1"),
        (Path.mkdir, "cannot be opened"),
    ],
)
def test_a_file_that_is_not_ours_is_refused_and_left_as_it_is(
    path: Path, make: Callable[[Path], None], told: str
) -> None:
    make(path)
    before = path.read_bytes() if path.is_file() else b""
    with pytest.raises(BadSettings) as refused:
        open_accounts(path)
    assert refused.value.faults == [f"auth.accounts.database: {path} {told}"]
    assert not path.is_file() or path.read_bytes() == before


def test_a_folder_that_cannot_be_made_is_told(path: Path) -> None:
    path.touch()
    with pytest.raises(BadSettings, match="cannot be made"):
        open_accounts(path / "accounts.sqlite3")


def test_a_file_of_the_program_that_used_sqlalchemy_goes_on_as_it_is(path: Path) -> None:
    shutil.copy(DATA / "accounts-1.sqlite3", path)
    accounts = open_accounts(path)
    disabled = NOON + timedelta(minutes=1)
    assert accounts.users() == [
        User("alice", "hash of alice", NOON, NOON),
        User("张三", "hash of 张三", NOON, disabled, disabled),
    ]
    of_phone = Session("phone", "alice", b"first", NOON, NOON + timedelta(days=30), "phone", "main")
    assert accounts.live_sessions("alice", LATER) == [of_phone]
    assert accounts.live_session("browser", LATER) is None
    assert accounts.rotate(of_phone, b"second", LATER, TOMORROW)
    assert set_password(accounts, "another hash")
    assert accounts.live_session("phone", LATER) is None
    accounts.close()


def test_a_file_is_made_with_the_columns_that_the_program_with_sqlalchemy_reads(path: Path, tmp_path: Path) -> None:
    open_accounts(path).close()
    with closing(sqlite3.connect(path)) as new, closing(sqlite3.connect(DATA / "accounts-1.sqlite3")) as earlier:
        for table in ("schema_version", "users", "sessions"):
            columns = [made.execute(f"PRAGMA table_info({table})").fetchall() for made in (new, earlier)]
            assert columns[0] == columns[1]
            keys = [made.execute(f"PRAGMA foreign_key_list({table})").fetchall() for made in (new, earlier)]
            assert keys[0] == keys[1]


def set_password(accounts: AccountsDatabase, password_hash: str) -> bool:
    with accounts.alone() as change:
        return change.set_password("alice", password_hash, LATER)


def test_a_user_is_added_once_and_found_as_added(accounts: AccountsDatabase) -> None:
    assert not accounts.add("alice", "other", LATER)
    assert accounts.add("张三", "hash", LATER)
    assert accounts.find("alice") == User("alice", "hash", NOON, NOON)
    assert accounts.find("Alice") is None
    assert [user.account for user in accounts.users()] == ["alice", "张三"]


def test_a_session_lives_until_it_is_revoked_or_expires(accounts: AccountsDatabase) -> None:
    first = started(accounts)
    assert accounts.live_session("s1", LATER) == first
    assert accounts.live_session("s1", TOMORROW) is None
    assert accounts.live_session("s2", LATER) is None
    accounts.revoke("s1", LATER)
    assert accounts.live_session("s1", LATER) is None
    assert not accounts.rotate(first, b"second", LATER, TOMORROW)


def test_expired_sessions_are_forgotten_when_one_begins(accounts: AccountsDatabase, path: Path) -> None:
    started(accounts)
    late = session("s2", created_at=TOMORROW + timedelta(seconds=1))
    assert accounts.start_session(late, user_of(accounts), None)
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT id FROM sessions").fetchall() == [("s2",)]
    connection.close()


def test_a_rotated_session_has_another_token_and_a_longer_life(accounts: AccountsDatabase) -> None:
    first = started(accounts)
    assert accounts.rotate(first, b"second", LATER, TOMORROW + timedelta(days=1))
    assert not accounts.rotate(first, b"third", LATER, TOMORROW)
    renewed = accounts.live_session("s1", TOMORROW)
    assert renewed is not None
    assert (renewed.refresh_hash, renewed.expires_at) == (b"second", TOMORROW + timedelta(days=1))


@pytest.mark.parametrize("what", ["password", "disabled"])
def test_no_session_begins_with_what_was_read_before_a_change(accounts: AccountsDatabase, what: str) -> None:
    read = user_of(accounts)
    if what == "password":
        assert set_password(accounts, "other hash")
    else:
        with accounts.alone() as change:
            assert change.disable("alice", LATER)
    assert not accounts.start_session(session(), read, "a new hash")
    assert user_of(accounts).password_hash != "a new hash"


def test_a_rehash_is_no_change_of_the_password(accounts: AccountsDatabase) -> None:
    read = user_of(accounts)
    assert accounts.start_session(session(), read, "stronger")
    assert accounts.start_session(session("s2"), read, None)  # a second sign-in that read the user before
    assert user_of(accounts).changed_at == NOON


def test_another_password_and_disabling_end_all_sessions_of_this_user_alone(accounts: AccountsDatabase) -> None:
    accounts.add("bob", "hash", NOON)
    accounts.start_session(session("of bob", "bob"), user_of(accounts, "bob"), None)
    started(accounts)
    set_password(accounts, "other")
    assert accounts.live_sessions("alice", LATER) == []
    started(accounts, "s2")
    with accounts.alone() as change:
        change.disable("alice", LATER)
    assert accounts.live_sessions("alice", LATER) == []
    with accounts.alone() as change:
        change.enable("alice", LATER)
    assert accounts.live_sessions("alice", LATER) == []
    assert [it.id for it in accounts.live_sessions("bob", LATER)] == ["of bob"]


def test_what_fails_together_is_undone_together(accounts: AccountsDatabase) -> None:
    def fail() -> None:
        with accounts.alone() as change:
            change.disable("alice", LATER)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert user_of(accounts).disabled_at is None


def test_of_many_that_rotate_one_token_at_once_one_does(accounts: AccountsDatabase, path: Path) -> None:
    others = [accounts, *(open_accounts(path) for _ in range(3))]  # as several processes hold it
    for round_number in range(5):
        name = f"s{round_number}"
        first = started(accounts, name)
        barrier = threading.Barrier(8)

        def rotate(number: int, first: Session = first, barrier: threading.Barrier = barrier) -> bool:
            barrier.wait(10)
            return others[number % 4].rotate(first, bytes([number]), LATER, TOMORROW)

        with ThreadPoolExecutor(8) as threads:
            won = list(threads.map(rotate, range(8)))
        assert sum(won) == 1
        kept = accounts.live_session(name, LATER)
        assert kept is not None
        assert kept.refresh_hash == bytes([won.index(True)])
    for other in others[1:]:
        other.close()


def test_a_database_that_fails_is_a_store_that_is_unavailable(accounts: AccountsDatabase, path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("DROP TABLE sessions")
    connection.close()
    with pytest.raises(StoreUnavailable, match=r"^the accounts' database failed: OperationalError$"):
        accounts.live_session("s1", LATER)


def test_a_reader_waits_for_no_writer(accounts: AccountsDatabase) -> None:
    with accounts.alone() as change:
        change.disable("alice", LATER)
        assert user_of(accounts).disabled_at is None
    assert user_of(accounts).disabled_at == LATER
