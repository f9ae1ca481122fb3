"""What /metrics and /readyz learn from the store."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from proxy.domain.lanes import Callbacks, Lane
from proxy.domain.settlements import Postpone
from proxy.domain.times import from_ms
from proxy.errors import StoreUnavailable
from proxy.store import keys
from proxy.store.connection import Store
from proxy.store.queue.inbox import RedisInbox
from proxy.store.queue.lane_states import RedisLaneStates
from proxy.store.records import load_job
from proxy.store.server.health import RedisHealth
from proxy.store.server.metrics import RedisMetrics
from proxy.store.server.policy import persistence_risk
from tests.store.samples import (
    DAY,
    LAYOUT,
    NOON,
    SECOND,
    apns_lane,
    callback,
    for_inbox,
    job,
    mipush_lane,
    new_of,
    put_jobs,
    queue_of,
    raw,
    with_redis,
)


def read(store: Store, lanes: list[Lane], now: datetime) -> dict[tuple[str, str], float]:
    """Value by name and channel, "" where it is an appId's; of kinds of trouble that of a fault."""
    rows = RedisMetrics(store, lanes, lambda: now).read()
    return {
        (row.name, row.labels.get("channel", "")): row.value
        for row in rows
        if row.labels.get("kind") in (None, "fault")
    }


def test_an_empty_store_has_no_backlog(store: Store, app_id: str) -> None:
    store_metrics = read(store, [apns_lane(app_id)], NOON)
    assert set(store_metrics.values()) == {0}
    assert len(store_metrics) == 11


def test_backlogs_ages_retries_pauses_and_dead_letters_are_told(store: Store, store_url: str, app_id: str) -> None:
    apns, mipush = apns_lane(app_id), mipush_lane(app_id)
    RedisInbox(store, DAY, 10).accept(*for_inbox(callback(app_id), NOON))
    raw(store, "XADD", LAYOUT.dead_letters(app_id, 0), "*", "reason", "late", "r", "{}")

    async def scenario(redis: Any) -> None:
        queue = queue_of(redis)
        await put_jobs(redis, apns, [job(apns, f"user-{n}") for n in range(3)])
        await queue.ensure_groups(apns)
        (entry,) = await new_of(queue, apns, 1)
        await queue.settle_jobs(apns, [Postpone(entry.id, load_job(entry.record), NOON)])
        await RedisLaneStates(redis).pause(mipush, "quota", NOON, NOON + SECOND)

    with_redis(store_url, scenario)
    ((oldest, _),) = store.call(lambda it: it.xrange(LAYOUT.callbacks(app_id, 0), count=1))
    store_metrics = read(store, [apns, mipush], from_ms(int(oldest.split(b"-")[0])) + timedelta(seconds=90))
    assert store_metrics.pop(("app_proxy_jobs_oldest_seconds", "apns")) == pytest.approx(90, abs=5)
    assert store_metrics == {
        ("app_proxy_callbacks_waiting", ""): 1, ("app_proxy_callbacks_oldest_seconds", ""): 90,
        ("app_proxy_dead_letters", ""): 1,
        ("app_proxy_jobs_waiting", "apns"): 2, ("app_proxy_jobs_retrying", "apns"): 1,
        ("app_proxy_lane_paused", "apns"): 0,
        ("app_proxy_lane_paused_by_kind", "apns"): 0, ("app_proxy_lane_paused_by_kind", "mipush"): 1,
        ("app_proxy_jobs_waiting", "mipush"): 0, ("app_proxy_jobs_oldest_seconds", "mipush"): 0,
        ("app_proxy_jobs_retrying", "mipush"): 0, ("app_proxy_lane_paused", "mipush"): 1,
        ("app_proxy_devices_removed", "apns"): 0, ("app_proxy_devices_kept_by_guard", "apns"): 0,
        ("app_proxy_devices_removed", "mipush"): 0, ("app_proxy_devices_kept_by_guard", "mipush"): 0,
        ("app_proxy_store_lost_timestamp_seconds", ""): 0,
    }  # fmt: skip


def test_without_a_store_there_are_no_figures_and_nothing_is_ready(app_id: str) -> None:
    away = Store("unix:///nonexistent/socket")
    with pytest.raises(StoreUnavailable):
        RedisMetrics(away, [apns_lane(app_id)], lambda: NOON).read()
    health = RedisHealth(away, [apns_lane(app_id)], lambda: NOON).check()
    assert not health.ready
    assert health.details["store"].startswith("the store does not answer")


def test_the_service_is_ready_once_a_worker_has_made_the_groups(store: Store, store_url: str, app_id: str) -> None:
    lane = apns_lane(app_id)
    health = RedisHealth(store, [lane], lambda: NOON)
    before = health.check()
    assert not before.ready
    assert before.details["groups"] == "2 streams have no consumer group: no worker has started yet"

    async def scenario(redis: Any) -> None:
        for source in (Callbacks(app_id), lane):
            await queue_of(redis).ensure_groups(source)

    with_redis(store_url, scenario)
    assert health.check().ready
    details = {place: text for place, text in health.check().details.items() if not place.startswith("worker")}
    assert details == {"store": "writable"}
    assert 0 < raw(store, "TTL", keys.ready(app_id)) <= 60


def test_a_paused_lane_is_told_with_its_reason_and_stops_no_other(store: Store, store_url: str, app_id: str) -> None:
    lane = apns_lane(app_id)

    async def scenario(redis: Any) -> None:
        for source in (Callbacks(app_id), lane):
            await queue_of(redis).ensure_groups(source)
        await RedisLaneStates(redis).pause(lane, "InvalidProviderToken", NOON, NOON + SECOND)

    with_redis(store_url, scenario)
    health = RedisHealth(store, [lane], lambda: NOON).check()
    assert health.ready
    assert health.details["lane main/apns"] == "paused since 2026-11-23 12:00:00 UTC: InvalidProviderToken"


@pytest.mark.parametrize(("is_appended", "fsync", "risk"), [
    (True, "always", None),
    (True, "everysec", "at risk: appendfsync is everysec"),
    (True, None, "at risk: appendfsync is not shown"),
    (False, "always", "at risk: appendonly is off"),
    (None, None, "unknown"),
])  # fmt: skip
def test_a_store_that_may_lose_what_it_accepted_is_told(
    is_appended: bool | None, fsync: str | None, risk: str | None
) -> None:
    found = persistence_risk(is_appended, fsync)
    assert (found is None) if risk is None else (found or "").startswith(risk)
