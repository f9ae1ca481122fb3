"""`app-proxy devices removed|restore|release`, on a real store."""

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from proxy.cli import cli
from proxy.domain.devices import Address, Device, Platform, fingerprint
from proxy.domain.preferences import Mute, Preferences
from proxy.store.connection import Store, async_redis
from proxy.store.devices.registry import RedisDeviceRegistry
from proxy.store.devices.removal import DeviceRemoval, RemovalGuard
from proxy.store.users.blocks import RedisBlocks
from proxy.store.users.preferences import RedisPreferences

TOKEN = "canary-push-token"


class Operator:
    """The command line, and an app of whose devices a provider has called some dead."""

    def __init__(self, folder: Path, store_url: str, app_id: str) -> None:
        self.config, self.url, self.app_ids = folder / "proxy.toml", store_url, {"main": app_id}
        self.config.write_text(
            f'[store]\nurl = "{store_url}"\n[auth.jwt.own]\nsecret = "{"x" * 40}"\n[apps.main]\n'
            f'app_id = "{app_id}"\napp_key = "key"\napp_secret = "secret"\nurl_secret = "{"u" * 20}"\n'
        )
        self.now = datetime.now(UTC)
        self.store = Store(store_url)
        self.devices = RedisDeviceRegistry(self.store, self.app_ids)

    def register(self, account: str) -> Device:
        one = Device("main", account, "phone", Platform.APNS, f"{TOKEN}-{account}", self.now - timedelta(days=30))
        self.devices.register(one)
        return one

    def remove(self, one: Device, at: datetime, share: float = 1.0) -> None:
        async def scenario() -> Any:
            redis = async_redis(self.url, 5.0)
            await redis.learn_layout()
            try:
                return await DeviceRemoval(redis, self.app_ids, RemovalGuard(share, 1)).remove(one, at, at)
            finally:
                await redis.aclose()

        asyncio.run(scenario())

    def run(self, *arguments: str) -> Result:
        result = CliRunner().invoke(cli, ["devices", *arguments, "--config", str(self.config)])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert TOKEN not in result.output
        return result

    def lines(self, *arguments: str) -> list[dict[str, Any]]:
        result = self.run(*arguments)
        assert result.exit_code == 0, result.output
        return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture
def operator(tmp_path: Path, store_url: str, app_id: str) -> Operator:
    made = Operator(tmp_path, store_url, app_id)
    for account, days in (("alice", 6), ("bob", 2), ("carl", 0)):
        made.remove(made.register(account), made.now - timedelta(days=days))
    return made


def accounts(lines: list[dict[str, Any]]) -> list[str]:
    return [line["account"] for line in lines]


def test_removed_devices_are_listed_until_they_are_registered_again(operator: Operator) -> None:
    lines = operator.lines("removed")
    assert accounts(lines) == ["alice", "bob", "carl"]
    assert lines[0]["push_token_fingerprint"] == fingerprint(f"{TOKEN}-alice")
    assert lines[0]["removed_at"] == (operator.now - timedelta(days=6)).isoformat(timespec="seconds")
    assert accounts(operator.lines("removed", "--account", "bob")) == ["bob"]
    assert accounts(operator.lines("removed", "--since", "3d")) == ["bob", "carl"]
    operator.register("bob")
    assert accounts(operator.lines("removed", "--since", "3d", "--app", "main")) == ["carl"]
    assert accounts(operator.lines("list")) == ["bob"]


def test_a_device_is_shown_with_its_fallbacks_and_an_address_that_went_comes_back(operator: Operator) -> None:
    fallback = Address(Platform.HTTP, f"{TOKEN}-fcm")
    dora = replace(operator.register("dora"), fallbacks=(fallback,))
    operator.devices.register(dora)
    operator.remove(dora, operator.now)
    shown = {"platform": "http", "push_token_fingerprint": fingerprint(fallback.push_token)}
    (used,) = operator.lines("list", "--account", "dora")
    assert {name: used.get(name) for name in (*shown, "fallbacks")} == {**shown, "fallbacks": None}
    (gone,) = operator.lines("removed", "--account", "dora")
    assert (gone["platform"], gone["fallbacks"]) == ("apns", [shown])
    assert [line["result"] for line in operator.lines("restore", "--account", "dora")] == ["restored"]
    (again,) = operator.lines("list", "--account", "dora")
    assert (again["platform"], again["fallbacks"]) == ("apns", [shown])


def test_restoring_can_be_tried_first_and_brings_back_what_was_chosen(operator: Operator) -> None:
    yesterday = (operator.now - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M")
    tried = operator.lines("restore", "--dry-run")
    assert [line["result"] for line in tried] == ["would be restored"] * 3
    assert operator.lines("list") == []
    (carl,) = operator.lines("restore", "--since", yesterday)
    assert (carl["account"], carl["result"]) == ("carl", "restored")
    assert accounts(operator.lines("restore", "--account", "alice")) == ["alice"]
    assert sorted(accounts(operator.lines("list"))) == ["alice", "carl"]
    assert accounts(operator.lines("restore")) == ["bob"]
    assert operator.lines("restore") == []


def test_a_user_whose_devices_come_back_has_the_preferences_of_before(operator: Operator) -> None:
    book, muted = RedisPreferences(operator.store, operator.app_ids), Preferences({"p2p:ann": Mute()})
    dora = operator.register("dora")
    book.write("main", "dora", muted, None)
    operator.remove(dora, operator.now)
    assert [line["result"] for line in operator.lines("restore", "--account", "dora")] == ["restored"]
    assert book.read("main", "dora")[0] == muted


def test_a_blocked_account_stays_blocked(operator: Operator) -> None:
    blocks, name = RedisBlocks(operator.store), "bob of the blocked"
    operator.remove(operator.register(name), operator.now)
    blocks.block(name)
    try:
        assert operator.lines("restore", "--account", name)[0]["result"] == "restored"
        assert blocks.is_blocked(name, None)
    finally:
        blocks.unblock(name)


def test_one_whose_account_is_full_stays_aside_and_is_told_why(operator: Operator) -> None:
    operator.config.write_text(operator.config.read_text() + "[devices]\nper_account = 1\n")
    operator.devices.register(Device("main", "bob", "pad", Platform.APNS, "p1", operator.now))
    (bob,) = operator.lines("restore", "--account", "bob")
    assert (bob["result"], bob["reason"]) == ("not restored", "the account has its most devices")


def test_the_guard_is_released_for_an_hour(operator: Operator) -> None:
    dora = operator.register("dora")
    operator.remove(dora, operator.now, share=0.1)
    assert accounts(operator.lines("list")) == ["dora"]
    (told,) = operator.lines("release", "main")
    assert datetime.fromisoformat(told["released_until"]) - datetime.now(UTC) > timedelta(minutes=59)
    operator.remove(dora, operator.now, share=0.1)
    assert operator.lines("list") == []


@pytest.mark.parametrize(
    "arguments",
    [("release", "other"), ("restore", "--app", "other"), ("removed", "--since", "yesterday"), ("release",)],
)
def test_what_is_not_configured_or_no_time_is_a_wrong_command_line(operator: Operator, arguments: list[str]) -> None:
    assert operator.run(*arguments).exit_code == 2


def test_what_a_terminal_would_obey_is_printed_as_an_escape(operator: Operator) -> None:
    account = "张三\u009b31m\u0085\u202e"
    operator.register(account)
    (line,) = operator.run("list").stdout.splitlines()
    assert line.isprintable()
    assert json.loads(line)["account"] == account
