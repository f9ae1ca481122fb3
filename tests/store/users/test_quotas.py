"""An app's quota at MIMC is shared by all processes, fairly, and exceeded only by one call that is more by itself."""

import random
import uuid
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.domain.quotas import Amount, Holder, Quota, QuotaRequest, QuotaSpent
from proxy.domain.times import MS, to_ms
from proxy.errors import StoreUnavailable
from proxy.store import keys
from proxy.store.connection import Store
from proxy.store.scripts import Command, ask_now
from proxy.store.users.quotas import RedisQuotas
from tests.store.samples import NOON, SECOND, raw
from tests.store.trips import counted_trips

PERSONAL, GROUP = Amount.PERSONAL, Amount.GROUP
FIFTY = Quota(50, SECOND)


class Mimc:
    """An app's quota, and the calls that were let pass."""

    def __init__(self, store: Store, app_id: str = "", quota: Quota = FIFTY) -> None:
        self.app_id = app_id or uuid.uuid4().hex
        self.quotas = RedisQuotas(store, {"main": self.app_id}, {PERSONAL: quota, GROUP: quota})
        self.passed: list[tuple[datetime, str | None, int]] = []

    def take(self, number: int, account: str | None, at: datetime = NOON) -> QuotaSpent | None:
        spent = self.quotas.take(QuotaRequest("main", PERSONAL, number, account), at)
        if spent is None:
            self.passed.append((at, account, number))
        return spent

    def flood(self, account: str | None, at: datetime = NOON) -> int:
        """How many single messages may leave at that moment."""
        return next(count for count in range(250) if self.take(1, account, at))


@pytest.fixture
def mimc(store: Store, app_id: str) -> Mimc:
    return Mimc(store, app_id)


def test_an_account_has_half_of_what_users_have_and_users_leave_a_fifth_to_services(mimc: Mimc) -> None:
    assert [mimc.flood(who) for who in ("ann", "ben", "cai")] == [20, 20, 0]
    assert mimc.flood(None) == 10


def test_services_may_have_it_all(mimc: Mimc) -> None:
    assert mimc.flood(None) == 50
    assert mimc.flood("ann") == 0


def test_whose_share_is_used_up_is_told_and_when_there_is_room_again(mimc: Mimc) -> None:
    mimc.flood("ann")
    assert mimc.take(1, "ann", NOON + 90 * MS) == QuotaSpent(PERSONAL, Holder.ACCOUNT, 1010)
    mimc.flood("ben", NOON + 200 * MS)
    assert mimc.take(1, "cai", NOON + 200 * MS) == QuotaSpent(PERSONAL, Holder.USERS, 900)
    mimc.flood(None, NOON + 300 * MS)
    assert mimc.take(1, None, NOON + 300 * MS) == QuotaSpent(PERSONAL, Holder.APP, 800)
    assert mimc.take(11, None, NOON + 300 * MS) == QuotaSpent(PERSONAL, Holder.APP, 800)
    assert mimc.take(21, None, NOON + 300 * MS) == QuotaSpent(PERSONAL, Holder.APP, 1000)
    assert mimc.take(20, "ann", NOON + 1100 * MS) is None


def test_what_is_refused_takes_nothing(mimc: Mimc) -> None:
    assert mimc.take(40, None) is None
    assert mimc.take(20, "ann")
    assert mimc.take(10, "ben") is None


def test_a_call_beyond_the_quota_leaves_alone_and_is_paid_for(mimc: Mimc) -> None:
    """100 recipients: two seconds of the app's, two and a half of its users', five of the account's."""
    mimc.take(1, "ben")
    assert mimc.take(100, "ann") is None
    assert mimc.take(1, None) == QuotaSpent(PERSONAL, Holder.APP, 2020)
    assert mimc.take(1, None, NOON + 2020 * MS) is None
    assert mimc.take(1, "ben", NOON + 2020 * MS) == QuotaSpent(PERSONAL, Holder.USERS, 505)
    assert mimc.take(1, "ben", NOON + 2525 * MS) is None
    assert mimc.take(1, "ann", NOON + 2525 * MS) == QuotaSpent(PERSONAL, Holder.ACCOUNT, 2475)
    assert mimc.take(1, "ann", NOON + 5000 * MS) is None


def test_amounts_and_apps_have_quotas_of_their_own(store: Store, mimc: Mimc) -> None:
    mimc.flood(None)
    assert mimc.quotas.take(QuotaRequest("main", GROUP, 1, None), NOON) is None
    assert Mimc(store).take(1, None) is None


def test_an_amount_without_a_quota_and_nothing_at_all_ask_no_store() -> None:
    away = RedisQuotas(Store("redis://127.0.0.1:1/0"), {"main": "77"}, {PERSONAL: FIFTY})
    assert away.take(QuotaRequest("main", GROUP, 1000, "ann"), NOON) is None
    assert away.take(QuotaRequest("main", PERSONAL, 0, "ann"), NOON) is None
    with pytest.raises(StoreUnavailable):
        away.take(QuotaRequest("main", PERSONAL, 1, "ann"), NOON)


