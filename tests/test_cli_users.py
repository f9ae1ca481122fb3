"""`app-proxy users`: the built-in accounts on the command line."""

import json
import os
import pty
import signal
import sqlite3
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from proxy.auth.accounts_db import open_accounts
from proxy.auth.passwords import Argon2Passwords
from proxy.cli import cli
from proxy.configuration import load_settings
from proxy.store.connection import Store
from proxy.store.users.blocks import RedisBlocks
from proxy.wiring.common import utc_now
from proxy.wiring.web import built_in_accounts

KEY = "a-key-of-the-accounts-canary-0123456789"
PASSWORD = "correct horse canary"


@pytest.fixture
def config(tmp_path: Path, store_url: str) -> Iterator[Path]:
    """A configuration whose accounts are its own; the marks are in the tests' one store."""
    yield write(tmp_path, store_url)
    RedisBlocks(Store(store_url)).unblock("alice")


def write(folder: Path, store_url: str) -> Path:
    path = folder / "proxy.toml"
    path.write_text(
        f'[auth.accounts]\nkey = "{KEY}"\n[store]\nurl = "{store_url}"\n'
        '[apps.main]\napp_id = 1\napp_key = "k"\napp_secret = "s"\nurl_secret = "0123456789abcdef"\n'
    )
    return path


def run(config: Path, *arguments: str, typed: str = "") -> Result:
    result = CliRunner().invoke(cli, ["users", *arguments, "--config", str(config)], input=typed)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert not any(canary in result.output for canary in (KEY, PASSWORD, "argon2"))
    return result


def add(config: Path, account: str = "alice", password: str = PASSWORD) -> Result:
    return run(config, "add", account, "--password-stdin", typed=f"{password}\n")


def listed(config: Path) -> dict[str, bool]:
    """Which users there are, and whether each is disabled."""
    lines = [json.loads(line) for line in run(config, "list").stdout.splitlines()]
    return {line["account"]: "disabled_at" in line for line in lines}


def lets_in(config: Path, password: str, account: str = "alice") -> bool:
    database = open_accounts(load_settings(config).auth.accounts.database)  # type: ignore[union-attr]
    user = database.find(account)
    database.close()
    return user is not None and Argon2Passwords().verify(user.password_hash, password)


def test_a_user_is_added_with_a_password_from_stdin(config: Path) -> None:
    assert add(config).exit_code == 0
    assert listed(config) == {"alice": False}
    assert lets_in(config, PASSWORD)
    assert (config.parent / "accounts.sqlite3").stat().st_mode & 0o077 == 0
    again = add(config)
    assert (again.exit_code, again.stderr) == (1, "error: there is such a user already\n")


def test_a_prompt_shows_nothing_of_the_password_and_asks_twice(config: Path) -> None:
    """On a real terminal, where an echo would be seen."""
    command = [sys.executable, "-m", "proxy", "users", "add", "alice", "--config", str(config)]
    ours, theirs = pty.openpty()
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True) as child:
        os.close(theirs)
        shown = b""
        for prompt in (b"Password: ", b"Repeat for confirmation: "):
            while not shown.endswith(prompt):
                shown += os.read(ours, 4096)
            assert not termios.tcgetattr(ours)[3] & termios.ECHO
            os.write(ours, PASSWORD.encode() + b"\n")
        with suppress(OSError):  # a terminal whose other end has gone
            while more := os.read(ours, 4096):
                shown += more
    os.close(ours)
    assert child.returncode == 0, shown
    assert PASSWORD.encode() not in shown
    assert lets_in(config, PASSWORD)


@pytest.mark.parametrize("password", ["", "1234567", "x" * 1025])
def test_a_password_that_is_too_short_or_too_long_is_told_without_it(config: Path, password: str) -> None:
    result = add(config, password=password)
    assert result.exit_code == 1
    assert result.stderr.startswith("error: the password must have 8 characters or more")
    assert listed(config) == {}


def test_a_password_is_no_argument(config: Path) -> None:
    assert run(config, "add", "alice", "a-password").exit_code == 2
    assert run(config, "add", "alice", "--password", "a-password").exit_code == 2


@pytest.mark.parametrize("account", ["", "a\nb", "a\u202eb", "a" * 257])
def test_what_cannot_be_an_account_is_a_wrong_command_line(config: Path, account: str) -> None:
    for command in ("add", "disable", "enable", "passwd"):
        assert run(config, command, account).exit_code == 2


def test_an_account_is_the_same_however_its_letters_are_composed(config: Path) -> None:
    assert add(config, "cafe\u0301").exit_code == 0
    assert add(config, "caf\u00e9").exit_code == 1
    assert listed(config) == {"caf\u00e9": False}


