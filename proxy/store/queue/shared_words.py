"""What the alerts of one message say, once in each shard where many jobs say it: a job then names these words.

They are named by a digest of themselves, so that what one person may see less of is another record. They live an hour
longer than the alert, so that a job that finds none has expired. Who claims jobs makes them whole at once: a retry, a
job that is moved and a dead letter have their own copy.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from redis.exceptions import RedisError

from proxy.domain.jobs import Job
from proxy.domain.settlements import Entry
from proxy.domain.times import MS, to_ms
from proxy.store.compact_records import (
    dump_own,
    dump_words,
    name_of_words,
    sharing,
    with_its_words,
    with_words,
    words_name,
)
from proxy.store.keys import Layout
from proxy.store.records import dump_job
from proxy.store.scripts import ask
from proxy.store.troubles import is_the_stores_own

MANY = 8  # jobs of a chunk: of fewer the words would take as much room as they save
_LONGER_MS = timedelta(hours=1) // MS
_REMEMBERED = 256


@dataclass(frozen=True)
class ChunkRecords:
    """Those of a chunk's jobs, in their order; the words that they name, b"" for none, and how long these live."""

    records: Sequence[bytes]
    words: bytes = b""
    name: bytes = b""
    ttl_ms: int = 0


def records_of(jobs: Sequence[Job], now_ms: int, *, compact: bool) -> ChunkRecords:
    """Jobs of one message."""
    if not compact or len(jobs) == 1:
        return ChunkRecords([dump_job(job, compact=compact) for job in jobs])
    try:
        said = _words_of(jobs)
        if len(jobs) < MANY:
            return ChunkRecords([with_its_words(job, its) for job, its in zip(jobs, said, strict=True)])
        (words, many), *_ = Counter(said).most_common(1)
        if many >= MANY:
            name = words_name(words)
            records = [
                sharing(name, dump_own(job)) if its == words else with_its_words(job, its)
                for job, its in zip(jobs, said, strict=True)
            ]
            life_ms = max(to_ms(jobs[said.index(words)].alert.expires_at) - now_ms, 0) + _LONGER_MS
            return ChunkRecords(records, words, name, life_ms)
    except ValueError:  # some of it does not fit
        pass
    return ChunkRecords([dump_job(job, compact=True) for job in jobs])


def _words_of(jobs: Sequence[Job]) -> list[bytes]:
    """Mostly all jobs have one and the same alert."""
    by_alert: dict[int, bytes] = {}
    for job in jobs:
        if id(job.alert) not in by_alert:
            by_alert[id(job.alert)] = dump_words(job.alert, job.alert.text)
    return [by_alert[id(job.alert)] for job in jobs]


class SharedWords:
    """As a worker reads them. It remembers some: a message's jobs are claimed one after the other."""

    def __init__(self, redis: Any) -> None:
        self._redis = redis
        self._known: dict[str, bytes] = {}

    async def whole(self, entries: Sequence[Entry], app_id: str) -> list[Entry]:
        """The same entries, whose records lack nothing. Raises RedisError where the store can do nothing now.

        A key that cannot be used is as if its words were gone.
        """
        named = [name_of_words(entry.record) for entry in entries]
        if not any(named):
            return list(entries)
        layout: Layout = self._redis.layout
        wanted = [
            layout.words(app_id, int(entry.id.partition(b"/")[2] or 0), name) if name else ""
            for entry, name in zip(entries, named, strict=True)
        ]
        known = await self._look_up({key for key in wanted if key})
        return [
            replace(entry, record=with_words(entry.record, known[key])) if key in known else entry
            for entry, key in zip(entries, wanted, strict=True)
        ]

    async def _look_up(self, keys: set[str]) -> Mapping[str, bytes]:
        unknown = [key for key in keys if key not in self._known]
        for key, words in zip(unknown, await ask(self._redis, [("GET", it) for it in unknown]), strict=True):
            if isinstance(words, RedisError):
                if is_the_stores_own(words):
                    raise words
            elif words:
                self._known[key] = words
        found = {key: self._known[key] for key in keys if key in self._known}
        while len(self._known) > _REMEMBERED:
            del self._known[next(iter(self._known))]
        return found
