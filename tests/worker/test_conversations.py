"""Alerts that replace each other, on real locks: one of a conversation in flight, and the latest covers the others."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from proxy.domain.conversations import LockRelease
from proxy.domain.decisions import Result
from proxy.domain.jobs import ClaimedJob, Job, Push
from proxy.domain.lanes import Lane
from proxy.domain.outcomes import Deferred, OurFault, Outcome, Rejected
from proxy.store.queue.conversation_locks import RedisConversationLocks
from proxy.worker.conversations import Conversations, Ending, ending
from tests.store.samples import DAY, LAYOUT, LEASE, SECOND, alert, mipush_lane, names_like, with_redis


class DeafOnce(RedisConversationLocks):
    """The store is away when it should first learn how pushes ended."""

    was_told = False

    async def release(self, lane: Lane, releases: Sequence[LockRelease], ttl: Any) -> list[LockRelease]:
        if not self.was_told:
            self.was_told = True
            raise RedisConnectionError("away")
        return await super().release(lane, releases, ttl)


class Bench:
    """The conversations of one lane, as several workers see them."""

    def __init__(self, redis: Any, app_id: str) -> None:
        self.redis = redis
        self.lane = mipush_lane(app_id)
        self.ours, self.theirs = self.worker("worker-1"), self.worker("worker-2")

    def worker(self, instance: str, locks: type[RedisConversationLocks] = RedisConversationLocks) -> Conversations:
        return Conversations(self.lane, locks(self.redis, instance), lock_ttl=LEASE, shown_ttl=DAY)

    async def a_worker_dies(self) -> None:
        """Its locks run out."""
        for lock in await names_like(self.redis, LAYOUT.conversation_lock(self.lane, "*")):
            await self.redis.delete(lock)


def claimed(sequence: int, conversation: str = "p2p:ann", account: str = "ben") -> ClaimedJob:
    """A job whose alert has this place in its conversation."""
    job = Job("main", "mipush", account, "", alert(f"m{sequence}", conversation, sequence))
    return ClaimedJob(f"{sequence}-1".encode(), job)


def pushes(*jobs: ClaimedJob) -> list[tuple[ClaimedJob, Push]]:
    return [(one, Push(one.job, None)) for one in jobs]


OnBench = Callable[[Callable[[Bench], Awaitable[None]]], None]


@pytest.fixture
def on_bench(store_url: str, app_id: str) -> OnBench:
    return lambda scenario: with_redis(store_url, lambda redis: scenario(Bench(redis, app_id)))


def test_of_one_conversation_the_latest_goes_first_and_covers_the_others_once_it_is_accepted(on_bench: OnBench) -> None:
    async def scenario(bench: Bench) -> None:
        one, two, three = (claimed(n) for n in (1, 2, 3))
        elsewhere = claimed(4, "p2p:dan")
        acquired = await bench.ours.acquire(pushes(one, three, two, elsewhere))
        assert sorted(job.entry_id for job, _ in acquired.ready) == [b"3-1", b"4-1"]
        assert [acquired.superseded, acquired.busy, acquired.early] == [[], [], []]
        assert bench.ours.held_back == 2
        await bench.ours.release([(three.job, Ending.ACCEPTED)])
        assert bench.ours.freed(three.job, accepted=True) == ([two, one], [])
        assert bench.ours.held_back == 0
        again = await bench.theirs.acquire(pushes(one, two))
        assert sorted(job.entry_id for job in again.superseded) == [b"1-1", b"2-1"]
        assert again.ready == []

    on_bench(scenario)


def test_the_same_alert_again_and_a_later_one_replace_what_is_shown(on_bench: OnBench) -> None:
    async def scenario(bench: Bench) -> None:
        for sequence in (3, 3, 5):
            acquired = await bench.ours.acquire(pushes(claimed(sequence)))
            assert [job for job, _ in acquired.ready] == [claimed(sequence)]
            await bench.ours.release([(claimed(sequence).job, Ending.ACCEPTED)])
            bench.ours.freed(claimed(sequence).job, accepted=True)

    on_bench(scenario)


@pytest.mark.parametrize("other", [claimed(2, "p2p:dan"), claimed(2, account="cai")])
def test_another_conversation_and_another_target_have_a_lock_of_their_own(on_bench: OnBench, other: ClaimedJob) -> None:
    async def scenario(bench: Bench) -> None:
        assert len((await bench.ours.acquire(pushes(claimed(1)))).ready) == 1
        assert len((await bench.theirs.acquire(pushes(other))).ready) == 1

    on_bench(scenario)


def test_at_most_one_push_of_a_conversation_is_in_flight_whichever_worker_has_it(on_bench: OnBench) -> None:
    async def scenario(bench: Bench) -> None:
        one, two = claimed(1), claimed(2)
        await bench.ours.acquire(pushes(one))
        assert (await bench.theirs.acquire(pushes(two))).busy == [two]
        assert bench.theirs.held_back == 0
        await bench.ours.release([(one.job, Ending.ACCEPTED)])
        assert [job for job, _ in (await bench.theirs.acquire(pushes(two))).ready] == [two]

    on_bench(scenario)


def test_what_comes_while_its_conversation_is_in_flight_is_held_back_behind_it_without_the_store(
    on_bench: OnBench,
) -> None:
    async def scenario(bench: Bench) -> None:
        first, older, newer = claimed(5), claimed(4), claimed(6)
        await bench.ours.acquire(pushes(first))
        acquired = await bench.ours.acquire(pushes(older, newer))
        assert acquired.ready == []
        assert acquired.superseded == []
        assert bench.ours.held_back == 2
        await bench.ours.release([(first.job, Ending.ACCEPTED)])
        assert bench.ours.freed(first.job, accepted=True) == ([older], [newer])

    on_bench(scenario)


def test_what_was_held_back_goes_on_by_itself_when_the_later_one_is_given_up(on_bench: OnBench) -> None:
    async def scenario(bench: Bench) -> None:
        one, two, three = (claimed(n) for n in (1, 2, 3))
        await bench.ours.acquire(pushes(one, two, three))
        await bench.ours.release([(three.job, Ending.GIVEN_UP)])
        assert bench.ours.freed(three.job, accepted=False) == ([], [two, one])
        acquired = await bench.ours.acquire(pushes(one, two))
        assert [job for job, _ in acquired.ready] == [two]

    on_bench(scenario)


@pytest.mark.parametrize("how", [Ending.GIVEN_UP, Ending.REFUSED])
def test_a_push_that_was_answered_and_not_accepted_covers_nothing_and_frees_its_conversation(
    on_bench: OnBench, how: Ending
) -> None:
    async def scenario(bench: Bench) -> None:
        later, earlier = claimed(9), claimed(2)
        await bench.ours.acquire(pushes(later))
        await bench.ours.release([(later.job, how)])
        bench.ours.freed(later.job, accepted=False)
        assert [job for job, _ in (await bench.ours.acquire(pushes(earlier))).ready] == [earlier]

    on_bench(scenario)


def test_while_a_later_alert_may_be_shown_an_earlier_one_waits_until_that_is_settled(on_bench: OnBench) -> None:
    """Chaos seeds 23 and 32: the earlier one took the later one's place on the phone."""

    async def scenario(bench: Bench) -> None:
        later, earlier = claimed(9), claimed(2)
        await bench.ours.acquire(pushes(later))
        await bench.ours.release([(later.job, Ending.UNANSWERED)])
        bench.ours.freed(later.job, accepted=False)
        assert (await bench.theirs.acquire(pushes(earlier))).early == [earlier]
        assert [job for job, _ in (await bench.theirs.acquire(pushes(later))).ready] == [later]
        await bench.theirs.release([(later.job, Ending.REFUSED)])  # of this try; the one before may be shown
        bench.theirs.freed(later.job, accepted=False)
        assert (await bench.ours.acquire(pushes(earlier))).early == [earlier]
        await bench.ours.acquire(pushes(later))
        await bench.ours.release([(later.job, Ending.GIVEN_UP)])
        bench.ours.freed(later.job, accepted=False)
        assert [job for job, _ in (await bench.ours.acquire(pushes(earlier))).ready] == [earlier]

    on_bench(scenario)


