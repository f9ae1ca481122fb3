"""One lane at work. A job flows one way:

    claim -> batches wait -> a place on the wire -> look up where they go -> send -> outcomes -> decisions -> settle

First a batch gets its place on the wire (`transport.reserve`), then all batches admitted together are looked up in one
read, then they leave at once. So nothing that was read grows old while it waits, and waiting costs nothing: a worker on
a slow machine does less, not the same again.

Where there is room the plan hands its jobs over (handover.py): places first (`admit`), then the store appends, claims
and looks up in one round trip, then they leave (`hand_over`). For the others there is `claim`.

A request that failed for the first time, unsent or unanswered, goes once more at once (an idle connection may have been
closed just then); from the second time on the failure is counted, backed off, and seen by the breaker. What could not
leave for reasons of ours goes back to the batches that wait.
"""

import asyncio
import operator
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog
from redis.exceptions import RedisError

from proxy.domain.dead_letters import Cause
from proxy.domain.decisions import Backoff, Decision, Result, as_shown_now, bury, check, decide, noted, withdrawn
from proxy.domain.delivery import TO_ALL, Delivery
from proxy.domain.devices import Destination, LaneRead
from proxy.domain.history import JobEnd, shortened
from proxy.domain.jobs import ClaimedJob, Push
from proxy.domain.lanes import Lane, Route, StoredLane
from proxy.domain.outcomes import About, CredentialsExpired, Deferred, Outcome, Split
from proxy.domain.settlements import Bury, Entry, Finish, JobSettlement, Postpone, Shown, Told
from proxy.domain.times import to_ms
from proxy.domain.transfers import FailureKind, Response, TransportFailure
from proxy.ports import Authorization, Transport, Wire
from proxy.store.devices.addresses import RedisAddresses
from proxy.store.records import UnreadableRecord, load_job
from proxy.store.troubles import is_one_nodes, is_the_stores_own
from proxy.worker.batches import Addressed, Batch, Sent, WaitingBatches, batches_of
from proxy.worker.consumer import POISON_DELIVERIES, StreamConsumer
from proxy.worker.conversations import Conversations, Ending, ending
from proxy.worker.effects import Effects
from proxy.worker.lane_control import LaneControl
from proxy.worker.observer import RelayObserver
from proxy.worker.turns import Turns

_STORE_AWAY_S = 0.5
_LOCK_BUSY = timedelta(milliseconds=300)
_EARLY = timedelta(seconds=2)  # for one that is to be tried again, which takes longer than an answer
_PROBE_CLAIM = 50
_MANY = 50  # jobs that waited in their streams

log = structlog.get_logger()
Prepared = tuple[Batch, tuple[Addressed, ...]]


@dataclass(frozen=True)
class Channel:
    """All that delivers the jobs of one lane. `replaces`: its alerts of one conversation replace each other.

    `withdraws`: an alert may be taken back. `window`: so long alerts of a conversation are gathered, and told together.
    `off` settles every job so: the operator switched the channel off while jobs were waiting. `delivery`: of the
    accounts that get no alerts from here, what would be sent is built and settled as such, or not looked at.
    """

    route: Route
    wire: Wire
    transport: Transport
    authorization: Authorization
    replaces: bool = False
    withdraws: bool = False
    window: timedelta = timedelta(0)
    off: Result | None = None
    delivery: Delivery = TO_ALL


@dataclass(frozen=True)
class Room:
    """For jobs that are being planned: so many in flight, and of these so many on the wire of `channel`."""

    jobs: int
    places: int
    channel: Channel


