"""Any order of events: intake, plan, delivery, death, silence, replays and an emptied store, against a plain model.

Leases are an hour, and an entry is made silent by giving it that idle time: no real time passes. After every step the
store must hold what the model says; at the end a last worker does what is left, and every target of every accepted
callback must have ended exactly once.

MACHINE_EXAMPLES=n tries n sequences of steps instead of the few that fit into `make test`.
"""

import asyncio
import os
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import cycle, islice
from operator import attrgetter
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from proxy.domain.alerts import AlertText
from proxy.domain.callbacks import Recipient
from proxy.domain.dead_letters import Cause, PutBack
from proxy.domain.jobs import ClaimedJob, Job
from proxy.domain.lanes import Callbacks, Lane, Source
from proxy.domain.offline_messages import OfflineMessage, offline_message
from proxy.domain.settlements import (
    Bury,
    ChunkResult,
    Entry,
    Finish,
    Move,
    PlanChunk,
    PlanEnd,
    Postpone,
    Settlement,
    SettleResult,
)
from proxy.domain.times import from_ms, to_ms
from proxy.errors import StoreFull
from proxy.store import keys
from proxy.store.connection import Store, async_redis
from proxy.store.queue.dead_letters import RedisDeadLetters
from proxy.store.queue.entries import lane_name
from proxy.store.queue.inbox import RedisInbox
from proxy.store.queue.streams import RedisQueue
from proxy.store.records import dump_dead_letter, dump_offline_message, load_job, load_offline_message
from proxy.store.server.embedded import ensure_store, stop_store
from tests.store.queue.model import AppModel, Lying, StreamModel, dump
from tests.store.samples import (
    DAY,
    LAYOUT,
    NOON,
    SECOND,
    apns_lane,
    callback,
    for_inbox,
    marks,
    mipush_lane,
    new_of,
    sandbox_lane,
)

T = TypeVar("T")

LEASE = timedelta(hours=1)  # far longer than a test may take: only what is made silent is taken over
SILENT_MS = 2 * 3_600_000
PATIENCE_S = 30.0
CALLBACKS_CAP, JOBS_CAP = 5, 8
SLOTS = st.integers(0, 2)  # so many workers at a time
PICKS = st.lists(st.integers(0, 3), min_size=1, max_size=3)
COUNTS = st.integers(1, 4)
SOME_PLACES = st.sets(st.integers(0, 3), min_size=1)  # callbacks, and three lanes' jobs
PEOPLE = st.lists(st.sampled_from(["ben", "cai", "dan"]), min_size=1, max_size=3, unique=True)


@dataclass
class Plan:
    """A callback being planned, as the worker knows it."""

    entry_id: bytes
    record: bytes
    message_id: str
    jobs: list[tuple[Lane, Job]]
    tries: int
    done: int = 0
    full: set[Lane] = field(default_factory=set)


@dataclass(frozen=True)
class Place:
    """A stream and what should be in it. `lane` is None for the callbacks'."""

    name: str
    source: Source
    stream: StreamModel
    lane: Lane | None


@dataclass(frozen=True)
class HeldJob:
    """A job in a worker's hands, and the entry of its lane's stream that it lies in."""

    id: bytes
    lane: Lane
    job: Job


@dataclass
class WorkerModel:
    """What an instance believes to hold, which may be another's by now."""

    instance: str
    queue: RedisQueue
    plans: list[Plan] = field(default_factory=list)
    held: list[HeldJob] = field(default_factory=list)

    def is_busy(self) -> bool:
        return bool(self.plans or self.held)

    def forget(self, lane: Lane | None, ids: Collection[bytes]) -> None:
        """`lane` None: of the callbacks. Two streams may well have an entry of one id."""
        if lane is None:
            self.plans = [it for it in self.plans if it.entry_id not in ids]
        self.held = [it for it in self.held if it.lane != lane or it.id not in ids]


