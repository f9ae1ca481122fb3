"""`app-proxy explain`: ten questions that people ask of every push service, each answered by one call."""

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from click.testing import CliRunner, Result

from proxy.cli import cli
from proxy.domain.devices import Address, Device, Platform
from proxy.domain.history import Note, Reason
from proxy.domain.jobs import Try
from proxy.domain.lanes import Lane
from proxy.domain.preferences import Mute, Preferences, QuietHours
from proxy.domain.previews import Preview
from proxy.domain.times import to_ms
from proxy.store import keys
from proxy.store.connection import Store, async_redis
from proxy.store.devices.registry import RedisDeviceRegistry
from proxy.store.history_records import NotesOfMessage
from proxy.store.users.blocks import RedisBlocks
from proxy.store.users.preferences import RedisPreferences
from tests.store.samples import alert, job, put_jobs, queue_of, raw

CANARY = "the words of ann"


class Operator:
    """The command line, an app, and bob with a phone."""

    def __init__(self, folder: Path, store_url: str, app_id: str) -> None:
        self.config, self.url, self.app_id = folder / "proxy.toml", store_url, app_id
        self.config.write_text(
            f'[store]\nurl = "{store_url}"\n[auth.jwt.own]\nsecret = "{"x" * 40}"\n[apps.main]\n'
            f'app_id = "{app_id}"\napp_key = "key"\napp_secret = "secret"\nurl_secret = "{"u" * 20}"\n'
            f'[apps.main.mipush]\napp_secret = "secret"\npackage = "com.example"\n'
        )
        self.now = datetime.now(UTC).replace(microsecond=0)
        self.store = Store(store_url)
        self.devices = RedisDeviceRegistry(self.store, {"main": app_id})
        self.preferences = RedisPreferences(self.store, {"main": app_id})
        now_ms = to_ms(self.now)
        self.note = Note(
            "00000000000000aa", "p2p:ann", now_ms - 5000, now_ms - 6000, "accepted", "bob", "phone", "main", "apns",
            planned_at_ms=now_ms - 4990, pushed_at_ms=now_ms - 4980, ended_at_ms=now_ms - 4900,
        )  # fmt: skip

    def register(self, device_id: str = "phone", **of: Any) -> None:
        token, at = f"canary-{self.app_id}-{device_id}", self.now - timedelta(days=3)
        self.devices.register(Device("main", "bob", device_id, Platform.APNS, token, at, **of))

    def noted(self, **changes: Any) -> None:
        """A note with its times where they are not changed; without them where it got no job."""
        one = replace(self.note, **changes)
        if "result" in changes:
            one = replace(one, planned_at_ms=0, pushed_at_ms=0, ended_at_ms=0)
        notes = NotesOfMessage()
        notes.add([one])
        self.with_redis(lambda redis: queue_of(redis).append_notes(self.app_id, notes.records()))

    def with_redis(self, do: Any) -> None:
        async def scenario() -> None:
            redis = async_redis(self.url, 5.0)
            await redis.learn_layout()
            try:
                await do(redis)
            finally:
                await redis.aclose()

        asyncio.run(scenario())

    def run(self, *arguments: str) -> Result:
        result = CliRunner().invoke(cli, ["explain", *arguments, "--config", str(self.config)])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert CANARY not in result.output
        assert "canary" not in result.output
        return result

    def told(self, *arguments: str) -> str:
        result = self.run(*(arguments or ("--account", "bob", "--since", "1h")))
        assert result.exit_code == 0, result.output
        return result.stdout


@pytest.fixture
def operator(tmp_path: Path, store_url: str, app_id: str) -> Operator:
    return Operator(tmp_path, store_url, app_id)


# ten questions


def test_1_no_alert_after_the_app_was_installed_anew(operator: Operator) -> None:
    operator.noted(result="device gone", reason="unregistered")
    told = operator.told()
    assert "no device is registered" in told
    assert "device gone: unregistered" in told


def test_2_only_one_of_two_phones_rang(operator: Operator) -> None:
    operator.register()
    operator.register("pad", resource="r2")
    operator.noted()
    operator.noted(result=Reason.ONLINE, device_id="pad")
    told = operator.told()
    assert "main/apns phone  accepted" in told
    assert "main/apns pad  login was online" in told


def test_3_there_was_no_sound(operator: Operator) -> None:
    operator.preferences.write(
        "main", "bob", Preferences({}, QuietHours(time(22), time(7), ZoneInfo("Asia/Shanghai"))), None
    )
    operator.noted(silent=True)
    told = operator.told()
    assert "without a sound" in told
    assert "22:00 to 07:00 Asia/Shanghai" in told


def test_4_it_came_minutes_late(operator: Operator) -> None:
    tries = (Try(operator.now - timedelta(minutes=4), "503 ServiceUnavailable"),)
    operator.noted(tries=tries)
    told = operator.told()
    assert "tried     " in told
    assert "503 ServiceUnavailable" in told


