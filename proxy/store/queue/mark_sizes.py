"""How many buckets the next generation of marks has: so many that each is a small list, and keys are few.

Decided once, in the last quarter of a generation and an hour before it ends at the latest, so that every process has
learned of it when the first mark of the next one is written. From the fullest of some buckets of each shard, in this
generation and in the one before it, which shows a day that is like every day, and one that is busier.
"""

import random
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from proxy.domain.times import to_ms
from proxy.store import keys
from proxy.store.keys import Layout
from proxy.store.marks import Marks, bucket_prefix
from proxy.store.scripts import ask_strictly, script

_FILL = 128  # marks of a bucket that is full; up to 512 it stays a list, so there is room for a day four times as busy
_MOST = 1 << 20
_FROM, _BEFORE_END_MS = 0.75, 3_600_000
_SAMPLED = 8  # buckets of a shard and generation


class MarkSizes:
    """For a worker; several may decide, and the first counts."""

    def __init__(self, redis: Any, app_ids: Sequence[str]) -> None:
        self._redis, self._app_ids = redis, app_ids

    async def look(self, now: datetime) -> None:
        """To be called every few minutes. Raises RedisError."""
        layout: Layout = self._redis.layout
        marks, now_ms = layout.marks, to_ms(now)
        if marks is None or not (when := _is_time(marks, now_ms)):
            return
        generation, share = when
        expected = max(
            await self._marks_in(layout, marks, generation) / share,
            await self._marks_in(layout, marks, generation - 1),
        )
        buckets = fitting(expected, marks.buckets_of(generation))
        if buckets != marks.buckets_of(generation):
            changed = marks.resized(generation + 1, buckets)
            await script("size_marks").run_async(self._redis, [keys.identity()], [str(marks), str(changed)])

    async def _marks_in(self, layout: Layout, marks: Marks, generation: int) -> float:
        """Of the shard that has most."""
        bases = sorted({layout.base_of_all(app_id, shard) for app_id in self._app_ids for shard in layout.all_shards})
        buckets = marks.buckets_of(generation)
        asked = [random.sample(range(buckets), min(_SAMPLED, buckets)) for _ in bases]
        commands = [
            ("HLEN", f"{bucket_prefix(base, generation)}{bucket:x}")
            for base, some in zip(bases, asked, strict=True)
            for bucket in some
        ]
        sizes = iter(await ask_strictly(self._redis, commands))
        return max((sum(next(sizes) for _ in some) / len(some) for some in asked), default=0.0) * buckets


def fitting(marks: float, buckets: int) -> int:
    """How many buckets so many marks of a shard take: as many as there are, unless they would be off by far."""
    if _FILL / 4 <= marks / buckets <= 2 * _FILL or (buckets == 1 and marks <= 2 * _FILL):
        return buckets
    wanted = 1
    while wanted * _FILL < marks and wanted < _MOST:
        wanted *= 2
    return wanted


def _is_time(marks: Marks, now_ms: int) -> tuple[int, float] | None:
    """The generation that runs, and how much of it has passed; None where the next one's size is not to be decided."""
    generation, within_ms = divmod(now_ms, marks.generation_ms)
    share = within_ms / marks.generation_ms
    is_decided = any(since > generation for since, _ in marks.sizes)
    is_late = within_ms > marks.generation_ms - _BEFORE_END_MS
    return None if share < _FROM or is_late or is_decided else (generation, share)
