"""POST /api/badge: the caller's own unread messages, in one app."""

import json
from typing import Any

import pytest

from proxy.domain.alerts import Update
from proxy.domain.devices import Device, Platform
from proxy.domain.transfers import Response
from tests.web.world import NOW, World, app_section, bearer, settings

PATH = "/api/badge"


def counting_world(*, apns: dict[str, object] | None = None, **alerts: bool) -> World:
    sections = {"main": app_section(apns=apns) if apns else app_section()}
    world = World(settings(sections, alerts={"badge": True, **alerts}))
    world.unread.stored["main", "1000"] = {"p2p:ann": 2, "topic:77": 3}
    world.unread.stored["main", "1001"] = {"p2p:ann": 1}
    world.devices.register(Device("main", "1000", "phone", Platform.APNS, "0a" * 16, NOW))
    return world


@pytest.mark.parametrize(
    ("asked", "left"),
    [({"conversation": {"account": "ann"}}, 3), ({"conversation": {"topic_id": "77"}}, 2), ({}, 0)],
)
def test_what_is_read_is_counted_no_longer_and_the_callers_iphones_are_told(
    apns: dict[str, object], asked: dict[str, Any], left: int
) -> None:
    world = counting_world(apns=apns)
    answer = world.client.post(PATH, headers=bearer("1000"), json=asked)
    assert (answer.status_code, json.loads(answer.data)["data"]) == (200, {"app": "main", "badge": left})
    assert world.unread.stored["main", "1001"] == {"p2p:ann": 1}
    assert {(job.account, job.device_id, job.alert.update) for job in world.unread.told} == {
        ("1000", "phone", Update.BADGE)
    }


def test_an_iphone_that_no_lane_reaches_makes_no_job_that_would_wait_for_ever() -> None:
    world = counting_world()
    assert world.client.post(PATH, headers=bearer("1000"), json={}).status_code == 200
    assert world.unread.told == []


def test_where_badges_are_off_there_is_nothing_there() -> None:
    assert World().client.post(PATH, headers=bearer(), json={}).status_code == 404


@pytest.mark.parametrize(
    "asked", [{"conversation": "p2p:ann"}, {"conversation": {}}, {"conversation": {"account": ""}}, {"unread": 3}]
)
def test_what_names_no_conversation_is_refused(asked: dict[str, Any]) -> None:
    assert counting_world().client.post(PATH, headers=bearer(), json=asked).status_code == 400


@pytest.mark.parametrize(("badge_at_token", "left"), [(False, 5), (True, 0)])
def test_a_token_clears_the_badge_where_that_is_wanted(badge_at_token: bool, left: int) -> None:
    world = counting_world(badge_at_token=badge_at_token)
    world.tokens.answer = Response(200, {"content-type": "application/json"}, b'{"code":200,"data":{"token":"t"}}')
    assert world.client.post("/api/account/token", headers=bearer("1000"), json={}).status_code == 200
    assert sum(world.unread.stored["main", "1000"].values()) == left
