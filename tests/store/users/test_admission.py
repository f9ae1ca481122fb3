"""May a caller go on: counted over a sliding window in a real store, blocked or not, and never long without a store."""

import socket
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.domain.limits import Admitted, Blocked, Budget, Exceeded, Window
from proxy.domain.quotas import Amount, Holder, Quota, QuotaRequest, QuotaSpent
from proxy.errors import StoreUnavailable
from proxy.store import keys
from proxy.store.connection import Store
from proxy.store.scripts import Argument, script
from proxy.store.users.admission import RedisAdmission
from proxy.store.users.blocks import RedisBlocks
from proxy.store.users.quotas import RedisQuotas
from tests.store.samples import LAYOUT, mipush_lane, raw
from tests.store.test_keys import catalogue
from tests.store.trips import counted_trips

MINUTE_MS = 60_000


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def admission(store: Store, clock: Clock) -> RedisAdmission:
    return RedisAdmission(store, clock)


@pytest.fixture
def who() -> str:
    return f"ann of {uuid.uuid4()}"


def budget(caller: str, calls: int = 3, span_ms: int = MINUTE_MS, name: str = "token_per_account") -> Budget:
    return Budget(name, calls, span_ms, caller)


def address(who: str, calls: int = 3) -> Budget:
    return budget(who, calls, name="token_per_address")


def test_a_rate_is_granted_to_its_last_call_and_then_tells_how_long_to_wait(
    admission: RedisAdmission, clock: Clock, who: str
) -> None:
    assert [admission.spend([budget(who)], None) for _ in range(3)] == [None] * 3
    refused = admission.spend([budget(who)], None)
    assert refused == Exceeded(budget(who), MINUTE_MS + 1)
    clock.now += timedelta(milliseconds=refused.wait_ms)
    assert admission.spend([budget(who)], None) is None


def test_another_account_and_another_limit_have_their_own_count(admission: RedisAdmission, who: str) -> None:
    for one in (budget(who, 1), budget(who + "2", 1), budget(who, 1, name="sign_in_per_account")):
        assert admission.spend([one], None) is None
        assert admission.spend([one], None) is not None


def test_of_many_calls_at_once_exactly_the_granted_pass(admission: RedisAdmission, who: str) -> None:
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: admission.spend([budget(who, 10)], None), range(40)))
    assert answers.count(None) == 10


def test_a_clock_that_jumped_ahead_for_a_moment_refuses_nobody_for_longer_than_its_span(
    store: Store, clock: Clock, who: str
) -> None:
    here, there = RedisAdmission(store, clock), RedisAdmission(store, clock)

    def call(admission: RedisAdmission) -> Exceeded | None:
        return admission.count(address(who)) or admission.spend([budget(who)], address(who))

    clock.now += timedelta(hours=1)
    assert call(here) is None
    clock.now -= timedelta(hours=1)
    assert [call(here) for _ in range(2)] == [None, None]
    assert all((call(here), call(there)))
    clock.now += timedelta(milliseconds=2 * MINUTE_MS)
    assert [call(here), call(there)] == [None, None]


@given(steps=st.lists(st.tuples(st.integers(-9_000, 90_000), st.integers(0, 3)), max_size=12), calls=st.integers(1, 6))
def test_the_store_counts_as_this_program_does(store_url: str, steps: list[tuple[int, int]], calls: int) -> None:
    store, one, now_ms = Store(store_url), budget(uuid.uuid4().hex, calls, 30_000), 1_800_000_000_000
    window = Window(now_ms + (steps[0][0] if steps else 0))
    for later_ms, passed in steps:
        now_ms += later_ms
        found = window.at(now_ms, one.span_ms).plus(passed)
        may = found.wait_ms(now_ms, one) == 0
        found = found.plus(may)
        args: list[Argument] = [now_ms, one.span_ms, calls, passed]
        counter = [keys.calls(one.name, one.caller)]
        verdict, *counted = store.call(partial(script("admit").run, keys=counter, args=args))
        assert (verdict, Window(*counted)) == (may, found)
        if may or passed:
            window = found  # a refusal alone is not written


