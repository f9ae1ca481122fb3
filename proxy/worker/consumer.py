"""Claim, lease, capacity, take-over, poison, settle: the same for callbacks and for lanes.

    StreamConsumer.claim / take_over -> entries -> the plan or the lane works on them -> settle or release

An entry that was claimed is in flight until it is settled (the store has taken it), released (left as it is, for a
later take-over) or lost (another worker took it over). The consumer knows nothing of what an entry holds.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import suppress
from datetime import timedelta

import structlog
from redis.exceptions import RedisError

from proxy.domain.lanes import Source
from proxy.domain.settlements import Bury, Entry, Settlement, SettleResult
from proxy.store.queue.streams import RedisQueue
from proxy.store.slots import NodeAway
from proxy.worker.in_flight import InFlightLimit
from proxy.worker.leases import Leases
from proxy.worker.observer import RelayObserver

POISON_DELIVERIES = 6  # claimed once, taken over five times
SUSPECT_DELIVERIES = 3  # from its third delivery on an entry is claimed alone: it may have ended its workers
_SUSPECT_BLOCK = timedelta(milliseconds=50)  # soon after one of them the next is claimed: there may be hundreds
_CLAIM_MOST = 500
_FLOOD_READS = 4  # in turn: what comes together in one moment is no flood
_FLOOD_BLOCK = timedelta(milliseconds=8)
_GATHER_S = 0.05
_GATHER_MOST = 256  # over 16 shards some to each: what a call costs is shared
_STORE_AWAY_S = 0.5

log = structlog.get_logger()
SettleCall = Callable[[Sequence[Settlement]], Awaitable[SettleResult]]


class StreamConsumer:
    """This worker's part of one source. `settle_call` carries out a batch of settlements in the store."""

    def __init__(
        self,
        source: Source,
        queue: RedisQueue,
        leases: Leases,
        settle_call: SettleCall,
        observer: RelayObserver,
        *,
        in_flight: int,
        block: timedelta,
        for_floods: int | None = None,
    ) -> None:
        """`for_floods`: so many places at most are for shards in which more waits than one read brings; None: all."""
        self.source = source
        self.flooded: frozenset[int] = frozenset()
        self._full_reads: dict[int, int] = {}  # by shard, how many reads in turn brought all that they asked for
        self._for_floods = for_floods
        self._for_others = in_flight - (for_floods or 0)
        self._many_of_flood = (for_floods or in_flight) // 2
        self.in_flight = InFlightLimit(in_flight)
        self._queue, self._leases, self._settle_call, self._observer = queue, leases, settle_call, observer
        self.block = block
        self._open: set[bytes] = set()  # claimed, and nothing decided yet
        self._deciding: dict[bytes, Settlement] = {}  # decided, and the store has not taken it yet
        self._suspect: bytes | None = None
        self._reading = asyncio.Lock()  # or a claim and a take-over would fill the same free places
        self._more_to_take_over = False
        self._asked_for = 0  # by the read under way: so many places may be needed at any moment
        self._full: frozenset[int] | None = None  # shards that gave all that the last read asked for; None: none was
        self._wanted, self._many, self._idle = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._idle.set()

    # claiming

    async def claim(self, most: int = _CLAIM_MOST) -> list[Entry]:
        """New entries, as many as there is room for; waits for the first. What a dead worker left comes first.

        Where none are expected the read keeps half of the room free for `admit`, for it may last.
        """
        async with self._reading:
            if self._more_to_take_over and (inherited := await self._take_over(most)):
                return inherited
            count = min(self.in_flight.free, most)
            if count <= 0:
                return []
            if not self.behind:
                count = (count + 1) // 2
            block = min(self.block, _SUSPECT_BLOCK) if self._suspect else self.block
            apart, of_apart = self.flooded, 0
            if self.flooded:
                of_apart, block = await self._room_for_floods(), min(block, _FLOOD_BLOCK)
            elif self._for_floods is None and self._full and len(self._full) < len(self._shards):
                apart, of_apart = self._full, count // 2  # only there more wait than came
            count = max(count - of_apart, 1)
            since = self._leases.clock()
            self._asked_for = count
            try:
                claimed = await self._queue.claim(self.source, count, block, apart, of_apart)
            finally:
                self._asked_for = 0
            if self._for_floods is not None:
                self._look_for_floods(claimed.full, unasked=frozenset() if of_apart else self.flooded)
            self._full = claimed.full
            return self._took(claimed.entries, since if claimed.since is None else min(since, claimed.since))

    async def claim_rest(self) -> list[Entry]:
        """What reads brought after the last claim, where there is no other to come: else it would lie for a lease."""
        rest = await self._queue.claim_rest(self.source)
        return self._took(rest.entries, self._leases.clock() if rest.since is None else rest.since)

    def _look_for_floods(self, full: Iterable[int], unasked: Iterable[int]) -> None:
        self._full_reads = {shard: self._full_reads.get(shard, 0) + 1 for shard in full} | {
            shard: self._full_reads.get(shard, 0) for shard in unasked
        }
        flooded, shards = [it for it, reads in self._full_reads.items() if reads >= _FLOOD_READS], self._shards
        self.flooded = frozenset(shards if 2 * len(flooded) > len(shards) else flooded)  # of the app: none goes before

    async def _room_for_floods(self) -> int:
        """0 where that is not worth a read. Where no other shard is left to read it is waited for."""
        assert self._for_floods is not None  # noqa: S101  for mypy: else no shard is flooded
        while True:
            is_all = len(self.flooded) == len(self._shards)
            room = self.in_flight.free - (0 if is_all else self._for_others)  # more places while some wait for names
            if room >= self._for_floods // 2:
                return room
            if not is_all:
                return 0
            await self.in_flight.changed()

    @property
    def _shards(self) -> Sequence[int]:
        return self._queue.served

    async def take_over(self, most: int = _CLAIM_MOST) -> list[Entry]:
        """Entries whose worker has been silent for a lease. Where there is no room the next claim does it first."""
        self._more_to_take_over = True
        if self.in_flight.free <= 0:
            return []
        async with self._reading:
            return await self._take_over(most)

    async def _take_over(self, most: int) -> list[Entry]:
        count = min(self.in_flight.free, most)
        if count <= 0:
            return []
        since = self._leases.clock()
        entries = await self._queue.take_over(self.source, count, suspect=self._suspect is None)
        self._more_to_take_over = len(entries) >= count
        if entries:
            self._observer.taken_over(self.source.name, len(entries))
        return self._took(entries, since)

    def _took(self, entries: Sequence[Entry], since: float) -> list[Entry]:
        """Those that are new to us: an entry may be taken over from ourselves while it is in flight."""
        self._leases.take(self.source, [entry.id for entry in entries], since)
        new = [entry for entry in entries if entry.id not in self._open and entry.id not in self._deciding]
        self.in_flight.take(len(new))
        for entry in new:
            self._open.add(entry.id)
            if entry.deliveries >= SUSPECT_DELIVERIES:
                self._suspect = entry.id
        return new

    @property
    def behind(self) -> Collection[int]:
        """The shards in which older entries may wait."""
        return self._shards if self._full is None else self._full

    def admit(self, most: int) -> int:
        """Take places for entries that are about to be claimed as they are appended; returns how many.

        `claimed` says what became of them. They are for shards that are not `behind`.
        """
        places = 0 if self._more_to_take_over else max(min(most, self.in_flight.free - self._asked_for), 0)
        self.in_flight.take(places)
        return places

    def claimed(self, ids: Sequence[bytes], admitted: int, since: float) -> None:
        """These were claimed after `since` (monotonic), on places that were admitted."""
        self.in_flight.release(admitted - len(ids))
        self._leases.take(self.source, ids, since)
        self._open.update(ids)

    async def length(self) -> int:
        """How many entries the source holds, those in flight included."""
        return await self._queue.length(self.source)

    # acting

    def is_open(self, entry_id: bytes) -> bool:
        """It was claimed, and nothing was decided yet."""
        return entry_id in self._open

    def leave_by(self, ids: Sequence[bytes]) -> float:
        """Until then (monotonic) a request for these entries may leave."""
        return self._leases.until(self.source, ids)

    def may_act(self, ids: Sequence[bytes]) -> bool:
        return self._leases.may_act(self.source, ids)

    # ending

    def settle(self, settlement: Settlement) -> None:
        """What becomes of an entry is decided: once, and soon written to the store."""
        if settlement.entry_id in self._open:
            self._open.remove(settlement.entry_id)
            self._deciding[settlement.entry_id] = settlement
            self._idle.clear()
            self._wanted.set()
            if len(self._deciding) >= (self._many_of_flood if self.flooded else _GATHER_MOST):
                self._many.set()

    def release(self, ids: Sequence[bytes]) -> None:
        """Their claim ends here: they are settled in the store already, or are left for a later take-over."""
        ended = [id_ for id_ in ids if id_ in self._open]
        self._open.difference_update(ended)
        self._end(ended)

    def _end(self, ids: Sequence[bytes]) -> None:
        self._leases.drop(self.source, ids)
        self.in_flight.release(len(ids))
        if self._suspect in ids:
            self._suspect = None
            self._more_to_take_over = True  # the next suspect may come now

    async def run_settling(self) -> None:
        """Until cancelled. A store that is away is waited for: the outcome is known, only the record is missing."""
        while True:
            await self._wanted.wait()
            with suppress(TimeoutError):  # they go in one call: nothing waits for the record of an outcome
                async with asyncio.timeout(_GATHER_S):
                    await self._many.wait()
            self._wanted.clear()
            self._many.clear()
            await self._carry_out(list(self._deciding.values()))
            if not self._deciding:
                self._idle.set()

    async def _carry_out(self, settlements: Sequence[Settlement]) -> None:
        while True:
            try:
                result = await self._settle_call(settlements)
            except RedisError as error:
                self._observer.store.failed(error)
                await asyncio.sleep(_STORE_AWAY_S)
            else:
                if result.away:
                    self._observer.store.failed(NodeAway())
                else:
                    self._observer.store.answered()
                break
        self._observer.unnoted(result.unnoted)
        if result.foreign:
            self._observer.leases_lost(self.source.name, len(result.foreign))
        if result.failed:
            log.error("entries cannot be settled, they stay pending", source=self.source.name, count=len(result.failed))
        away = {*result.away}
        undone, ended = {*result.foreign, *result.failed}, [it for it in settlements if it.entry_id not in away]
        for settlement in ended:
            del self._deciding[settlement.entry_id]
            if isinstance(settlement, Bury) and settlement.entry_id not in undone:
                self._observer.buried(settlement)
        for bury in result.buried:  # instead of what the store refused to do
            self._observer.buried(bury)
        self._end([settlement.entry_id for settlement in ended])
        if away:
            asyncio.get_running_loop().call_later(_STORE_AWAY_S, self._wanted.set)

    async def settled(self) -> None:
        """Returns once the store has taken everything that was decided."""
        await self._idle.wait()
