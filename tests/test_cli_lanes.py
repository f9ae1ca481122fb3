"""`app-proxy lanes`, and dead letters of a webhook: an operator looks, resumes, sends again."""

import json
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from proxy.cli import cli
from proxy.domain.dead_letters import Cause
from proxy.domain.forwards import Forward
from proxy.domain.lanes import Lane, PauseKind
from proxy.domain.settlements import Bury
from proxy.domain.webhooks import lane_of_webhook
from proxy.store import keys
from proxy.store.connection import Store
from proxy.store.queue.lane_states import RedisLaneStates
from proxy.store.records import load_forward
from proxy.wiring.common import utc_now
from tests.receiver import SECRET
from tests.store.samples import DAY, LAYOUT, new_of, queue_of, raw, with_redis

BODY = b'{"payload":"the words of ann"}'


class Operator:
    def __init__(self, folder: Path, store: Store, url: str, app_id: str) -> None:
        self.store, self.lane = store, lane_of_webhook(app_id, "main", "crm")
        self._url, self._config = url, folder / "proxy.toml"
        self._config.write_text(
            f'[auth.jwt.own]\nsecret = "{"0123456789" * 5}"\n[store]\nurl = "{url}"\n'
            f'[apps.main]\napp_id = {app_id}\napp_key = "k"\napp_secret = "s"\nurl_secret = "0123456789abcdef"\n'
            f'[[webhooks]]\nname = "crm"\napp = "main"\nurl = "https://crm.example.com/"\nsecret = "{SECRET}"\n'
        )

    def run(self, *arguments: str) -> Result:
        result = CliRunner().invoke(cli, [*arguments, "--config", str(self._config)])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert "words of ann" not in result.output
        return result

    def told(self, *arguments: str) -> list[dict[str, Any]]:
        result = self.run(*arguments)
        assert result.exit_code == 0, result.output
        return [json.loads(line) for line in result.stdout.splitlines()]

    def pause(self) -> None:
        now = utc_now()
        with_redis(
            self._url,
            lambda redis: RedisLaneStates(redis).pause(self.lane, "http 410", now, now + DAY, PauseKind.FAULT),
        )

    def bury(self) -> Forward:
        forward = Forward(
            "main", self.lane.channel, "one", "OFFLINE_MSG", utc_now() - timedelta(1), BODY, 7, "http 500"
        )

        async def scenario(redis: Any) -> None:
            queue = queue_of(redis)
            await queue.ensure_groups(self.lane)
            await redis.xadd(queue.streams(self.lane)[0], {"r": b"{}"})
            (entry,) = await new_of(queue, self.lane)
            await partial(queue.settle_jobs, self.lane)([Bury(entry.id, Cause.EXPIRED, "not in time", forward)])

        with_redis(self._url, scenario)
        return forward


@pytest.fixture
def operator(tmp_path: Path, store: Store, store_url: str, app_id: str) -> Operator:
    return Operator(tmp_path, store, store_url, app_id)


def test_lanes_are_listed_with_what_waits_and_why_they_are_paused_and_resumed_by_name(operator: Operator) -> None:
    operator.pause()
    raw(operator.store, "XADD", LAYOUT.jobs(operator.lane, 0), "*", "r", "{}")
    (line,) = operator.told("lanes", "list")
    assert (line["lane"], line["waiting"], line["retrying"]) == ("main/webhook-crm", 1, 0)
    assert (line["paused"]["kind"], line["paused"]["reason"]) == ("fault", "http 410")
    assert DAY.total_seconds() - 60 < line["paused"]["next_probe_in_s"] <= DAY.total_seconds()
    resume = ("lanes", "resume", "main/webhook-crm")
    assert operator.told(*resume) == [{"lane": "main/webhook-crm", "result": "resumed"}]
    assert operator.told("lanes", "list")[0]["paused"] is None
    assert operator.told(*resume)[0]["result"] == "was not paused"
    assert "there is no such lane" in operator.run("lanes", "resume", "main/webhook-other").output


def test_what_waits_for_a_webhook_that_is_gone_from_the_settings_is_dropped_by_name(operator: Operator) -> None:
    raw(operator.store, "XADD", LAYOUT.jobs(operator.lane, 0), "*", "r", "{}")
    operator.pause()
    drop = ("lanes", "drop", "main/webhook-crm", "--yes")
    assert "the settings have it still" in operator.run(*drop).output
    config = operator._config
    config.write_text(config.read_text().replace('name = "crm"', 'name = "other"'))
    assert operator.told(*drop) == [{"lane": "main/webhook-crm", "dropped": 1}]
    assert operator.told(*drop)[0]["dropped"] == 0
    assert raw(operator.store, "EXISTS", LAYOUT.jobs(operator.lane, 0), keys.pause(operator.lane)) == 0
    assert "expected the lane of a webhook" in operator.run("lanes", "drop", "main/apns", "--yes").output


def test_what_an_endpoint_did_not_take_is_sent_again_under_the_same_id(operator: Operator) -> None:
    forward = operator.bury()
    (line,) = operator.told("dead-letters", "list", "--channel", "webhook-crm")
    assert (line["kind"], line["app"], line["cause"], line["attempt"]) == ("webhook", "main", "expired", 7)
    page = json.loads(operator.run("dead-letters", "show", line["id"]).stdout)
    assert (page["webhook"]["webhook_id"], page["webhook"]["callback_kind"]) == ("one", "OFFLINE_MSG")
    assert page["words_until"]
    (replayed,) = operator.told("dead-letters", "replay", line["id"])
    assert replayed["result"] == "replayed"
    ((_, fields),) = raw(operator.store, "XRANGE", LAYOUT.jobs(operator.lane, 0), "-", "+")
    again = load_forward(fields[b"r"])
    assert (again.id, again.body, again.attempt) == (forward.id, BODY, 0)
    assert again.until > utc_now()
    assert operator.told("dead-letters", "list") == []


def test_a_channel_that_is_not_there_is_refused_with_those_that_are(operator: Operator) -> None:
    result = operator.run("dead-letters", "list", "--channel", "webhook-other")
    assert result.exit_code == 2
    assert "webhook-crm" in result.output


def test_a_letter_whose_webhook_is_gone_from_the_settings_is_refused(operator: Operator) -> None:
    operator.bury()
    config = operator._config
    config.write_text(config.read_text().replace('name = "crm"', 'name = "other"'))
    result = operator.run("dead-letters", "replay", "--all", "--yes")
    assert result.exit_code == 1
    assert "the settings have no webhook-crm of main" in result.output


def test_a_lane_is_named_by_section_and_webhook() -> None:
    assert lane_of_webhook("1", "main", "crm") == Lane("1", "main", "webhook-crm")
