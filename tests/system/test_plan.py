"""From callbacks to jobs through real processes: who has an alert already, and a plan that dies in its middle."""

import asyncio
import json
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from redis import Redis

from proxy.domain.callbacks import Callback
from proxy.domain.lanes import Lane
from proxy.mimc.wire import parse_callback
from proxy.store.connection import async_redis
from proxy.store.queue.lane_states import RedisLaneStates
from proxy.store.records import load_job
from proxy.store.server.embedded import store_url
from tests import stored
from tests.system.callers import alerts, post_all, register_all
from tests.system.rig import CHANNELS, MAIN, OTHER, SECTION, Rig, offline, offline_topic, push_token


def test_what_mimc_says_several_times_is_one_alert_for_a_device(place: Path) -> None:
    with Rig(place, without=["mimc", "mipush"]) as rig:
        rig.start_web()
        rig.start_worker()
        people = register_all(rig, ["alice", "carol", "dave"], app_id=OTHER)
        ipad = push_token()
        assert rig.register("erin", "phone", people.setdefault("erin", push_token()), app_id=OTHER, resource="r1").ok
        assert rig.register("erin", "ipad", ipad, app_id=OTHER, resource="r2").ok

        def post(*bodies: dict[str, object]) -> None:
            assert {it.status for it in post_all(rig, bodies, app_id=OTHER, threads=1)} == {200}
            rig.settled(OTHER)

        told = offline("bob", "alice", "first instant, then offline", 1, app_id=OTHER)
        post({**told, "msgType": "NORMAL_MSG"}, told)
        told = offline("bob", "alice", "first offline, then instant", 2, app_id=OTHER)
        post(told, {**told, "msgType": "NORMAL_MSG"})
        for members in (["alice", "carol"], ["carol", "dave", "alice"], ["dave"]):
            post(offline_topic("bob", members, "to overlapping halves", 3, app_id=OTHER))
        for resources in (["r1"], ["r2", "r1"], ["r1", "r2"]):
            post(offline("bob", "erin", "to one more login", 4, app_id=OTHER, resources=resources))
            assert (ipad, "to one more login") not in alerts(rig) or resources != ["r1"]
        assert alerts(rig) == Counter(
            [
                (people["alice"], "first instant, then offline"),
                (people["alice"], "first offline, then instant"),
                *((people[name], "to overlapping halves") for name in ("alice", "carol", "dave")),
                (people["erin"], "to one more login"),
                (ipad, "to one more login"),
            ]
        )


@pytest.mark.trial
def test_a_plan_for_10_000_accounts_that_is_killed_in_its_middle_loses_and_doubles_nothing(place: Path) -> None:
    members = [f"member-{number}" for number in range(10_000)]
    group = offline_topic("bob", members, "to all", 1)
    group_id = message_id(group)
    singles = [offline(f"sender-{n}", members[n], f"message {n}", 10 + n) for n in range(200)]
    with Rig(place, mipush={"unknown_targets": "accept"}, without=["mimc"]) as rig:
        rig.start_web()
        iphones = register_all(rig, members[:300], app_id=MAIN)
        stand(rig)
        killed = rig.start_worker()
        assert rig.post(group).status_code == 200
        with rig.redis() as redis:
            marks = stored.planned(redis, MAIN, group_id)
            while stored.marked(redis, marks) < 2_000:
                assert killed.popen.poll() is None
            killed.signal(signal.SIGSTOP)  # so that what we look at is what it leaves
            assert 2_000 <= stored.marked(redis, marks) < 10_000
            killed.kill()
            assert stored.length(redis, stored.callbacks(redis, MAIN)) == 1
            assert {it.status for it in post_all(rig, [*singles, group, *singles])} == {200}
            rig.start_worker()
            rig.start_worker()
            rig.wait(lambda: not stored.length(redis, stored.callbacks(redis, MAIN)), "the end of the plan")
        jobs = Counter(it for channel in CHANNELS for it in planned(rig, channel))
        addressed = [("apns", account) for account in iphones] + [("mipush", account) for account in members]
        to_all = [(*target, group_id) for target in addressed]
        to_some = [(channel, body["toAccount"], message_id(body)) for body in singles for channel in CHANNELS]
        expected = Counter([*to_all, *to_some])
        assert (jobs - expected, expected - jobs) == (Counter(), Counter())
        go_on(rig)
        rig.settled()
        texts = [(token, "to all") for token in iphones.values()]
        texts += [(iphones[body["toAccount"]], f"message {n}") for n, body in enumerate(singles)]
        assert alerts(rig).keys() ^ set(texts) == set()
        phones = rig.http.get(f"{rig.control('mipush')}/phones", timeout=30).json()["phones"]
        assert Counter(it["rings"] for it in phones) == {1: 9_800, 2: 200}


def message_id(body: dict[str, object]) -> str:
    callback = parse_callback(json.dumps(body).encode())
    assert isinstance(callback, Callback)
    return callback.message_id


def planned(rig: Rig, channel: str) -> list[tuple[str, str, str]]:
    """Channel, account and message of every job that waits."""
    with Redis.from_url(store_url(rig.folder / "store")) as redis:
        jobs = [load_job(record) for record in stored.jobs_in(redis, lane(channel))]
    return [(job.channel, job.account, job.alert.message_id) for job in jobs]


def lane(channel: str) -> Lane:
    return Lane(MAIN, SECTION[MAIN], channel)


def stand(rig: Rig) -> None:
    """No lane is read, so that what was planned lies there to be counted."""

    async def pause(lanes: RedisLaneStates) -> None:
        now = datetime.now(UTC)
        for channel in CHANNELS:
            await lanes.pause(lane(channel), "a test counts", now, now + timedelta(hours=1))

    asyncio.run(_with_lanes(rig, pause))


def go_on(rig: Rig) -> None:
    async def resume(lanes: RedisLaneStates) -> None:
        for channel in CHANNELS:
            await lanes.resume(lane(channel))

    asyncio.run(_with_lanes(rig, resume))


async def _with_lanes(rig: Rig, do: Callable[[RedisLaneStates], Awaitable[None]]) -> None:
    redis = async_redis(store_url(rig.folder / "store"), timeout_s=5)
    await do(RedisLaneStates(redis))
    await redis.aclose()
