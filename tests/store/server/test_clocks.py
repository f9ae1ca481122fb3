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


class TimeServer:
    """A store whose clock is `ahead` of ours, where an answer takes a while: `to_it` there, `back` again."""

    def __init__(self) -> None:
        self.own, self.ahead = NOON, timedelta(0)
        self.to_it, self.back = MS, MS
        self.clock = StoreClock(own_clock=lambda: self.own)

    def time(self) -> tuple[int, int]:
        self.own += self.to_it
        theirs = self.own + self.ahead
        self.own += self.back
        return int(theirs.timestamp()), theirs.microsecond

    def measured(self) -> timedelta:
        self.clock.measure_with(self)
        self.own += SECOND
        return self.clock.offset


def test_the_first_answer_counts_however_long_it_took_and_a_quicker_one_mends_it() -> None:
    server = TimeServer()
    server.ahead, server.to_it = HOUR, 3 * SECOND
    assert abs(server.measured() - HOUR) < 2 * SECOND
    server.to_it = MS
    offsets = [server.measured() for _ in range(9)]
    assert abs(offsets[-1] - HOUR) <= MS


def test_a_slow_answer_after_a_quick_one_changes_nothing() -> None:
    server = TimeServer()
    known = server.measured()
    server.back = 4 * SECOND
    assert server.measured() == known == timedelta(0)


def test_a_clock_that_was_set_counts_from_the_next_answer_on() -> None:
    server = TimeServer()
    server.measured()
    for ahead in (HOUR, timedelta(0), -HOUR):
        server.ahead = ahead
        assert abs(server.measured() - ahead) <= MS


def test_a_small_correction_never_lets_the_time_run_backwards() -> None:
    server = TimeServer()
    server.ahead = SECOND
    server.measured()
    server.ahead, times, offsets = timedelta(0), [server.clock.now()], list[timedelta]()
    for _ in range(6):
        offsets.append(server.measured())
        times.append(server.clock.now())
    assert times == sorted(times)
    assert offsets[-1] == timedelta(0)
