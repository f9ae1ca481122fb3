"""GET and PUT /api/preferences: the caller's own, in one app, and changed by one client at a time."""

import json
from typing import Any

from structlog.testing import capture_logs

from proxy.domain.preferences import DEFAULT, Mute
from proxy.domain.previews import Preview
from tests.web.world import ORIGIN, World, app_section, bearer, other_section, settings

PATH = "/api/preferences"
MUTED = {"mutes": [{"account": "ann", "until": "2026-11-23T12:00:05Z"}, {"topic_id": "77"}], "preview": "none"}


def told(answer: Any) -> Any:
    assert answer.status_code == 200, answer.text
    return json.loads(answer.data)["data"]


def test_without_any_they_are_the_default() -> None:
    data = told(World().client.get(PATH, headers=bearer()))
    assert data == {"app": "main", "mutes": [], "quiet_hours": None, "preview": "full"}


def test_what_is_put_is_told_and_kept_for_the_caller_alone() -> None:
    world = World()
    put = told(world.client.put(PATH, headers=bearer("1000"), json=MUTED))
    assert put["mutes"] == [
        {"account": "ann", "mentions": False, "until": "2026-11-23T12:00:05+00:00"},
        {"topic_id": "77", "mentions": False, "until": None},
    ]
    assert told(world.client.get(PATH, headers=bearer("1000"))) == put
    assert told(world.client.get(PATH, headers=bearer("1001")))["preview"] == "full"
    ((_, account),) = world.preferences.stored
    assert account == "1000"
    assert world.preferences.stored["main", "1000"].preview is Preview.NONE
    assert Mute() in world.preferences.stored["main", "1000"].mutes.values()


def test_a_put_is_all_of_them() -> None:
    world = World()
    world.client.put(PATH, headers=bearer(), json=MUTED)
    told(world.client.put(PATH, headers=bearer(), json={}))
    assert world.preferences.stored["main", "1000"] == DEFAULT


def test_of_two_clients_that_read_the_same_the_second_is_told_to_read_again() -> None:
    world = World()
    tag = world.client.get(PATH, headers=bearer()).headers["ETag"]
    first = world.client.put(PATH, headers=bearer() | {"If-Match": tag}, json=MUTED)
    assert (first.status_code, first.headers["ETag"] != tag) == (200, True)
    second = world.client.put(PATH, headers=bearer() | {"If-Match": tag}, json={})
    assert (second.status_code, json.loads(second.data)["code"]) == (412, 412)
    assert world.client.get(PATH, headers=bearer()).headers["ETag"] == first.headers["ETag"]
    for other in ("*", first.headers["ETag"]):
        assert world.client.put(PATH, headers=bearer() | {"If-Match": other}, json=MUTED).status_code == 200
    for none_of_ours in ('W/"1"', "", "ab", f"{tag}, {first.headers['ETag']}"):
        answer = world.client.put(PATH, headers=bearer() | {"If-Match": none_of_ours}, json={})
        assert answer.status_code == 412, none_of_ours


def test_a_page_of_another_origin_may_ask_and_see_the_version() -> None:
    client = World().client
    asked = client.options(PATH, headers={"Origin": ORIGIN, "Access-Control-Request-Method": "PUT"})
    assert asked.headers["Access-Control-Allow-Methods"] == "GET, HEAD, PUT"
    assert "If-Match" in asked.headers["Access-Control-Allow-Headers"]
    answer = client.get(PATH, headers=bearer() | {"Origin": ORIGIN})
    assert "ETag" in answer.headers["Access-Control-Expose-Headers"]


def test_with_several_apps_the_caller_says_which_and_the_page_must_be_its_own() -> None:
    page = "https://other.example.com"
    world = World(settings({"main": app_section(), "other": other_section(allowed_origins=[page])}))
    assert world.client.get(PATH, headers=bearer()).status_code == 400
    assert world.client.put(PATH, headers=bearer(), json=MUTED).status_code == 400
    assert told(world.client.put(PATH, headers=bearer(), json=MUTED | {"app": "other"}))["app"] == "other"
    assert told(world.client.get(f"{PATH}?app=main", headers=bearer()))["preview"] == "full"
    assert told(world.client.get(f"{PATH}?app=other", headers=bearer()))["preview"] == "none"
    assert world.client.get(f"{PATH}?app=third", headers=bearer()).status_code == 404
    for_other = bearer(app="other")
    assert world.client.get(f"{PATH}?app=main", headers=bearer() | {"Origin": page}).status_code == 403
    assert world.client.put(PATH, headers=bearer() | {"Origin": page}, json=MUTED | {"app": "main"}).status_code == 403
    assert world.client.get(f"{PATH}?app=other", headers=for_other | {"Origin": page}).status_code == 200


def test_a_blocked_user_sees_and_sets_nothing() -> None:
    world = World()
    world.blocks.block("1000")
    assert world.client.get(PATH, headers=bearer()).status_code == 401
    assert world.client.put(PATH, headers=bearer(), json=MUTED).status_code == 401
    assert world.preferences.stored == {}


def test_the_audit_names_no_conversation() -> None:
    with capture_logs() as lines:
        World().client.put(PATH, headers=bearer(), json=MUTED)
    assert [line["what"] for line in lines if line["event"] == "audit"] == ["preferences set"]
    assert "ann" not in repr(lines)
