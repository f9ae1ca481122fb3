"""`app-proxy keys`: made, listed and revoked; the key itself is shown once."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from proxy.cli import cli
from proxy.domain.api_keys import Scope
from proxy.store.connection import Store
from proxy.store.users.api_keys import RedisApiKeys
from proxy.wiring.common import utc_now


class Place:
    def __init__(self, folder: Path, store_url: str, app_id: str) -> None:
        self.config, self.name, self.store = folder / "proxy.toml", f"bot-{app_id}", Store(store_url)
        app = 'app_key = "k"\napp_secret = "s"\nurl_secret = "0123456789abcde{}"\n'
        self.config.write_text(
            f'[auth.jwt.own]\nsecret = "{"k" * 40}"\n[store]\nurl = "{store_url}"\n'
            f'[apps.main]\napp_id = 77\napi = ["push"]\n{app.format(1)}[apps.other]\napp_id = 78\n{app.format(2)}'
        )

    def run(self, *arguments: str) -> Result:
        result = CliRunner().invoke(cli, ["keys", arguments[0], "--config", str(self.config), *arguments[1:]])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    def add(self, *more: str, scope: str = "push:send", account: str = "system") -> Result:
        return self.run("add", self.name, "--scope", scope, "--as", account, *(more or ("--app", "main")))

    def listed(self) -> list[dict[str, Any]]:
        found = map(json.loads, self.run("list").stdout.splitlines())
        return [it for it in found if it["name"] == self.name]


@pytest.fixture
def place(tmp_path: Path, store_url: str, app_id: str) -> Place:
    return Place(tmp_path, store_url, app_id)


def test_a_key_is_shown_once_and_opens_what_its_scopes_name(place: Place) -> None:
    added = place.add("--scope", "topics:admin", "--app", "main")
    assert added.exit_code == 0, added.output
    bearer = added.stdout.removesuffix("\n")
    found = RedisApiKeys(place.store).find(bearer, utc_now())
    assert found
    assert (found.app, found.account) == ("main", "system")
    assert found.scopes == {Scope.PUSH_SEND, Scope.TOPICS_ADMIN}
    assert f"the id {found.id}" in added.stderr
    (listed,) = place.listed()
    assert listed["scopes"] == ["push:send", "topics:admin"]
    assert listed["last_used_at"]
    assert bearer not in place.run("list").output


@pytest.mark.parametrize("by", ["id", "name"])
def test_a_key_is_revoked_by_id_or_name(place: Place, by: str) -> None:
    bearer = place.add().stdout.strip()
    revoked = place.run("revoke", place.listed()[0][by])
    assert json.loads(revoked.stdout)["revoked"] is True
    assert RedisApiKeys(place.store).find(bearer, utc_now()) is None
    again = place.run("revoke", place.name)
    assert (again.exit_code, again.stderr) == (1, "error: there is no such key\n")


def test_a_second_key_of_a_name_is_refused(place: Place) -> None:
    place.add()
    again = place.add()
    assert (again.exit_code, again.stdout) == (1, "")
    assert "there is such a key already" in again.stderr
    assert len(place.listed()) == 1


def test_what_is_wrong_with_the_command_line_is_named(place: Place) -> None:
    for result, words in (
        (place.add(scope="push:sned"), ["push:sned", "push:send-as-anyone"]),
        (place.add(account="a\nb"), ["--as", "control characters"]),
        (place.add("--app", "mian"), ["--app", "main, other"]),
        (place.add("--scope", "push:send"), ["--app", "main, other"]),
        (place.run("add", "0123456789abcdef", "--scope", "push:send", "--as", "system"), ["NAME", "like an id"]),
        (place.run("add", place.name, "--as", "system"), ["--scope"]),
        (place.run("add", place.name, "--scope", "push:send"), ["--as"]),
    ):
        assert result.exit_code == 2
        assert all(word in result.stderr for word in words), result.stderr
    assert place.listed() == []


def test_a_key_for_a_section_that_opens_nothing_is_made_with_a_note(place: Place) -> None:
    assert "apps.other.api is empty" in place.add("--app", "other").stderr
    assert (
        "is empty"
        not in place.run("add", f"{place.name}-2", "--scope", "push:send", "--as", "x", "--app", "main").stderr
    )
