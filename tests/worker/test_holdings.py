"""Holdings: what is ours, and until when we may act on it."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from proxy.worker.holdings import Holdings


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


def test_what_was_claimed_may_be_acted_on_for_a_lease_from_the_moment_before_the_claim() -> None:
    clock = Clock()
    holdings = Holdings(15.0, clock)
    holdings.take("jobs", [b"1", b"2"], since=99.0)
    clock.now = 113.9
    assert holdings.may_act("jobs", [b"1", b"2"])
    clock.now = 114.0
    assert not holdings.may_act("jobs", [b"1"])


def test_what_is_not_held_may_not_be_acted_on_and_neither_may_a_batch_with_it() -> None:
    holdings = Holdings(15.0, Clock())
    holdings.take("jobs", [b"1", b"2"], since=100.0)
    holdings.drop("jobs", [b"2", b"never"])
    assert holdings.may_act("jobs", [b"1"])
    assert not holdings.may_act("jobs", [b"1", b"2"])
    assert not holdings.may_act("callbacks", [b"1"])
    assert holdings.count() == 1


def test_renewing_counts_from_the_moment_before_the_call_and_forgets_what_is_lost() -> None:
    clock = Clock()
    holdings = Holdings(15.0, clock)
    holdings.take("jobs", [b"1", b"2"], since=100.0)
    clock.now = 110.0

    async def renew(_stream: str, ids: Sequence[bytes]) -> list[bytes]:
        clock.now = 114.0  # the store took its time
        return [b"2"] if b"2" in ids else []

    assert asyncio.run(holdings.renew(renew)) == 1
    clock.now = 124.9
    assert holdings.may_act("jobs", [b"1"])
    assert not holdings.may_act("jobs", [b"2"])
    clock.now = 125.0
    assert not holdings.may_act("jobs", [b"1"])


def test_what_was_settled_while_it_was_to_be_renewed_is_not_lost() -> None:
    holdings = Holdings(15.0, Clock())
    holdings.take("jobs", [b"1", b"2"], since=100.0)

    async def renew(_stream: str, ids: Sequence[bytes]) -> list[bytes]:
        holdings.drop("jobs", [b"1"])  # the store had taken the settlement before it came to the renewal
        return list(ids)

    assert asyncio.run(holdings.renew(renew)) == 1
    assert holdings.count() == 0


def test_a_worker_that_was_stopped_for_a_lease_may_act_on_nothing_until_the_store_says_so() -> None:
    clock = Clock()
    holdings = Holdings(15.0, clock)
    holdings.take("jobs", [b"1"], since=100.0)
    clock.now = 400.0
    assert not holdings.may_act("jobs", [b"1"])

    async def still_ours(_stream: str, _ids: Sequence[bytes]) -> list[bytes]:
        return []

    asyncio.run(holdings.renew(still_ours))
    assert holdings.may_act("jobs", [b"1"])


def test_claims_and_settlements_while_the_store_is_asked_do_no_harm() -> None:
    holdings = Holdings(15.0, Clock())
    holdings.take("jobs", [b"1", b"2"], since=90.0)

    async def renew(_stream: str, _ids: Sequence[bytes]) -> list[bytes]:
        holdings.take("another lane", [b"9"], since=100.0)  # its first claim
        holdings.take("jobs", [b"3"], since=95.0)
        holdings.drop("jobs", [b"2"])
        return []

    asyncio.run(holdings.renew(renew))
    assert holdings.may_act("another lane", [b"9"])
    assert holdings.may_act("jobs", [b"1", b"3"])
    assert not holdings.may_act("jobs", [b"2"])  # settled meanwhile: it does not come back


def test_without_an_answer_nothing_is_renewed() -> None:
    clock = Clock()
    holdings = Holdings(15.0, clock)
    holdings.take("jobs", [b"1"], since=100.0)
    clock.now = 114.0

    async def away(_stream: str, _ids: Sequence[bytes]) -> list[bytes]:
        raise RedisConnectionError

    with pytest.raises(RedisConnectionError):
        asyncio.run(holdings.renew(away))
    clock.now = 115.0
    assert not holdings.may_act("jobs", [b"1"])
