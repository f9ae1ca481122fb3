"""The history: read by who asks why there was no alert, swept by the workers. Its writers are plan and settle.

Notes lie by account in buckets, each a stream. So an account's are found in one of many, a message's in all of them.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from redis.exceptions import ResponseError

from proxy.domain.history import KEPT, Noted, shortened
from proxy.domain.times import from_ms, to_ms
from proxy.store import keys
from proxy.store.connection import Store
from proxy.store.history_records import (
    BUCKETS,
    bucket_of,
    load_notes,
    sign_of_account,
    sign_of_device,
    sign_of_message,
)
from proxy.store.records import UnreadableRecord
from proxy.store.scripts import Command, ask, ask_now, script

_PAGE = 1000  # notes that the store hands out at once, in half a millisecond
_TOGETHER = 512  # buckets swept in one round trip
_ROUNDS = 20
_FULL_AGAIN = 0.95  # of the cap is left, so that not each sweep has to cut


class RedisHistory:
    """Implements ports.AlertHistory. `app_ids` maps a section's name to its appId. Every method raises
    StoreUnavailable.
    """

    def __init__(self, store: Store, app_ids: Mapping[str, str]) -> None:
        self._store, self._app_ids = store, app_ids

    def of_account(self, app: str, account: str, since: datetime, most: int) -> list[Noted]:
        """The latest `most` of an account in the appId of a section, the oldest first."""
        found = self._newest_first(app, bucket_of(account), since, sign_of_account(account))
        return list(islice((one for one in found if one.note.account == account), most))[::-1]

    def of_message(self, app: str, message_id: str, since: datetime) -> list[Noted]:
        """`message_id` as the log lines have it, or shortened."""
        short = shortened(message_id)
        return [one for one in self._all(app, since, sign_of_message(short)) if one.note.message_id == short]

    def of_device(self, app: str, device_id: str, since: datetime) -> list[Noted]:
        """Of all accounts whose device has this id."""
        return [one for one in self._all(app, since, sign_of_device(device_id)) if one.note.device_id == device_id]

    def reaches_back_to(self, app: str) -> datetime | None:
        """When the oldest note was written; None where there is none."""
        names = [keys.history(self._app_ids[app], bucket) for bucket in range(BUCKETS)]
        asked: list[Command] = [("XRANGE", name, "-", "+", "COUNT", 1) for name in names]
        answers = self._store.call(lambda redis: ask_now(redis, asked))
        return min((_time(entries[0][0]) for entries in answers if entries), default=None)

    def _all(self, app: str, since: datetime, sign: bytes) -> list[Noted]:
        found = [one for bucket in range(BUCKETS) for one in self._newest_first(app, bucket, since, sign)]
        return sorted(found, key=lambda noted: noted.at)

    def _newest_first(self, app: str, bucket: int, since: datetime, sign: bytes) -> Iterator[Noted]:
        """Page by page, of records that have `sign` in them; what this program cannot read is left out."""
        name, last, first = keys.history(self._app_ids[app], bucket), "+", str(to_ms(since))
        while True:
            entries = self._page(("XREVRANGE", name, last, first, "COUNT", _PAGE))
            for id_, fields in entries:
                if sign in fields[1]:
                    yield from _noted(id_, fields[1])
            if len(entries) < _PAGE:
                return
            last = f"({entries[-1][0].decode()}"

    def _page(self, command: Command) -> Any:
        return self._store.call(lambda redis: ask_now(redis, [command])[0])


class HistorySweep:
    """Drops what is older than 7 days, and the oldest of what all apps' histories hold beyond `max_bytes`.

    For the worker, about once a minute: in between they may grow beyond it.
    """

    def __init__(self, redis: Any, app_ids: Sequence[str], max_bytes: int) -> None:
        self._redis, self._max_bytes = redis, max_bytes
        self._names = [keys.history(app_id, bucket) for app_id in app_ids for bucket in range(BUCKETS)]

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
        for start in range(0, len(self._names), _TOGETHER):
            names = self._names[start : start + _TOGETHER]
            sweep = script("sweep_history")
            asked = [sweep.call([name], [to_ms(before), keys.HISTORY_TTL_S]) for name in names]
            for answer in await ask(self._redis, asked):
                if isinstance(answer, ResponseError):
                    continue
                size += answer[0]
                oldest += [from_ms(int(answer[1]))] if answer[1] else []
        return size, min(oldest, default=None)


def _noted(id_: bytes, record: bytes) -> Iterator[Noted]:
    at, notes = _time(id_), load_notes(record)
    while True:
        try:
            note = next(notes)
        except (StopIteration, UnreadableRecord):
            return
        yield Noted(at, note)


def _time(id_: bytes) -> datetime:
    return from_ms(int(id_.partition(b"-")[0]))
