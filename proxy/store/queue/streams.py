"""Streams with leases: claim, renew, settle, take over, move what is due. For the worker's event loop.

An entry belongs to the worker instance that Redis' pending list names. Heartbeat and settle are scripts that act only
on entries that are still ours and say which are not. An entry nobody renewed for a lease is taken over.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from redis.exceptions import ResponseError

from proxy.domain.jobs import Job
from proxy.domain.lanes import Lane
from proxy.ports import Bury, Entry, Finish, Postpone, Settlement
from proxy.store import keys
from proxy.store.records import dump_dead_letter, dump_job, to_ms
from proxy.store.scripts import Argument, script

_GONE_MS = 3_600_000
_IDS_PER_CALL = 500  # Lua's unpack and the store's patience both have limits


class RedisQueue:
    """One worker instance's hand on the streams. `instance` is a name made new at each start."""

    def __init__(
        self, redis: Any, instance: str, *, lease: timedelta, dedupe_ttl: timedelta, jobs_cap: int, dead_cap: int
    ) -> None:
        self._redis = redis
        self._instance = instance
        self._lease_ms = _milliseconds(lease)
        self._marks_life_ms = _milliseconds(dedupe_ttl)
        self._jobs_cap = jobs_cap
        self._dead_cap = dead_cap

    async def ensure_group(self, stream: str) -> None:
        """The stream and its group exist. A store that came back empty has neither."""
        try:
            await self._redis.xgroup_create(stream, keys.GROUP, id="0", mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):  # that one says it is there
                raise

    async def claim(self, stream: str, count: int, block: timedelta) -> list[Entry]:
        """Up to `count` new entries; waits up to `block` for the first."""
        try:
            answer = await self._redis.xreadgroup(
                keys.GROUP, self._instance, {stream: ">"}, count=count, block=max(_milliseconds(block), 1)
            )
        except ResponseError as error:
            _only_no_group(error)
            await self.ensure_group(stream)
            return []
        return [Entry(id_, fields[b"r"]) for _, entries in answer or [] for id_, fields in entries]

    async def take_over(self, stream: str, count: int) -> list[Entry]:
        """Up to `count` entries whose worker has been silent for a lease."""
        args: list[Argument] = [keys.GROUP, self._instance, self._lease_ms, count]
        try:
            claimed = await script("take_over").run_async(self._redis, [stream], args)
        except ResponseError as error:
            _only_no_group(error)
            await self.ensure_group(stream)
            return []
        return [Entry(id_, record, deliveries + 1) for id_, record, deliveries in claimed]

    async def renew(self, stream: str, ids: Sequence[bytes]) -> list[bytes]:
        """Renew the leases; returns the ids that are no longer ours."""
        lost: list[bytes] = []
        for some in _portions(ids):
            try:
                lost += await script("heartbeat").run_async(self._redis, [stream], [keys.GROUP, self._instance, *some])
            except ResponseError as error:  # the store came back empty: nothing of it is ours any more
                _only_no_group(error)
                lost += some
        return lost

    async def settle_jobs(self, lane: Lane, settlements: Sequence[Settlement]) -> list[bytes]:
        """Carry out the settlements; returns the ids that were no longer ours, about which nothing was done."""
        return await self._settle(lane.app_id, lane, [keys.jobs(lane), keys.retries(lane)], settlements)

    async def settle_callbacks(self, app_id: str, settlements: Sequence[Settlement]) -> list[bytes]:
        """The same for callbacks, which are never retried by time: only done, or dead."""
        return await self._settle(app_id, None, [keys.callbacks(app_id)] * 2, settlements)

    async def append_jobs(
        self, app_id: str, message_id: str, entry_id: bytes, jobs: Sequence[tuple[Lane, Job]], *, last: bool
    ) -> list[bool] | None:
        """Append the jobs whose target is new for this message; with the `last` chunk the callback goes.

        Returns which were new, or None, with nothing done, where a lane is full.
        """
        lanes = sorted({lane for lane, _ in jobs})
        place = {lane: index for index, lane in enumerate(lanes)}
        names = [keys.callbacks(app_id), keys.planned(app_id, message_id)]
        for lane in lanes:
            names += [keys.jobs(lane), keys.retries(lane)]
        args: list[Argument] = [keys.GROUP, entry_id, int(last), self._marks_life_ms, self._jobs_cap]
        for lane, job in jobs:
            args += [place[lane], job.mark, dump_job(job)]
        answer = await script("plan_chunk").run_async(self._redis, names, args)
        return None if answer == [-1] else [new == 1 for new in answer]

    async def forget_instances(self, stream: str) -> int:
        """Drop the names of instances that hold nothing and have been gone for an hour; returns how many."""
        try:
            gone: int = await script("forget_instances").run_async(self._redis, [stream], [keys.GROUP, _GONE_MS])
        except ResponseError as error:
            _only_no_group(error)
            return 0
        return gone

    async def length(self, stream: str) -> int:
        count: int = await self._redis.xlen(stream)
        return count

    async def move_due(self, lane: Lane, now: datetime, count: int) -> int:
        """Retries that are due go back into the lane; returns how many."""
        moved: int = await script("move_due").run_async(
            self._redis, [keys.retries(lane), keys.jobs(lane)], [to_ms(now), count]
        )
        return moved

    async def _settle(
        self, app_id: str, lane: Lane | None, streams: Sequence[str], settlements: Sequence[Settlement]
    ) -> list[bytes]:
        names, words = [*streams, keys.dead_letters(app_id)], keys.dead_words_prefix(app_id)
        foreign: list[bytes] = []
        for some in _portions(settlements):
            args: list[Argument] = [keys.GROUP, self._instance, self._dead_cap, words, self._marks_life_ms]
            for it in some:
                args += _spelled(it, lane)
            try:
                foreign += await script("settle").run_async(self._redis, names, args)
            except ResponseError as error:
                _only_no_group(error)
                foreign += [it.entry_id for it in some]
        return foreign


def _only_no_group(error: ResponseError) -> None:
    """Go on if the stream's group is missing; raise anything else."""
    if "NOGROUP" not in str(error) and "no such key" not in str(error):
        raise error


def _portions(items: Sequence[Any]) -> list[Sequence[Any]]:
    return [items[i : i + _IDS_PER_CALL] for i in range(0, len(items), _IDS_PER_CALL)]


def _milliseconds(span: timedelta) -> int:
    return span // timedelta(milliseconds=1)


def _spelled(settlement: Settlement, lane: Lane | None) -> list[Argument]:
    """Id, verb and what it takes, for settle.lua."""
    match settlement:
        case Finish(entry_id):
            return [entry_id, "done"]
        case Postpone(entry_id, job, when):
            return [entry_id, "retry", to_ms(when), dump_job(job)]
        case Bury(entry_id, cause, reason, of):
            return [entry_id, "dead", reason, cause, *dump_dead_letter(of, lane)]
