"""Dead letters of the running service: looked at, mended and replayed, and no word of a message leaks on the way."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from proxy.store import keys
from tests import stored
from tests.system.rig import OTHER, Process, Rig, offline, push_token

WORDS = "tell-nobody-of-the-treasure"


@pytest.fixture
def rig(place: Path) -> Iterator[Rig]:
    """All that any process prints is searched for the words at the end, that of the commands below too."""
    with Rig(place, without=("mimc", "mipush")) as it:
        it.secret("text", WORDS)
        it.start_web(workers=1)
        yield it


def begin(rig: Rig, *arguments: str) -> Process:
    return rig.start("dead-letters", [sys.executable, "-m", "proxy", "dead-letters", *arguments])


def told(process: Process, code: int = 0) -> list[dict[str, Any]]:
    """The lines of JSON that a command printed."""
    assert process.popen.wait(30) == code, process.log.read_text()
    return [json.loads(line) for line in process.log.read_text().splitlines() if line.startswith("{")]


def register(rig: Rig, account: str) -> str:
    token = push_token()
    assert rig.register(account, "phone", token, app_id=OTHER).status_code == 200
    return token


def post(rig: Rig, account: str, number: int) -> None:
    body = offline("bob", account, f"{WORDS} {number}", number, app_id=OTHER)
    rig.secret("text in base64", body["payload"])
    assert rig.post(body, OTHER).status_code == 200


def alert_of(push: dict[str, Any]) -> str:
    body: str = push["payload"]["aps"]["alert"]["body"]
    return body


def test_refused_pushes_are_shown_once_each_though_two_operators_replay_them_at_the_same_time(rig: Rig) -> None:
    token, worker = register(rig, "alice"), rig.start_worker()
    rig.fault("apns", effect="answer", status=400, reason="Teapot", target=token)
    for number in range(5):
        post(rig, "alice", number)
    rig.wait(lambda: rig.dead_letters(OTHER) == ["Teapot"] * 5, "the dead letters")
    listed = begin(rig, "list", "--cause", "rejected")
    shown = begin(rig, "show", "--all")
    assert {(it["app"], it["channel"], it["account"]) for it in told(listed)} == {("other", "apns", "alice")}
    assert shown.popen.wait(30) == 0
    assert shown.log.read_text().count('"words_until": "20') == 5
    labels = {"app_id": OTHER, "app": "other", "channel": "apns", "cause": "rejected"}
    assert rig.metric(worker, "app_proxy_dead_letters_total", **labels) == 5

    rig.end_faults("apns")
    replays = [begin(rig, "replay", "--app", "other", "--yes") for _ in range(2)]
    results = [it["result"] for replay in replays for it in told(replay)]
    rig.settled(OTHER)
    assert results.count("replayed") == 5
    assert set(results) <= {"replayed", "gone"}
    assert rig.dead_letters(OTHER) == []
    assert sorted(map(alert_of, rig.accepted(token))) == [f"{WORDS} {number}" for number in range(5)]
    pushes = [it for it in rig.journal("apns") if it["device_token"] == token]
    assert len(pushes) == 10
    assert len({it["apns_id"] for it in pushes}) == len({it["collapse_id"] for it in pushes}) == 5


def test_a_callback_that_cannot_be_planned_is_kept_while_others_are_and_rings_once_it_is_mended(rig: Rig) -> None:
    carls = register(rig, "carl")
    with rig.redis() as redis:
        spoiled, streams = stored.layout_in(redis).account(OTHER, "other", "alice"), stored.callbacks(redis, OTHER)
        redis.set(spoiled, "not what a registration is", ex=60)
        rig.start_worker()
        post(rig, "alice", 1)
        rig.wait(lambda: all(map(redis.exists, streams)), "the workers' groups")
        rig.wait(lambda: stored.pending(redis, streams)["pending"], "its first try")
        (stream,) = [name for name in streams if redis.xlen(name)]
        redis.xadd(stream, {"r": f'{{"{WORDS}'})
        ((entry, _),) = redis.xrange(stream, count=1)
        # as if five workers had taken it over since: waiting for their leases would take ten seconds
        redis.xclaim(stream, keys.GROUP, "a dead worker", 0, [entry], idle=60_000, retrycount=6)
        rig.wait(lambda: len(rig.dead_letters(OTHER)) == 2, "both dead letters")
        post(rig, "carl", 2)
        rig.wait(lambda: rig.accepted(carls), "what could be planned")
        redis.delete(spoiled)
    lines = told(begin(rig, "list"))
    assert {(it["kind"], it["cause"], it["reason"]) for it in lines} == {
        ("callback", "poison", "poison callback"), ("record", "unreadable", "unreadable callback"),
    }  # fmt: skip
    assert begin(rig, "show", "--all").popen.wait(30) == 0

    alices = register(rig, "alice")
    assert [it["result"] for it in told(begin(rig, "replay", "--cause", "poison"))] == ["replayed"]
    rig.wait(lambda: rig.accepted(alices), "the alert of the mended one")
    rig.settled(OTHER)
    assert [alert_of(it) for it in rig.accepted()] == [f"{WORDS} 2", f"{WORDS} 1"]
    assert [it["result"] for it in told(begin(rig, "drop", "--all"))] == ["dropped"]
    with rig.redis() as redis:
        assert [*redis.scan_iter(match="*:dead-words:*")] == []