class QueueMachine(RuleBasedStateMachine):
    """The world: a store, web processes, three places for workers. `clock` is what workers call now."""

    url: str
    store: Store

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.redis = async_redis(self.url, timeout_s=PATIENCE_S, shards=1)
        self.runner.run(self.redis.learn_layout())
        self.app_id = str(uuid.uuid4().int)[:19]
        self.inbox = RedisInbox(self.store, dedupe_ttl=DAY, cap=CALLBACKS_CAP)
        self.letters = RedisDeadLetters(self.store, jobs_cap=JOBS_CAP, callbacks_cap=CALLBACKS_CAP)
        self.lanes = (apns_lane(self.app_id), mipush_lane(self.app_id), sandbox_lane(self.app_id))
        self.clock = NOON
        self.born = 0
        self.was_emptied = False
        self.start_anew()

    def start_anew(self) -> None:
        """A store that knows nothing; which jobs, by callback, are owed from now on, and how often each ended."""
        self.model = AppModel(self.lanes, CALLBACKS_CAP, JOBS_CAP)
        self.owed: dict[bytes, set[str]] = {}
        self.ended: Counter[str] = Counter()

    @initialize(begun=st.booleans())
    def three_workers_start(self, begun: bool) -> None:
        """With something to do, or in the midst of it."""
        self.workers = [self.new_worker() for _ in range(3)]
        self.mimc_posts_a_callback(1, ["ben", "cai"])
        if begun:
            self.run(self.make_groups())
            self.read(self.workers[0], self.places[0])
            self.plan_chunk(self.workers[0], self.workers[0].plans[0], 6)
            for worker, place in zip(self.workers, self.places[1:], strict=False):
                self.read(worker, place, 3)

    def teardown(self) -> None:
        try:
            self.finish_everything()
        finally:
            self.run(self.forget_everything())
            self.run(self.redis.aclose())
            self.runner.close()

    # what happens

    @rule(sequence=st.integers(1, 3), people=PEOPLE)
    def mimc_posts_a_callback(self, sequence: int, people: list[str]) -> None:
        one = callback(self.app_id, [Recipient(it) for it in people], str(sequence))
        record = dump_offline_message(offline_message(one, self.clock), compact=True)
        expected = self.model.accept(one.callback_id, record)
        try:
            known = self.inbox.accept(*for_inbox(one, self.clock)).duplicate
        except StoreFull:
            assert expected is None
            return
        assert known == expected
        if not known:
            self.owed[record] = {job.id for _, job in self.jobs_of(record)}

    @precondition(lambda self: any(not it.stream.has_group or it.stream.unclaimed() for it in self.places))
    @rule(slot=SLOTS, places=SOME_PLACES, count=COUNTS)
    def a_worker_reads(self, slot: int, places: set[int], count: int) -> None:
        for place in sorted(places):
            self.read(self.workers[slot], self.places[place], count)

    @precondition(lambda self: any(it.owner for place in self.places for it in place.stream.lying))
    @rule(slot=SLOTS, alive=st.sets(SLOTS, max_size=2), places=SOME_PLACES, count=COUNTS, suspect=st.booleans())
    def a_lease_passes_and_a_worker_takes_over(
        self, slot: int, alive: set[int], places: set[int], count: int, suspect: bool
    ) -> None:
        """Only those alive renew what is theirs; the others find out later, or never."""
        self.fall_silent({self.workers[it].instance for it in alive})
        for place in sorted(places):
            self.take_over(self.workers[slot], self.places[place], count, suspect=suspect)

    @precondition(lambda self: any(worker.plans for worker in self.workers))
    @rule(slot=SLOTS, pick=st.integers(0, 3), size=st.integers(1, 6), room=st.integers(0, 3))
    def a_worker_plans_a_chunk(self, slot: int, pick: int, size: int, room: int) -> None:
        """And claims at once of each lane as much as it has room for."""
        worker = self.who(slot, lambda it: it.plans)
        self.plan_chunk(worker, worker.plans[pick % len(worker.plans)], size, room)

    @precondition(lambda self: any(worker.plans for worker in self.workers))
    @rule(slot=SLOTS, pick=st.integers(0, 3))
    def a_worker_gives_a_callback_up_as_poison(self, slot: int, pick: int) -> None:
        worker = self.who(slot, lambda it: it.plans)
        plan = worker.plans.pop(pick % len(worker.plans))
        settlements = [Bury(plan.entry_id, Cause.POISON, "poison callback", load_offline_message(plan.record))]
        result = self.run(worker.queue.settle_callbacks(self.app_id, settlements, self.clock))
        assert result == SettleResult(
            foreign=self.model.settle_callbacks(worker.instance, settlements, to_ms(self.clock))
        )
        if not result.foreign:
            del self.owed[plan.record]

    @precondition(lambda self: any(map(WorkerModel.is_busy, self.workers)))
    @rule(slot=SLOTS)
    def a_worker_renews_all_that_it_believes_to_hold(self, slot: int) -> None:
        worker = self.who(slot, WorkerModel.is_busy)
        for place in self.places:
            ids = [it.id for it in worker.held if it.lane == place.lane]
            ids += [it.entry_id for it in worker.plans if place.lane is None]
            lost = self.run(worker.queue.renew(place.source, ids)).lost
            assert lost == place.stream.renew(worker.instance, ids)
            worker.forget(place.lane, lost)

    @precondition(lambda self: any(worker.held for worker in self.workers))
    @rule(slot=SLOTS, picks=PICKS)
    def a_worker_finishes_jobs(self, slot: int, picks: list[int]) -> None:
        self.settle_some(slot, picks, lambda it: Finish(it.id))

    @precondition(lambda self: any(worker.held for worker in self.workers))
    @rule(slot=SLOTS, picks=PICKS, wait_s=st.integers(0, 3))
    def a_worker_postpones_jobs(self, slot: int, picks: list[int], wait_s: int) -> None:
        when = self.clock + wait_s * SECOND
        self.settle_some(slot, picks, lambda it: Postpone(it.id, replace(it.job, attempt=it.job.attempt + 1), when))

    @precondition(lambda self: any(worker.held for worker in self.workers))
    @rule(slot=SLOTS, picks=PICKS)
    def a_worker_buries_jobs(self, slot: int, picks: list[int]) -> None:
        self.settle_some(slot, picks, lambda it: Bury(it.id, Cause.REJECTED, "PayloadTooLarge", it.job))

    @precondition(lambda self: any(it.lane != self.lanes[1] for worker in self.workers for it in worker.held))
    @rule(slot=SLOTS, pick=st.integers(0, 3))
    def a_devices_environment_has_changed(self, slot: int, pick: int) -> None:
        """Its job is moved from one of Apple's lanes to the other."""
        apns, mipush, sandbox = self.lanes
        worker = self.who(slot, lambda it: any(held.lane != mipush for held in it.held))
        movable = [it for it in worker.held if it.lane != mipush]
        one = movable[pick % len(movable)]
        self.settle(worker, one.lane, [Move(one.id, one.job, sandbox if one.lane == apns else apns)])
        worker.held.remove(one)

    @precondition(lambda self: any(self.model.retries.values()) or self.model.waiting)
    @rule(seconds=st.integers(0, 40), count=COUNTS)
    def time_passes_and_what_is_due_moves(self, seconds: int, count: int) -> None:
        self.clock += seconds * SECOND
        self.move_due(self.workers[0], count)

    @precondition(lambda self: any(map(WorkerModel.is_busy, self.workers)))
    @rule(slot=SLOTS)
    def a_worker_is_killed_and_another_started(self, slot: int) -> None:
        self.workers[slot] = self.new_worker()

    @precondition(lambda self: self.model.dead)
    @rule(pick=st.integers(0, 3))
    def an_operator_puts_a_dead_letter_back(self, pick: int) -> None:
        letters = [*self.letters.oldest_first(self.app_id)]
        letter, dead = next(islice(cycle(zip(letters, self.model.dead, strict=True)), pick, None))
        assert self.letters.whole(letter) == dead.of
        room = self.model.put_back(dead)
        assert self.letters.put_back(letter, dead.of, dead.lane) == (PutBack.DONE if room else PutBack.FULL)
        if isinstance(dead.of, OfflineMessage):
            self.owed |= {dump(dead.of): {job.id for _, job in self.jobs_of(dump(dead.of))}} if room else {}
        else:
            self.ended[dead.of.id] -= room

    @precondition(lambda self: self.model.is_busy() and not self.was_emptied)
    @rule()
    def the_store_comes_back_empty(self) -> None:
        """Once in a sequence: else little would ever come of anything."""
        self.was_emptied = True
        self.run(self.forget_everything())
        self.start_anew()

    # what must be so

    @invariant()
    def the_store_holds_what_the_model_says(self) -> None:
        self.run(self.compare())

    def finish_everything(self) -> None:
        """All workers are dead, and one that comes does everything: then nothing may be missing, nothing done twice."""
        last = self.new_worker()
        self.fall_silent(set())
        while self.model.is_busy():
            for place in self.places:
                self.take_over(last, place)
                self.read(last, place)
            for plan in [*last.plans]:
                self.plan_chunk(last, plan, 6)
            for lane in self.lanes:
                self.settle(last, lane, [Finish(it.id) for it in last.held if it.lane == lane])
            self.move_due(last)
            last.held.clear()
            self.clock += 10 * SECOND
            self.the_store_holds_what_the_model_says()
        assert self.ended.keys() >= set().union(*self.owed.values())
        assert set(self.ended.values()) <= {1}

    # how it is done

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(coroutine)

    def new_worker(self) -> WorkerModel:
        self.born += 1
        name = f"worker-{self.born}"
        queue = RedisQueue(self.redis, name, lease=LEASE, dedupe_ttl=DAY, jobs_cap=JOBS_CAP, dead_cap=10_000)
        return WorkerModel(name, queue)

    @property
    def places(self) -> list[Place]:
        """Where work lies: callbacks, and each lane's jobs."""
        jobs = [Place(LAYOUT.jobs(lane, 0), lane, self.model.jobs[lane], lane) for lane in self.lanes]
        callbacks = Callbacks(self.app_id)
        return [Place(LAYOUT.callbacks(self.app_id, 0), callbacks, self.model.callbacks, None), *jobs]

    def who(self, slot: int, what: Callable[[WorkerModel], object]) -> WorkerModel:
        return next(it for it in (*self.workers[slot:], *self.workers) if what(it))

    def read(self, worker: WorkerModel, place: Place, count: int = 100) -> None:
        if place.stream.has_group and not place.stream.unclaimed():
            return  # a read of nothing waits for the store's own clock: 100 ms
        entries = self.run(new_of(worker.queue, place.source, count))
        self.hand_over(worker, place, entries, place.stream.claim(worker.instance, count))

    def take_over(self, worker: WorkerModel, place: Place, count: int = 100, *, suspect: bool = True) -> None:
        entries = self.run(worker.queue.take_over(place.source, count, suspect=suspect))
        self.hand_over(worker, place, entries, place.stream.take_over(worker.instance, count, suspect=suspect))

    def hand_over(self, worker: WorkerModel, place: Place, entries: list[Entry], expected: list[Lying]) -> None:
        """What the store handed out is what the model would have, in this order."""
        facts = attrgetter("record", "deliveries", "lanes", "tries")
        assert [*map(facts, entries)] == [*map(facts, expected)]
        for entry, it in zip(entries, expected, strict=True):
            it.be(entry.id)
        worker.forget(place.lane, [it.id for it in entries])  # taken over from itself
        if place.lane is None:
            worker.plans += map(self.plan_of, entries)
        else:
            worker.held += [HeldJob(it.id, place.lane, load_job(it.record)) for it in entries]

    def plan_of(self, entry: Entry) -> Plan:
        message_id = load_offline_message(entry.record).message_id
        jobs = [(lane, job) for lane, job in self.jobs_of(entry.record) if lane_name(lane) in entry.lanes]
        return Plan(
            entry.id, entry.record, message_id, jobs if entry.lanes else self.jobs_of(entry.record), entry.tries
        )

    def jobs_of(self, record: bytes) -> list[tuple[Lane, Job]]:
        """Each user has two iPhones, and Xiaomi phones that are reached by the account."""
        message = load_offline_message(record)
        alert = message.alert(AlertText("ann", "words"), DAY)
        accounts = [it.account for it in message.recipients]
        apns, mipush, _ = self.lanes
        devices = [(apns, Job("main", "apns", who, name, alert)) for who in accounts for name in ("phone", "pad")]
        return devices + [(mipush, Job("main", "mipush", who, "", alert)) for who in accounts]

    def plan_chunk(self, worker: WorkerModel, plan: Plan, size: int, room: int = 0) -> None:
        chunk, last = plan.jobs[plan.done : plan.done + size], plan.done + size >= len(plan.jobs)
        asked = PlanChunk(self.app_id, plan.message_id, chunk)
        rooms = dict.fromkeys(self.lanes, room)
        (result,), _ = self.run(worker.queue.append_planned([asked], self.clock, rooms))
        expected = self.model.append_planned(asked)
        full = frozenset(lane for (lane, _), new in zip(chunk, expected, strict=True) if new < 0)
        assert result == ChunkResult([new == 1 for new in expected], full, result.claimed)
        for lane, count in Counter(lane for lane, _ in chunk).items():
            self.claimed_at_once(worker, lane, result.claimed.get(lane, ()), min(count, room))
        plan.done += size
        plan.full |= full
        if last:
            ends = [PlanEnd(plan.entry_id, frozenset(plan.full), plan.tries)]
            settled = self.run(worker.queue.settle_callbacks(self.app_id, ends, self.clock))
            assert settled == SettleResult(
                foreign=self.model.settle_callbacks(worker.instance, ends, to_ms(self.clock))
            )
            worker.plans.remove(plan)

    def claimed_at_once(
        self, worker: WorkerModel, lane: Lane, claimed: Sequence[ClaimedJob | Entry], count: int
    ) -> None:
        """The oldest that nobody had, and of those that were appended just now the job itself."""
        stream = self.model.jobs[lane]
        expected = stream.claim(worker.instance, count) if stream.has_group else []
        held = [
            HeldJob(it.entry_id, lane, it.job)
            if isinstance(it, ClaimedJob)
            else HeldJob(it.id, lane, load_job(it.record))
            for it in claimed
        ]
        assert [it.job for it in held] == [load_job(it.record) for it in expected]
        for one, it in zip(held, expected, strict=True):
            it.be(one.id)
        worker.held += held

    def settle_some(self, slot: int, picks: list[int], settlement: Callable[[HeldJob], Settlement]) -> None:
        worker = self.who(slot, lambda it: it.held)
        lane = worker.held[picks[0] % len(worker.held)].lane
        held = [it for it in worker.held if it.lane == lane]
        chosen = [held[pick % len(held)] for pick in picks]  # some of them perhaps twice
        self.settle(worker, lane, [settlement(it) for it in chosen])
        worker.held = [it for it in worker.held if it not in chosen]

    def settle(self, worker: WorkerModel, lane: Lane, settlements: list[Settlement]) -> None:
        jobs = {it.id: it.job.id for it in worker.held if it.lane == lane}
        result = self.run(worker.queue.settle_jobs(lane, settlements))
        foreign = self.model.settle_jobs(lane, worker.instance, settlements)
        assert result == SettleResult(foreign=foreign)
        ends = Counter(it.entry_id for it in settlements if not isinstance(it, Postpone | Move))
        ends.subtract(foreign)
        self.ended.update({jobs[id_]: count for id_, count in ends.items() if count > 0})

    def move_due(self, worker: WorkerModel, count: int = 100) -> None:
        moved = self.run(worker.queue.move_due(self.lanes, [self.app_id], self.clock, count))
        now_ms = to_ms(self.clock)
        assert moved.jobs == {lane: it for lane in self.lanes if (it := self.model.move_due(lane, now_ms, count))}
        assert moved.messages == self.model.move_waiting(now_ms, count)
        left = [when for retries in self.model.retries.values() for when in retries.values()]
        left += [it.due_ms for it in self.model.waiting]
        assert moved.next_due_at == (from_ms(min(left)) if left else None)
        assert moved.errors == {}

    def fall_silent(self, alive: set[str]) -> None:
        for place in self.places:
            for it in place.stream.fall_silent(alive):
                self.run(self.make_silent(place, it))

    async def make_silent(self, place: Place, it: Lying) -> None:
        await self.redis.xclaim(place.name, keys.GROUP, it.owner, 0, [own(it.id)], idle=SILENT_MS, justid=True)

    async def make_groups(self) -> None:
        for place in self.places:
            await self.workers[0].queue.ensure_groups(place.source)
            place.stream.has_group = True

    async def compare(self) -> None:
        pipe = self.redis.pipeline(transaction=False)
        for place in self.places:
            pipe.xrange(place.name)
            if place.stream.has_group:
                pipe.xpending_range(place.name, keys.GROUP, "-", "+", 1000)
        for lane in self.lanes:
            pipe.zrange(LAYOUT.retries(lane, 0), 0, -1, withscores=True)
        pipe.zrange(LAYOUT.waiting(self.app_id, 0), 0, -1, withscores=True)
        pipe.xrange(LAYOUT.dead_letters(self.app_id, 0))
        answers = iter(await pipe.execute())
        for place in self.places:
            compare_stream(place.stream, next(answers), next(answers) if place.stream.has_group else [])
        for lane in self.lanes:
            assert {record: int(when) for record, when in next(answers)} == self.model.retries[lane]
        waiting = {(record.partition(b"\n")[2], int(due)) for record, due in next(answers)}
        assert waiting == {(it.record, it.due_ms) for it in self.model.waiting}
        letters = [(fields[b"reason"].decode(), fields[b"r"]) for _, fields in next(answers)]
        assert letters == [(it.reason, dump_dead_letter(it.of, it.lane, compact=True)[1]) for it in self.model.dead]
        for message_id, targets in self.model.planned.items():
            assert all(await marks(self.redis, self.app_id, message_id, sorted(targets)))

    async def forget_everything(self) -> None:
        """Returns a millisecond later at the earliest, so that no entry's id, which is a time, comes again."""
        letters = [it.id for it in self.letters.oldest_first(self.app_id)]
        names = [LAYOUT.callbacks(self.app_id, 0), LAYOUT.waiting(self.app_id, 0), LAYOUT.dead_letters(self.app_id, 0)]
        names += [LAYOUT.dead_words(self.app_id, it.removesuffix(".0"), 0) for it in letters]
        for lane in self.lanes:
            names += [LAYOUT.jobs(lane, 0), LAYOUT.retries(lane, 0)]
        names += [name.decode() async for name in self.redis.scan_iter(match="*:marks:*", count=1000)]
        await self.redis.delete(*names)
        before = await self._now_ms()
        while await self._now_ms() <= before:
            pass

    async def _now_ms(self) -> int:
        seconds, microseconds = await self.redis.time()
        return int(seconds) * 1000 + int(microseconds) // 1000


