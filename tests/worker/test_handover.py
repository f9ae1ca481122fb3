"""What is appended while a lane has room leaves at once; everything else waits in its stream, as ever."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from proxy.domain.decisions import Result
from proxy.domain.devices import Device
from proxy.domain.jobs import Job
from proxy.domain.lanes import Lane
from proxy.domain.settlements import ChunkResult, PlanChunk
from proxy.store.connection import Store
from proxy.store.queue.lane_states import RedisLaneStates
from proxy.store.queue.streams import RedisQueue
from proxy.store.scripts import Command
from proxy.worker.handover import HandOver
from tests.store.samples import DAY, LAYOUT, MS, NOON, apns_lane, device, marks_of, mipush_lane, put_jobs
from tests.worker.lane_bench import BREAKER, LaneBench, Logged, OnLane, on_bench


class Interrupted(RedisQueue):
    """Appends once `first` was done; fails with `fault`."""

    fault: Exception | None = None

    def __init__(self, redis: Any, share: Collection[int] | None = None) -> None:
        super().__init__(redis, "worker-1", lease=MS, dedupe_ttl=DAY, jobs_cap=5000, dead_cap=2000, share=share)
        self.first: Callable[[], object] = lambda: None

    async def append_planned(
        self,
        chunks: Sequence[PlanChunk],
        now: datetime,
        rooms: Mapping[Lane, int] = MappingProxyType({}),
        then: Sequence[Command] = (),
        behind: Mapping[Lane, Collection[int]] = MappingProxyType({}),
    ) -> tuple[list[ChunkResult], list[Any]]:
        self.first()
        if self.fault is not None:
            raise self.fault
        return await super().append_planned(chunks, now, rooms, then, behind)


class Plan:
    """Plans for one lane of the bench, which does not claim by itself unless the test says so."""

    def __init__(self, bench: LaneBench, share: Collection[int] | None = None) -> None:
        self._bench, self.queue = bench, Interrupted(bench.redis, share)
        self._hand_over = HandOver(self.queue, bench.addresses, [bench.worker], bench.clock)

    def job(self, account: str) -> Job:
        one = self._bench.job(account)
        return replace(one, token_digest=phone_of(account).token_digest) if one.device_id else one

    async def append(self, *accounts: str, message_id: str = "m1") -> list[ChunkResult]:
        jobs = [(self._bench.lane, self.job(account)) for account in accounts]
        return await self._hand_over.append([self.chunk(jobs, message_id)], NOON)

    async def append_chunks(self, *chunks: PlanChunk) -> list[ChunkResult]:
        return await self._hand_over.append(chunks, NOON)

    def chunk(self, jobs: Sequence[tuple[Lane, Job]], message_id: str) -> PlanChunk:
        return PlanChunk(self._bench.lane.app_id, message_id, jobs)


def phone_of(account: str, **of: Any) -> Device:
    return device(account, push_token=f"{account}-token", **of)


async def takes_from_the_plan(bench: LaneBench) -> None:
    await bench.queue.ensure_groups(bench.lane)
    await bench.consumer.claim()  # nothing waits


@pytest.fixture
def on_phones(store_url: str, store: Store, app_id: str, logged: Logged) -> OnLane:
    """Runs a scenario on a lane to iPhones; ben, cai and dan have one each."""
    return on_bench(store_url, store, apns_lane(app_id), logged, takes_from_the_plan)


@pytest.fixture
def on_accounts(store_url: str, store: Store, app_id: str, logged: Logged) -> OnLane:
    """The same on a lane to Mi Push accounts."""
    return on_bench(store_url, store, mipush_lane(app_id), logged, takes_from_the_plan)


def test_jobs_leave_as_they_are_appended_without_a_claim_or_a_look_up_of_their_own(on_phones: OnLane) -> None:
    async def scenario(bench: LaneBench) -> None:
        (result,) = await Plan(bench).append("ben", "cai")
        assert result.new == [True, True]
        assert sorted(bench.sent) == [["ben-token"], ["cai-token"]]
        await bench.worker.drained()
        assert sorted(bench.results) == [("ben", "accepted"), ("cai", "accepted")]
        assert bench.addresses.questions == 0
        await bench.nothing_is_left()

    on_phones(scenario)


def test_alerts_that_replace_each_other_are_handed_over_too_and_wait_for_their_conversation(
    on_accounts: OnLane,
) -> None:
    async def scenario(bench: LaneBench) -> None:
        await Plan(bench).append("ben", "cai")
        await bench.worker.drained()
        assert sorted(bench.results) == [("ben", "accepted"), ("cai", "accepted")]
        await bench.nothing_is_left()

    on_accounts(scenario, replaces=True)


def test_what_lies_in_another_worker_s_shard_is_left_to_that(on_phones: OnLane) -> None:
    async def scenario(bench: LaneBench) -> None:
        (result,) = await Plan(bench, share={5}).append("ben")  # which lies in the only one, 0
        assert result.new == [True]
        assert bench.sent == []
        assert len((await bench.queue.claim(bench.lane, 10, MS)).entries) == 1

    on_phones(scenario)


def test_what_was_planned_before_is_not_sent_again(on_phones: OnLane) -> None:
    async def scenario(bench: LaneBench) -> None:
        plan = Plan(bench)
        await plan.append("ben")
        (result,) = await plan.append("ben", "cai")
        assert result.new == [False, True]
        await bench.worker.drained()
        assert bench.sent == [["ben-token"], ["cai-token"]]
        await bench.nothing_is_left()

    on_phones(scenario)


def test_what_there_is_no_room_for_is_left_unclaimed_for_any_worker(on_phones: OnLane) -> None:
    async def scenario(bench: LaneBench) -> None:
        bench.transport.answering.clear()
        await Plan(bench).append("ben", "cai", "dan")
        assert await bench.backlog() == (3, 2)
        assert bench.consumer.in_flight.used == 2
        bench.transport.answering.set()
        await bench.worker.drained()
        await bench.turn()
        assert len(bench.sent) == 3
        await bench.nothing_is_left()

    on_phones(scenario, in_flight=2)


def test_jobs_without_a_place_on_the_wire_are_claimed_and_looked_up_when_they_get_one(on_phones: OnLane) -> None:
    async def scenario(bench: LaneBench) -> None:
        bench.transport.allow(1)
        bench.transport.answering.clear()
        await Plan(bench).append("ben", "cai")
        assert (await bench.backlog(), bench.sent) == ((2, 2), [["ben-token"]])
        bench.transport.answering.set()
        bench.transport.allow(9)
        await bench.worker.drained()
        assert (len(bench.sent), bench.addresses.looked_up) == (2, 1)
        await bench.nothing_is_left()

    on_phones(scenario)


def test_older_jobs_that_nobody_has_claimed_come_first(on_phones: OnLane) -> None:
    async def scenario(bench: LaneBench) -> None:
        plan = Plan(bench)
        await put_jobs(bench.redis, bench.lane, [bench.job("dan", message_id="m0")])
        await plan.append("ben")
        await bench.worker.drained()
        assert bench.sent == [["dan-token"]]
        await bench.turn()
        assert bench.sent == [["dan-token"], ["ben-token"]]
        await bench.nothing_is_left()

    on_phones(scenario)


def test_a_phone_that_changes_hands_while_its_job_is_planned_shows_nothing(on_phones: OnLane) -> None:
    async def scenario(bench: LaneBench) -> None:
        plan = Plan(bench)
        plan.queue.first = lambda: bench.register(device("eve", push_token="ben-token"))
        await plan.append("ben", "cai")
        await bench.worker.drained()
        assert bench.sent == [["cai-token"]]
        assert sorted(bench.results) == [("ben", "device moved"), ("cai", "accepted")]

    on_phones(scenario)


def test_a_phone_that_gets_another_push_token_meanwhile_gets_its_alert_there(on_phones: OnLane) -> None:
    async def scenario(bench: LaneBench) -> None:
        plan = Plan(bench)
        plan.queue.first = lambda: bench.register(device("ben", push_token="new-token"))
        await plan.append("ben")
        await bench.worker.drained()
        assert bench.sent == [["new-token"]]

    on_phones(scenario)


def test_a_lane_that_is_paused_takes_nothing(on_phones: OnLane) -> None:
    async def scenario(bench: LaneBench) -> None:
        await bench.pause()
        await Plan(bench).append("ben")
        assert (await bench.backlog(), bench.sent) == ((1, 0), [])

    on_phones(scenario)


def test_nothing_leaves_where_another_worker_paused_the_lane_just_now(on_phones: OnLane) -> None:
    async def scenario(bench: LaneBench) -> None:
        await RedisLaneStates(bench.redis, "another").pause(bench.lane, "quota", NOON, NOON + MS)
        await Plan(bench).append("ben")
        await bench.worker.drained()
        assert bench.sent == []
        assert [job.account for job, _ in await bench.retries()] == ["ben"]
        await bench.nothing_is_left()

    on_phones(scenario)


def test_a_worker_that_ends_takes_nothing_more(on_phones: OnLane) -> None:
    async def scenario(bench: LaneBench) -> None:
        bench.worker.close()
        await Plan(bench).append("ben")
        assert (await bench.backlog(), bench.sent) == ((1, 0), [])

    on_phones(scenario)


def test_where_the_store_is_away_the_room_is_given_back(on_phones: OnLane) -> None:
    async def scenario(bench: LaneBench) -> None:
        plan = Plan(bench)
        plan.queue.fault = RedisConnectionError("gone")
        bench.transport.allow(1)
        with pytest.raises(RedisConnectionError):
            await plan.append("ben")
        await bench.nothing_is_left()
        plan.queue.fault = None
        await plan.append("ben")
        assert bench.sent == [["ben-token"]]

    on_phones(scenario)


def test_one_broken_record_does_not_hold_up_what_was_appended_with_it(on_phones: OnLane) -> None:
    async def scenario(bench: LaneBench) -> None:
        await bench.redis.set(LAYOUT.account(bench.lane.app_id, "main", "ghost"), "no hash")
        await Plan(bench).append("ben", "ghost", "cai")
        await bench.until(lambda: bench.count(Result.ACCEPTED) == 2)
        assert sorted(bench.sent) == [["ben-token"], ["cai-token"]]

    on_phones(scenario)


def test_one_message_that_cannot_be_appended_does_not_hold_up_the_others(on_phones: OnLane) -> None:
    async def scenario(bench: LaneBench) -> None:
        plan = Plan(bench)
        bucket = marks_of(bench.redis.layout, bench.lane.app_id, "broken")
        await bench.redis.set(bucket, "no hash")
        chunks = [
            plan.chunk([(bench.lane, plan.job(who))], message) for who, message in (("ben", "broken"), ("cai", "m1"))
        ]
        broken, well = await plan.append_chunks(*chunks)
        assert isinstance(broken.error, ResponseError)
        assert (well.new, well.error) == ([True], None)
        await bench.worker.drained()
        assert bench.sent == [["cai-token"]]
        await bench.nothing_is_left()
        await bench.redis.delete(bucket)  # other tests have marks in it

    on_phones(scenario)


def test_a_stream_without_its_group_gets_it_from_the_lanes_own_claim(on_phones: OnLane) -> None:
    async def scenario(bench: LaneBench) -> None:
        await bench.redis.delete(bench.stream)  # a store that came back empty
        await Plan(bench).append("ben")
        assert bench.sent == []
        await bench.turn()
        await bench.turn()
        assert bench.sent == [["ben-token"]]

    on_phones(scenario)


def test_the_lanes_own_read_and_the_plan_share_the_room_in_flight(on_phones: OnLane) -> None:
    """A read that waits may bring as much as it asked for at any moment."""

    async def scenario(bench: LaneBench) -> None:
        bench.transport.answering.clear()
        plan = Plan(bench)
        bench.consumer.block = DAY
        reading = asyncio.create_task(bench.worker.claim())
        await asyncio.sleep(0.01)
        await plan.append("ben", "cai", "dan")
        await reading
        assert bench.consumer.in_flight.used <= 2
        bench.transport.answering.set()
        await bench.worker.drained()

    on_phones(scenario, in_flight=2)


def test_nothing_leaves_where_this_worker_paused_the_lane_just_now(on_phones: OnLane) -> None:
    async def scenario(bench: LaneBench) -> None:
        plan = Plan(bench)

        def fail() -> None:
            for number in range(BREAKER):
                bench.control.failed(f"job {number}")

        plan.queue.first = fail
        await plan.append("ben")
        await bench.worker.drained()
        assert (bench.sent, [job.account for job, _ in await bench.retries()]) == ([], ["ben"])
        await bench.nothing_is_left()

    on_phones(scenario)


def test_two_callbacks_that_name_one_message_for_a_phone_with_a_new_push_token_are_one_alert(on_phones: OnLane) -> None:
    async def scenario(bench: LaneBench) -> None:
        plan = Plan(bench)
        plan.queue.first = lambda: bench.register(device("ben", push_token="new-token"))
        await plan.append_chunks(*(plan.chunk([(bench.lane, plan.job("ben"))], "m1") for _ in range(2)))
        await bench.worker.drained()
        assert bench.sent == [["new-token"]]
        await bench.nothing_is_left()

    on_phones(scenario)


def test_a_damaged_registration_costs_no_other_phone_its_alert_and_no_room(on_phones: OnLane) -> None:
    async def scenario(bench: LaneBench) -> None:
        plan = Plan(bench)
        await bench.redis.hset(LAYOUT.account(bench.lane.app_id, "main", "ben"), "phone", "no registration")
        await plan.append("ben", "cai")
        await bench.until(lambda: bench.consumer.in_flight.used == 0)
        await bench.worker.drained()
        assert bench.sent == [["cai-token"]]
        await bench.nothing_is_left()

    on_phones(scenario)


def test_jobs_that_are_joined_in_batches_go_each_to_its_own_phone(on_phones: OnLane) -> None:
    async def scenario(bench: LaneBench) -> None:
        plan = Plan(bench)
        other = replace(bench.job("cai", conversation="p2p:eve"), token_digest=phone_of("cai").token_digest)
        jobs = [plan.job("ben"), other, plan.job("dan")]
        await plan.append_chunks(plan.chunk([(bench.lane, one) for one in jobs], "m1"))
        await bench.worker.drained()
        assert sorted(map(sorted, bench.sent)) == [["ben-token", "dan-token"], ["cai-token"]]
        assert bench.count(Result.ACCEPTED) == 3

    on_phones(scenario, batch_limit=9)