class LaneWorker:
    """Delivers one lane's jobs. `stall` reports no progress for `patience` although work waits."""

    def __init__(
        self,
        channel: Channel,
        consumer: StreamConsumer,
        addresses: RedisAddresses,
        control: LaneControl,
        conversations: Conversations,
        effects: Effects,
        observer: RelayObserver,
        *,
        backoff: Backoff,
        in_flight: int,
        patience: timedelta,
        now: Callable[[], datetime],
        clock: Callable[[], float],
        on_response: Callable[[Response], None],
        turns: Turns | None = None,
    ) -> None:
        self._turns = turns or Turns()
        self.lane: Lane = channel.route.lane
        self.consumer = consumer
        self._channel, self._wire, self._transport = channel, channel.wire, channel.transport
        self._addresses, self._control, self._conversations = addresses, control, conversations
        self._effects, self._observer, self._backoff = effects, observer, backoff
        self._in_flight, self._patience_s = in_flight, patience.total_seconds()
        self._now, self._clock, self._on_response = now, clock, on_response
        self._waiting = WaitingBatches()
        self._answers: list[tuple[Sent, Response | TransportFailure | Exception]] = []
        self._some_answered = asyncio.Event()
        self._under_way = 0  # requests
        self._later = 0  # batches that wait for a node of the store
        self._is_closing = False
        self._progress_at = clock()
        self._trouble = ""  # why the last request, or the last look-up, failed

    def use(self, channel: Channel) -> None:
        """From now on: the lane's key or secret has changed. What is on the wire ends there, and its answer counts."""
        self._channel, self._wire, self._transport = channel, channel.wire, channel.transport

    @property
    def channel(self) -> Channel:
        return self._channel

    # claiming

    async def claim(self) -> None:
        """One round: claim what there is room for. Waits where there is nothing to do."""
        if self._control.is_paused:
            await self._probe()
            return
        self._make_room()
        await self.consumer.in_flight.worth_reading()
        if not self._control.is_paused:
            entries = await self.consumer.claim()
            if len(entries) > _MANY:
                self._turns.flood()
            self._waiting.put(self._batches(entries))

    async def claim_rest(self) -> None:
        """The last round: what was read and not claimed. A paused lane puts it back."""
        self._waiting.put(self._batches(await self.consumer.claim_rest()))

    async def take_over(self) -> None:
        """Go on with what a dead worker left."""
        self._make_room()
        if not self._control.is_paused:
            self._waiting.put(self._batches(await self.consumer.take_over()))

    def _batches(self, entries: Sequence[Entry]) -> list[Batch]:
        return batches_of([claimed for entry in entries if (claimed := self._read(entry)) is not None], self._wire)

    def _read(self, entry: Entry) -> ClaimedJob | None:
        try:
            job = load_job(entry.record)
        except UnreadableRecord as error:
            log.error("job cannot be read", error=str(error))
            self.consumer.settle(Bury(entry.id, Cause.UNREADABLE, "unreadable record", entry))
            return None
        if entry.deliveries > POISON_DELIVERIES:
            log.error("job is poison", job_id=job.id, app=job.app, channel=job.channel)
            planned_at_ms = ClaimedJob(entry.id, job).planned_at_ms
            end = JobEnd(job, Result.DEAD_LETTER, "poison", planned_at_ms, ended_at_ms=to_ms(self._now()))
            notes = (end,) if job.alert.update is None else ()
            self.consumer.settle(Bury(entry.id, Cause.POISON, "poison", job, notes))
            return None
        return ClaimedJob(entry.id, job, taken_over=entry.deliveries > 1)

    def _make_room(self) -> None:
        """What is held back behind another is not in flight: after an outage it need not wait for its turn."""
        most = self._control.in_flight(self._in_flight)
        self.consumer.in_flight.allow(most + min(self._conversations.held_back, self._in_flight))

    # what the plan hands over

    @property
    def behind(self) -> Collection[int]:
        """See StreamConsumer.behind."""
        return self.consumer.behind

    def admit(self, most: int) -> Room:
        """Room for jobs that are being planned. `take` must follow, or `give_back`."""
        if self._is_closing or self._control.is_paused:
            return Room(0, 0, self._channel)
        jobs = self.consumer.admit(most)
        # alerts that replace each other wait for their conversation first
        places = 0 if self._channel.replaces or self._waiting else self._transport.reserve_free(jobs)
        return Room(jobs, places, self._channel)

    def give_back(self, room: Room) -> None:
        """Nothing is known to have been claimed for it."""
        self.consumer.claimed([], room.jobs, 0.0)
        room.channel.transport.give_back(room.places)

    def take(self, room: Room, claimed: Sequence[ClaimedJob | Entry], since: float) -> list[ClaimedJob]:
        """What was claimed as it was appended, after `since` (monotonic); `hand_over` must follow."""
        ids = [one.entry_id if isinstance(one, ClaimedJob) else one.id for one in claimed]
        self.consumer.claimed(ids, room.jobs, since)
        return [job for one in claimed if (job := one if isinstance(one, ClaimedJob) else self._read(one)) is not None]

    async def hand_over(self, room: Room, jobs: Sequence[ClaimedJob], destinations: Mapping[str, Destination]) -> None:
        """A job whose destination is given here, by its id, leaves at once where there is a place for it."""
        is_open = not self._control.is_paused  # it was when the room was given; much may have been answered since
        going = [one for one in jobs if is_open and one.job.id in destinations][: room.places]
        used = 0
        try:
            if batches := batches_of(going, self._wire):
                in_order = [destinations[one.job.id] for batch in batches for one in batch.jobs]
                used = await self._send_next(batches, room.channel, LaneRead(in_order, is_paused=False))
        finally:
            room.channel.transport.give_back(room.places - used)
        sent = {one.entry_id for one in going}
        self._waiting.put(batches_of([one for one in jobs if one.entry_id not in sent], self._wire))

    def close(self) -> None:
        """Nothing more is taken from the plan: what is in flight is all that there is to drain."""
        self._is_closing = True

    # sending

    async def run_sending(self) -> None:
        """Until cancelled: give waiting batches their place on the wire, look them up, and send them."""
        while True:
            await self._waiting.some()
            if self._control.is_paused or not self._waiting:
                self._put_back(self._waiting.take(len(self._waiting)))
                continue
            channel = self._channel  # another may be in use once it has places
            places, used = await channel.transport.reserve(len(self._waiting)), 0
            try:
                if not self._control.is_paused:
                    used = await self._send_next(self._waiting.take(places), channel)
            finally:
                channel.transport.give_back(places - used)
            if self._channel.replaces:
                self._make_room()

    async def _send_next(self, batches: Sequence[Batch], channel: Channel, looked_up: LaneRead | None = None) -> int:
        """Returns how many requests were sent. `looked_up` says where the jobs of these batches go, in order."""
        try:
            authorization = await channel.authorization.current()  # first: what is prepared must be sent
            prepared = await self._prepare(batches, looked_up)
        except RedisError as error:
            return await self._after_store_error(batches, channel, error)
        except Exception as error:  # noqa: BLE001  one that escapes a job makes it a dead letter, and the loop goes on
            self._bury([claimed for batch in batches for claimed in batch.jobs], error)
            return 0
        if not self._later:
            self._observer.store.answered()
        sent = 0
        for place, (batch, addressed) in enumerate(prepared):
            await self._turns.after(place)
            sent += self._send(batch, addressed, channel, authorization)
        return sent

    async def _after_store_error(self, batches: Sequence[Batch], channel: Channel, error: RedisError) -> int:
        """A store in trouble is waited for with the jobs in hand; a job that it cannot serve is left for later."""
        self._trouble = f"store: {type(error).__name__}"
        if is_one_nodes(error):
            if len(batches) > 1:
                return sum([await self._send_next([batch], channel) for batch in batches])
            self._observer.store.failed(error)
            self._put_later(batches)
            return 0
        if is_the_stores_own(error):
            self._observer.store.failed(error)
            self._waiting.put_first([batch for batch in batches if self._is_ours(batch)])
            await asyncio.sleep(_STORE_AWAY_S)
            return 0
        if len(batches) > 1:  # each by itself: one of them is the cause
            return sum([await self._send_next([batch], channel) for batch in batches])
        self._leave([id_ for batch in batches for id_ in batch.entry_ids], self._trouble)
        return 0

    def _put_later(self, batches: Sequence[Batch]) -> None:
        """The node of a cluster that has something of these is away, and the others wait for none of them."""
        self._later += len(batches)

        def put() -> None:
            self._later -= len(batches)
            self._waiting.put([batch for batch in batches if self._is_ours(batch)])

        asyncio.get_running_loop().call_later(_STORE_AWAY_S, put)

    async def _prepare(self, batches: Sequence[Batch], looked_up: LaneRead | None = None) -> list[Prepared]:
        """Read where all of them go, in one look-up, and settle those that go nowhere."""
        claimed = [one for batch in batches for one in batch.jobs if self.consumer.is_open(one.entry_id)]
        if not claimed:
            return []
        if looked_up is None:
            looked_up = await self._addresses.destinations(self.lane, [one.job for one in claimed])
        if looked_up.is_paused and not self._control.is_paused:
            await self._control.look()
            if self._control.is_paused:
                self._waiting.put_first(batches)
                return []
        addressed, now = dict[bytes, Push](), self._now()
        claimed, batches = _as_shown_now(claimed, batches, _told_once(claimed, looked_up), now)
        arrived = {id_ for batch in batches if batch.may_have_arrived for id_ in batch.entry_ids}
        for one, destination in zip(claimed, looked_up.destinations, strict=True):
            try:
                checked = self._check(one, destination, now)
            except Exception as error:  # noqa: BLE001  of the wire, about this job alone
                self._bury([one], error)
                continue
            if isinstance(checked, Push):
                addressed[one.entry_id] = checked
            else:
                if checked.result is Result.WITHDRAWN and one.entry_id in arrived:
                    if one.job.alert.is_fold:
                        one = replace(one, taken_over=True)  # noqa: PLW2901  it may be shown too
                    else:
                        checked = withdrawn(one, may_be_shown=True)
                (decision,) = await self._effects.apply([(one, Push(one.job, destination.device))], [checked])
                if isinstance(decision, RedisError):
                    raise decision
                self._settle(one, decision)
        if self._wire.batch_limit > 1:
            batches = self._of_one_variant(batches, addressed)
        if self._channel.replaces and addressed:
            pushes = [(one, addressed[one.entry_id]) for one in claimed if one.entry_id in addressed]
            addressed = await self._locked(pushes)
        prepared = list[Prepared]()
        for batch in batches:
            if going := tuple((one, addressed[one.entry_id]) for one in batch.jobs if one.entry_id in addressed):
                is_whole = len(going) == len(batch.jobs)
                prepared.append((batch if is_whole else replace(batch, jobs=tuple(one for one, _ in going)), going))
        return prepared

    def _of_one_variant(self, batches: Sequence[Batch], addressed: dict[bytes, Push]) -> list[Batch]:
        """The same batches, each without the jobs that need a request of their own: those wait as batches anew."""
        kept = list[Batch]()
        for batch in batches:
            if len(batch.jobs) == 1:
                kept.append(batch)
                continue
            by_variant: dict[object, list[ClaimedJob]] = {}
            for one in batch.jobs:
                if one.entry_id in addressed:
                    by_variant.setdefault(self._wire.variant(addressed[one.entry_id]), []).append(one)
            first, *others = by_variant.values() or [[]]
            kept.append(replace(batch, jobs=tuple(first)) if others else batch)
            self._waiting.put_first([replace(batch, jobs=tuple(jobs)) for jobs in others])
            for one in (one for jobs in others for one in jobs):
                del addressed[one.entry_id]
        return kept

    def _check(self, claimed: ClaimedJob, destination: Destination, now: datetime) -> Push | Decision:
        instead = self._channel.delivery.instead(claimed.job.account)
        off = self._channel.off or (instead if instead is not Result.SHADOW else None)
        if off is not None:
            return Decision(Finish(claimed.entry_id), off)
        checked = check(claimed, destination, self.lane, now)
        if isinstance(checked, Push) and (outcome := self._wire.refuse(checked)) is not None:
            return decide(claimed, outcome, sent_at=now, now=now, backoff=self._backoff)
        if instead is not None and isinstance(checked, Push):
            self._wire.build([checked], "", now)  # where that fails, it is told as always
            return Decision(Finish(claimed.entry_id), instead)
        return checked

    async def _locked(self, pushes: Sequence[Addressed]) -> dict[bytes, Push]:
        """At most one push of a conversation is in flight, and none that a later accepted one covers."""
        acquired = await self._conversations.acquire(pushes)
        now = self._now()
        for claimed in acquired.superseded:
            self._settle(claimed, Decision(Finish(claimed.entry_id), Result.SUPERSEDED))
        for claimed in acquired.busy:
            self.consumer.settle(Postpone(claimed.entry_id, claimed.put_off(), now + _LOCK_BUSY))
        for claimed in acquired.early:
            self.consumer.settle(Postpone(claimed.entry_id, claimed.put_off(), now + _EARLY))
        if acquired.away:
            self._put_later(batches_of(acquired.away, self._wire))
        return {claimed.entry_id: push for claimed, push in acquired.ready}

    def _send(
        self,
        batch: Batch,
        addressed: tuple[Addressed, ...],
        channel: Channel,
        authorization: str,
        *,
        is_probe: bool = False,
    ) -> bool:
        now = self._now()
        sent = Sent(batch, addressed, authorization, now, self._clock(), is_probe)
        try:
            request = channel.wire.build([push for _, push in addressed], authorization, now)
        except Exception as error:  # noqa: BLE001  see _send_next
            self._heard(sent, error)
            return False
        self._under_way += 1
        future = channel.transport.send(request, self.consumer.leave_by(sent.entry_ids))
        future.add_done_callback(lambda done: self._came_back(sent, done))
        return True

    def _came_back(self, sent: Sent, done: "asyncio.Future[Response | TransportFailure]") -> None:
        self._under_way -= 1
        if not done.cancelled():
            self._heard(sent, done.result())

    def _heard(self, sent: Sent, answer: Response | TransportFailure | Exception) -> None:
        self._answers.append((sent, answer))
        self._some_answered.set()

    # answers

    async def run_answering(self) -> None:
        """Until cancelled: turn what came back into decisions, and carry them out."""
        while True:
            await self._some_answered.wait()
            self._some_answered.clear()
            answers, self._answers = self._answers, []
            for place, (sent, answer) in enumerate(answers):
                await self._turns.after(place)
                await self._conclude(sent, answer)

    async def _conclude(self, sent: Sent, answer: Response | TransportFailure | Exception) -> None:
        try:
            if isinstance(answer, Exception):
                raise answer
            if isinstance(answer, TransportFailure):
                await self._after_failure(sent, answer)
            else:
                await self._after_response(sent, answer)
        except RedisError as error:  # a later take-over tries again, under the same identity
            self._leave(sent.entry_ids, f"store: {type(error).__name__}")
            await self._give_up(sent, Ending.UNANSWERED)
        except Exception as error:  # noqa: BLE001  see above
            self._bury([claimed for claimed, _ in sent.addressed], error)
            await self._give_up(sent, Ending.GIVEN_UP)

    async def _after_failure(self, sent: Sent, failure: TransportFailure) -> None:
        self._trouble = failure.reason
        batch = sent.batch
        if failure.kind is FailureKind.NOT_SENT:
            await self._again(sent, [batch], Ending.REFUSED)
        elif batch.failed is None and failure.kind is not FailureKind.TIMED_OUT and not sent.is_probe:
            self._observer.repeated(failure.reason, len(sent.addressed))
            await self._again(
                sent, [replace(batch, failed=failure)], Ending.UNANSWERED if failure.sent else Ending.REFUSED
            )
        else:
            unanswered = failure.kind is not FailureKind.UNREACHABLE or batch.may_have_arrived
            await self._decide(sent, [Deferred(failure.reason, unanswered=unanswered)] * len(sent.addressed))

    async def _after_response(self, sent: Sent, response: Response) -> None:
        self._progress_at, self._trouble = self._clock(), ""
        self._observer.answered(self._progress_at - sent.began)
        self._on_response(response)
        outcomes = self._wire.read([push for _, push in sent.addressed], response, self._now())
        if any(isinstance(outcome, CredentialsExpired | Split) for outcome in outcomes) and (
            another_try := await self._another_try(sent, outcomes)
        ):
            await self._again(sent, another_try, Ending.REFUSED)
            return
        if sent.batch.may_have_arrived:
            outcomes = [replace(one, unanswered=True) if isinstance(one, Deferred) else one for one in outcomes]
        await self._decide(sent, outcomes)

    async def _another_try(self, sent: Sent, outcomes: Sequence[Outcome]) -> list[Batch]:
        """An expired provider token is renewed once; a batch refused as a whole goes on in halves."""
        batch = sent.batch
        is_expired = not batch.renewed and any(isinstance(outcome, CredentialsExpired) for outcome in outcomes)
        if is_expired and await self._channel.authorization.renew(sent.authorization):
            return [replace(batch, renewed=True)]
        if len(sent.addressed) > 1 and any(isinstance(outcome, Split) for outcome in outcomes):
            if sent.is_probe:  # the provider judges what it is sent: it is well
                await self._control.resume()
            middle = len(batch.jobs) // 2
            return [Batch(batch.jobs[:middle]), Batch(batch.jobs[middle:])]
        return []

    async def _decide(self, sent: Sent, outcomes: Sequence[Outcome]) -> None:
        if any(isinstance(outcome, Deferred) and outcome.about is About.PROVIDER for outcome in outcomes):
            self._control.failed(sent.addressed[0][0].job.id)
        else:
            self._control.answered()
        is_paused, now = self._control.is_paused, self._now()
        asked = [
            decide(
                claimed, self._for_fold(claimed, outcome), sent_at=sent.at, now=now, backoff=self._backoff,
                is_paused=is_paused,
            )
            for (claimed, _), outcome in zip(sent.addressed, outcomes, strict=True)
        ]  # fmt: skip
        has_effects = any(decision.effect is not None for decision in asked)
        decisions = await self._effects.apply(sent.addressed, asked) if has_effects else asked
        results = self._settle_all(sent, decisions)
        if self._channel.replaces:
            await self._free_conversations(sent, list(map(ending, results, outcomes)))
        if self._control.is_paused:
            self._waiting.wake()  # what waits is put back
        if sent.is_probe and Result.PAUSED not in results:
            await self._control.resume()

    async def _again(self, sent: Sent, batches: Sequence[Batch], how: Ending) -> None:
        """These batches of a request wait anew, in front of all others. `how`: may it have been shown?"""
        await self._give_up(sent, how)
        if self._control.is_paused:
            self._put_back(batches)
        else:
            self._waiting.put_first([batch for batch in batches if self._is_ours(batch)])

    async def _give_up(self, sent: Sent, how: Ending) -> None:
        """Nothing was decided about a request: its conversations are free, and so is the permission to probe."""
        await self._free_conversations(sent, [how] * len(sent.addressed))
        if sent.is_probe:
            await self._control.withdraw_probe()

    async def _free_conversations(self, sent: Sent, endings: Sequence[Ending]) -> None:
        """What a push covers is settled, and what else was held back behind it goes on."""
        if not self._channel.replaces:
            return
        try:
            jobs = [claimed.job for claimed, _ in sent.addressed]
            await self._conversations.release(list(zip(jobs, endings, strict=True)))
        except RedisError as error:  # the store learns it before the next lock is taken
            self._trouble = f"store: {type(error).__name__}"
        for (claimed, _), how in zip(sent.addressed, endings, strict=True):
            covered, going = self._conversations.freed(claimed.job, accepted=how is Ending.ACCEPTED)
            for one in covered:
                self._settle(
                    one,
                    Decision(Finish(one.entry_id), Result.SUPERSEDED),
                    why=f"by {shortened(claimed.job.alert.message_id)}",
                )
            self._waiting.put(batches_of(going, self._wire))

    # settling

    def _for_fold(self, claimed: ClaimedJob, outcome: Outcome) -> Outcome:
        """All that follows in the conversation waits for a fold to end: one that the provider may have taken waits no
        longer for its next try than the next fold would.
        """
        is_fold = claimed.job.alert.is_fold
        if is_fold and isinstance(outcome, Deferred) and outcome.unanswered and outcome.about is About.JOB:
            return replace(outcome, retry_after=min(outcome.retry_after, self._channel.window))
        return outcome

    def _settle_all(self, sent: Sent, decisions: Sequence[Decision | RedisError]) -> list[Result | None]:
        """The results; None for a job that the store cannot serve: a later take-over tries it again."""
        results, left = list[Result | None](), list[bytes]()
        for (claimed, _), decision in zip(sent.addressed, decisions, strict=True):
            if isinstance(decision, RedisError):
                self._trouble = f"store: {type(decision).__name__}"
                left.append(claimed.entry_id)
                results.append(None)
            else:
                self._settle(claimed, decision, sent.at)
                results.append(decision.result)
        if left:
            self._leave(left, self._trouble)
        return results

    def _settle(
        self, claimed: ClaimedJob, decision: Decision, pushed_at: datetime | None = None, why: str = ""
    ) -> None:
        """`why`: for the history, where the decision has no reason."""
        if decision.settlement is not None and self.consumer.is_open(claimed.entry_id):
            self._progress_at, now = self._clock(), self._now()
            if claimed.job.alert.is_fold:
                why = why or f"fold of {claimed.job.alert.text.count}"
            settlement = noted(claimed, decision, pushed_at, now, why)
            self.consumer.settle(self._as_it_ends(claimed, settlement, decision.result, now))
            self._observer.settled(claimed.job, decision, now)

    def _as_it_ends(
        self, claimed: ClaimedJob, settlement: JobSettlement, result: Result, now: datetime
    ) -> JobSettlement:
        """An accepted alert may be taken back from now on; one that was meanwhile is followed by its withdrawal.

        What is told together is told, and may be followed by more.
        """
        if claimed.job.alert.is_fold:
            may_be_shown = result is Result.ACCEPTED or claimed.taken_over or bool(claimed.job.history)
            next_at = now + self._channel.window if may_be_shown else None
            is_end = isinstance(settlement, Finish)
            return Told(claimed.entry_id, claimed.job, next_at, settlement.notes) if is_end else settlement
        if self._channel.withdraws and result is Result.ACCEPTED and claimed.job.alert.update is None:
            return Shown(claimed.entry_id, claimed.job, settlement.notes)
        return settlement

    def _put_back(self, batches: Sequence[Batch]) -> None:
        """The lane is paused: its jobs wait in the store, where any worker's probe finds them."""
        now = self._now()
        for batch in batches:
            for claimed in batch.jobs:
                if self.consumer.is_open(claimed.entry_id):
                    job = claimed.put_off(may_have_arrived=batch.may_have_arrived)
                    self.consumer.settle(Postpone(claimed.entry_id, job, now, _note_of_pause(claimed, now)))

    def _is_ours(self, batch: Batch) -> bool:
        """False, and nothing is decided, where another worker may have taken the batch over."""
        ids = [id_ for id_ in batch.entry_ids if self.consumer.is_open(id_)]
        if self.consumer.may_act(ids):
            return True
        if ids:
            self._observer.leases_lost(self.consumer.source.name, len(ids))
            self._leave(ids, "lease over")
        return False

    def _leave(self, entry_ids: Sequence[bytes], why: str) -> None:
        log.warning("jobs left for a later try", app=self.lane.app, channel=self.lane.channel, error=why)
        self.consumer.release(entry_ids)

    def _bury(self, jobs: Sequence[ClaimedJob], error: Exception) -> None:
        log.exception("delivery failed", app=self.lane.app, channel=self.lane.channel)
        for claimed in jobs:
            self._settle(claimed, bury(claimed, Cause.INTERNAL, f"internal error: {type(error).__name__}"))

    # pausing

    def observe(self, stored: StoredLane, asked_at: float) -> None:
        """What the store said of the lane to a question asked then."""
        self._control.observe(stored, asked_at)
        if self._control.is_paused:
            self._waiting.wake()

    async def _probe(self) -> None:
        """While the lane is paused one job goes out now and then; when it gets through the lane is open again."""
        await self._control.look()
        if not self._control.is_paused:
            return
        if self.consumer.in_flight.used or not await self.consumer.length() or not await self._control.may_probe():
            await asyncio.sleep(self.consumer.block.total_seconds())
        elif not await self._send_probe():
            await self._control.withdraw_probe()

    async def _send_probe(self) -> bool:
        """Settle what needs no request, then send one; False where there was none to send."""
        while True:
            entries = await self.consumer.claim(_PROBE_CLAIM)
            entries = entries or await self.consumer.take_over(1)  # all of them may be a dead worker's
            batches = self._batches(entries)
            if not batches:
                return False
            for index, batch in enumerate(batches):
                if await self._sent_as_probe(batch):
                    self._put_back(batches[index + 1 :])
                    return True

    async def _sent_as_probe(self, batch: Batch) -> bool:
        channel = self._channel
        places, used = await channel.transport.reserve(1), 0
        try:
            authorization = await channel.authorization.current()
            for whole, addressed in await self._prepare([batch]):
                used += self._send(whole, addressed, channel, authorization, is_probe=True)
        except RedisError as error:
            self._trouble = f"store: {type(error).__name__}"
            self._put_back([batch])
        except Exception as error:  # noqa: BLE001  see above
            self._bury(batch.jobs, error)
        finally:
            channel.transport.give_back(places - used)
        return used > 0

    # ending and reporting

    async def drained(self) -> None:
        """Returns once nothing is in flight and everything is settled."""
        while self.consumer.in_flight.used:
            await asyncio.sleep(0.02)
        await self.consumer.settled()

    async def abandon(self) -> None:
        """Nothing to stop: what is under way ends with the transport, and is taken over by another worker."""

    def stall(self) -> str:
        """Why the lane makes no progress although it is open and work waits; "" where it does, or has nothing to do."""
        if self._control.is_paused or not self.consumer.in_flight.used:
            self._progress_at = self._clock()
        if self._clock() - self._progress_at < self._patience_s:
            return ""
        if self._trouble or self._under_way:
            return self._trouble or "no answer from the provider"
        return "no free connection" if self._waiting else "the store takes no outcome"