def test_an_alert_that_went_to_a_fallback_tells_which_address_was_dead(operator: Operator) -> None:
    operator.register(fallbacks=(Address(Platform.HTTP, "canary-fcm"), Address(Platform.APNS, "canary-iphone")))
    reason = "apns: unregistered, on to the next address"
    operator.noted(result="retry", reason=reason)
    operator.noted(channel="http", tries=(Try(operator.now - timedelta(seconds=2), reason),))
    told = operator.told()
    assert "fallbacks http apns" in told
    assert told.count(reason) == 1
    assert "main/http phone  accepted" in told


def test_5_it_came_twice(operator: Operator) -> None:
    operator.register()
    operator.register("old-phone")
    operator.noted()
    operator.noted(device_id="old-phone")
    operator.noted(result=Reason.PLANNED_BEFORE, device_id="")
    told = operator.told()
    assert told.count("answered") == 2  # two registrations: one phone that was registered under two ids
    assert "planned before" in told


def test_6_it_was_in_the_wrong_language(operator: Operator) -> None:
    operator.register(locale="zh-CN")
    operator.noted()
    assert "locale zh-CN" in operator.told()


def test_7_it_said_nothing_of_the_message(operator: Operator) -> None:
    operator.register(preview=Preview.NONE)
    operator.noted()
    assert "preview none" in operator.told()


def test_8_alerts_came_after_signing_out_and_then_none(operator: Operator) -> None:
    operator.noted(result=Reason.NO_DEVICE, device_id="", app="", channel="")
    told = operator.told()
    assert "no device is registered" in told
    assert "bob  no device" in told


def test_9_none_in_one_group(operator: Operator) -> None:
    operator.register()
    operator.preferences.write("main", "bob", Preferences({"topic:7": Mute()}), None)
    operator.noted(result=Reason.MUTED, conversation="topic:7", device_id="", app="", channel="")
    told = operator.told()
    assert "in topic:7" in told
    assert "bob  conversation is muted" in told
    assert "'conversation': 'topic:7'" in told


def test_10_none_at_all_for_an_hour(operator: Operator) -> None:
    lane = Lane(operator.app_id, "main", "mipush")
    since = to_ms(operator.now) - 3_600_000
    raw(operator.store, "HSET", keys.pause(lane), "reason", "200001 quota", "since", since, "kind", "fault")
    operator.with_redis(lambda redis: put_jobs(redis, lane, [job(lane, "bob", "", alert("00000000000000bb"))]))
    assert "waits in its lane: the lane is paused (fault): 200001 quota" in operator.told()


# the rest


def test_blocked_accounts_are_told(operator: Operator) -> None:
    RedisBlocks(operator.store).block("bob")
    try:
        operator.noted(result=Reason.BLOCKED, device_id="")
        told = operator.told()
    finally:
        RedisBlocks(operator.store).unblock("bob")
    assert "blocked       True" in told


@pytest.mark.parametrize(
    "named", [("--account", "bob"), ("--message", "00000000000000aa" + "0" * 16), ("--device", "phone")]
)
def test_a_message_an_account_or_a_device_is_asked_for_as_json(operator: Operator, named: tuple[str, str]) -> None:
    operator.noted()
    operator.noted(message_id="00000000000000bb", account="cai", device_id="pad")
    (app,) = json.loads(operator.told(*named, "--json"))["apps"]
    assert app["app_id"] == operator.app_id
    assert app["reaches_back_to"]
    (note,) = app["notes"]
    assert note["result"] == "accepted"
    assert (note["account"], note["device_id"], note["message_id"]) == ("bob", "phone", "00000000000000aa")
    (message,) = app["messages"]
    assert (message["message_id"], message["conversation"]) == ("00000000000000aa", "p2p:ann")
    assert [it["step"] for it in message["events"]] == ["MIMC sent", "accepted", "planned", "sent", "answered"]
    at = message["events"][-1].pop("at")
    assert message["events"][-1] == {
        "step": "answered", "account": "bob", "place": "main/apns", "device_id": "phone", "says": "accepted",
    }  # fmt: skip
    assert at == note["ended_at"]
    assert note["sent_at"] < note["accepted_at"] < note["planned_at"] < note["pushed_at"] < note["ended_at"]


def test_the_lines_are_in_the_order_of_things(operator: Operator) -> None:
    operator.noted()
    lines = operator.told("--message", "00000000000000aa").splitlines()
    steps = ["MIMC sent", "accepted", "planned", "sent", "answered"]
    assert [step for step, line in zip(steps, lines[3:], strict=True) if step in line] == steps


def test_where_nothing_is_known_that_is_said_and_one_must_ask_for_something(operator: Operator) -> None:
    told = operator.told()
    assert "reaches back to nothing" in told
    assert "no message: none was planned" in told
    assert operator.run().exit_code == 2
    assert operator.run("--account", "bob", "--app", "nope").exit_code == 2
