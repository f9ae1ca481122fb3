"""GET /api/alerts: the caller's own, in one app, and nothing of the operator's."""

import json
from dataclasses import replace
from typing import Any

import pytest

from proxy.domain.history import KEPT, Noted
from tests.store.test_history_records import NOON_MS, NOTE
from tests.web.world import NOW, World, app_section, bearer, other_section, settings

PATH = "/api/alerts"


def told(answer: Any) -> Any:
    assert answer.status_code == 200, answer.text
    return json.loads(answer.data)["data"]


def world_with(*noted: Noted, account: str = "1000") -> World:
    world = World()
    world.history.noted["main", account] = list(noted)
    return world


def test_without_any_there_are_none_and_only_a_user_may_ask() -> None:
    assert told(World().client.get(PATH, headers=bearer())) == {"app": "main", "alerts": []}
    assert World().client.get(PATH).status_code == 401


def test_the_callers_own_come_newest_first_without_a_providers_reason() -> None:
    bad = replace(NOTE, result="dead letter", reason="InvalidProviderToken", pushed_at_ms=0, ended_at_ms=0)
    world = world_with(Noted(NOW - KEPT, NOTE), Noted(NOW, bad))
    first, second = told(world.client.get(PATH, headers=bearer("1000")))["alerts"]
    assert first["at"] > second["at"]
    assert (first["result"], first["pushed_at"], second["result"]) == ("dead letter", None, "accepted")
    assert second["accepted_at"] == "2026-11-23T12:00:00.000+00:00"
    assert NOTE.accepted_at_ms == NOON_MS
    assert second.keys() == {
        "at", "result", "message_id", "conversation", "device_id", "channel", "silent", "sent_at", "accepted_at",
        "pushed_at",
    }  # fmt: skip
    assert "InvalidProviderToken" not in json.dumps([first, second])
    assert told(world.client.get(PATH, headers=bearer("1001")))["alerts"] == []


def test_a_caller_says_how_many_up_to_a_limit() -> None:
    world = world_with(*[Noted(NOW, replace(NOTE, message_id=f"{n:016x}")) for n in range(60)])
    assert len(told(world.client.get(PATH, headers=bearer()))["alerts"]) == 50
    found = told(world.client.get(PATH + "?count=2", headers=bearer()))["alerts"]
    assert [one["message_id"][-2:] for one in found] == ["3b", "3a"]


@pytest.mark.parametrize("count", ["0", "201", "-1", "x", "", "1.5", "9" * 400, "\u0661"])
def test_another_count_is_refused(count: str) -> None:
    assert World().client.get(PATH, query_string={"count": count}, headers=bearer()).status_code == 400


def test_with_several_apps_the_caller_says_which() -> None:
    world = World(settings(apps={"main": app_section(), "other": other_section()}))
    assert world.client.get(PATH, headers=bearer()).status_code == 400
    assert told(world.client.get(PATH + "?app=other", headers=bearer()))["app"] == "other"
