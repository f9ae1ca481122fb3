"""What has not ended yet, as notes: messages that wait for their plan, and jobs that wait in a lane or for a retry.

The history knows nothing of them. For an operator: all that waits is read, up to a limit.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any

from proxy.domain.history import JobEnd, Note, Noted, Reason, shortened
from proxy.domain.lanes import Lane
from proxy.domain.times import from_ms, to_ms
from proxy.store import keys
from proxy.store.compact_records import name_of_words, with_words
from proxy.store.connection import Store
from proxy.store.queue.lane_states import PAUSE_FIELDS, read_pause
from proxy.store.records import UnreadableRecord, load_job, load_offline_message
from proxy.store.scripts import Command, ask_now

MOST = 20_000  # records of a stream or of its retries
_PAGE = 1000


class RedisUnended:
    """`lanes` are all of the settings; of each stream, and of its retries, `most` records are read. Every method raises
    StoreUnavailable.
    """

    def __init__(self, store: Store, lanes: Sequence[Lane], most: int = MOST) -> None:
        self._store, self._lanes, self._most = store, lanes, most
        self._words: dict[bytes, bytes | None] = {}

    def notes(self, app_id: str, now: datetime, is_meant: Callable[[Note], bool]) -> list[Noted]:
        """Those of an appId that are meant. `at` is when they began to wait so."""
        lanes = [lane for lane in self._lanes if lane.app_id == app_id]
        found = [*self._messages(app_id, now), *(noted for lane in lanes for noted in self._jobs(lane, now))]
        return [noted for noted in found if is_meant(noted.note)]

    def _messages(self, app_id: str, now: datetime) -> Iterator[Noted]:
        layout = self._store.layout
        for shard in layout.all_shards:
            for id_, fields in self._entries(layout.callbacks(app_id, shard)):
                yield from _of_message(fields[1], from_ms(_ms(id_)), Reason.WAITS_FOR_PLAN)
            for waiting, _ in self._scored(layout.waiting(app_id, shard)):
                yield from _of_message(waiting.partition(b"\n")[2], now, Reason.WAITS_FOR_ROOM)

    def _jobs(self, lane: Lane, now: datetime) -> Iterator[Noted]:
        pause = read_pause(self._answer(("HMGET", keys.pause(lane), *PAUSE_FIELDS)))
        why = f"the lane is paused ({pause.kind}): {pause.reason}" if pause else ""
        since = pause.since if pause else now
        layout = self._store.layout
        for shard in layout.all_shards:
            for id_, (_, stored, *_) in self._entries(layout.jobs(lane, shard)):
                record = self._whole(stored, lane.app_id, shard)
                at = from_ms(_ms(id_))
                yield from _of_job(record, max(at, since) if pause else at, Reason.WAITS_IN_LANE, why, _ms(id_))
            for stored, due_ms in self._scored(layout.retries(lane, shard)):
                record = self._whole(stored, lane.app_id, shard)
                yield from _of_job(record, from_ms(int(float(due_ms))), Reason.WAITS_FOR_TRY, why, 0)

    def _entries(self, stream: str) -> Iterator[Any]:
        first, left = "-", self._most
        while left > 0:
            entries = self._answer(("XRANGE", stream, first, "+", "COUNT", min(_PAGE, left)))
            yield from entries
            if len(entries) < _PAGE:
                return
            first, left = f"({entries[-1][0].decode()}", left - _PAGE

    def _scored(self, name: str) -> Iterator[tuple[bytes, bytes]]:
        for start in range(0, self._most, _PAGE):
            last = min(start + _PAGE, self._most) - 1
            found = self._answer(("ZRANGE", name, start, last, "WITHSCORES"))
            yield from zip(found[::2], found[1::2], strict=True)
            if len(found) < 2 * _PAGE:
                return

    def _whole(self, record: bytes, app_id: str, shard: int) -> bytes:
        """A job with its words."""
        name = name_of_words(record)
        if name is None:
            return record
        if name not in self._words:
            self._words[name] = self._answer(("GET", self._store.layout.words(app_id, shard, name)))
        words = self._words[name]
        return with_words(record, words) if words else record

    def _answer(self, command: Command) -> Any:
        return self._store.call(lambda redis: ask_now(redis, [command])[0])


def _of_message(record: bytes, at: datetime, result: Reason) -> Iterator[Noted]:
    try:
        message = load_offline_message(record)
    except UnreadableRecord:
        return
    for reader in message.recipients:
        if reader.account != message.sender:
            accepted_ms = to_ms(message.accepted_at)
            yield Noted(
                at,
                Note(
                    shortened(message.message_id),
                    message.conversation,
                    accepted_ms,
                    message.sent_at_ms,
                    result,
                    reader.account,
                ),
            )


def _of_job(record: bytes, at: datetime, result: Reason, why: str, planned_at_ms: int) -> Iterator[Noted]:
    try:
        job = load_job(record)
    except UnreadableRecord:
        return
    if job.alert.update is None:
        yield Noted(at, JobEnd(job, result, why, job.planned_at_ms or planned_at_ms).note)


def _ms(id_: bytes) -> int:
    return int(id_.partition(b"-")[0])