def _told_once(claimed: Sequence[ClaimedJob], looked_up: LaneRead) -> LaneRead:
    """Of updates of one fold the first tells of it: another is made where one seems to be lost, and was only late."""
    folds, found = set[tuple[str, str]](), looked_up.destinations
    for place, (one, there) in enumerate(zip(claimed, found, strict=True)):
        if there.fold is not None:
            name = one.job.mark, there.fold.first
            if name in folds:
                found[place] = replace(there, fold=replace(there.fold, count=0, seen=0))
            folds.add(name)
    return looked_up


def _as_shown_now(
    claimed: list[ClaimedJob], batches: Sequence[Batch], looked_up: LaneRead, now: datetime
) -> tuple[list[ClaimedJob], Sequence[Batch]]:
    """The same jobs, alone and in their batches; mostly those very ones."""
    asked = zip(claimed, looked_up.destinations, strict=True)
    shown = [as_shown_now(one, destination, now) for one, destination in asked]
    if all(map(operator.is_, shown, claimed)):
        return claimed, batches
    by_entry = {one.entry_id: one for one in shown}
    return shown, [replace(it, jobs=tuple(by_entry.get(one.entry_id, one) for one in it.jobs)) for it in batches]


def _note_of_pause(claimed: ClaimedJob, now: datetime) -> tuple[JobEnd, ...]:
    """For the history, unless the job was put off before."""
    if claimed.job.planned_at_ms or claimed.job.alert.update is not None:
        return ()
    return (JobEnd(claimed.job, Result.PAUSED, "lane paused", claimed.planned_at_ms, ended_at_ms=to_ms(now)),)