@given(st.lists(st.integers(0, 40_000), min_size=1, max_size=30), st.integers(1, 5))
def test_after_the_wait_there_is_room_and_not_a_millisecond_earlier(steps: list[int], calls: int) -> None:
    one, now_ms = budget("ann", calls, 30_000), 1_800_000_000_000
    window = Window(now_ms)
    for later_ms in steps:
        now_ms += later_ms
        window = window.at(now_ms, one.span_ms)
        wait_ms = window.wait_ms(now_ms, one)
        if not wait_ms:
            window = window.plus(1)
            continue
        then = now_ms + wait_ms
        assert window.at(then, one.span_ms).wait_ms(then, one) == 0
        before = then - 2  # the next whole one may be up to a millisecond late
        assert before < now_ms or window.at(before, one.span_ms).wait_ms(before, one) > 0


def test_a_blocked_account_and_an_ended_session_are_not_admitted(
    store: Store, admission: RedisAdmission, who: str
) -> None:
    blocks = RedisBlocks(store)
    blocks.block_session(f"one of {who}", timedelta(minutes=1))
    assert admission.admit(who, f"two of {who}", None, budget(who, 1)) == Admitted()
    assert admission.admit(who, f"one of {who}", None, budget(who, 1)) == Blocked()
    blocks.block(who)
    assert admission.admit(who, None, None, budget(who, 1)) == Blocked()
    blocks.unblock(who)
    assert isinstance(admission.admit(who, None, None, budget(who, 1)), Exceeded)


def test_a_call_of_an_account_lifts_its_unknown_marks_in_the_apps_that_the_proof_is_good_for(
    store: Store, clock: Clock, app_id: str
) -> None:
    lanes = [mipush_lane(app_id), mipush_lane(app_id, "beta"), mipush_lane("7", "foreign")]
    admission = RedisAdmission(store, clock, None, {"main": app_id, "beta": app_id, "foreign": "7"}, lanes)

    def left(account: str) -> list[str]:
        return [lane.app for lane in lanes if raw(store, "EXISTS", LAYOUT.unknown(lane, account))]

    for lane in lanes:
        for account in ("ben", "cai"):
            raw(store, "SET", LAYOUT.unknown(lane, account), "1", "EX", 60)
    RedisBlocks(store).block("cai")
    admission.admit("cai", None, "main")
    RedisBlocks(store).unblock("cai")
    admission.admit("ben", None, "main")
    assert (left("ben"), left("cai")) == (["foreign"], ["main", "beta", "foreign"])
    for account in ("ben", "cai"):
        admission.admit(account, None, None)
        assert left(account) == []


def test_what_a_process_let_pass_by_address_is_counted_with_the_others_at_the_next_round_trip(
    store: Store, clock: Clock, who: str
) -> None:
    one, other = RedisAdmission(store, clock), RedisAdmission(store, clock)
    place = address(who, 5)
    assert [one.count(place) for _ in range(3)] == [None] * 3
    assert [other.count(place) for _ in range(3)] == [None] * 3
    assert one.admit("ann", None, None, None, place) == Admitted()
    assert isinstance(other.admit("ann", None, None, None, place), Exceeded)  # the sixth
    assert other.count(place) == Exceeded(place, MINUTE_MS + 1)  # and no round trip is spent on the next
    assert other.spend([], place) is None  # nothing to hand over


def test_calls_that_the_store_did_not_hear_of_are_handed_over_later(store: Store, clock: Clock, who: str) -> None:
    place, away = address(who, 5), Store("unix:///nonexistent/socket")
    admission = RedisAdmission(store, clock, away)
    for _ in range(4):
        admission.count(place)
    assert admission.admit("ann", None, None, None, place) == Admitted(counted=False)
    admission._counters = store  # it is back
    assert admission.spend([], place) is None
    others = RedisAdmission(store, clock)
    assert [others.spend([place], None) is None for _ in range(2)] == [True, False]


def test_whoever_signed_in_from_a_network_is_known_there_alone(
    store: Store, admission: RedisAdmission, who: str
) -> None:
    admission.remember_sign_in(who, "203.0.113.7")
    assert admission.has_signed_in(who, "203.0.113.7")
    assert not admission.has_signed_in(who, "203.0.113.8")
    assert not admission.has_signed_in(who + "2", "203.0.113.7")
    assert 0 < raw(store, "TTL", keys.signed_in(who, "203.0.113.7")) <= keys.SIGNED_IN_TTL_S


@pytest.mark.one_server
def test_a_proved_user_is_admitted_in_one_round_trip_to_each_server(store_url: str, clock: Clock, who: str) -> None:
    with counted_trips(store_url) as main, counted_trips(store_url) as counters:
        together = RedisAdmission(Store(main.url), clock, account_lanes=[mipush_lane("77")])
        apart = RedisAdmission(Store(main.url), clock, Store(counters.url))
        for admission, trips in ((together, (1, 0)), (apart, (1, 1))):
            for number in range(3):  # the first may bring a script along
                place = address(f"{who} {trips} {number}")
                admission.count(place)
                before = main.count, counters.count
                assert admission.admit(who, "a session", None, budget(who, 99), place) == Admitted()
            assert (main.count - before[0], counters.count - before[1]) == trips


