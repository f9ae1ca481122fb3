"""The history: read by who asks why there was no alert, filed and swept by the workers.

    plan, settle, receipts -> new notes -> some minutes later: filed by account in buckets, each a stream

So an account's are found in one of many buckets and among the new ones, a message's in all of them. What is filed
together shares a stream's entry, heads, and what can be deflated: each note by itself would take twice the room.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from redis.exceptions import RedisError

from proxy.domain.history import KEPT, Noted, shortened
from proxy.domain.times import from_ms, to_ms
from proxy.store import keys
from proxy.store.connection import Store
from proxy.store.history_records import (
    BUCKETS,
    bucket_of,
    filed,
    load_notes,
    old_bucket_of,
    sign_of_account,
    sign_of_device,
    sign_of_message,
    unfiled,
)
from proxy.store.keys import Layout
from proxy.store.records import UnreadableRecord
from proxy.store.scripts import Argument, Command, ask, ask_now, script

_PAGE = 1000  # entries that the store hands out at once, in some milliseconds
_PAGES_WITH_SIGN = 50  # of a stream: 256 MiB of history are three of them in each
_SMALL_PAGE = 20  # entries of some ten to a hundred notes, each of which is read
_PAGES_WITHOUT = 400  # of all streams together, for about a second
_FILED_WITHIN = timedelta(days=1)  # mostly within minutes
_FILED_TOGETHER = 128 * 1024  # bytes: about 1,700 notes, for two or three milliseconds
_FILED_AFTER = timedelta(minutes=10)  # what is fewer waits so long for more: what is filed together takes less room
_FILED_AT_ONCE = 500_000  # entries; what is left waits for another minute
_TOGETHER = 512  # buckets swept in one round trip
_ROUNDS = 20
_FULL_AGAIN = 0.95  # of the cap is left, so that not each sweep has to cut
_Stored = tuple[bytes, Sequence[bytes]]  # an entry's id, and the name and value of its only field


class RedisHistory:
    """Implements ports.AlertHistory. `app_ids` maps a section's name to its appId. Every method raises
    StoreUnavailable.
    """

    def __init__(self, store: Store, app_ids: Mapping[str, str]) -> None:
        self._store, self._app_ids = store, app_ids

    def of_account(self, app: str, account: str, since: datetime, most: int) -> list[Noted]:
        """The latest `most` of an account in the appId of a section, the oldest first."""
        layout, app_id = self._store.layout, self._app_ids[app]
        shard = layout.shard_of_account(account)
        buckets = {bucket_of(account)} if layout.shards else {bucket_of(account), old_bucket_of(account)}
        names = [layout.history_new(app_id, shard), *(layout.history(app_id, it, shard) for it in sorted(buckets))]
        found = (one for name in names for one in self._newest_first(name, since, sign_of_account(account)))
        return _in_order(islice((one for one in found if one.note.account == account), most))

    def of_message(self, app: str, message_id: str, since: datetime) -> list[Noted]:
        """`message_id` as the log lines have it, or shortened."""
        short = shortened(message_id)
        return [one for one in self._all(app, since, sign_of_message(short)) if one.note.message_id == short]

    def of_device(self, app: str, device_id: str, since: datetime) -> list[Noted]:
        """Of all accounts whose device has this id."""
        return [one for one in self._all(app, since, sign_of_device(device_id)) if one.note.device_id == device_id]

    def latest(
        self,
        app: str,
        since: datetime,
        until: datetime | None,
        sign: bytes,
        is_meant: Callable[[Noted], bool],
        most: int,
    ) -> tuple[list[Noted], bool]:
        """The latest `most` that are meant, of entries with `sign` in them, the oldest first; and whether that is all
        there is. Of what has no sign a share of the history is looked at, the newest of each stream.

        `until`: what was filed a day later, because no worker ran, is not found.
        """
        last = "+" if until is None else str(to_ms(until + _FILED_WITHIN))
        names = streams_of_history(self._store.layout, self._app_ids[app])
        page, looked_at = (_PAGE, _PAGES_WITH_SIGN) if sign else (_SMALL_PAGE, max(_PAGES_WITHOUT // len(names), 1))
        found, is_all = list[Noted](), True
        for name in names:
            pages = self._pages(name, since, last, page)
            notes = (one for entries in islice(pages, looked_at) for one in _newest(entries, since, sign))
            meant = list(islice(filter(is_meant, notes), most + 1))
            is_all = is_all and len(meant) <= most and next(pages, None) is None
            found += meant[:most]
        in_order = _in_order(found)
        return in_order[-most:], is_all and len(in_order) <= most

    def reaches_back_to(self, app: str) -> datetime | None:
        """When the oldest note was written; None where there is none."""
        names = streams_of_history(self._store.layout, self._app_ids[app])
        asked: list[Command] = [("XRANGE", name, "-", "+", "COUNT", 1) for name in names]
        answers = self._store.call(lambda redis: ask_now(redis, asked))
        return min((_time(entries[0][0]) for entries in answers if entries), default=None)

    def _all(self, app: str, since: datetime, sign: bytes) -> list[Noted]:
        names = streams_of_history(self._store.layout, self._app_ids[app])
        return _in_order(one for name in names for one in self._newest_first(name, since, sign))

    def _newest_first(self, name: str, since: datetime, sign: bytes) -> Iterator[Noted]:
        """Page by page, of entries that have `sign` in them; what this program cannot read is left out."""
        for entries in self._pages(name, since, "+", _PAGE):
            yield from _newest(entries, since, sign)

    def _pages(self, name: str, since: datetime, last: str, size: int) -> Iterator[Sequence[_Stored]]:
        first = str(to_ms(since))  # an entry is never older than its notes
        while True:
            entries = self._page(("XREVRANGE", name, last, first, "COUNT", size))
            if entries:
                yield entries
            if len(entries) < size:
                return
            last = f"({entries[-1][0].decode()}"

    def _page(self, command: Command) -> Any:
        return self._store.call(lambda redis: ask_now(redis, [command])[0])


class HistorySweep:
    """Files the new notes; drops what is older than 7 days, and the oldest of what all apps' hold beyond `max_bytes`.

    For the worker: what is new about every ten seconds, all of it once a minute. In between they may grow beyond it.
    """

    def __init__(self, redis: Any, app_ids: Sequence[str], max_bytes: int) -> None:
        self._redis, self._app_ids, self._max_bytes = redis, app_ids, max_bytes

    async def file(self, now: datetime) -> int:
        """Returns how many entries the store did not take. Several workers may do so: each note is filed once."""
        lost, layout = 0, self._redis.layout
        left = [(app_id, shard) for app_id in self._app_ids for shard in layout.all_shards]
        for _ in range(_FILED_AT_ONCE // _PAGE):
            asked = [("XRANGE", layout.history_new(*one), "-", "+", "COUNT", _PAGE) for one in left]
            pages = list(zip(left, await ask(self._redis, asked), strict=True))
            for (app_id, shard), entries in pages:
                if isinstance(entries, list):  # a key of another type is as if it were empty
                    lost += await self._file(app_id, shard, entries, now)
            left = [one for one, entries in pages if isinstance(entries, list) and len(entries) == _PAGE]
            if not left:
                break
        return lost

    async def _file(self, app_id: str, shard: int, entries: Sequence[_Stored], now: datetime) -> int:
        lost = 0
        for portion, is_full in _portions(entries):
            if is_full or len(entries) == _PAGE or now - _time(portion[0][0]) >= _FILED_AFTER:
                lost += await self._file_portion(app_id, shard, portion)
        return lost

    async def _file_portion(self, app_id: str, shard: int, entries: Sequence[_Stored]) -> int:
        layout, by_bucket = self._redis.layout, filed(fields[1] for _, fields in entries)
        names, args = [layout.history_new(app_id, shard)], list[Argument]()
        for bucket, (field, value) in by_bucket.items():
            names.append(layout.history(app_id, bucket, shard))
            args += [field, value]
        return int(
            await script("file_history").run_async(self._redis, names, [entries[0][0], _after(entries[-1][0]), *args])
        )

    async def sweep(self, now: datetime) -> int:
        """Returns how many bytes are left."""
        before = now - KEPT
        size, oldest = await self._trim(before)
        if size <= self._max_bytes:
            return size
        for _ in range(_ROUNDS):
            if oldest is None or size <= _FULL_AGAIN * self._max_bytes:
                break
            share = 1 - _FULL_AGAIN * self._max_bytes / size
            before = max(oldest, before) + max((now - max(oldest, before)) * share, timedelta(milliseconds=1))
            size, oldest = await self._trim(before)
        return size

    async def _trim(self, before: datetime) -> tuple[int, datetime | None]:
        """What is left, and how old the oldest of it is. A key of another type is as if it were empty."""
        size, oldest = 0, list[datetime]()
        every = [name for app_id in self._app_ids for name in streams_of_history(self._redis.layout, app_id)]
        for start in range(0, len(every), _TOGETHER):
            names = every[start : start + _TOGETHER]
            sweep = script("sweep_history")
            asked = [sweep.call([name], [to_ms(before), keys.HISTORY_TTL_S]) for name in names]
            for answer in await ask(self._redis, asked):
                if isinstance(answer, RedisError):
                    continue
                size += answer[0]
                oldest += [from_ms(int(answer[1]))] if answer[1] else []
        return size, min(oldest, default=None)


def streams_of_history(layout: Layout, app_id: str) -> list[str]:
    names = [layout.history_new(app_id, shard) for shard in layout.all_shards]
    step = max(min(layout.shards, BUCKETS), 1)
    return names + [
        layout.history(app_id, bucket, shard)
        for shard in layout.all_shards
        for bucket in range(shard % step, BUCKETS, step)
    ]


def _newest(entries: Sequence[_Stored], since: datetime, sign: bytes) -> Iterator[Noted]:
    for id_, fields in entries:
        yield from reversed([one for one in _noted(id_, fields, sign) if one.at >= since])


def _in_order(newest_first: Iterable[Noted]) -> list[Noted]:
    oldest_first = list(newest_first)[::-1]
    return sorted(oldest_first, key=lambda noted: noted.at)


def _portions(entries: Sequence[_Stored]) -> Iterator[tuple[list[_Stored], bool]]:
    """What is filed together; all but the last are full."""
    portion, size = list[_Stored](), 0
    for entry in entries:
        portion.append(entry)
        size += len(entry[1][1])
        if size >= _FILED_TOGETHER:
            yield portion, True
            portion, size = [], 0
    if portion:
        yield portion, False


def _noted(id_: bytes, fields: Sequence[bytes], sign: bytes) -> Iterator[Noted]:
    try:
        records = unfiled(fields[0], fields[1])
    except UnreadableRecord:
        return
    if sign in records:
        for note in load_notes(records):
            yield Noted(from_ms(note.ended_at_ms) if note.ended_at_ms else _time(id_), note)


def _after(id_: bytes) -> str:
    """The least id that is greater."""
    ms, _, sequence = id_.decode().partition("-")
    return f"{ms}-{int(sequence) + 1}"


def _time(id_: bytes) -> datetime:
    return from_ms(int(id_.partition(b"-")[0]))