def test_a_quota_of_one_a_second_lets_users_in_too(store: Store) -> None:
    mimc = Mimc(store, quota=Quota(1, SECOND))
    assert mimc.take(1, "ann") is None
    assert mimc.take(1, "ben") == QuotaSpent(PERSONAL, Holder.APP, 1100)


def test_it_costs_one_round_trip_and_goes_by_itself(store: Store, store_url: str, app_id: str) -> None:
    with counted_trips(store_url) as relay:
        far = Mimc(Store(relay.url), app_id)
        far.take(1, "ann")
        before = relay.count
        far.take(1, "ann")
        assert relay.count == before + 1
    names = [keys.quota(app_id, PERSONAL), keys.quota_of_users(app_id, PERSONAL)]
    names.append(keys.quota_of_account(app_id, PERSONAL, "ann"))
    assert all(0 < raw(store, "PTTL", name) <= 2000 for name in names)


def test_of_many_processes_at_once_exactly_the_quota_passes(store: Store, mimc: Mimc) -> None:
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda n: mimc.take(1, f"ann-{n % 8}"), range(100)))
    assert answers.count(None) == 40


def test_a_clock_that_was_ahead_for_a_moment_refuses_nobody_for_longer(mimc: Mimc, store: Store, app_id: str) -> None:
    mimc.take(200, None, NOON + timedelta(hours=1))
    assert mimc.take(1, None) == QuotaSpent(PERSONAL, Holder.APP, 4000)
    assert raw(store, "PTTL", keys.quota(app_id, PERSONAL)) <= 6000  # then nothing is known of it


def one(account: str | None, number: int = 1) -> QuotaRequest:
    return QuotaRequest("main", PERSONAL, number, account)


def test_a_message_that_does_not_leave_is_given_back_within_its_tenth_of_a_second(store: Store, mimc: Mimc) -> None:
    assert mimc.flood("ann") == 20
    for _ in range(2):
        give_back(store, mimc.quotas.giving_back(one("ann"), to_ms(NOON)))
    assert mimc.flood("ann", NOON + 50 * MS) == 2
    assert mimc.flood("ben", NOON + 50 * MS) == 20
    give_back(store, mimc.quotas.giving_back(one("ann"), to_ms(NOON - 1 * MS)))
    assert mimc.take(1, "ann", NOON + 60 * MS)
    assert 0 < raw(store, "PTTL", keys.quota(mimc.app_id, PERSONAL)) <= 2000


def test_nothing_taken_is_nothing_to_give_back(store: Store, mimc: Mimc) -> None:
    give_back(store, mimc.quotas.giving_back(one("ann"), to_ms(NOON)))
    assert mimc.flood("ann") == 20
    assert raw(store, "EXISTS", keys.quota(mimc.app_id, PERSONAL)) == 1


def give_back(store: Store, command: Command) -> None:
    store.call(lambda redis: ask_now(redis, [command]))


steps = st.tuples(st.integers(0, 400), st.sampled_from([None, "ann", "ben", "cai"]), st.integers(1, 25))


@settings(max_examples=25)
@given(taken=st.lists(steps, min_size=5, max_size=40), start=st.integers(0, 999))
def test_in_no_span_more_leaves_than_anyone_may_have(
    store_url: str, taken: list[tuple[int, Any, int]], start: int
) -> None:
    """And who waits as long as they were told gets through, where nobody else calls meanwhile."""
    mimc, now = Mimc(Store(store_url)), NOON + start * MS
    for after_ms, account, number in taken:
        now += after_ms * MS
        most = 20 if account else 50
        spent = mimc.take(min(number, most), account, now)
        if spent and after_ms % 2:
            now += spent.wait_ms * MS
            assert mimc.take(min(number, most), account, now) is None
    for begin, _, _ in mimc.passed:
        of: defaultdict[object, int] = defaultdict(int)
        for at, account, number in mimc.passed:
            if begin <= at < begin + SECOND:
                of["app"] += number
                of["users"] += number if account else 0
                of[account] += number
        assert of["app"] <= 50
        assert of["users"] <= 40
        assert all(of[account] <= 20 for account in ("ann", "ben", "cai"))


def test_one_account_in_a_loop_leaves_the_others_their_share(mimc: Mimc) -> None:
    """Five seconds: ann tries fifty times a second, three others write together five, and a bot as often."""
    dice, refused = random.Random(1), defaultdict[str, int](int)
    for tick in range(250):
        now = NOON + tick * 20 * MS
        mimc.take(1, "ann", now)
        if tick % 10 == 0:
            refused["bot"] += mimc.take(1, None, now) is not None
            refused["people"] += mimc.take(1, dice.choice(["ben", "cai", "dan"]), now) is not None
    sent = sum(number for _, account, number in mimc.passed if account == "ann")
    assert refused == {"bot": 0, "people": 0}
    assert 90 <= sent <= 100
