"""What the operator and a balancer learn of a process with and without a spool."""

from datetime import datetime, timedelta
from pathlib import Path

from proxy.domain.monitoring import Health, Metric
from proxy.spool.folder import Spool
from proxy.spool.health import SpoolHealth, SpoolMetrics
from proxy.spool.inbox import SpoolingInbox
from proxy.store.connection import Store
from proxy.store.queue.inbox import RedisInbox
from proxy.store.server.health import RedisHealth
from tests.store.samples import DAY, NOON, SECOND, apns_lane, callback, for_inbox

NOWHERE = "unix:///nonexistent/socket"


def later() -> datetime:
    return NOON + 90 * SECOND


def spool(folder: Path, max_bytes: int = 1 << 20) -> Spool:
    return Spool(folder, max_bytes=max_bytes, max_age=timedelta(hours=12))


def keep(it: Spool, app_id: str, count: int) -> None:
    store = Store(NOWHERE)
    inbox = SpoolingInbox(RedisInbox(store, DAY, 100), store, it, lambda: True)
    for number in range(count):
        inbox.accept(*for_inbox(callback(app_id, sequence=str(number)), NOON + number * SECOND))


def health(store: Store, app_id: str, it: Spool | None) -> Health:
    return SpoolHealth(RedisHealth(store, [apns_lane(app_id)], later), store, it, later).check()


def test_without_a_store_and_without_a_spool_it_is_not_ready_and_says_what_that_costs(app_id: str) -> None:
    found = health(Store(NOWHERE), app_id, None)
    assert not found.ready
    assert found.details["spool"] == (
        "off (store.spool_dir): while the store is away callbacks are answered 503, "
        "and MIMC gives one up after 5 min 35 s"
    )


def test_without_a_store_it_is_ready_as_long_as_the_disk_takes_callbacks(app_id: str, tmp_path: Path) -> None:
    it = spool(tmp_path)
    keep(it, app_id, 2)
    found = health(Store(NOWHERE), app_id, it)
    size = it.waiting().size
    assert found.ready
    assert found.details["store"] == "the store did not answer: ConnectionError (/nonexistent/socket)"
    assert found.details["spool"] == (
        "on: the store is away, callbacks are kept on this machine's disk and answered 200: "
        f"2 wait, {size} bytes, oldest since 2026-11-23 12:00:00 UTC; tokens and devices are answered 503"
    )


def test_without_a_store_and_with_a_full_spool_it_is_not_ready(app_id: str, tmp_path: Path) -> None:
    it = spool(tmp_path)
    keep(it, app_id, 1)
    found = health(Store(NOWHERE), app_id, spool(tmp_path, max_bytes=it.waiting().size))
    assert not found.ready
    assert found.details["spool error"].startswith("the spool is full: it holds ")


def test_a_store_that_is_there_decides_alone(store: Store, app_id: str, tmp_path: Path) -> None:
    store.call(lambda redis: redis.ping())
    it = spool(tmp_path)
    unready = health(store, app_id, it)  # no worker has made the groups
    assert not unready.ready
    assert unready.details["spool"].endswith("callbacks are kept on this machine's disk; none waits")
    keep(it, app_id, 1)
    assert "until the store has them: 1 wait" in health(store, app_id, it).details["spool"]
    (tmp_path / "x.bad").touch()
    assert health(store, app_id, it).details["spool rejected"].startswith("1 files")


def test_the_figures_are_those_of_the_whole_machine(app_id: str, tmp_path: Path) -> None:
    one, other = spool(tmp_path), spool(tmp_path)
    empty = [figure.value for figure in SpoolMetrics(one, later).read()]
    keep(one, app_id, 3)
    keep(other, app_id, 1)
    found: list[Metric] = SpoolMetrics(other, later).read()
    assert empty == [0, 0, 0, 0]
    assert {it.name: it.value for it in found} == {
        "app_proxy_spool_callbacks_waiting": 4,
        "app_proxy_spool_bytes": one.waiting().size,
        "app_proxy_spool_oldest_seconds": 90,
        "app_proxy_spool_files_unreadable": 0,
    }
