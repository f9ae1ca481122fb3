"""Wrong clocks as all processes know of them."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from proxy.store import keys
from proxy.store.connection import Store
from proxy.store.server.clocks import StoreClock, clock_commands, clock_details
from tests.store.samples import MS, NOON, SECOND, raw

HOUR = timedelta(hours=1)
MINUTE = 60 * SECOND


@pytest.fixture
def clocks(store: Store) -> Iterator[Store]:
    """The key is not one app's, so that others' must not be in it."""
    raw(store, "DEL", keys.clocks())
    yield store
    raw(store, "DEL", keys.clocks())


def keep(store: Store, machine: str, **skews: timedelta) -> None:
    store.call(lambda redis: clock_commands(redis, skews, MINUTE, NOON, machine).execute())


def test_only_a_wrong_clock_is_kept_and_told_with_its_machine(clocks: Store) -> None:
    keep(clocks, "a", mimc=61 * SECOND, apns=MINUTE)
    keep(clocks, "b", apns=-90 * SECOND)
    assert clocks.call(lambda redis: clock_details(redis, NOON)) == {
        "clock of a by mimc": "61 s ahead of theirs, seen at 2026-11-23 12:00:00 UTC: let both follow a time server",
        "clock of b by apns": "90 s behind theirs, seen at 2026-11-23 12:00:00 UTC: let both follow a time server",
    }
    assert 0 < raw(clocks, "TTL", keys.clocks()) <= 3600
    keep(clocks, "b", apns=0 * SECOND)
    assert list(clocks.call(lambda redis: clock_details(redis, NOON + HOUR - MS))) == ["clock of a by mimc"]
    assert clocks.call(lambda redis: clock_details(redis, NOON + HOUR)) == {}


def time_of(store: Store) -> datetime:
    seconds, microseconds = map(int, raw(store, "TIME"))
    return datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=microseconds)


@pytest.mark.parametrize("ahead", [timedelta(hours=25), timedelta(hours=-25)])
def test_a_machine_s_wrong_clock_gives_the_store_s_time_once_it_was_asked(store: Store, ahead: timedelta) -> None:
    own = time_of(store) + ahead  # it stays there, so that the answer took no time
    clock = StoreClock(own_clock=lambda: own)
    assert clock.now() == own
    before = time_of(store)
    store.call(clock.measure_with)
    assert before <= clock.now() <= time_of(store)


@pytest.mark.parametrize(("ahead", "is_noticed"), [(timedelta(0), False), (timedelta(hours=1), True)])
def test_an_answer_that_took_long_shows_only_a_clock_that_is_further_off(
    store: Store, ahead: timedelta, is_noticed: bool
) -> None:
    asked_at = time_of(store) + ahead
    readings = iter([asked_at, asked_at + 60 * SECOND])
    clock = StoreClock(own_clock=lambda: next(readings))
    store.call(clock.measure_with)
    assert (clock.offset != timedelta(0)) is is_noticed
