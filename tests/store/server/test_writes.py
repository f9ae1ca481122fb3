"""A store that went back in time: restored from an old backup, or a replica that lagged and was promoted."""

import shutil
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from proxy.domain.settlements import Finish, PlanChunk
from proxy.store.connection import Store
from proxy.store.queue.inbox import RedisInbox
from proxy.store.queue.streams import RedisQueue
from proxy.store.server.embedded import ensure_store, stop_store
from proxy.store.server.identity import (
    AsyncIdentityMonitor,
    DataLoss,
    IdentityMonitor,
    StoreIdentity,
    loss_details,
    loss_metric,
)
from proxy.store.server.writes import CountedWrites
from tests.store.samples import (
    DAY,
    LAYOUT,
    LEASE,
    NOON,
    SECOND,
    apns_lane,
    callback,
    for_inbox,
    job,
    new_of,
    raw,
    with_redis,
)

APP_ID = "77"


class Web:
    """A web process: it accepts callbacks and looks at the store now and then."""

    def __init__(self, url: str) -> None:
        self.writes, self.heard, self.now = CountedWrites(), list[DataLoss](), NOON
        self.store = Store(url, shards=1)
        self.inbox = RedisInbox(self.store, DAY, 100, self.writes)
        self.monitor = IdentityMonitor(
            self.store,
            StoreIdentity(url, shards=1),
            self.heard.append,
            lambda: self.now,
            self.seconds,
            self.writes,
        )

    def seconds(self) -> float:
        return self.now.timestamp()

    def accept(self, sequences: Sequence[int]) -> None:
        for sequence in sequences:
            self.inbox.accept(*for_inbox(callback(APP_ID, sequence=str(sequence)), NOON))

    def look(self, when: datetime) -> list[DataLoss]:
        self.now = when
        self.monitor.look()
        heard, self.heard[:] = [*self.heard], []
        return heard


def test_a_store_that_comes_back_from_an_old_backup_is_told_once_with_the_number_of_lost_writes(tmp_path: Path) -> None:
    place, backup = tmp_path / "store", tmp_path / "backup"
    web, other = Web(ensure_store(place)), Web(ensure_store(place))
    web.accept(range(5))
    other.accept([5])
    assert web.look(NOON) == other.look(NOON) == []
    stop_store(place)
    shutil.copytree(place, backup)
    ensure_store(place)
    web.accept(range(6, 16))
    other.accept([16])
    stop_store(place)
    shutil.rmtree(place)
    shutil.copytree(backup, place)
    ensure_store(place)
    web.accept([99])  # the store says 7; this process has seen 16 before
    other.accept([100])
    at = NOON + 2 * SECOND
    assert web.look(at) == [DataLoss(at, is_news=True, writes=10)]
    assert other.look(at + SECOND) == [DataLoss(at + SECOND, is_news=False, writes=10)]
    web.accept([101])
    assert web.look(at + 2 * SECOND) == []
    details = web.store.call(lambda redis: loss_details(redis, at + SECOND))
    assert list(details) == ["behind"]
    assert "the last 10 writes" in details["behind"]
    assert web.store.call(loss_metric).value == at.timestamp()
    stop_store(place)


def test_a_store_that_comes_back_empty_is_told_as_that_alone(tmp_path: Path) -> None:
    web = Web(ensure_store(tmp_path))
    web.accept(range(5))
    web.look(NOON)
    raw(web.store, "FLUSHALL")
    web.accept([9])
    (loss,) = web.look(NOON + 2 * SECOND)
    assert (loss.writes, loss.is_news) == (None, True)
    web.accept([10])
    assert web.look(NOON + 4 * SECOND) == []
    stop_store(tmp_path)


def test_an_earlier_program_that_counts_nothing_and_repeats_of_callbacks_are_no_loss(tmp_path: Path) -> None:
    web = Web(ensure_store(tmp_path))
    web.accept([1, 2])
    raw(web.store, "XADD", LAYOUT.callbacks(APP_ID, 0), "*", "r", "by another program")
    web.accept([2, 1, 3])
    web.look(NOON)
    assert web.look(NOON + 2 * SECOND) == []
    stop_store(tmp_path)


def test_a_worker_learns_it_from_what_it_settles(tmp_path: Path) -> None:
    lane, heard, writes = apns_lane(APP_ID), list[DataLoss](), CountedWrites()

    async def scenario(redis: Any) -> None:
        queue = RedisQueue(redis, "w", lease=LEASE, dedupe_ttl=DAY, jobs_cap=99, dead_cap=9, writes=writes)
        monitor = AsyncIdentityMonitor(redis, StoreIdentity("url"), heard.append, writes)
        await queue.ensure_groups(lane)
        jobs = [(lane, job(lane, f"user-{n}")) for n in range(3)]
        await queue.append_planned([PlanChunk(APP_ID, "m1", jobs)], NOON)
        one, two, three = await new_of(queue, lane, 9)
        await redis.incrby(LAYOUT.writes(APP_ID, 0), 40)  # by other workers
        await queue.settle_jobs(lane, [Finish(one.id)])
        await queue.settle_jobs(lane, [Finish(two.id)])
        await monitor.look(NOON)
        assert heard == []
        await redis.set(LAYOUT.writes(APP_ID, 0), 20)  # as the replica knew it
        await queue.settle_jobs(lane, [Finish(three.id)])
        await monitor.look(NOON + SECOND)
        assert heard == [DataLoss(NOON + SECOND, is_news=True, writes=22)]

    with_redis(ensure_store(tmp_path), scenario, shards=1)
    stop_store(tmp_path)


def test_answers_that_come_in_another_order_than_they_were_given_are_no_loss() -> None:
    writes = CountedWrites()
    first, second = writes.known("77"), writes.known("77")
    writes.answered("77", second, 2)
    writes.answered("77", first, 1)
    assert writes.take_lost() == 0
    later = writes.known("77")
    writes.answered("77", later, 2)
    assert (writes.take_lost(), writes.take_lost()) == (1, 0)
