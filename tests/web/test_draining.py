"""The thread that looks after the spool."""

import errno
import os
from collections.abc import Iterator, MutableMapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from proxy.errors import SpoolRefused, StoreUnavailable
from proxy.files import Sync, on_disk
from proxy.metrics import WEB
from proxy.spool.drain import Drain, Drained
from proxy.spool.folder import Spool
from proxy.spool.health import SpoolMetrics
from proxy.spool.inbox import SpoolingInbox
from proxy.store.connection import Store
from proxy.store.queue.inbox import RedisInbox
from proxy.web.draining import Draining
from proxy.web.services import SpoolServices
from tests.store.samples import DAY, LAYOUT, callback, for_inbox, raw

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
AWAY, BACK = "the store is away: callbacks are kept on this machine's disk", "the store is back"
NOWHERE = "unix:///nonexistent/socket"


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def services(store: Store, folder: Path, sync: Sync = on_disk) -> SpoolServices:
    spool = Spool(folder, max_bytes=1 << 20, max_age=timedelta(hours=12), sync=sync)
    drain = Drain(spool, RedisInbox(store, DAY, 100), DAY, lambda: NOW, timedelta)
    return SpoolServices(store, spool, drain, SpoolMetrics(spool, lambda: NOW))


def keep(it: SpoolServices, app_id: str, count: int) -> None:
    store = Store(NOWHERE)
    inbox = SpoolingInbox(RedisInbox(store, DAY, 100), store, it.spool, lambda: True)
    for number in range(count):
        inbox.accept(*for_inbox(callback(app_id, sequence=str(number)), NOW))


def handed_in(result: str) -> float:
    return WEB.get_sample_value("app_proxy_spool_drained_total", {"result": result}) or 0.0


def events(logs: Sequence[MutableMapping[str, Any]]) -> list[str]:
    return [it["event"] for it in logs]


def test_what_waits_is_handed_in_counted_and_said(store: Store, app_id: str, tmp_path: Path) -> None:
    it, before = services(store, tmp_path), handed_in("accepted")
    keep(it, app_id, 3)
    with capture_logs() as logs:
        Draining(it).look()
        Draining(it).look()
    assert events(logs) == ["spooled callbacks handed in"]
    assert (logs[0]["accepted"], logs[0]["duplicates"], logs[0]["left"]) == (3, 0, 0)
    assert handed_in("accepted") == before + 3
    assert raw(store, "XLEN", LAYOUT.callbacks(app_id, 0)) == 3


def test_an_outage_is_said_when_it_begins_and_when_it_ends(store_url: str, tmp_path: Path) -> None:
    clock = Clock()
    it = services(Store(store_url, clock=clock), tmp_path)
    draining = Draining(it)
    with capture_logs() as logs:
        draining.look()
        with pytest.raises(StoreUnavailable):
            it.store.call(lambda redis: redis.execute_command("NO SUCH COMMAND"))
        for _ in range(3):
            draining.look()
        clock.now_s += 1.0
        for _ in range(2):
            draining.look()
    assert events(logs) == [AWAY, BACK]


def test_a_store_that_answers_and_takes_nothing_is_said_to_be_away_once(
    store: Store, store_url: str, app_id: str, tmp_path: Path
) -> None:
    clock = Clock()
    raw(store, "SET", LAYOUT.callbacks(app_id, 0), "no stream")
    it = services(Store(store_url, clock=clock), tmp_path)
    keep(it, app_id, 2)
    draining = Draining(it)
    with capture_logs() as logs:
        for _ in range(4):
            draining.look()
            clock.now_s += 1.0
        raw(store, "DEL", LAYOUT.callbacks(app_id, 0))
        draining.look()
    assert events(logs) == [AWAY, "spooled callbacks handed in", BACK]


def test_callbacks_that_are_set_apart_are_logged_as_an_error(store: Store, tmp_path: Path) -> None:
    it = services(store, tmp_path)
    it.spool.keep("0" * 32, b"the words of nobody", NOW)
    with capture_logs() as logs:
        Draining(it).look()
    assert [(entry["log_level"], entry["unreadable"]) for entry in logs] == [("error", 1)]
    assert "words" not in str(logs)


def test_a_disk_that_fails_is_said_once_and_tried_until_it_is_well(store: Store, app_id: str, tmp_path: Path) -> None:
    broken = [True]

    def sync(descriptor: int) -> None:
        if broken:
            raise OSError(errno.EIO, "broken")
        os.fsync(descriptor)

    it = services(store, tmp_path, sync)
    draining = Draining(it)
    with capture_logs() as logs:
        with pytest.raises(SpoolRefused):
            keep(it, app_id, 1)
        for _ in range(3):
            draining.look()
        assert it.spool.has_failed
        broken.clear()
        draining.look()
    assert not it.spool.has_failed
    assert events(logs).count("the spool's disk fails") == 1


def test_no_surprise_ends_the_thread(tmp_path: Path) -> None:
    class Broken(Drain):
        def run(self) -> Iterator[Drained]:
            raise LookupError("a bug")

    it = services(Store(NOWHERE), tmp_path)
    drain = Broken(it.spool, RedisInbox(it.store, DAY, 1), DAY, lambda: NOW, timedelta)
    rounds = iter([False, False, True])
    with capture_logs() as logs:
        Draining(SpoolServices(it.store, it.spool, drain, it.store_metrics)).go_on(lambda _: next(rounds))
    assert events(logs) == ["the spool was not looked after"] * 3