def own(entry_id: bytes) -> bytes:
    return entry_id.removesuffix(b"/0")


def compare_stream(stream: StreamModel, lying: list[Any], pending: list[Any]) -> None:
    assert [fields[b"r"] for _, fields in lying] == [it.record for it in stream.lying]
    for (id_, _), it in zip(lying, stream.lying, strict=True):
        it.be(id_ + b"/0")
    held = [(own(it.id), it.owner.encode(), it.deliveries) for it in stream.lying if it.owner]
    assert [(row["message_id"], row["consumer"], row["times_delivered"]) for row in pending] == held


@pytest.fixture
def quick_url(tmp_path: Path) -> Iterator[str]:
    """A store of its own that need not survive anything: waiting for the disk would be most of the time."""
    url = ensure_store(tmp_path)
    Store(url).call(lambda redis: redis.config_set("appendfsync", "no"))
    yield url
    stop_store(tmp_path)


def test_whatever_happens_in_whatever_order_the_store_holds_what_the_model_says(quick_url: str) -> None:
    examples = int(os.environ.get("MACHINE_EXAMPLES", "40"))

    class OnThisStore(QueueMachine):
        url = quick_url
        store = Store(quick_url, timeout_s=PATIENCE_S, shards=1)

    run_state_machine_as_test(
        OnThisStore,
        settings=settings(
            max_examples=examples,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
            phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
        ),
    )
