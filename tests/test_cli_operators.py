"""`app-proxy operators`: who may sign in to the console."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from proxy.auth.operators import Operators
from proxy.auth.passwords import Argon2Passwords
from proxy.cli import cli
from proxy.configuration import load_settings
from proxy.errors import NotSignedIn
from proxy.wiring.common import utc_now
from proxy.wiring.web import operators_of

PASSWORD = "correct horse canary"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The store is away: operators need none."""
    path = tmp_path / "proxy.toml"
    path.write_text(
        '[store]\nurl = "redis://127.0.0.1:1/0"\n[auth.jwt.own]\nsecret = "01234567890123456789012345678901"\n'
        '[apps.main]\napp_id = 1\napp_key = "k"\napp_secret = "s"\nurl_secret = "0123456789abcdef"\n'
    )
    return path


def run(config: Path, *arguments: str, typed: str = "") -> Result:
    result = CliRunner().invoke(cli, ["operators", *arguments, "--config", str(config)], input=typed)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert not any(canary in result.output for canary in (PASSWORD, "argon2"))
    return result


def add(config: Path, name: str = "olga", password: str = PASSWORD) -> Result:
    return run(config, "add", name, "--password-stdin", typed=f"{password}\n")


def listed(config: Path) -> list[str]:
    return [json.loads(line)["operator"] for line in run(config, "list").stdout.splitlines()]


def lets_in(config: Path, password: str) -> bool:
    operators = operators_of(load_settings(config).console)
    try:
        return bool(operators.sign_in("olga", password, utc_now()))
    except NotSignedIn:
        return False
    finally:
        operators.close()


def test_an_operator_is_added_with_a_password_from_stdin(config: Path) -> None:
    assert listed(config) == []
    database = config.parent / "operators.sqlite3"
    assert not database.exists()  # to look makes nothing
    assert add(config).exit_code == 0
    assert listed(config) == ["olga"]
    assert lets_in(config, PASSWORD)
    assert database.stat().st_mode & 0o077 == 0
    again = add(config)
    assert (again.exit_code, again.stderr) == (1, "error: there is such an operator already\n")


def test_a_prompt_asks_twice(config: Path) -> None:
    result = run(config, "add", "olga", typed=f"{PASSWORD}\nanother\n{PASSWORD}\n{PASSWORD}\n")
    assert result.exit_code == 0
    assert "do not match" in result.output
    assert lets_in(config, PASSWORD)


@pytest.mark.parametrize("password", ["", "1234567", "x" * 1025])
def test_a_password_that_is_too_short_or_too_long_is_told_without_it(config: Path, password: str) -> None:
    result = add(config, password=password)
    assert result.exit_code == 1
    assert result.stderr.startswith("error: the password must have 8 characters or more")
    assert listed(config) == []


def test_another_password_replaces_the_former_and_ends_the_sessions(config: Path) -> None:
    add(config)
    operators = Operators(config.parent / "operators.sqlite3", Argon2Passwords(), timedelta(hours=1))
    session = operators.sign_in("olga", PASSWORD, utc_now())
    assert operators.of_session(session, utc_now()) == "olga"
    assert run(config, "password", "olga", "--password-stdin", typed="battery staple\n").exit_code == 0
    assert operators.of_session(session, utc_now()) is None
    operators.close()
    assert lets_in(config, "battery staple")
    assert not lets_in(config, PASSWORD)


def test_an_operator_is_removed_with_their_sessions(config: Path) -> None:
    add(config)
    operators = Operators(config.parent / "operators.sqlite3", Argon2Passwords(), timedelta(hours=1))
    session = operators.sign_in("olga", PASSWORD, utc_now())
    assert run(config, "remove", "olga").exit_code == 0
    assert operators.of_session(session, utc_now()) is None
    operators.close()
    assert listed(config) == []
    assert not lets_in(config, PASSWORD)


@pytest.mark.parametrize("command", ["password", "remove"])
def test_an_unknown_operator_cannot_be_changed(config: Path, command: str) -> None:
    for _ in range(2):  # without a file, and with one
        result = run(config, command, "otto")
        assert (result.exit_code, result.stderr) == (1, "error: there is no such operator\n")
        add(config)


@pytest.mark.parametrize("name", ["", "a\nb", "a\u202eb", "a" * 257])
def test_what_cannot_be_a_name_is_a_wrong_command_line(config: Path, name: str) -> None:
    for command in ("add", "password", "remove"):
        assert run(config, command, name).exit_code == 2


def test_a_file_of_something_else_is_told_with_its_setting(config: Path) -> None:
    (config.parent / "operators.sqlite3").write_text("something else" * 100)
    result = run(config, "list")
    assert result.exit_code == 2
    assert "console.operators" in result.stderr
    assert "is not a database of accounts" in result.stderr
