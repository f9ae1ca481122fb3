"""Leases: what this worker has claimed, and until when it may act on it."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from proxy.domain.lanes import Callbacks, Lane, Source
from proxy.domain.settlements import Renewed
from proxy.worker.leases import Leases

JOBS, OTHER, CALLBACKS = Lane("1", "main", "apns"), Lane("1", "main", "mipush"), Callbacks("1")


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


def test_what_was_claimed_may_be_acted_on_for_a_lease_from_the_moment_before_the_claim() -> None:
    clock = Clock()
    leases = Leases(15.0, clock)
    leases.take(JOBS, [b"1", b"2"], since=99.0)
    clock.now = 113.9
    assert leases.may_act(JOBS, [b"1", b"2"])
    clock.now = 114.0
    assert not leases.may_act(JOBS, [b"1"])


def test_what_was_not_claimed_may_not_be_acted_on_and_neither_may_a_batch_with_it() -> None:
    leases = Leases(15.0, Clock())
    leases.take(JOBS, [b"1", b"2"], since=100.0)
    leases.drop(JOBS, [b"2", b"never"])
    assert leases.may_act(JOBS, [b"1"])
    assert not leases.may_act(JOBS, [b"1", b"2"])
    assert not leases.may_act(CALLBACKS, [b"1"])
    assert leases.count() == 1


def test_renewing_counts_from_the_moment_before_the_call_and_forgets_what_is_lost() -> None:
    clock = Clock()
    leases = Leases(15.0, clock)
    leases.take(JOBS, [b"1", b"2"], since=100.0)
    clock.now = 110.0

    async def renew(_source: Source, ids: Sequence[bytes]) -> Renewed:
        clock.now = 114.0  # the store took its time
        return Renewed(lost=[b"2"] if b"2" in ids else [])

    assert asyncio.run(leases.renew(renew)) == 1
    clock.now = 124.9
    assert leases.may_act(JOBS, [b"1"])
    assert not leases.may_act(JOBS, [b"2"])
    clock.now = 125.0
    assert not leases.may_act(JOBS, [b"1"])


def test_what_was_settled_while_it_was_to_be_renewed_is_not_lost() -> None:
    leases = Leases(15.0, Clock())
    leases.take(JOBS, [b"1", b"2"], since=100.0)

    async def renew(_source: Source, ids: Sequence[bytes]) -> Renewed:
        leases.drop(JOBS, [b"1"])  # the store had taken the settlement before it came to the renewal
        return Renewed(lost=list(ids))

    assert asyncio.run(leases.renew(renew)) == 1
    assert leases.count() == 0


def test_a_worker_that_was_stopped_for_a_lease_may_act_on_nothing_until_the_store_says_so() -> None:
    clock = Clock()
    leases = Leases(15.0, clock)
    leases.take(JOBS, [b"1"], since=100.0)
    clock.now = 400.0
    assert not leases.may_act(JOBS, [b"1"])

    async def still_ours(_source: Source, _ids: Sequence[bytes]) -> Renewed:
        return Renewed()

    asyncio.run(leases.renew(still_ours))
    assert leases.may_act(JOBS, [b"1"])


def test_claims_and_settlements_while_the_store_is_asked_do_no_harm() -> None:
    leases = Leases(15.0, Clock())
    leases.take(JOBS, [b"1", b"2"], since=90.0)

    async def renew(_source: Source, _ids: Sequence[bytes]) -> Renewed:
        leases.take(OTHER, [b"9"], since=100.0)  # its first claim
        leases.take(JOBS, [b"3"], since=95.0)
        leases.drop(JOBS, [b"2"])
        return Renewed()

    asyncio.run(leases.renew(renew))
    assert leases.may_act(OTHER, [b"9"])
    assert leases.may_act(JOBS, [b"1", b"3"])
    assert not leases.may_act(JOBS, [b"2"])  # settled meanwhile: it does not come back


def test_without_an_answer_nothing_is_renewed() -> None:
    clock = Clock()
    leases = Leases(15.0, clock)
    leases.take(JOBS, [b"1"], since=100.0)
    clock.now = 114.0

    async def away(_source: Source, _ids: Sequence[bytes]) -> Renewed:
        raise RedisConnectionError

    with pytest.raises(RedisConnectionError):
        asyncio.run(leases.renew(away))
    clock.now = 115.0
    assert not leases.may_act(JOBS, [b"1"])


def test_what_lies_on_a_node_that_is_away_is_not_renewed_and_not_lost() -> None:
    clock = Clock()
    leases = Leases(15.0, clock)
    leases.take(JOBS, [b"1", b"2"], since=100.0)
    clock.now = 114.0

    async def renew(_source: Source, _ids: Sequence[bytes]) -> Renewed:
        return Renewed(unknown=[b"2"])

    assert asyncio.run(leases.renew(renew)) == 0
    clock.now = 115.0
    assert leases.may_act(JOBS, [b"1"])
    assert not leases.may_act(JOBS, [b"2"])
    assert leases.count() == 2


def test_one_broken_stream_keeps_no_other_from_being_renewed_and_is_told() -> None:
    clock = Clock()
    leases = Leases(15.0, clock)
    for source in (OTHER, JOBS):
        leases.take(source, [b"1"], since=100.0)
    clock.now = 114.0

    async def renew(source: Source, _ids: Sequence[bytes]) -> Renewed:
        if source == OTHER:
            raise ResponseError("WRONGTYPE")
        return Renewed()

    with pytest.raises(ResponseError):
        asyncio.run(leases.renew(renew))
    clock.now = 116.0
    assert leases.may_act(JOBS, [b"1"])
    assert not leases.may_act(OTHER, [b"1"])


def test_a_request_may_leave_until_the_first_of_its_leases_ends_and_never_where_one_was_not_claimed() -> None:
    leases = Leases(15.0, Clock())
    leases.take(JOBS, [b"1"], since=100.0)
    leases.take(JOBS, [b"2"], since=90.0)
    assert leases.until(JOBS, [b"1"]) == 115.0
    assert leases.until(JOBS, [b"1", b"2"]) == 105.0
    assert leases.until(JOBS, [b"1", b"another's"]) == float("-inf")