def test_what_a_dead_worker_may_have_sent_holds_earlier_alerts_back(on_bench: OnBench) -> None:
    async def scenario(bench: Bench) -> None:
        later, earlier = claimed(9), claimed(2)
        await bench.theirs.acquire(pushes(later))
        await bench.a_worker_dies()
        assert (await bench.ours.acquire(pushes(earlier))).early == [earlier]
        both = await bench.ours.acquire(pushes(earlier, later))
        assert [job for job, _ in both.ready] == [later]
        assert both.early == []  # it is held back behind the later one, whose answer decides
        await bench.ours.release([(later.job, Ending.ACCEPTED)])
        assert bench.ours.freed(later.job, accepted=True) == ([earlier], [])

    on_bench(scenario)


def test_what_the_store_was_not_told_of_a_push_it_is_told_before_the_next(on_bench: OnBench) -> None:
    """Chaos seed 32: the store was killed between the answer and the note of what is shown."""

    async def scenario(bench: Bench) -> None:
        ours, later = bench.worker("worker-1", DeafOnce), claimed(9)
        await ours.acquire(pushes(later))
        with pytest.raises(RedisConnectionError):
            await ours.release([(later.job, Ending.ACCEPTED)])
        assert ours.freed(later.job, accepted=True) == ([], [])
        assert (await ours.acquire(pushes(claimed(2)))).superseded == [claimed(2)]

    on_bench(scenario)