MESSAGE = QuotaRequest("main", Amount.PERSONAL, 1, "ann")


@pytest.fixture
def quotas(store: Store) -> RedisQuotas:
    return RedisQuotas(store, {"main": uuid.uuid4().hex}, {Amount.PERSONAL: Quota(50, timedelta(seconds=1))})


def test_the_quota_of_one_message_is_taken_in_the_round_trip_that_admits(
    store_url: str, clock: Clock, who: str, quotas: RedisQuotas
) -> None:
    with counted_trips(store_url) as trips:
        admission = RedisAdmission(Store(trips.url), clock, quotas=quotas)
        admission.admit(who, None, None, quota=MESSAGE)  # brings the script along
        before = trips.count
        answers = [admission.admit(who, None, None, quota=MESSAGE) for _ in range(20)]
        assert trips.count == before + 20
    assert answers == [Admitted()] * 19 + [QuotaSpent(Amount.PERSONAL, Holder.ACCOUNT, 1100)]


@pytest.mark.parametrize("number", [1, 15])
@pytest.mark.parametrize("apart", [False, True])
def test_a_caller_who_may_not_go_on_takes_nothing_from_the_quota(
    store: Store, clock: Clock, who: str, quotas: RedisQuotas, number: int, *, apart: bool
) -> None:
    """Else whom the operator blocked would use up what the others have."""
    admission = RedisAdmission(store, clock, store if apart else None, quotas=quotas)
    wanted = replace(MESSAGE, number=number)
    admission.spend([budget(who, 1)], None)
    for _ in range(30):
        assert isinstance(admission.admit(who, None, None, budget(who, 1), quota=wanted), Exceeded)
    RedisBlocks(store).block(who)
    for _ in range(30):
        assert admission.admit(who, None, None, quota=wanted) == Blocked()
    assert admission.admit(who, None, None, api_key="revoked", quota=wanted) == Blocked()
    assert quotas.take(replace(MESSAGE, number=20), clock.now) is None


@pytest.mark.parametrize("apart", [False, True])
def test_what_many_get_asks_for_its_quota_once_its_caller_is_admitted(
    store: Store, clock: Clock, who: str, quotas: RedisQuotas, *, apart: bool
) -> None:
    admission = RedisAdmission(store, clock, store if apart else None, quotas=quotas)
    wanted = replace(MESSAGE, number=15)
    assert admission.admit(who, None, None, quota=wanted) == Admitted()
    assert isinstance(admission.admit(who, None, None, quota=wanted), QuotaSpent)


def test_without_the_counters_a_message_leaves_uncounted(store: Store, clock: Clock, who: str) -> None:
    away = Store("redis://127.0.0.1:1/0")
    quotas = RedisQuotas(away, {"main": "77"}, {Amount.PERSONAL: Quota(50, timedelta(seconds=1))})
    admission = RedisAdmission(store, clock, away, quotas=quotas)
    assert admission.admit(who, None, None, quota=MESSAGE) == Admitted(counted=False)


def test_the_counters_are_in_the_catalogue_and_end_by_themselves(
    store: Store, admission: RedisAdmission, who: str
) -> None:
    admission.spend([budget(who)], None)
    name = keys.calls("token_per_account", who)
    assert [row for row in catalogue() if row.fullmatch(name)]
    assert 0 < raw(store, "PTTL", name) <= 2 * MINUTE_MS


def test_a_restarted_store_counts_anew_at_once(store: Store, admission: RedisAdmission, who: str) -> None:
    assert admission.spend([budget(who)], None) is None
    raw(store, "SCRIPT", "FLUSH")
    raw(store, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    assert admission.spend([budget(who)], None) is None


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}/0"


def test_a_silent_store_costs_one_time_limit_and_then_nothing(silent: str, clock: Clock) -> None:
    admission = RedisAdmission(Store(silent, timeout_s=0.3), clock)
    with pytest.raises(StoreUnavailable):
        admission.spend([budget("ann")], None)
    started = time.monotonic()
    for _ in range(20):
        with pytest.raises(StoreUnavailable):
            admission.spend([budget("ann")], None)
    assert time.monotonic() - started < 5  # each alone would wait 0.3 s: 6 s
