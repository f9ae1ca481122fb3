"""`app-proxy send-test` where no worker runs: what it puts into the store, and what it says of what it cannot see."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from redis import Redis

from proxy.commands.trial import is_over, verdict_of
from proxy.domain.messages import MessageReading
from proxy.domain.timeline import Event, Step
from proxy.store.records import load_offline_message
from proxy.usecases.trial_message import SENDER, trial_letter
from tests.stored import callbacks, entries
from tests.test_cli import run

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)


def config_of(folder: Path, store_url: str, *app_ids: str, alerts: str = "") -> str:
    apps = "".join(
        f'[apps.app{number}]\napp_id = "{app_id}"\napp_key = "k"\napp_secret = "s"\nurl_secret = "{"u" * 20}{number}"\n'
        for number, app_id in enumerate(app_ids)
    )
    path = folder / "proxy.toml"
    path.write_text(f'[store]\nurl = "{store_url}"\n[auth.jwt.own]\nsecret = "{"j" * 40}"\n[alerts]\n{alerts}{apps}')
    return str(path)


def test_it_is_kept_as_a_callback_and_without_a_worker_says_that_none_runs(
    tmp_path: Path, store_url: str, app_id: str
) -> None:
    result = run("send-test", "--account", "alice", "--wait", "1", "--config", config_of(tmp_path, store_url, app_id))
    assert result.exit_code == 1
    assert "  no device is registered" in result.stdout
    assert "waits for its plan" in result.stdout
    assert "0 of 1 rang; 1 not within 1 s: waits for its plan" in result.stdout
    assert "Does `app-proxy worker` run?" in result.stdout
    redis = Redis.from_url(store_url)
    ((_, fields),) = entries(redis, callbacks(redis, app_id))
    message = load_offline_message(next(value for value in fields.values() if SENDER.encode() in value))
    assert [recipient.account for recipient in message.recipients] == ["alice"]
    shown = MessageReading().read(message.payload, message.biz_type).alert_text(SENDER)
    assert shown.body.startswith("A test alert, ")


def test_of_several_app_ids_one_must_be_named(tmp_path: Path, store_url: str, app_id: str) -> None:
    config = config_of(tmp_path, store_url, app_id, app_id[::-1])
    result = run("send-test", "--account", "alice", "--config", config)
    assert result.exit_code == 2
    assert "--app app0, app1" in result.stderr
    assert run("send-test", "--account", "", "--config", config).exit_code == 2


def test_without_the_history_nothing_is_sent(tmp_path: Path, store_url: str, app_id: str) -> None:
    config = config_of(tmp_path, store_url, app_id, alerts="history_max_bytes = 0\n")
    result = run("send-test", "--account", "alice", "--config", config)
    assert result.exit_code == 1
    assert "alerts.history_max_bytes is 0" in result.stderr
    redis = Redis.from_url(store_url)
    assert entries(redis, callbacks(redis, app_id)) == []


def test_two_at_one_moment_are_two_messages() -> None:
    one, two = (trial_letter("1", "alice", unique, NOW) for unique in ("a", "b"))
    assert one.message.message_id != two.message.message_id
    assert one.callback_id != two.callback_id
    assert one.copies == ()


@pytest.mark.parametrize(
    ("steps", "expected", "over"),
    [
        ({}, 0, False),  # nothing planned it yet
        ({"phone": Step.ANSWERED}, 1, True),
        ({"phone": Step.ANSWERED}, 2, False),  # the other is in flight
        ({"phone": Step.ANSWERED, "pad": Step.WAITS}, 2, False),
        ({"phone": Step.ANSWERED, "pad": Step.ENDED}, 2, True),
        ({"": Step.ENDED}, 2, True),  # of the account: blocked, or muted
    ],
)
def test_it_is_over_when_each_device_has_its_end(steps: dict[str, Step], expected: int, over: bool) -> None:
    assert is_over({name: Event(NOW, step, "alice", name) for name, step in steps.items()}, expected) is over


@pytest.mark.parametrize(
    ("says", "rang", "told"),
    [
        ({"phone": "accepted"}, True, "1 of 1"),
        ({"phone": "accepted", "main/mipush": "unknown account"}, True, "1 of 1"),  # they have no Xiaomi phone
        ({"main/mipush": "unknown account"}, False, "0 of 1 rang. The first that did not: unknown account"),
        ({"phone": "device gone", "main/mipush": "unknown account"}, False, "0 of 1 rang. The first that did not: dev"),
        ({"phone": "accepted", "main/mipush": "dead letter"}, False, "1 of 2 rang. The first that did not: dead"),
        ({}, False, "Nothing is known of it within 20 s"),
    ],
)
def test_a_channel_that_knows_no_phone_of_the_account_counts_where_no_other_does(
    says: dict[str, str], rang: bool, told: str
) -> None:
    ends = {
        name: Event(NOW, Step.ANSWERED, "alice", "" if "/" in name else name, "main/mipush", text)
        for name, text in says.items()
    }
    assert verdict_of(ends, 20) == (rang, verdict_of(ends, 20)[1])
    assert verdict_of(ends, 20)[1].startswith(told)
