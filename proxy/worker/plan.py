"""One app's callbacks at work: messages that were claimed together are planned together.

    claim -> messages -> one look-up of all readers' devices -> jobs in chunks -> one call that appends them

A lane that has room takes its jobs over at once: see handover.py.

A crowd (a group of thousands) is planned by itself beside the others, page by page, and takes pauses. A full lane holds
back its own jobs alone: the store keeps the message for that lane, and gives it back later (Entry.lanes).
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

import structlog
from redis.exceptions import RedisError

from proxy.domain.alerts import Alert, AlertText
from proxy.domain.callbacks import Recipient
from proxy.domain.dead_letters import Cause
from proxy.domain.devices import AccountsRead
from proxy.domain.history import JobEnd, Note, Reason, shortened
from proxy.domain.kinds import WITHDRAWING
from proxy.domain.lanes import Lane, Route
from proxy.domain.messages import DEFAULT_READING, Content, MessageReading
from proxy.domain.offline_messages import OfflineMessage
from proxy.domain.preferences import Treatment
from proxy.domain.previews import Preview
from proxy.domain.profiles import NOT_KNOWN, Profile, named, question_about
from proxy.domain.settlements import Bury, Entry, PlanChunk, PlanEnd
from proxy.domain.times import to_ms
from proxy.profiles.lookup import ProfileLookup
from proxy.store.devices.addresses import RedisAddresses
from proxy.store.history_records import NotesOfMessage
from proxy.store.queue.entries import lane_name, shard_of
from proxy.store.records import UnreadableRecord, load_offline_message
from proxy.store.scripts import Command
from proxy.store.troubles import is_one_nodes, is_the_stores_own
from proxy.usecases.note_plan import note_of_reader, notes_of_all, notes_of_own, notes_of_some
from proxy.usecases.plan_alerts import Planned, PlanResult, alert_of, jobs_for, readers_of, treatments_of
from proxy.worker.consumer import POISON_DELIVERIES, StreamConsumer
from proxy.worker.handover import HandOver
from proxy.worker.naming import Naming, Unnamed
from proxy.worker.observer import RelayObserver
from proxy.worker.portions import portions
from proxy.worker.tasks import Tasks
from proxy.worker.turns import Turns
from proxy.worker.withdrawals import Notice, PlanWithdrawals

JOBS_PER_CHUNK = 50  # the store is busy for half a millisecond a chunk; 1,000 at once would be 6 to 10
CROWD = 50  # a message with more readers than this is planned by itself
READERS_TOGETHER = 500  # of several messages: pushes share the event loop, and would wait for more of them
_OF_FLOOD = 16  # the same of a flood while others have little: the store too would make them wait for all of it
_PAGE = 100  # readers of a crowd that are looked up together
_JOBS_TOGETHER = 800  # of a crowd: about a chunk for each of 16 shards
_JOBS_AT_ONCE = 100  # of these: chunks that share a round trip, which costs as much as three jobs
_PAUSING_CROWD = 1_000
_STORE_AWAY_S = 0.5
_GATHER_S = 0.006

log = structlog.get_logger()
_T = TypeVar("_T")


@dataclass
class Plan:
    """One message on its way to jobs. `appended` and `folded` count those of earlier tries too.

    `shard_of`: an account's.
    """

    entry: Entry
    message: OfflineMessage
    alert: Alert | PlanResult
    readers: list[Recipient]
    content: Content
    shard_of: Callable[[str], int]
    appended: int = 0
    folded: int = 0
    full: frozenset[Lane] = frozenset()
    blocked: int = 0
    muted: int = 0
    present: int = 0
    jobs: list[Planned] = field(default_factory=list)
    notes: NotesOfMessage | None = None  # mostly none: who gets a job is noted when that ends
    at: datetime | None = None

    def begin(self, now: datetime) -> None:
        """Another try: what the store has of it already, it does not take again."""
        self.at = now
        self.full, self.blocked, self.muted, self.present = frozenset(), 0, 0, 0
        self.notes = None
        if not self.entry.tries and len(self.readers) < len(self.message.recipients):
            self.note(notes_of_own(self.message))

    def note(self, notes: Sequence[Note]) -> None:
        if notes:
            self.notes = self.notes or NotesOfMessage(to_ms(self.at) if self.at else 0, self.shard_of)
            self.notes.add(notes)

    @property
    def is_crowd(self) -> bool:
        return len(self.readers) > CROWD

    @property
    def end(self) -> PlanEnd:
        """Of its callback, once all jobs are in their lanes or these are full."""
        return PlanEnd(self.entry.id, self.full, self.entry.tries, self.notes.records() if self.notes else {})

    @property
    def result(self) -> PlanResult:
        if isinstance(self.alert, PlanResult):
            return self.alert
        if self.full:
            return PlanResult.WAITS
        if self.appended:
            return PlanResult.PLANNED
        if self.folded:
            return PlanResult.FOLDED
        if not self.readers:
            return PlanResult.NO_READERS
        if self.jobs:
            return PlanResult.KNOWN
        if self.blocked + self.present + self.muted < len(self.readers):
            return PlanResult.NO_DEVICES
        if self.muted:
            return PlanResult.MUTED
        return PlanResult.PRESENT if self.present else PlanResult.BLOCKED


@dataclass(frozen=True)
class _Aside:
    """Callbacks of flooded shards. `done` once they are planned."""

    entries: Sequence[Entry]
    shards: Set[int]
    done: "asyncio.Future[None]"


class PlanWorker:
    """Plans one app's callbacks. `routes` are the app's lanes, of all its sections."""

    def __init__(
        self,
        app_id: str,
        consumer: StreamConsumer,
        routes: Sequence[Route],
        addresses: RedisAddresses,
        hand_over: HandOver,
        observer: RelayObserver,
        *,
        alert_ttl: timedelta,
        now: Callable[[], datetime],
        reading: MessageReading = DEFAULT_READING,
        withdrawals: PlanWithdrawals | None = None,
        profiles: ProfileLookup | None = None,
        turns: Turns | None = None,
    ) -> None:
        """`withdrawals` None: nothing is taken back; `profiles` None: names are those of payloads."""
        self._turns = turns or Turns()
        self._aside = deque[_Aside]()
        self.consumer = consumer
        self._app_id, self._routes, self._addresses, self._hand_over = app_id, routes, addresses, hand_over
        self._observer, self._alert_ttl, self._now = observer, alert_ttl, now
        self._reading, self._withdrawals = reading, withdrawals
        self._keeps_words = any(route.preview is not Preview.NONE for route in routes)
        self._tasks = Tasks()
        self._naming: Naming[Plan] | None = None
        if profiles is not None and self._keeps_words:
            self._naming = Naming(profiles, self._go_on, consumer.in_flight, self._tasks)

    async def claim(self) -> None:
        """One round: read what there is room for, and plan it."""
        await self.consumer.in_flight.worth_reading()
        entries = self._without_flood(await self.consumer.claim())
        await self._begin(entries)
        if (
            len(entries) > 1 and not self._aside
        ):  # under load more come together the next time, which costs less for each
            await asyncio.sleep(_GATHER_S)

    async def claim_rest(self) -> None:
        """The last round: plan what was read and not claimed."""
        await self._begin(await self.consumer.claim_rest())

    def _without_flood(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        """Those of shards in which more wait are planned beside the others, in their order."""
        flooded = self.consumer.flooded.union(*(it.shards for it in self._aside))
        flood = [entry for entry in entries if shard_of(entry.id) in flooded] if flooded else []
        if not flood:
            return entries
        self._turns.flood()
        self._aside.append(_Aside(flood, {shard_of(it.id) for it in flood}, asyncio.get_running_loop().create_future()))
        if len(self._aside) == 1:
            self._tasks.start(self._plan_aside())
        return [entry for entry in entries if shard_of(entry.id) not in flooded]

    async def _plan_aside(self) -> None:
        while self._aside:
            some = self._aside[0]
            try:
                await self._begin(some.entries, _OF_FLOOD if self._turns.are_shared else READERS_TOGETHER)
            except Exception:
                log.exception("planning failed")
                self.consumer.release([entry.id for entry in some.entries])  # left for a later take-over
            finally:
                self._aside.popleft().done.set_result(None)

    async def take_over(self) -> None:
        """Go on with what a dead worker left."""
        await self._begin(await self.consumer.take_over())

    async def drained(self) -> None:
        """Returns once nothing is in flight."""
        await self._tasks.ended()
        await self.consumer.settled()

    async def abandon(self) -> None:
        """Stop in the middle: a later take-over adds what is missing."""
        await self._tasks.cancel()

    async def _begin(self, entries: Sequence[Entry], together: int = READERS_TOGETHER) -> None:
        notices, plans = list[Notice](), list[Plan]()
        for place, entry in enumerate(entries):
            await self._turns.after(place)
            if (plan := self._read(entry, notices)) is not None:
                plans.append(plan)
        if self._naming is None:
            await self._plan_all(plans, together)
        else:
            await self._go_on(self._naming.sort([self._unnamed(plan) for plan in plans]))
        if notices:
            waiting = self._naming.waiting if self._naming else []
            waiting += [it.done for it in self._aside if it.entries is not entries]
            if waiting:  # what they take back may be among them
                self._tasks.start(self._withdraw_behind(waiting, notices))
            else:
                await self._withdraw(notices)

    def _unnamed(self, plan: Plan) -> Unnamed[Plan]:
        message, is_shown = plan.message, isinstance(plan.alert, Alert) and plan.readers
        question = question_about(message.sender, message.conversation, plan.content) if is_shown else None
        return Unnamed(plan, message.conversation, question)

    async def _go_on(self, found: Sequence[tuple[Plan, Profile]]) -> None:
        for plan, profile in found:
            if profile != NOT_KNOWN:
                plan.content = named(plan.content, profile)
                plan.alert = alert_of(plan.message, plan.content, self._now(), self._alert_ttl)
        await self._plan_all([plan for plan, _ in found])

    async def _plan_all(self, plans: Sequence[Plan], together: int = READERS_TOGETHER) -> None:
        for plan in plans:
            if plan.is_crowd:
                self._tasks.start(self._plan([plan]))
        others = [plan for plan in plans if not plan.is_crowd]
        with self._turns.small(sum(len(plan.readers) for plan in others)):
            for some in portions(others, lambda it: len(it.readers), together):
                await self._plan(some)

    def _read(self, entry: Entry, notices: list[Notice]) -> Plan | None:
        """None where there is nothing to plan: what takes alerts back is added to `notices`."""
        try:
            message = load_offline_message(entry.record)
        except UnreadableRecord as error:
            log.error("callback cannot be read", error=str(error))
            self.consumer.settle(Bury(entry.id, Cause.UNREADABLE, "unreadable callback", entry))
            return None
        if entry.deliveries > POISON_DELIVERIES:
            log.error("callback is poison", message_id=message.message_id)
            self._tasks.start(self._bury(entry, message))
            return None
        content = self._reading.read(message.payload, message.biz_type)
        if self._withdrawals is not None and content.kind in WITHDRAWING and content.about:
            notices.append(Notice(entry, message, content))
            return None
        alert = alert_of(message, content, self._now(), self._alert_ttl)
        return Plan(entry, message, alert, readers_of(message), content, self._hand_over.shard_of)

    async def _bury(self, entry: Entry, message: OfflineMessage) -> None:
        """A dead letter keeps only the message's type where none of its alerts would show words."""
        readers, shows = readers_of(message), self._keeps_words
        if shows and entry.deliveries == POISON_DELIVERIES + 1:  # once: the look-up may be what ends its workers
            shows = await self._is_shown_to_any(entry, message, readers)
        if not shows:
            type_ = self._reading.type_of(message.payload, message.biz_type)
            message = replace(message, payload=b"{}", biz_type=type_)
        notes = [note_of_reader(message, Reason.POISON, reader.account) for reader in readers]
        self.consumer.settle(Bury(entry.id, Cause.POISON, "poison callback", message, notes))

    async def _is_shown_to_any(self, entry: Entry, message: OfflineMessage, readers: Sequence[Recipient]) -> bool:
        """False where it is known that no alert of it would have words. Of a crowd one will."""
        if not 0 < len(readers) <= CROWD:
            return True
        names = dict.fromkeys(reader.account for reader in readers)
        try:
            found = await self._patiently([entry.id], partial(self._read_accounts, names))
        except Exception:  # noqa: BLE001  it may be what makes the callback poison: once that is mended the message rings
            return True
        hiding = {name for name, its in found.preferences.items() if its.preview is Preview.NONE}
        open_ = [reader for reader in readers if reader.account not in hiding]
        alert = message.alert(AlertText(message.sender, ""), self._alert_ttl)
        jobs = jobs_for(self._routes, alert, open_, found.devices, ())
        return any(job.alert.text.title for _, job in jobs) if jobs else bool(open_)

    async def _plan(self, plans: Sequence[Plan], *, apart: bool = False) -> None:
        """Plan them together; where one of them fails, each by itself, for it must not hold up the others.

        `apart`: nobody waits for it, so a node of a cluster that is away is waited for.
        """
        try:
            await self._patiently([plan.entry.id for plan in plans], partial(self._append_all, plans), apart=apart)
        except (RedisError, OverflowError, ValueError) as error:
            if is_one_nodes(error) and not apart:
                for plan in plans:
                    self._tasks.start(self._plan([plan], apart=True))
                return
            if len(plans) > 1:
                for plan in plans:
                    await self._plan([plan])
                return
            log.warning("callback left for a later try", error=type(error).__name__)
        except Exception:
            if len(plans) > 1:
                for plan in plans:
                    await self._plan([plan])
                return
            log.exception("planning failed")
        else:
            for plan in plans:
                self._observer.planned(plan.message, plan.result, plan.appended)
                self._note_planned_before(plan)
                self.consumer.settle(plan.end)
        self.consumer.release([plan.entry.id for plan in plans])  # those that were left

    def _note_planned_before(self, plan: Plan) -> None:
        """Only the store's answer says so. Nothing waits for it, and a kill now costs the note."""
        if plan.result is PlanResult.KNOWN and not plan.entry.tries and plan.entry.deliveries == 1:
            notes = NotesOfMessage(to_ms(self._now()), self._hand_over.shard_of)
            accounts = dict.fromkeys(job.account for _, job in plan.jobs)
            notes.add(note_of_reader(plan.message, Reason.PLANNED_BEFORE, account) for account in accounts)
            self._tasks.start(self._hand_over.note(self._app_id, notes.records()))

    def _note_folded(self, chunk: PlanChunk, folded: Mapping[int, str]) -> None:
        """As above: only the store knows which."""
        now_ms = to_ms(self._now())
        notes = NotesOfMessage(now_ms, self._hand_over.shard_of)
        notes.add(
            JobEnd(chunk.jobs[place][1], Reason.FOLDED, shortened(first), now_ms).note
            for place, first in folded.items()
        )
        self._tasks.start(self._hand_over.note(self._app_id, notes.records()))

    async def _withdraw_behind(self, waiting: "list[asyncio.Future[None]]", notices: Sequence[Notice]) -> None:
        await asyncio.wait(waiting)
        await self._withdraw(notices)

    async def _withdraw(self, notices: Sequence[Notice], *, apart: bool = False) -> None:
        """Take back what they say. What fails of them is left for a later try, as with plans."""
        assert self._withdrawals is not None  # noqa: S101  for mypy: without them there are no notices
        done = list[tuple[Notice, int, PlanEnd]]()
        try:
            ids = [it.entry.id for it in notices]
            done = await self._patiently(ids, partial(self._withdrawals.withdraw, notices), apart=apart)
        except Exception as error:
            if is_one_nodes(error) and not apart:
                for notice in notices:
                    self._tasks.start(self._withdraw([notice], apart=True))
                return
            if len(notices) > 1:  # each by itself: one of them is the cause
                for notice in notices:
                    await self._withdraw([notice])
                return
            if isinstance(error, RedisError | OverflowError | ValueError):
                log.warning("callback left for a later try", error=type(error).__name__)
            else:
                log.exception("withdrawing failed")
        for notice, jobs, end in done:
            self._observer.planned(notice.message, PlanResult.WITHDRAWS if jobs else PlanResult.NO_TEXT, jobs)
            self.consumer.settle(end)
        self.consumer.release([notice.entry.id for notice in notices])

    async def _patiently(self, ids: Sequence[bytes], work: Callable[[], Awaitable[_T]], *, apart: bool = True) -> _T:
        """A store in trouble is waited for with the entries in hand: six leases of it would make them all poison.

        Unless `apart` others wait behind this, and may have nothing to do with a node that is away.
        """
        while True:
            try:
                done = await work()
            except RedisError as error:
                if not (is_the_stores_own(error) and self.consumer.may_act(ids)) or (is_one_nodes(error) and not apart):
                    raise
                self._observer.store.failed(error)
                await asyncio.sleep(_STORE_AWAY_S)
            else:
                self._observer.store.answered()
                return done

    async def _append_all(self, plans: Sequence[Plan]) -> None:
        if len(plans) == 1 and plans[0].is_crowd:
            await self._append_crowd(plans[0])
            return
        found = await self._look_up([(plan, plan.readers) for plan in plans])
        chunks = list[tuple[Plan, PlanChunk]]()
        for place, plan in enumerate(plans):
            await self._turns.after(place)
            plan.begin(self._now())
            plan.jobs = self._jobs(plan, plan.readers, found)
            chunks += [(plan, chunk) for chunk in self._chunks(plan, plan.jobs)]
        await self._append(chunks)

    async def _append_crowd(self, plan: Plan) -> None:
        plan.begin(self._now())
        waiting, plan.jobs = list[Planned](), []
        for start in range(0, len(plan.readers), _PAGE):
            page = plan.readers[start : start + _PAGE]
            waiting += self._jobs(plan, page, await self._look_up([(plan, page)]))
            plan.jobs = plan.jobs or waiting[:1]
            if len(waiting) < _JOBS_TOGETHER and start + _PAGE < len(plan.readers):
                continue  # a shard has its jobs in fewer chunks
            for chunks in portions(self._chunks(plan, waiting), lambda it: len(it.jobs), _JOBS_AT_ONCE):
                began = time.perf_counter()
                await self._append([(plan, chunk) for chunk in chunks])
                if len(plan.readers) > _PAUSING_CROWD:  # it can wait; intake and other people's messages cannot
                    await asyncio.sleep(2 * (time.perf_counter() - began))
            waiting = []

    async def _look_up(self, asked: Sequence[tuple[Plan, Sequence[Recipient]]]) -> AccountsRead:
        """The devices of all these readers in all sections, which of them are blocked, and what they have set."""
        names = dict.fromkeys(
            reader.account for plan, readers in asked if isinstance(plan.alert, Alert) for reader in readers
        )
        if not names:
            return AccountsRead({}, frozenset())
        saying = self._saying(asked)
        commands = [command for _, command in saying]
        found = await self._read_accounts(names, commands)
        for (plan, _), is_recalled in zip(saying, found.besides, strict=True):
            if is_recalled:
                plan.alert = PlanResult.RECALLED
        return found

    async def _read_accounts(self, names: Iterable[str], besides: Sequence[Command] = ()) -> AccountsRead:
        apps = {route.lane.app for route in self._routes if not route.to_account}
        return await self._addresses.read_accounts(self._app_id, list(apps), list(names), besides)

    def _saying(self, asked: Sequence[tuple[Plan, Sequence[Recipient]]]) -> list[tuple[Plan, Command]]:
        """For each message that a READ or RECALL may name later: that it was said."""
        if self._withdrawals is None:
            return []
        return [
            (plan, self._withdrawals.saying(plan.message, plan.content.msg_id))
            for plan, readers in asked
            if plan.content.msg_id
            and isinstance(plan.alert, Alert)
            and readers[:1] == plan.readers[:1]  # a crowd's first page
        ]

    def _jobs(self, plan: Plan, readers: Sequence[Recipient], found: AccountsRead) -> list[Planned]:
        is_first = not plan.entry.tries
        if isinstance(plan.alert, PlanResult):
            if is_first or plan.alert is PlanResult.EXPIRED:
                plan.note(notes_of_all(plan.message, plan.alert, readers))
            return []
        lanes = plan.entry.lanes
        routes = [route for route in self._routes if not lanes or lane_name(route.lane) in lanes]
        all_readers, treatments = readers, dict[str, Treatment]()
        plan.blocked += sum(reader.account in found.blocked for reader in readers)
        if present := found.present - found.blocked:
            plan.present += sum(reader.account in present for reader in readers)
            readers = [reader for reader in readers if reader.account not in present]
        if found.preferences or plan.content.mentions:
            treatments = treatments_of(plan.alert, readers, found.preferences, plan.content.mentions, self._now())
            plan.muted += sum(one.muted for account, one in treatments.items() if account not in found.blocked)
        jobs = jobs_for(routes, plan.alert, readers, found.devices, found.blocked, treatments)
        if is_first:
            plan.note(notes_of_some(plan.message, all_readers, routes, found, treatments, jobs))
        return jobs

    def _chunks(self, plan: Plan, jobs: Sequence[Planned]) -> Iterator[PlanChunk]:
        return self._hand_over.chunks(self._app_id, plan.message.message_id, jobs, JOBS_PER_CHUNK)

    async def _append(self, chunks: Sequence[tuple[Plan, PlanChunk]]) -> None:
        if not chunks:
            return
        asked = [chunk for _, chunk in chunks]
        results = await self._hand_over.append(asked, self._now())
        for (plan, chunk), result in zip(chunks, results, strict=True):
            plan.appended += sum(result.new) - len(result.folded)
            plan.folded += len(result.folded)
            plan.full |= result.full
            for place, ((lane, _), is_new) in enumerate(zip(chunk.jobs, result.new, strict=result.error is None)):
                if is_new and place not in result.folded:
                    self._observer.job_planned(lane)
            if result.folded:
                self._note_folded(chunk, result.folded)
        for result in results:
            if result.error is not None:
                raise result.error
