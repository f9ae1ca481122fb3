"""A message's jobs for accounts of one shard, as plan_chunk.lua appends them, and what it answers."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redis.exceptions import RedisError

from proxy.domain.jobs import ClaimedJob, Job
from proxy.domain.lanes import Lane
from proxy.domain.settlements import ChunkResult, Entry, PlanChunk
from proxy.store import keys
from proxy.store.keys import Layout
from proxy.store.queue.caps import Caps
from proxy.store.queue.entries import entry_of, id_of
from proxy.store.queue.folds import GOES_AT_ONCE, Folding, key_of
from proxy.store.queue.shared_words import records_of
from proxy.store.scripts import Argument, Command, script
from proxy.store.users.unread import counting

_WORDS = 5  # their place among the script's arguments
_NONE_BEHIND: Mapping[Lane, Collection[int]] = {}


@dataclass(frozen=True)
class Appending:
    """By one worker instance."""

    instance: str
    dedupe_ttl_ms: int
    caps: Caps
    counts_unread: bool
    folding: Folding | None

    def command(
        self,
        layout: Layout,
        chunk: PlanChunk,
        now_ms: int,
        rooms: dict[Lane, int],
        behind: Mapping[Lane, Collection[int]] = _NONE_BEHIND,
    ) -> Command:
        """Takes what it claims from `rooms`; nothing of a lane in shards in which that is `behind`."""
        counts = dict[Lane, int]()
        for lane, _ in chunk.jobs:
            counts[lane] = counts.get(lane, 0) + 1
        lanes = sorted(counts)
        shard = layout.shard_of_account(chunk.jobs[0][1].account)
        app_id, message_id, of_first = chunk.app_id, chunk.message_id, chunk.jobs[0][1].alert
        accepted_at_ms = of_first.order.accepted_at_ms
        names = layout.marks_of_message(app_id, message_id, shard, accepted_at_ms, self.dedupe_ttl_ms)
        kept = f"{self.dedupe_ttl_ms} {len(names)}"
        for lane in lanes:
            names += [layout.jobs(lane, shard), layout.retries(lane, shard)]
        accounts = dict.fromkeys(job.account for _, job in chunk.jobs) if self.counts_unread else {}
        counted: list[Argument] = []
        if accounts:
            its_names, counted = counting(layout, app_id, of_first, list(accounts), now_ms)
            names += its_names
        args: list[Argument] = [keys.GROUP, self.instance, kept, len(lanes), len(accounts), b"", 0]
        if self.folding is not None:
            args[_WORDS - 1] = f"{len(accounts)} {self.folding.window_ms}"
        for lane in lanes:
            claims = 0 if shard in behind.get(lane, ()) else min(counts[lane], rooms.get(lane, 0))
            args += [self.caps.of_shard(lane, layout.shards), claims]
            if claims:
                rooms[lane] -= claims
        place = {lane: index for index, lane in enumerate(lanes)}

        written = records_of([job for _, job in chunk.jobs], now_ms, compact=layout.is_compact)
        marks = layout.marks_of_targets(app_id, message_id, [job.mark for _, job in chunk.jobs])
        if accounts or self.folding is not None:
            args += counted
            places = {account: index for index, account in enumerate(accounts)}
            if self.folding is not None:
                args += self.folding.of_message(of_first, now_ms)
            for (lane, job), mark, record in zip(chunk.jobs, marks, written.records, strict=True):
                args += [place[lane], mark, record]
                if accounts:
                    args.append(places[job.account])
                if self.folding is not None:
                    args += _folded(layout, self.folding, lane, job, names)
        else:
            for (lane, _), mark, record in zip(chunk.jobs, marks, written.records, strict=True):
                args += [place[lane], mark, record]
        if written.words:
            names.append(layout.words(app_id, shard, written.name))
            args[_WORDS : _WORDS + 2] = [written.words, written.ttl_ms]
        return script("plan_chunk").call(names, args)


def _folded(layout: Layout, folding: Folding, lane: Lane, job: Job, names: list[str]) -> Sequence[Argument]:
    """The fold that it may go into is added to `names`."""
    if not job.alert.may_fold:
        return GOES_AT_ONCE
    names.append(key_of(layout, lane.app_id, job))
    return folding.of_job(lane, job, len(names))


def chunk_result(layout: Layout, chunk: PlanChunk, answer: Sequence[Any] | RedisError) -> ChunkResult:
    if isinstance(answer, RedisError):
        return ChunkResult([], error=answer)
    ends, claimed = answer
    jobs = dict[Lane, dict[bytes, Job]]()  # by lane: in one step all streams give the same ids
    folded, full = dict[int, str](), set[Lane]()
    for place, ((lane, job), end) in enumerate(zip(chunk.jobs, ends, strict=True)):
        of_lane = jobs.setdefault(lane, {})
        if isinstance(end, bytes):
            of_lane[end] = job
        elif isinstance(end, list):
            folded[place] = end[0].decode()
        elif end == -1:
            full.add(lane)
    taken = dict[Lane, list[ClaimedJob | Entry]]()
    for lane, entries in zip(sorted(jobs), claimed, strict=True):
        if entries:
            shard = layout.shard_of_account(chunk.jobs[0][1].account)
            taken[lane] = [_claimed(shard, id_, jobs[lane].get(id_), fields) for id_, fields in entries]
    return ChunkResult([isinstance(end, (bytes, list)) for end in ends], frozenset(full), taken, folded=folded)


def _claimed(shard: int, own: bytes, job: Job | None, fields: Sequence[bytes]) -> ClaimedJob | Entry:
    return ClaimedJob(id_of(shard, own), job) if job is not None else entry_of(shard, own, fields)