def test_two_claims_at_once_of_one_conversation_are_one_push_and_one_held_back(on_bench: OnBench) -> None:
    async def scenario(bench: Bench) -> None:
        both = await asyncio.gather(bench.ours.acquire(pushes(claimed(1))), bench.ours.acquire(pushes(claimed(2))))
        assert sum(len(acquired.ready) for acquired in both) == 1
        assert [acquired.busy for acquired in both] == [[], []]
        assert bench.ours.held_back == 1

    on_bench(scenario)


def test_an_alert_that_no_later_one_can_cover_is_never_given_up(on_bench: OnBench) -> None:
    async def scenario(bench: Bench) -> None:
        one = ClaimedJob(b"1-1", Job("main", "mipush", "ben", "", alert("m1", sequence=7)))
        twin = ClaimedJob(b"2-1", Job("main", "mipush", "ben", "", alert("m2", sequence=7)))  # neither is later
        ((first, _),) = (await bench.ours.acquire(pushes(one, twin))).ready
        await bench.ours.release([(first.job, Ending.ACCEPTED)])
        (second,) = {one.entry_id: one, twin.entry_id: twin}.keys() - {first.entry_id}
        covered, going = bench.ours.freed(first.job, accepted=True)
        assert (covered, [job.entry_id for job in going]) == ([], [second])
        assert len((await bench.ours.acquire(pushes(*going))).ready) == 1

    on_bench(scenario)


@pytest.mark.parametrize(
    ("result", "outcome", "how"),
    [
        (Result.ACCEPTED, None, Ending.ACCEPTED),
        (Result.DEAD_LETTER, Rejected("bad"), Ending.GIVEN_UP),
        (Result.UNKNOWN_ACCOUNT, None, Ending.GIVEN_UP),
        (Result.RETRY, Deferred("busy"), Ending.REFUSED),
        (Result.PAUSED, OurFault("quota"), Ending.REFUSED),
        (Result.RETRY, Deferred("no answer in time", SECOND, unanswered=True), Ending.UNANSWERED),
        (Result.PAUSED, Deferred("no answer in time", unanswered=True), Ending.UNANSWERED),
        (None, None, Ending.UNANSWERED),  # nothing was decided
    ],
)
def test_what_became_of_a_push_says_whether_it_may_be_shown(
    result: Result | None, outcome: Outcome | None, how: Ending
) -> None:
    assert ending(result, outcome) is how
