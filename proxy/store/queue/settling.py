"""What becomes of claimed entries, as settle.lua is asked for it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import assert_never

from proxy.domain.forwards import Forward
from proxy.domain.jobs import Job
from proxy.domain.lanes import Lane, Source
from proxy.domain.settlements import Again, Bury, Finish, Move, PlanEnd, Postpone, Settlement, Shown, Told
from proxy.domain.times import to_ms
from proxy.store import keys
from proxy.store.history_records import record_of
from proxy.store.keys import Layout
from proxy.store.queue.entries import lane_name, own_id, stream_of
from proxy.store.queue.folds import key_of
from proxy.store.records import dump_dead_letter, dump_forward, dump_job
from proxy.store.scripts import Argument, Command, script

_WAIT_FIRST_MS, _WAIT_LONGEST_MS = 1_000, 30_000  # a message for a lane that is full


@dataclass(frozen=True)
class Settling:
    """By one worker instance."""

    instance: str
    dead_cap: int
    dedupe_ttl_ms: int
    keeps_history: bool

    def command(
        self, layout: Layout, source: Source, shard: int, settlements: Sequence[Settlement], now_ms: int
    ) -> Command:
        """For entries of one shard."""
        app_id = source.app_id
        lane = source if isinstance(source, Lane) else None
        waits = layout.retries(lane, shard) if lane else layout.waiting(app_id, shard)
        names = [
            stream_of(layout, source, shard), waits, layout.dead_letters(app_id, shard), layout.writes(app_id, shard),
            layout.history_new(app_id, shard),
        ]  # fmt: skip
        place: dict[str, int] = {}
        for settlement in settlements:
            key = _key_of(settlement, app_id, layout, shard)
            if key and key not in place:
                names.append(key)
                place[key] = len(names)
        args: list[Argument] = [
            keys.GROUP, self.instance, self.dead_cap, layout.dead_words_prefix(app_id, shard), self.dedupe_ttl_ms
        ]  # fmt: skip
        keeps = self.keeps_history
        for settlement in settlements:
            args.append(own_id(settlement.entry_id))
            place_of_key = place.get(_key_of(settlement, app_id, layout, shard), 0)
            args += _spelled(settlement, source, layout, place_of_key, now_ms)
            its_own = () if isinstance(settlement, PlanEnd) else settlement.notes
            args.append(b"".join(map(record_of, its_own)) if keeps and its_own else b"")
        return script("settle").call(names, args)


def _key_of(settlement: Settlement, app_id: str, layout: Layout, shard: int) -> str:
    """The key that it touches beside those of its own lane; "" for none."""
    match settlement:
        case Move():
            return layout.jobs(settlement.lane, shard)
        case Shown():
            alert = settlement.job.alert
            return layout.marks_of_message(app_id, alert.message_id, shard, alert.order.accepted_at_ms)[0]
        case Told(job=job) | Bury(subject=Job() as job) if job.alert.is_fold:
            return key_of(layout, app_id, job)
        case _:
            return ""


def _spelled(settlement: Settlement, source: Source, layout: Layout, place: int, now_ms: int) -> list[Argument]:
    """Verb and what it takes, for settle.lua; `place` is that of its key."""
    lane, compact = source if isinstance(source, Lane) else None, layout.is_compact
    match settlement:
        case PlanEnd(full=full, tries=tries) if full:
            wait_ms = min(_WAIT_FIRST_MS << min(tries, 10), _WAIT_LONGEST_MS)
            return ["wait", now_ms + wait_ms, f"{tries + 1} {' '.join(sorted(map(lane_name, full)))}\n"]
        case Finish() | PlanEnd():
            return ["done"]
        case Shown(job=job):
            return ["shown", place, layout.mark_of_target(source.app_id, [job.alert.message_id], job.mark)]
        case Told(job=job, next_at=next_at):
            return ["told", *_end_of_fold(job, place, next_at, compact)]
        case Postpone(job=job, when=when):
            return ["retry", to_ms(when), dump_job(job, compact=compact)]
        case Again(forward=forward, when=when):
            return ["retry", to_ms(when), dump_forward(forward)]
        case Move(job=job, lane=target):
            return ["move", place, dump_job(replace(job, channel=target.channel), compact=compact)]
        case Bury(cause=cause, reason=reason, subject=Job() as subject) if subject.alert.is_fold:
            end = _end_of_fold(subject, place, None, compact)
            return ["told dead", *end, reason, cause, *dump_dead_letter(subject, lane, compact=compact)]
        case Bury(cause=cause, reason=reason, subject=Forward() as subject):
            return ["dead of webhook", reason, cause, *dump_dead_letter(subject, lane, compact=compact)]
        case Bury(cause=cause, reason=reason, subject=subject):
            return ["dead", reason, cause, *dump_dead_letter(subject, lane, compact=compact)]
        case _:
            assert_never(settlement)


def _end_of_fold(job: Job, place: int, next_at: datetime | None, compact: bool) -> list[Argument]:
    return [place, job.seen, to_ms(next_at) if next_at else "", dump_job(job.anew(), compact=compact)]
