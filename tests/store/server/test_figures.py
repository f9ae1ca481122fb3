"""The figures of the last hour and day, as several workers write them and a web process reads them."""

from datetime import UTC, datetime, timedelta
from typing import Any

from proxy.domain.figures import DAY, HOUR, MESSAGES, Ring
from proxy.store import keys
from proxy.store.connection import Store
from proxy.store.server.figures import FiguresKeeper, FiguresReader
from tests.store.samples import with_redis

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)


def moment(app_id: str) -> datetime:
    """Of a year that no other test has: the keys name no app."""
    return datetime.fromtimestamp((int(app_id) % 10**6 + 5 * 10**6) * 900, UTC)


def add(url: str, messages: int, now: datetime) -> None:
    async def adding(redis: Any) -> None:
        await FiguresKeeper(redis).add({MESSAGES: messages}, now)

    with_redis(url, adding)


def messages(reader: FiguresReader, ring: Ring, now: datetime) -> list[int]:
    return [it.messages for it in reader.of(ring, now).values()]


def test_workers_add_to_the_minute_and_the_quarter_that_run(store: Store, store_url: str, app_id: str) -> None:
    now = moment(app_id)
    add(store_url, 2, now)
    add(store_url, 3, now + 20 * SECOND)  # another worker
    add(store_url, 4, now + 2 * MINUTE)
    reader = FiguresReader(store)
    assert messages(reader, HOUR, now + 2 * MINUTE) == [0] * 58 + [5, 0, 4]
    assert messages(reader, DAY, now + 2 * MINUTE) == [0] * 96 + [9]


def test_what_is_over_is_read_once_and_what_runs_each_time(store: Store, store_url: str, app_id: str) -> None:
    now, reader = moment(app_id), FiguresReader(store)
    add(store_url, 1, now)
    assert messages(reader, HOUR, now)[-1] == 1
    add(store_url, 1, now)
    assert messages(reader, HOUR, now)[-1] == 2
    add(store_url, 1, now)  # by a worker that was late: the minute has ended, and may still grow
    assert messages(reader, HOUR, now + MINUTE)[-2:] == [3, 0]
    assert messages(reader, HOUR, now + 2 * MINUTE)[-3:] == [3, 0, 0]
    add(store_url, 1, now)  # far too late: as it was read
    assert messages(reader, HOUR, now + 3 * MINUTE)[-4:] == [3, 0, 0, 0]
    assert messages(FiguresReader(store), HOUR, now + 3 * MINUTE)[-4:] == [4, 0, 0, 0]


def test_an_hour_and_a_day_later_nothing_is_left(store: Store, store_url: str, app_id: str) -> None:
    now = moment(app_id)
    add(store_url, 1, now)
    lives = {
        ring: store.call(lambda redis, ring=ring: redis.ttl(keys.figures(ring.seconds, ring.start_of(now))))  # type: ignore[misc]  # mypy cannot infer a lambda with defaults
        for ring in (HOUR, DAY)
    }
    assert 3600 < lives[HOUR] <= 62 * 60
    assert 86_400 < lives[DAY] <= 98 * 900
    assert messages(FiguresReader(store), HOUR, now + timedelta(hours=2)) == [0] * 61
