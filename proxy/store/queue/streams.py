"""Streams with leases: claim, renew, settle, take over, plan, move what is due. For the worker's event loop.

Callbacks of an appId, or jobs of a lane, are a source: a stream in each shard. An entry's id names its shard behind the
stream's own, "1795435200000-0/3"; what is done with entries is done shard by shard, all in one round trip.

An entry belongs to the worker instance that Redis' pending list names. Renew and settle are scripts that act only on
entries that are still this instance's, and say which are not. An entry that was not renewed for a lease is taken over.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import cycle, islice
from typing import Any, TypeVar

from redis.exceptions import RedisError

from proxy.domain.dead_letters import Cause
from proxy.domain.decisions import Result
from proxy.domain.history import JobEnd
from proxy.domain.jobs import ClaimedJob, Job
from proxy.domain.lanes import Callbacks, Lane, Source
from proxy.domain.settlements import (
    Bury,
    ChunkResult,
    Claimed,
    Entry,
    Finish,
    Move,
    MovedDue,
    PlanChunk,
    PlanEnd,
    Postpone,
    Renewed,
    Settlement,
    SettleResult,
)
from proxy.domain.times import from_ms, to_ms
from proxy.errors import BadSettings
from proxy.store import keys
from proxy.store.keys import Layout
from proxy.store.queue.caps import Caps
from proxy.store.queue.chunks import Appending, chunk_result
from proxy.store.queue.entries import by_shard, came_at, entry_of, id_of, own_id, stream_of
from proxy.store.queue.folds import Folding
from proxy.store.queue.reads import Found, ShardReads
from proxy.store.queue.settling import Settling
from proxy.store.queue.shared_words import SharedWords
from proxy.store.replicas import Waits
from proxy.store.scripts import Argument, Command, ask, script
from proxy.store.server.writes import CountedWrites
from proxy.store.slots import NodeAway
from proxy.store.troubles import is_one_nodes, is_the_stores_own

_GONE_MS = 3_600_000
_IDS_PER_CALL = 500  # Lua's unpack and the store's patience both have limits
_REPLICAS_TAKE_S = 1.0  # at most, one after the other
_SUSPECT_AFTER = 2  # claims
T = TypeVar("T")
After = Callable[[int], Awaitable[None]]
_NO_ROOMS: Mapping[Lane, int] = {}
_NONE_BEHIND: Mapping[Lane, Collection[int]] = {}


class RedisQueue:
    """The streams as one worker instance holds them. `instance` is a name made new at each start."""

    def __init__(
        self,
        redis: Any,
        instance: str,
        *,
        lease: timedelta,
        dedupe_ttl: timedelta,
        jobs_cap: int,
        dead_cap: int,
        writes: CountedWrites | None = None,
        keeps_history: bool = True,
        counts_unread: bool = False,
        folding: Folding | None = None,
        replicas: int = 0,
        share: Collection[int] | None = None,
        after: After | None = None,
    ) -> None:
        """`counts_unread`: what is planned counts as unread; `folding` None: each message has an alert of its own.

        `replicas`: so many of the store's have what a callback led to before it ends. `share`: the shards that it
        serves; None: all. `after`: see Turns.after.
        """
        self._share = share
        self._after = after
        self._replicas = replicas
        self._redis = redis
        self._words = SharedWords(redis)
        self._writes = writes or CountedWrites()
        self._instance = instance
        self._lease_ms = _milliseconds(lease)
        self._caps = Caps(jobs_cap)
        self._keeps_history = keeps_history
        dedupe_ttl_ms = _milliseconds(dedupe_ttl)
        self._appending = Appending(instance, dedupe_ttl_ms, self._caps, counts_unread, folding)
        self._settling = Settling(instance, dead_cap, dedupe_ttl_ms, keeps_history)
        self._reads = ShardReads(redis, instance, lambda source, shard: stream_of(self.layout, source, shard))
        self._turn = 0  # which shard comes first

    async def reads_ended(self) -> None:
        """Returns once no read is under way that a claim has left behind."""
        await self._reads.ended()

    @property
    def layout(self) -> Layout:
        layout: Layout = self._redis.layout
        return layout

    @property
    def served(self) -> Sequence[int]:
        """The shards of which it claims."""
        shards = self.layout.all_shards
        return shards if self._share is None else [it for it in shards if it in self._share]

    def check_share(self) -> None:
        """Raises BadSettings where the store has no such shard."""
        last = max(self._share or (), default=0)
        if last not in self.layout.all_shards:
            shards = len(self.layout.all_shards)
            raise BadSettings([f"relay.shards: names shard {last}, but the last one of the store is {shards - 1}"])

    async def ensure_groups(self, source: Source) -> None:
        """The streams and their groups exist. A store that came back empty has neither."""
        every = [stream_of(self.layout, source, shard) for shard in self.layout.all_shards]
        asked = [("XGROUP", "CREATE", stream, keys.GROUP, "0", "MKSTREAM") for stream in every]
        for answer in await ask(self._redis, asked):
            if isinstance(answer, RedisError) and "BUSYGROUP" not in str(answer):  # that one says that it exists
                raise answer

    def streams(self, source: Source) -> list[str]:
        """By shard that it serves."""
        return [stream_of(self.layout, source, shard) for shard in self.served]

    async def claim(
        self, source: Source, count: int, block: timedelta, apart: Collection[int] = (), of_apart: int = 0
    ) -> Claimed:
        """Up to `count` new entries, of all shards alike; waits up to `block` for the first.

        Of the shards that are `apart` up to `of_apart` together.
        """
        shares = self._shares([it for it in self.served if it not in apart], count)
        shares |= self._shares(sorted(apart), of_apart)
        try:
            found, since = await self._read(source, shares, block)
        except RedisError as error:
            _only_no_group(error)
            await self.ensure_groups(source)
            return Claimed([], is_all=True)
        full = frozenset(shard for shard, some in found if len(some) >= shares.get(shard, 1))
        return Claimed(await self._read_as(source, found), not full, since, full)

    def _shares(self, shards: Sequence[int], count: int) -> dict[int, int]:
        """Which of these shards are read next, and how many entries of each."""
        some = self._in_turn(shards, count) if shards and count else ()
        return {shard: count // len(some) for shard in some}

    async def claim_rest(self, source: Source) -> Claimed:
        """What reads have brought that no claim has taken: those of several shards end each at its own time."""
        found, since = self._reads.rest(source)
        return Claimed(await self._read_as(source, found), is_all=True, since=since)

    async def _read_as(self, source: Source, found: Sequence[Found]) -> list[Entry]:
        entries = [entry_of(shard, id_, fields) for shard, some in found for id_, fields in some]
        if len(found) > 1:
            entries.sort(key=came_at)  # in the order in which they came, as far as one read shows it
        return await self._words.whole(entries, source.app_id)

    async def _read(
        self, source: Source, shares: Mapping[int, int], block: timedelta
    ) -> tuple[Sequence[Found], float | None]:
        """As ShardReads.claim; where one server has all shards a command reads those with an equal share."""
        if self._redis.is_cluster and len(self.layout.all_shards) > 1:
            return await self._reads.claim(source, shares, block)
        by_name = {stream_of(self.layout, source, shard).encode(): shard for shard in shares}
        by_share: dict[int, list[bytes]] = {}
        for name, shard in by_name.items():
            by_share.setdefault(shares[shard], []).append(name)
        waits = ("BLOCK", max(_milliseconds(block), 1)) if len(by_share) == 1 else ()
        asked: list[Command] = [
            ("XREADGROUP", "GROUP", keys.GROUP, self._instance, "COUNT", share, *waits,
             "STREAMS", *names, *[">"] * len(names))
            for share, names in by_share.items()
        ]  # fmt: skip
        answers = await ask(self._redis, asked)
        found = [answer for answer in answers if not isinstance(answer, RedisError)]
        if not any(found):
            for answer in answers:
                if isinstance(answer, RedisError):
                    raise answer
        return [(by_name[name], entries) for answer in found for name, entries in answer or ()], None

    async def take_over(self, source: Source, count: int, *, suspect: bool) -> list[Entry]:
        """Entries whose worker has been silent for a lease: up to `count` whose second claim this is.

        One that was claimed twice and not settled may be what ends its workers. Where `suspect`, one such is taken too.
        """
        taken, left, shards = list[Entry](), count, self._in_turn(self.served)
        first, *others = shards
        is_first = suspect
        while shards and left > 0:  # one of them may hold all of it
            share = max(left // len(shards), 1)
            asked = [self._taking_over(source, it, share, suspect=is_first and it == first) for it in shards[:left]]
            answers = await self._each(asked)
            found = [(it, answer) for it, answer in zip(shards, answers, strict=False) if not is_one_nodes(answer)]
            for _, answer in found:
                if isinstance(answer, RedisError):
                    _only_no_group(answer)
                    await self.ensure_groups(source)
                    return taken
            for shard, answer in found:
                taken += _taken(shard, answer)
            shards = [it for it, answer in found if len(answer) >= share]
            left, is_first = count - len(taken), False
        has_suspect = any(it.deliveries > _SUSPECT_AFTER for it in taken)
        for shard in others if suspect and not has_suspect else ():
            (answer,) = await self._each([self._taking_over(source, shard, 0, suspect=True)])
            if isinstance(answer, RedisError) and not is_one_nodes(answer):
                raise answer
            if answer and not is_one_nodes(answer):
                taken += _taken(shard, answer)
                break
        return await self._words.whole(taken, source.app_id)

    async def abandoned(self, sources: Sequence[Source]) -> list[Source]:
        """Those that hold an entry whose worker has been silent for a lease; one round trip."""
        named = [(source, stream) for source in sources for stream in self.streams(source)]
        asked = [("XPENDING", stream, keys.GROUP, "IDLE", self._lease_ms, "-", "+", 1) for _, stream in named]
        answers = await self._each(asked)
        left = [  # or an error, but that of a node which could not give them either
            source for (source, _), answer in zip(named, answers, strict=True) if answer and not is_one_nodes(answer)
        ]
        return list(dict.fromkeys(left))

    async def renew(self, source: Source, ids: Sequence[bytes]) -> Renewed:
        """Renew the leases; returns those that are not."""
        portions = [(shard, some) for shard, its in by_shard(ids, lambda id_: id_) for some in _portions(its)]
        group = (keys.GROUP, self._instance)
        heartbeat, layout = script("heartbeat"), self.layout
        answers = await self._each(
            [
                heartbeat.call([stream_of(layout, source, shard)], [*group, *map(own_id, some)])
                for shard, some in portions
            ]
        )
        renewed = Renewed()
        for (shard, some), answer in zip(portions, answers, strict=True):
            if is_one_nodes(answer):
                renewed.unknown.extend(some)
            elif isinstance(answer, RedisError):  # the store came back empty: nothing of it is ours any more
                _only_no_group(answer)
                renewed.lost.extend(some)
            else:
                renewed.lost.extend(id_of(shard, own) for own in answer)
        return renewed

    async def settle_jobs(self, lane: Lane, settlements: Sequence[Settlement]) -> SettleResult:
        """Carry out the settlements. Raises RedisError where the store can do nothing now; then none of a shard was."""
        result = SettleResult()
        await self._settle(lane, settlements, result)
        return result

    async def settle_callbacks(self, app_id: str, settlements: Sequence[Settlement], now: datetime) -> SettleResult:
        """The same for callbacks, which are planned, finished or buried.

        Where lanes were full a message waits beside its stream, and is planned for them after 1 s, then 2, up to 30.
        """
        source, ended, others = Callbacks(app_id), list[PlanEnd](), list[Settlement]()
        for it in settlements:
            if isinstance(it, PlanEnd) and not (it.full or it.records):
                ended.append(it)
            else:
                others.append(it)
        result = SettleResult()
        if ended:
            await self._end_planned(source, ended, result)
        if others:
            await self._settle(source, others, result, to_ms(now))
        return result

    async def _end_planned(self, source: Source, ended: Sequence[PlanEnd], result: SettleResult) -> None:
        """Also those that another worker has taken over: all of it is planned, and that worker has nothing left to do.

        Plain commands, in an order in which a crash between them leaves what take_over.lua ends.
        """
        portions = [(shard, some) for shard, its in by_shard(ended, _entry_id) for some in _portions(its)]
        asked: list[Command] = []
        for shard, some in portions:
            stream, ids = stream_of(self.layout, source, shard), [own_id(it.entry_id) for it in some]
            asked += [("XDEL", stream, *ids), ("XACK", stream, keys.GROUP, *ids)]
        answers = await self._each(asked)
        for (_, some), deleted, acked in zip(portions, answers[::2], answers[1::2], strict=True):
            if errors := [it for it in (deleted, acked) if isinstance(it, RedisError)]:
                ids = [it.entry_id for it in some]
                if any(map(is_one_nodes, errors)):
                    result.away.extend(ids)
                elif is_the_stores_own(errors[0]):
                    raise errors[0]
                else:
                    result.failed.extend(ids)

    def chunks(self, app_id: str, message_id: str, jobs: Iterable[tuple[Lane, Job]], most: int) -> Iterator[PlanChunk]:
        """Up to `most` jobs of a shard each."""
        by_shard: dict[int, list[tuple[Lane, Job]]] = {}
        for planned in jobs:
            by_shard.setdefault(self.layout.shard_of_account(planned[1].account), []).append(planned)
        for its in by_shard.values():
            for start in range(0, len(its), most):
                yield PlanChunk(app_id, message_id, its[start : start + most])

    async def append_planned(
        self,
        chunks: Sequence[PlanChunk],
        now: datetime,
        rooms: Mapping[Lane, int] = _NO_ROOMS,
        then: Sequence[Command] = (),
        behind: Mapping[Lane, Collection[int]] = _NONE_BEHIND,
    ) -> tuple[list[ChunkResult], list[Any]]:
        """Append the jobs whose target is new for their message, all chunks in one round trip.

        Of a lane with `rooms` each chunk claims as many as it appends, in the same step, as far as the room goes; none
        in shards that are `behind`. What too few replicas have is a chunk's error: its callback may not end for it.
        `then` is asked in the same round trip, after all of that; the answers to it come second, as `ask` gives them.
        """
        left = dict(rooms)
        commands = list[Command]()
        for place, chunk in enumerate(chunks):
            if self._after is not None:
                await self._after(place)
            commands.append(self._appending.command(self.layout, chunk, to_ms(now), left, behind))
        counters = [self._counter(chunk) for chunk in chunks]
        waits = Waits(counters, self._replicas, _REPLICAS_TAKE_S, self._redis.is_cluster)
        answers = await ask(self._redis, commands, [*then, *waits.commands])
        having = len(commands) + len(then)
        results = [chunk_result(self.layout, chunk, answer) for chunk, answer in zip(chunks, answers, strict=False)]
        for place, fault in enumerate(map(waits.faults(answers[having:]).get, counters)):
            results[place] = replace(results[place], error=results[place].error or fault)
        for place, result in enumerate(results):
            if any(isinstance(one, Entry) for entries in result.claimed.values() for one in entries):
                results[place] = replace(result, claimed=await self._whole(result.claimed))
        return results, answers[len(commands) : having]

    def _counter(self, chunk: PlanChunk) -> str:
        return self.layout.writes(chunk.app_id, self.layout.shard_of_account(chunk.jobs[0][1].account))

    async def _whole(
        self, claimed: Mapping[Lane, Sequence[ClaimedJob | Entry]]
    ) -> Mapping[Lane, Sequence[ClaimedJob | Entry]]:
        """An entry that was appended earlier may lack its words."""
        found: dict[Lane, Sequence[ClaimedJob | Entry]] = {}
        for lane, entries in claimed.items():
            earlier = [entry for entry in entries if isinstance(entry, Entry)]
            whole = {entry.id: entry for entry in await self._words.whole(earlier, lane.app_id)}
            found[lane] = [whole[one.id] if isinstance(one, Entry) else one for one in entries]
        return found

    async def append_notes(self, app_id: str, notes: Mapping[int, bytes]) -> list[str]:
        """Into the history: records, by the shard of their accounts. Returns errors: they are worth no message."""
        if not (self._keeps_history and notes):
            return []
        asked = [("XADD", self.layout.history_new(app_id, shard), "*", "r", some) for shard, some in notes.items()]
        try:
            return [str(answer) for answer in await ask(self._redis, asked) if isinstance(answer, RedisError)]
        except RedisError as error:
            return [str(error)]

    async def length(self, source: Source) -> int:
        return (await self.lengths([source]))[0]

    async def lengths(self, sources: Sequence[Source]) -> list[int]:
        """How many entries each has in the shards that it serves, in one round trip."""
        asked = [("XLEN", stream) for source in sources for stream in self.streams(source)]
        lengths = list[int]()
        for answer in await self._each(asked):
            if isinstance(answer, RedisError) and not is_one_nodes(answer):
                raise answer
            lengths.append(0 if isinstance(answer, RedisError) else answer)
        rest = iter(lengths)
        return [sum(islice(rest, len(self.served))) for _ in sources]

    async def look_at_caps(self, lanes: Sequence[Lane]) -> None:
        """Which lanes are full, all shards together. To be called every second."""
        if len(self.layout.all_shards) > 1:
            layout, asked = self.layout, list[Command]()
            for lane in lanes:
                for shard in layout.all_shards:
                    asked += [("XLEN", layout.jobs(lane, shard)), ("ZCARD", layout.retries(lane, shard))]
            answers = iter(await ask(self._redis, asked))
            for lane in lanes:
                its = islice(answers, 2 * len(layout.all_shards))
                self._caps.learn(lane, sum(it for it in its if isinstance(it, int)))

    async def remove_instances(self, source: Source) -> int:
        """Drop the names of instances that hold nothing and have been gone for an hour; returns how many."""
        forget = script("forget_instances")
        answers = await self._each([forget.call([it], [keys.GROUP, _GONE_MS]) for it in self.streams(source)])
        for answer in answers:
            if isinstance(answer, RedisError) and not is_one_nodes(answer):
                _only_no_group(answer)
        return sum(int(answer) for answer in answers if not isinstance(answer, RedisError))

    async def move_due(self, lanes: Sequence[Lane], app_ids: Sequence[str], now: datetime, count: int) -> MovedDue:
        """Retries that are due go back to their lanes, messages that waited for full lanes to their streams.

        Up to `count` of each shard's, all in one round trip. A key that cannot be used does not hinder the others.
        """
        layout, args = self.layout, (to_ms(now), count)
        moves: list[tuple[Source, str, str, str]] = []
        for shard in self.served:
            moves += [(lane, "move_due", layout.retries(lane, shard), layout.jobs(lane, shard)) for lane in lanes]
            moves += [
                (Callbacks(it), "move_waiting", layout.waiting(it, shard), layout.callbacks(it, shard))
                for it in app_ids
            ]
        answers = await self._each([script(name).call([waits, to], args) for _, name, waits, to in moves])
        errors, moved, due_at = dict[str, str](), Counter[Source](), list[float]()
        for (source, _, waits, _), answer in zip(moves, answers, strict=True):
            if is_one_nodes(answer):
                continue
            if isinstance(answer, RedisError):
                if is_the_stores_own(answer):
                    raise answer
                errors[waits] = str(answer)
            else:
                moved[source] += answer[0]
                due_at += [float(answer[1])] if answer[1] else []
        return MovedDue(
            {lane: moved[lane] for lane in lanes if moved[lane]},
            sum(moved[Callbacks(app_id)] for app_id in app_ids),
            from_ms(int(min(due_at))) if due_at else None,
            errors,
        )

    async def _each(self, commands: Sequence[Command]) -> list[Any]:
        """As `ask`, where each part of what is done goes on without the others: also where all are of one node."""
        try:
            return await ask(self._redis, commands)
        except NodeAway as error:
            return [error] * len(commands)

    def _in_turn(self, of: Sequence[T], most: int = keys.MOST_SHARDS) -> list[T]:
        """So many of them, each time beginning with another."""
        self._turn += 1
        return list(islice(cycle(of), self._turn % len(of), self._turn % len(of) + min(most, len(of))))

    def _taking_over(self, source: Source, shard: int, count: int, *, suspect: bool) -> Command:
        args: list[Argument] = [keys.GROUP, self._instance, self._lease_ms, count, int(suspect)]
        return script("take_over").call([stream_of(self.layout, source, shard)], args)

    async def _settle(
        self, source: Source, settlements: Sequence[Settlement], result: SettleResult, now_ms: int = 0
    ) -> None:
        """What needs room goes first: a store without any then refuses all of it before anything was done."""
        ordered = sorted(settlements, key=lambda settlement: isinstance(settlement, Finish))
        refused = await self._settled(source, ordered, result, now_ms)
        instead = [
            Bury(id_, Cause.INTERNAL, why, subject, [JobEnd(subject, Result.DEAD_LETTER, why)])
            for id_, why, subject in (
                (id_, f"the store refuses it: {error}", subject) for id_, error, subject in refused
            )
            if subject is not None
        ]
        if instead:
            again = {id_ for id_, _, _ in await self._settled(source, instead, result, now_ms)} | {*result.away}
            result.buried.extend(bury for bury in instead if bury.entry_id not in again)
        buried = {bury.entry_id for bury in result.buried} | {*result.foreign, *result.away}
        result.failed.extend(id_ for id_, _, _ in refused if id_ not in buried)
        await self._note_planned(source, settlements, result)

    async def _note_planned(self, source: Source, settlements: Sequence[Settlement], result: SettleResult) -> None:
        """Why readers got no job. Only the worker that ended the callback says so, once it has."""
        undone = {*result.foreign, *result.failed, *result.away}
        for settlement in settlements:
            if isinstance(settlement, PlanEnd) and settlement.records and settlement.entry_id not in undone:
                result.unnoted.extend(await self.append_notes(source.app_id, settlement.records))

    async def _settled(
        self, source: Source, settlements: Sequence[Settlement], result: SettleResult, now_ms: int
    ) -> list[tuple[bytes, str, Job | None]]:
        """Those that the store refuses, each with its error and, where it may be buried instead, its job."""
        portions = [
            (shard, some, self._writes.known(self.layout.writes(source.app_id, shard)))
            for shard, its in by_shard(settlements, _entry_id)
            for some in _portions(its)
        ]
        commands = list[Command]()
        for place, (shard, some, _) in enumerate(portions):
            if self._after is not None:
                await self._after(place)
            commands.append(self._settling.command(self.layout, source, shard, some, now_ms))
        answers = await self._each(commands)
        refused: list[tuple[bytes, str, Job | None]] = []
        for (shard, some, known), answer in zip(portions, answers, strict=True):
            if isinstance(answer, RedisError):
                if _is_no_group(answer):
                    result.foreign.extend(settlement.entry_id for settlement in some)
                    continue
                if is_one_nodes(answer):
                    result.away.extend(settlement.entry_id for settlement in some)
                    continue
                if is_the_stores_own(answer):
                    raise answer
                refused += [(settlement.entry_id, str(answer), None) for settlement in some]
                continue
            writes, foreign, errors, unnoted = answer
            if writes:
                self._writes.answered(self.layout.writes(source.app_id, shard), known, writes)
            result.foreign.extend(id_of(shard, own) for own in foreign)
            result.unnoted.extend(error.decode("utf-8", "replace") for error in unnoted)
            subjects = {it.entry_id: it.job for it in some if isinstance(it, Postpone | Move)}
            for own, error in errors:
                id_ = id_of(shard, own)
                refused.append((id_, error.decode("utf-8", "replace").split(" ", 1)[0], subjects.get(id_)))
        return refused


def _is_no_group(error: RedisError) -> bool:
    return "NOGROUP" in str(error) or "no such key" in str(error)


def _only_no_group(error: RedisError) -> None:
    """Go on if the stream's group is missing; raise anything else."""
    if not _is_no_group(error):
        raise error


def _portions(items: Sequence[Any]) -> list[Sequence[Any]]:
    return [items[i : i + _IDS_PER_CALL] for i in range(0, len(items), _IDS_PER_CALL)]


def _milliseconds(span: timedelta) -> int:
    return span // timedelta(milliseconds=1)


def _entry_id(settlement: Settlement) -> bytes:
    return settlement.entry_id


def _taken(shard: int, answer: Sequence[Any]) -> list[Entry]:
    return [entry_of(shard, id_, fields, deliveries + 1) for id_, fields, deliveries in answer]
