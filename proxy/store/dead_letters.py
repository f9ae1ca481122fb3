"""Jobs that ended without an alert, kept for a person to look at; without what people wrote."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from proxy.store import keys
from proxy.store.connection import Store
from proxy.store.records import UnreadableRecord, from_ms, load_job

_PAGE = 100


@dataclass(frozen=True)
class DeadLetter:
    """`id` is the entry's in the stream; the job's own fields are empty where the record was no job."""

    id: str
    at: datetime
    reason: str
    job_id: str = ""
    app: str = ""
    channel: str = ""
    account: str = ""
    device_id: str = ""
    attempt: int = 0


class RedisDeadLetters:
    """The dead letters of all apps."""

    def __init__(self, store: Store, app_ids: set[str]) -> None:
        self._store = store
        self._app_ids = sorted(app_ids)

    def recent(self, count: int, app: str | None = None) -> Iterator[DeadLetter]:
        """At most `count` of each appId, the newest first; `app` limits them to one section."""
        for app_id in self._app_ids:
            letters = self._newest_first(keys.dead_letters(app_id))
            yield from islice((letter for letter in letters if app in (None, letter.app)), count)

    def _newest_first(self, name: str) -> Iterator[DeadLetter]:
        start = "+"
        while found := self._page(name, start):
            yield from (_read(id_.decode(), fields) for id_, fields in found)
            start = f"({found[-1][0].decode()}"  # before the last one

    def _page(self, name: str, start: str) -> list[tuple[bytes, dict[bytes, bytes]]]:
        found: list[tuple[bytes, dict[bytes, bytes]]] = self._store.call(
            lambda redis: redis.xrevrange(name, max=start, count=_PAGE)
        )
        return found


def _read(id_: str, fields: dict[bytes, bytes]) -> DeadLetter:
    at, reason = from_ms(int(id_.split("-", 1)[0])), fields.get(b"reason", b"").decode()
    try:
        job = load_job(fields.get(b"r", b"{}"))
    except UnreadableRecord:
        return DeadLetter(id_, at, reason)
    return DeadLetter(id_, at, reason, job.id, job.app, job.channel, job.account, job.device_id, job.attempt)


def to_json(letter: DeadLetter) -> str:
    """One line, for a command line's output."""
    row: dict[str, Any] = {**letter.__dict__, "at": letter.at.isoformat(timespec="milliseconds")}
    return json.dumps(row, ensure_ascii=False)
