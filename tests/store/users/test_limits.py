"""Counting calls: over a sliding window, in a real store, and never for long where there is none."""

import re
import socket
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from proxy.errors import StoreUnavailable
from proxy.store import keys
from proxy.store.connection import Store
from proxy.store.users.limits import RedisLimits
from tests.store.samples import raw
from tests.store.test_keys import LIBRARY_KEYS, catalogue

NAME = "token_per_account"


@pytest.fixture
def limits(store: Store) -> RedisLimits:
    return RedisLimits(store)


@pytest.fixture
def who() -> str:
    return f"ann of {uuid.uuid4()}"


def test_a_rate_is_granted_to_its_last_call_and_then_tells_how_long_to_wait(limits: RedisLimits, who: str) -> None:
    assert [limits.spend(NAME, "3/minute", who) for _ in range(3)] == [None, None, None]
    wait_s = limits.spend(NAME, "3/minute", who)
    assert wait_s is not None
    assert 55 < wait_s <= 60


def test_another_account_and_another_limit_have_their_own_count(limits: RedisLimits, who: str) -> None:
    for name, caller in ((NAME, who), (NAME, who + "2"), ("sign_in_per_account", who)):
        assert limits.spend(name, "1/minute", caller) is None
        assert limits.spend(name, "1/minute", caller) is not None


def test_a_window_that_has_passed_gives_room_again(limits: RedisLimits, who: str) -> None:
    while limits.spend(NAME, "5/second", who) is None:
        pass
    deadline = time.monotonic() + 5
    while limits.spend(NAME, "5/second", who) is not None:
        assert time.monotonic() < deadline
    assert limits.spend(NAME, "5/second", who + "2") is None


def test_of_many_calls_at_once_exactly_the_granted_pass(limits: RedisLimits, who: str) -> None:
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: limits.spend(NAME, "10/hour", who), range(40)))
    assert answers.count(None) == 10


def test_the_keys_are_those_of_the_catalogue_and_all_end_by_themselves(limits: RedisLimits, store: Store) -> None:
    before, caller = _names(store), uuid.uuid4().hex
    deadline = time.monotonic() + 5
    while not [name for name in _names(store) - before if name.endswith("/-1")]:
        limits.spend(NAME, "60/second", caller)
        assert time.monotonic() < deadline
    made = _names(store) - before
    for name in made:
        assert [row for row in catalogue() if row.fullmatch(name)], name
        assert caller not in name
        assert raw(store, "PTTL", name) != -1  # -2: has ended already
    shapes = {re.sub(r"[0-9a-f]{32}/\d+/1/\w+", "RATE", name) for name in made}
    assert shapes == {re.sub(r"[0-9a-f]{32}/\d+/1/\w+", "RATE", name) for name in LIBRARY_KEYS}


def test_a_restarted_store_counts_anew_at_once(store: Store, limits: RedisLimits, who: str) -> None:
    assert limits.spend(NAME, "9/minute", who) is None
    raw(store, "SCRIPT", "FLUSH")
    raw(store, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    assert limits.spend(NAME, "9/minute", who) is None


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}/0"


def test_a_silent_store_costs_one_time_limit_and_then_nothing(silent: str) -> None:
    limits = RedisLimits(Store(silent, timeout_s=0.3))
    with pytest.raises(StoreUnavailable):
        limits.spend(NAME, "9/minute", "ann")
    started = time.monotonic()
    for _ in range(20):
        with pytest.raises(StoreUnavailable):
            limits.spend(NAME, "9/minute", "ann")
    assert time.monotonic() - started < 5  # each alone would wait 0.3 s: 6 s


def _names(store: Store) -> set[str]:
    found = store.call(lambda redis: list(redis.scan_iter(match=f"{keys.LIMITS_PREFIX}:*", count=1000)))
    return {name.decode() for name in found}
