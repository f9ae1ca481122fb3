"""Streams with leases: claim, renew, settle, take over, plan, move what is due. For the worker's event loop.

An entry belongs to the worker instance that Redis' pending list names. Renew and settle are scripts that act only on
entries that are still this instance's, and say which are not. An entry that was not renewed for a lease is taken over.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, assert_never

from redis.exceptions import RedisError

from proxy.domain.dead_letters import Cause
from proxy.domain.decisions import Result
from proxy.domain.history import JobEnd
from proxy.domain.jobs import ClaimedJob, Job
from proxy.domain.lanes import Lane
from proxy.domain.settlements import (
    Bury,
    ChunkResult,
    Entry,
    Finish,
    Move,
    MovedDue,
    PlanChunk,
    Postpone,
    Settlement,
    SettleResult,
    Shown,
    Told,
    Waiting,
)
from proxy.domain.times import from_ms, to_ms
from proxy.store import keys
from proxy.store.connection import is_the_stores_own
from proxy.store.history_records import record_of
from proxy.store.queue.folds import GOES_AT_ONCE, Folding, key_of
from proxy.store.records import dump_dead_letter, dump_job
from proxy.store.scripts import Argument, Command, ask, ask_strictly, script
from proxy.store.server.writes import CountedWrites
from proxy.store.users.unread import counting

_GONE_MS = 3_600_000
_IDS_PER_CALL = 500  # Lua's unpack and the store's patience both have limits
_WAIT_FIRST_MS, _WAIT_LONGEST_MS = 1_000, 30_000  # a message for a lane that is full
_NOTHING_WAITS = Waiting()
_NO_ROOMS: Mapping[Lane, int] = {}
_FIELDS_OF_WAITING = (b"lanes", b"tries")


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
    ) -> None:
        """`counts_unread`: what is planned counts as unread; `folding` None: each message has an alert of its own."""
        self._redis, self._counts_unread, self._folding = redis, counts_unread, folding
        self._writes = writes or CountedWrites()
        self._instance = instance
        self._lease_ms = _milliseconds(lease)
        self._dedupe_ttl_ms = _milliseconds(dedupe_ttl)
        self._jobs_cap = jobs_cap
        self._dead_cap = dead_cap
        self._keeps_history = keeps_history

    async def ensure_group(self, stream: str) -> None:
        """The stream and its group exist. A store that came back empty has neither."""
        (answer,) = await ask(self._redis, [("XGROUP", "CREATE", stream, keys.GROUP, "0", "MKSTREAM")])
        if isinstance(answer, RedisError) and "BUSYGROUP" not in str(answer):  # that one says that it exists
            raise answer

    async def claim(self, stream: str, count: int, block: timedelta) -> list[Entry]:
        """Up to `count` new entries; waits up to `block` for the first."""
        command = ("XREADGROUP", "GROUP", keys.GROUP, self._instance, "COUNT", count, "BLOCK",
                   max(_milliseconds(block), 1), "STREAMS", stream, ">")  # fmt: skip
        (answer,) = await ask(self._redis, [command])
        if isinstance(answer, RedisError):
            _only_no_group(answer)
            await self.ensure_group(stream)
            return []
        return [_entry(id_, fields) for _, entries in answer or [] for id_, fields in entries]

    async def take_over(self, stream: str, count: int, *, suspect: bool) -> list[Entry]:
        """Entries whose worker has been silent for a lease: up to `count` whose second claim this is.

        One that was claimed twice and not settled may be what ends its workers. Where `suspect`, one such is taken too.
        """
        args: list[Argument] = [keys.GROUP, self._instance, self._lease_ms, count, int(suspect)]
        (answer,) = await ask(self._redis, [script("take_over").call([stream], args)])
        if isinstance(answer, RedisError):
            _only_no_group(answer)
            await self.ensure_group(stream)
            return []
        return [_entry(id_, fields, deliveries + 1) for id_, fields, deliveries in answer]

    async def abandoned(self, streams: Sequence[str]) -> list[str]:
        """Those of the streams that hold an entry whose worker has been silent for a lease; one round trip."""
        asked = [("XPENDING", stream, keys.GROUP, "IDLE", self._lease_ms, "-", "+", 1) for stream in streams]
        answers = await ask(self._redis, asked)
        return [
            stream for stream, answer in zip(streams, answers, strict=True) if answer or isinstance(answer, RedisError)
        ]

    async def renew(self, stream: str, ids: Sequence[bytes]) -> list[bytes]:
        """Renew the leases; returns the ids that are no longer ours."""
        portions = _portions(ids)
        group = (keys.GROUP, self._instance)
        answers = await ask(self._redis, [script("heartbeat").call([stream], [*group, *some]) for some in portions])
        lost: list[bytes] = []
        for some, answer in zip(portions, answers, strict=True):
            if isinstance(answer, RedisError):  # the store came back empty: nothing of it is ours any more
                _only_no_group(answer)
                lost += some
            else:
                lost += answer
        return lost

    async def settle_jobs(self, lane: Lane, settlements: Sequence[Settlement]) -> SettleResult:
        """Carry out the settlements. Raises RedisError where the store can do nothing now; then none was."""
        return await self._settle(lane.app_id, lane, settlements)

    async def settle_callbacks(self, app_id: str, settlements: Sequence[Settlement]) -> SettleResult:
        """The same for callbacks, which are only finished or buried."""
        return await self._settle(app_id, None, settlements)

    async def append_planned(
        self,
        chunks: Sequence[PlanChunk],
        now: datetime,
        rooms: Mapping[Lane, int] = _NO_ROOMS,
        then: Sequence[Command] = (),
    ) -> tuple[list[ChunkResult], list[Any]]:
        """Append the jobs whose target is new for their message, all chunks in one round trip.

        With its `last` chunk a callback goes. Where lanes were full it waits beside its stream, planned again for those
        lanes after a second, then two, up to 30. Of a lane with `rooms` each chunk claims as many as it appends,
        in the same step, as far as the room goes. `then` is asked in the same round trip, after all of that; the
        answers to it come second, as `ask` gives them.
        """
        left = dict(rooms)
        commands = [self._planned(chunk, to_ms(now), left) for chunk in chunks]
        answers = await ask(self._redis, commands, then)
        results = [_chunk_result(chunk, answer) for chunk, answer in zip(chunks, answers, strict=False)]
        return results, answers[len(chunks) :]

    async def append_notes(self, app_id: str, notes: bytes) -> None:
        """Into the history: records. Raises nothing: they are worth no message."""
        if self._keeps_history:
            with suppress(RedisError):
                await ask(self._redis, [("XADD", keys.history_new(app_id), "*", "r", notes)])

    async def length(self, stream: str) -> int:
        return (await self.lengths([stream]))[0]

    async def remove_instances(self, stream: str) -> int:
        """Drop the names of instances that hold nothing and have been gone for an hour; returns how many."""
        (answer,) = await ask(self._redis, [script("forget_instances").call([stream], [keys.GROUP, _GONE_MS])])
        if isinstance(answer, RedisError):
            _only_no_group(answer)
            return 0
        return int(answer)

    async def lengths(self, streams: Sequence[str]) -> list[int]:
        """How many entries each stream has, in one round trip."""
        return await ask_strictly(self._redis, [("XLEN", stream) for stream in streams])

    async def move_due(self, lanes: Sequence[Lane], app_ids: Sequence[str], now: datetime, count: int) -> MovedDue:
        """Retries that are due go back to their lanes, messages that waited for full lanes to their streams.

        Up to `count` of each, all in one round trip. A key that cannot be used does not hinder the others.
        """
        args: list[Argument] = [to_ms(now), count]
        moves = [("move_due", keys.retries(lane), keys.jobs(lane)) for lane in lanes]
        moves += [("move_waiting", keys.waiting(app_id), keys.callbacks(app_id)) for app_id in app_ids]
        answers = await ask(self._redis, [script(name).call([source, to], args) for name, source, to in moves])
        errors, moved, due_at = {}, list[int](), list[float]()
        for (_, source, _), answer in zip(moves, answers, strict=True):
            if isinstance(answer, RedisError):
                if is_the_stores_own(answer):
                    raise answer
                errors[source] = str(answer)
                moved.append(0)
            else:
                moved.append(answer[0])
                due_at += [float(answer[1])] if answer[1] else []
        return MovedDue(
            {lane: number for lane, number in zip(lanes, moved, strict=False) if number},
            sum(moved[len(lanes) :]),
            from_ms(int(min(due_at))) if due_at else None,
            errors,
        )

    def _planned(self, chunk: PlanChunk, now_ms: int, rooms: dict[Lane, int]) -> Command:
        """Takes what it claims from `rooms`."""
        counts = Counter(lane for lane, _ in chunk.jobs)
        lanes = sorted(counts)
        waiting = chunk.waiting or _NOTHING_WAITS
        wait_ms = min(_WAIT_FIRST_MS << min(waiting.tries, 10), _WAIT_LONGEST_MS)
        names = [keys.callbacks(chunk.app_id), keys.planned(chunk.app_id, chunk.message_id), keys.waiting(chunk.app_id)]
        for lane in lanes:
            names += [keys.jobs(lane), keys.retries(lane)]
        accounts = dict.fromkeys(job.account for _, job in chunk.jobs) if self._counts_unread else {}
        counted: list[Argument] = []
        if accounts:
            its_names, counted = counting(chunk.app_id, chunk.jobs[0][1].alert, list(accounts), now_ms)
            names += its_names
        notes = chunk.notes if self._keeps_history else b""
        args: list[Argument] = [
            keys.GROUP, chunk.entry_id, int(chunk.last), self._dedupe_ttl_ms, self._jobs_cap,
            now_ms + wait_ms, waiting.tries + 1, " ".join(sorted(map(lane_name, waiting.lanes))), self._instance,
            len(lanes), notes, len(accounts),
        ]  # fmt: skip
        if self._folding is not None:
            args[-1] = f"{len(accounts)} {self._folding.window_ms}"
        for lane in lanes:
            claims = min(counts[lane], rooms.get(lane, 0))
            args += [lane_name(lane), claims]
            if claims:
                rooms[lane] -= claims
        place = {lane: index for index, lane in enumerate(lanes)}
        if accounts or self._folding is not None:
            args += counted
            places = {account: index for index, account in enumerate(accounts)}
            if self._folding is not None and chunk.jobs:
                args += self._folding.of_message(chunk.jobs[0][1].alert, now_ms)
            for lane, job in chunk.jobs:
                args += [place[lane], job.mark, dump_job(job)]
                if accounts:
                    args.append(places[job.account])
                if self._folding is not None:
                    args += self._folded(self._folding, lane, job, names)
        else:
            for lane, job in chunk.jobs:
                args += [place[lane], job.mark, dump_job(job)]
        if notes:
            names.append(keys.history_new(chunk.app_id))
        return script("plan_chunk").call(names, args)

    def _folded(self, folding: Folding, lane: Lane, job: Job, names: list[str]) -> Sequence[Argument]:
        """The fold that it may go into is added to `names`."""
        if not job.alert.may_fold:
            return GOES_AT_ONCE
        names.append(key_of(lane.app_id, job))
        return folding.of_job(lane, job, len(names))

    async def _settle(self, app_id: str, lane: Lane | None, settlements: Sequence[Settlement]) -> SettleResult:
        """What needs room goes first: a store without any then refuses all of it before anything was done."""
        result = SettleResult()
        ordered = sorted(settlements, key=lambda settlement: isinstance(settlement, Finish))
        refused = await self._settled(app_id, lane, ordered, result)
        instead = [
            Bury(id_, Cause.INTERNAL, why, subject, [JobEnd(subject, Result.DEAD_LETTER, why)])
            for id_, why, subject in (
                (id_, f"the store refuses it: {error}", subject) for id_, error, subject in refused
            )
            if subject is not None
        ]
        if instead:
            again = {id_ for id_, _, _ in await self._settled(app_id, lane, instead, result)}
            result.buried.extend(bury for bury in instead if bury.entry_id not in again)
        buried = {bury.entry_id for bury in result.buried} | set(result.foreign)
        result.failed.extend(id_ for id_, _, _ in refused if id_ not in buried)
        return result

    async def _settled(
        self, app_id: str, lane: Lane | None, settlements: Sequence[Settlement], result: SettleResult
    ) -> list[tuple[bytes, str, Job | None]]:
        """Those that the store refuses, each with its error and, where it may be buried instead, its job."""
        portions, known = _portions(settlements), self._writes.known(app_id)
        answers = await ask(self._redis, [self._settlement(app_id, lane, some) for some in portions])
        refused: list[tuple[bytes, str, Job | None]] = []
        for some, answer in zip(portions, answers, strict=True):
            if isinstance(answer, RedisError):
                if _is_no_group(answer):
                    result.foreign.extend(settlement.entry_id for settlement in some)
                    continue
                if is_the_stores_own(answer):
                    raise answer
                refused += [(settlement.entry_id, str(answer), None) for settlement in some]
                continue
            writes, foreign, errors, unnoted = answer
            if writes:
                self._writes.answered(app_id, known, writes)
            result.foreign.extend(foreign)
            result.unnoted.extend(error.decode("utf-8", "replace") for error in unnoted)
            subjects = {it.entry_id: it.job for it in some if isinstance(it, Postpone | Move)}
            for id_, error in errors:
                refused.append((id_, error.decode("utf-8", "replace").split(" ", 1)[0], subjects.get(id_)))
        return refused

    def _settlement(self, app_id: str, lane: Lane | None, settlements: Sequence[Settlement]) -> Command:
        streams = [keys.jobs(lane), keys.retries(lane)] if lane else [keys.callbacks(app_id)] * 2
        names = [*streams, keys.dead_letters(app_id), keys.writes(app_id), keys.history_new(app_id)]
        place: dict[str, int] = {}
        for settlement in settlements:
            key = _key_of(settlement, app_id)
            if key and key not in place:
                names.append(key)
                place[key] = len(names)
        args: list[Argument] = [
            keys.GROUP, self._instance, self._dead_cap, keys.dead_words_prefix(app_id), self._dedupe_ttl_ms
        ]  # fmt: skip
        keeps = self._keeps_history
        for settlement in settlements:
            args += _spelled(settlement, lane, place.get(_key_of(settlement, app_id), 0))
            args.append(b"".join(map(record_of, settlement.notes)) if keeps and settlement.notes else b"")
        return script("settle").call(names, args)


def lane_name(lane: Lane) -> str:
    """A lane of an app by its section and channel, as the messages that wait for it name it."""
    return f"{lane.app}:{lane.channel}"


def _entry(id_: bytes, fields: Sequence[bytes], deliveries: int = 1) -> Entry:
    """`fields`: names and values in turn; the record comes first."""
    if len(fields) == 2:
        return Entry(id_, fields[1], deliveries)
    found = dict(zip(fields[2::2], fields[3::2], strict=True))
    lanes, tries = (found.get(name, b"") for name in _FIELDS_OF_WAITING)
    return Entry(id_, fields[1], deliveries, frozenset(lanes.decode().split()), int(tries or 0))


def _chunk_result(chunk: PlanChunk, answer: Sequence[Any] | RedisError) -> ChunkResult:
    if isinstance(answer, RedisError):
        return ChunkResult([], error=answer)
    ends, claimed, unnoted = answer
    # by lane too: in one step all streams give the same ids
    jobs = {(lane, end): job for (lane, job), end in zip(chunk.jobs, ends, strict=True) if isinstance(end, bytes)}
    folded = {place: end[0].decode() for place, end in enumerate(ends) if isinstance(end, list)}
    full = frozenset(lane for (lane, _), end in zip(chunk.jobs, ends, strict=True) if end == -1)
    lanes = sorted({lane for lane, _ in chunk.jobs})
    return ChunkResult(
        [isinstance(end, bytes | list) for end in ends],
        full,
        {
            lane: [_claimed(id_, jobs.get((lane, id_)), fields) for id_, fields in entries]
            for lane, entries in zip(lanes, claimed, strict=True)
            if entries
        },
        unnoted=tuple(error.decode("utf-8", "replace") for error in unnoted),
        folded=folded,
    )


def _claimed(id_: bytes, job: Job | None, fields: Sequence[bytes]) -> ClaimedJob | Entry:
    return ClaimedJob(id_, job) if job is not None else _entry(id_, fields)


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


def _key_of(settlement: Settlement, app_id: str) -> str:
    """The key that it touches beside those of its own lane; "" for none."""
    match settlement:
        case Move():
            return keys.jobs(settlement.lane)
        case Shown():
            return keys.planned(app_id, settlement.job.alert.message_id)
        case Told(job=job) | Bury(subject=Job() as job) if job.alert.is_fold:
            return key_of(app_id, job)
        case _:
            return ""


def _spelled(settlement: Settlement, lane: Lane | None, place: int) -> list[Argument]:
    """Id, verb and what it takes, for settle.lua; `place` is that of its key."""
    match settlement:
        case Finish(entry_id):
            return [entry_id, "done"]
        case Shown(entry_id, job):
            return [entry_id, "shown", place, job.mark]
        case Told(entry_id, job, next_at):
            return [entry_id, "told", *_end_of_fold(job, place, next_at)]
        case Postpone(entry_id, job, when):
            return [entry_id, "retry", to_ms(when), dump_job(job)]
        case Move(entry_id, job, target):
            return [entry_id, "move", place, dump_job(replace(job, channel=target.channel))]
        case Bury(entry_id, cause, reason, Job() as subject) if subject.alert.is_fold:
            end = _end_of_fold(subject, place, None)
            return [entry_id, "told dead", *end, reason, cause, *dump_dead_letter(subject, lane)]
        case Bury(entry_id, cause, reason, subject):
            return [entry_id, "dead", reason, cause, *dump_dead_letter(subject, lane)]
        case _:
            assert_never(settlement)


def _end_of_fold(job: Job, place: int, next_at: datetime | None) -> list[Argument]:
    return [place, job.seen, to_ms(next_at) if next_at else "", dump_job(job.anew())]
