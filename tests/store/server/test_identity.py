"""A store that came back empty: who notices, who tells it, who remembers."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from proxy.errors import StoreUnavailable
from proxy.store import keys
from proxy.store.connection import Store
from proxy.store.server.embedded import ensure_store, stop_store
from proxy.store.server.identity import (
    AsyncIdentityMonitor,
    DataLoss,
    IdentityMonitor,
    StoreIdentity,
    loss_details,
    loss_metric,
)
from tests.store.samples import DAY, MS, NOON, raw, with_redis


@pytest.fixture(scope="module")
def own_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A store that may be emptied."""
    folder = tmp_path_factory.mktemp("own")
    yield ensure_store(folder)
    stop_store(folder)


@pytest.fixture
def own(own_url: str) -> Store:
    store = Store(own_url)
    empty(store)
    return store


def empty(store: Store) -> None:
    raw(store, "FLUSHALL")


class Process:
    """One process that looks at each call, and what it heard."""

    def __init__(self, store: Store, url: str, file: Path | None = None) -> None:
        self.heard: list[DataLoss] = []
        self.now, self._ticks = NOON, 0.0
        self.watch = IdentityMonitor(store, StoreIdentity(url, file), self.heard.append, lambda: self.now, self._tick)

    def look(self, now: datetime = NOON) -> list[DataLoss]:
        self.now, before = now, len(self.heard)
        self.watch.look()
        return self.heard[before:]

    def _tick(self) -> float:
        self._ticks += 2.0
        return self._ticks


def test_a_first_start_is_not_loud(own: Store, own_url: str) -> None:
    first, second = Process(own, own_url), Process(own, own_url)
    assert [it.look() for it in (first, second, first)] == [[], [], []]
    assert own.call(lambda redis: loss_details(redis, NOON)) == {}
    assert own.call(loss_metric).value == 0


def test_an_emptied_store_is_noticed_by_all_and_told_by_one(own: Store, own_url: str) -> None:
    web, other = Process(own, own_url), Process(own, own_url)
    for it in (web, other):
        it.look()
    empty(own)
    lost = NOON + DAY
    assert web.look(lost) == [DataLoss(lost, is_news=True)]
    assert other.look(lost + MS) == [DataLoss(lost, is_news=False)]
    assert [it.look(lost + 2 * MS) for it in (web, other)] == [[], []]
    (sentence,) = own.call(lambda redis: loss_details(redis, lost + DAY)).values()
    assert "accepted work was lost, devices must register again" in sentence
    assert "(at 2026-11-24 12:00:00 UTC)" in sentence
    assert own.call(lambda redis: loss_details(redis, lost + DAY + MS)) == {}
    assert own.call(loss_metric).value == lost.timestamp()


def test_one_who_starts_on_the_emptied_store_does_not_hide_the_loss(own: Store, own_url: str) -> None:
    knew = Process(own, own_url)
    knew.look()
    empty(own)
    assert Process(own, own_url).look() == []
    assert knew.look(NOON + MS) == [DataLoss(NOON + MS, is_news=True)]


def test_a_second_loss_is_told_again(own: Store, own_url: str) -> None:
    it = Process(own, own_url)
    it.look()
    for hours in (1, 2):
        empty(own)
        when = NOON + hours * DAY
        assert it.look(when) == [DataLoss(when, is_news=True)]


def test_a_file_remembers_the_store_over_a_restart_of_all_processes(own: Store, own_url: str, tmp_path: Path) -> None:
    file = tmp_path / "generation"
    Process(own, own_url, file).look()
    assert Process(own, own_url, file).look() == []
    empty(own)
    assert Process(own, own_url, file).look() == [DataLoss(NOON, is_news=True)]
    assert Process(own, own_url, file).look() == []


def test_another_store_is_no_loss_of_the_former(own: Store, own_url: str, tmp_path: Path) -> None:
    file = tmp_path / "generation"
    Process(own, "redis://the.former:6379/0", file).look()
    empty(own)
    assert Process(own, own_url, file).look() == []


@pytest.mark.parametrize("kept", [b"", b"\xff\x00", b"one two three", b"only"])
def test_a_file_that_is_none_of_ours_is_as_good_as_none(own: Store, own_url: str, tmp_path: Path, kept: bytes) -> None:
    file = tmp_path / "generation"
    file.write_bytes(kept)
    assert Process(own, own_url, file).look() == []
    empty(own)
    assert len(Process(own, own_url, file).look()) == 1


def test_where_no_file_can_be_written_the_process_itself_remembers(own: Store, own_url: str, tmp_path: Path) -> None:
    it = Process(own, own_url, tmp_path / "absent" / "generation")
    it.look()
    empty(own)
    assert len(it.look()) == 1


def test_a_store_that_is_away_is_no_loss(own: Store, own_url: str) -> None:
    it = Process(Store("unix:///nonexistent/socket"), own_url)
    assert it.look() == []


def test_the_mark_is_looked_at_once_a_second_at_most(own: Store, own_url: str) -> None:
    times = iter([0.0, 0.0, 0.5, 0.99, 1.0, 1.0])
    heard: list[DataLoss] = []
    watch = IdentityMonitor(own, StoreIdentity(own_url), heard.append, lambda: NOON, lambda: next(times))
    watch.look()
    empty(own)
    watch.look()
    watch.look()
    assert heard == []
    watch.look()
    assert len(heard) == 1


def test_what_could_not_be_done_about_a_loss_is_done_at_the_next_look(own: Store, own_url: str) -> None:
    tries: list[DataLoss] = []

    def on_loss(loss: DataLoss) -> None:
        tries.append(loss)
        if len(tries) < 3:
            raise StoreUnavailable("away again")

    ticks = iter(range(0, 100, 2))
    watch = IdentityMonitor(own, StoreIdentity(own_url), on_loss, lambda: NOON, lambda: next(ticks))
    watch.look()
    empty(own)
    for _ in range(4):
        watch.look()
    assert [it.is_news for it in tries] == [True, False, False]  # reported once


def test_a_worker_notices_too(own: Store, own_url: str) -> None:
    heard: list[DataLoss] = []

    async def scenario(redis: Any) -> None:
        watch = AsyncIdentityMonitor(redis, StoreIdentity(own_url), heard.append)
        await watch.look(NOON)
        await redis.flushall()
        await watch.look(NOON + MS)
        await watch.look(NOON + 2 * MS)

    with_redis(own_url, scenario)
    assert heard == [DataLoss(NOON + MS, is_news=True)]
    assert raw(own, "TTL", keys.identity()) == -1  # it must not go by itself