def test_another_password_replaces_the_former(config: Path) -> None:
    add(config)
    assert run(config, "passwd", "alice", "--password-stdin", typed="battery staple\r\n").exit_code == 0
    assert lets_in(config, "battery staple")
    assert not lets_in(config, PASSWORD)


def test_a_user_is_disabled_and_enabled_in_database_and_store(config: Path, store_url: str) -> None:
    add(config)
    blocks = RedisBlocks(Store(store_url))
    for command, is_out in (("disable", True), ("disable", True), ("enable", False), ("enable", False)):
        assert run(config, command, "alice").exit_code == 0
        assert listed(config) == {"alice": is_out}
        assert blocks.is_blocked("alice", None) is is_out


@pytest.mark.parametrize("command", ["disable", "enable", "passwd"])
def test_an_unknown_user_cannot_be_changed(config: Path, command: str) -> None:
    result = run(config, command, "nobody")
    assert (result.exit_code, result.stderr) == (1, "error: there is no such user\n")


def test_without_the_section_the_fault_is_told(config: Path) -> None:
    config.write_text(config.read_text().replace("[auth.accounts]", "[auth.jwt.own]").replace("key =", "secret =", 1))
    result = run(config, "list")
    assert result.exit_code == 2
    assert "auth.accounts: the section is missing" in result.stderr


def test_without_a_store_users_are_added_and_listed_but_not_disabled(tmp_path: Path) -> None:
    config = write(tmp_path, "redis://127.0.0.1:1/0")
    added = add(config)
    assert added.exit_code == 0
    assert added.stderr.count("(store.url: 127.0.0.1:1)") == 1
    assert listed(config) == {"alice": False}
    result = run(config, "disable", "alice")
    assert result.exit_code == 1
    assert "error: the store" in result.stderr
    assert listed(config) == {"alice": False}


def test_check_config_looks_into_the_database_and_makes_none(config: Path) -> None:
    def found() -> tuple[int, str]:
        result = CliRunner().invoke(cli, ["check-config", "--offline", "--config", str(config)])
        (line,) = [line for line in result.stdout.splitlines() if "auth.accounts.database" in line]
        return result.exit_code, line

    database = config.parent / "accounts.sqlite3"
    assert found() == (
        0,
        "warning auth.accounts.database: there is no file yet; app-proxy users add makes it, and a first user in it",
    )
    assert not database.exists()
    assert listed(config) == {}
    assert found()[1] == "warning auth.accounts.database: there are no users yet; app-proxy users add makes one"
    add(config)
    assert found() == (0, "ok      auth.accounts.database: 1 user")
    database.write_text("something else" * 100)
    code, line = found()
    assert (code, line.partition(": ")[0]) == (1, "FAULT   auth.accounts.database")
    assert line.endswith("is not a database of accounts; name another file")


def _the_command_again(config: Path) -> None:
    assert run(config, "disable", "alice").exit_code == 0


def _any_command(config: Path) -> None:
    assert run(config, "list").exit_code == 0


def _a_start_of_the_web(config: Path) -> None:
    code = "from proxy.app import create_app; create_app()"
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "APP_PROXY_CONFIG": str(config)}, check=True)


@pytest.mark.parametrize("next_step", [_the_command_again, _any_command, _a_start_of_the_web])
def test_a_disable_that_was_killed_between_store_and_database_is_completed(
    config: Path, store_url: str, next_step: Callable[[Path], None]
) -> None:
    """Another writer holds the database, so the command waits with its mark set; there it is killed."""
    add(config)
    blocks = RedisBlocks(Store(store_url))
    blocks.unblock("alice")  # as the test before left her
    with closing(sqlite3.connect(config.parent / "accounts.sqlite3", isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        command = [sys.executable, "-m", "proxy", "users", "disable", "alice", "--config", str(config)]
        child = subprocess.Popen(command)
        until = time.monotonic() + 20
        while not blocks.is_blocked("alice", None) and time.monotonic() < until:
            time.sleep(0.01)
        assert child.poll() is None
        child.send_signal(signal.SIGKILL)
        assert child.wait(10) == -signal.SIGKILL
        writer.execute("ROLLBACK")
    assert state(config) == (True, False)
    next_step(config)
    assert state(config) == (True, True)


def state(config: Path) -> tuple[bool, bool]:
    """Is alice marked in the store, is she disabled in the database? Nothing is mended by looking."""
    settings = load_settings(config)
    blocks = RedisBlocks(Store(settings.store.url.get_secret_value()))
    sign_ins = built_in_accounts(settings.auth.accounts, blocks)
    assert sign_ins is not None
    user = sign_ins.accounts.find("alice")
    sign_ins.accounts.close()
    assert user is not None
    assert user.created_at < utc_now()
    return blocks.is_blocked("alice", None), user.disabled_at is not None
