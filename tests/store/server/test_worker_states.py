"""Workers as the web's /readyz names them."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from proxy.store import keys
from proxy.store.connection import Store
from proxy.store.server.worker_states import WorkerStates, worker_details
from tests.store.samples import NOON, raw, with_redis

OK = {"state": "ok"}
NONE = {"workers": "none has written its state within 15 s: callbacks are kept, and nothing is pushed"}


@pytest.fixture
def workers(store: Store) -> Iterator[Store]:
    """The keys are not one app's, so that others' must not be in them."""
    names = [keys.workers(), keys.worker_state("one"), keys.worker_state("two")]
    raw(store, "DEL", *names)
    yield store
    raw(store, "DEL", *names)


def write(url: str, instance: str, state: dict[str, str], now: datetime = NOON, share: str = "") -> None:
    with_redis(url, lambda redis: WorkerStates(redis).write(instance, state, now, share))


def details(workers: Store) -> dict[str, str]:
    return workers.call(lambda redis: worker_details(redis, range(16)))


def test_each_worker_that_lives_is_named_with_the_lanes_that_stall(workers: Store, store_url: str) -> None:
    assert details(workers) == NONE
    write(store_url, "two", OK)
    write(store_url, "one", {"state": "stalled", "main/apns": "APNs does not answer"})
    assert details(workers) == {
        "worker one": "lane main/apns makes no progress: APNs does not answer",
        "worker two": "works",
    }


def test_shards_that_no_worker_serves_are_named(workers: Store, store_url: str) -> None:
    write(store_url, "one", OK, share="0-7")
    write(store_url, "two", OK, share="3,8,10-12")
    assert details(workers) == {
        "worker one": "works on 0-7",
        "worker two": "works on 3,8,10-12",
        "shards": "no worker serves 9,13-15: what lies there is kept, and nothing of it is pushed",
    }
    write(store_url, "two", OK)
    assert "shards" not in details(workers)


def test_a_worker_that_says_nothing_for_15_s_is_gone(workers: Store, store_url: str) -> None:
    write(store_url, "one", OK)
    assert 0 < raw(workers, "TTL", keys.worker_state("one")) <= 15
    raw(workers, "DEL", keys.worker_state("one"))  # as its life's end does
    assert details(workers) == NONE


def test_workers_that_are_gone_leave_the_index_with_the_next_word_of_another(workers: Store, store_url: str) -> None:
    write(store_url, "one", OK)
    write(store_url, "two", OK, NOON + timedelta(seconds=15))
    assert raw(workers, "ZRANGE", keys.workers(), 0, -1) == [b"two"]
    assert 0 < raw(workers, "TTL", keys.workers()) <= 86_400
