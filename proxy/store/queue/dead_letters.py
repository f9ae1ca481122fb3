"""What ended without an alert, kept for a person: read, put back to work, or dropped.

A dead letter holds no words of people. They lie in a key beside it for as long as the dedupe marks, for a replay.
"""

from collections.abc import Iterator
from datetime import datetime
from functools import partial
from heapq import merge
from typing import Any

from proxy.domain.dead_letters import Cause, DeadLetter, DeadLetterFilter, PutBack, Unread
from proxy.domain.forwards import Forward
from proxy.domain.jobs import Job
from proxy.domain.lanes import Lane
from proxy.domain.offline_messages import OfflineMessage
from proxy.domain.settlements import Entry
from proxy.domain.times import from_ms, to_ms
from proxy.store.connection import Store
from proxy.store.records import (
    UnreadableRecord,
    dump_forward,
    dump_job,
    dump_offline_message,
    load_dead_letter,
    load_forward,
    load_job,
    load_offline_message,
)
from proxy.store.scripts import Argument, ask_now, script

_PAGE = 100
_EVERY = DeadLetterFilter()
_CAUSES = {cause.value: cause for cause in Cause}


class RedisDeadLetters:
    """Implements ports.DeadLetters. Every method raises StoreUnavailable."""

    def __init__(self, store: Store, *, jobs_cap: int, callbacks_cap: int, page: int = _PAGE) -> None:
        """`page`: how many are read at once of each shard."""
        self._store, self._page_size = store, page
        self._jobs_cap = jobs_cap
        self._callbacks_cap = callbacks_cap

    def newest_first(self, app_id: str, choice: DeadLetterFilter = _EVERY) -> Iterator[DeadLetter]:
        """The chosen ones of all shards, page by page."""
        pages = [self._newest_first(app_id, shard, choice) for shard in self._store.layout.all_shards]
        return merge(*pages, key=lambda letter: letter.at, reverse=True)

    def oldest_first(self, app_id: str, choice: DeadLetterFilter = _EVERY) -> Iterator[DeadLetter]:
        pages = [self._oldest_first(app_id, shard, choice) for shard in self._store.layout.all_shards]
        return merge(*pages, key=lambda letter: letter.at)

    def count(self, app_id: str) -> int:
        """Of all shards."""
        names = [self._store.layout.dead_letters(app_id, shard) for shard in self._store.layout.all_shards]
        return sum(self._store.call(partial(ask_now, commands=[("XLEN", name) for name in names])))

    def find(self, app_id: str, letter_id: str) -> DeadLetter | None:
        shard, own = self._place(letter_id)
        found = self._page("xrange", app_id, shard, own, own)
        return found[0] if found else None

    def has(self, letter: DeadLetter) -> bool:
        """It was neither put back nor dropped."""
        return self.find(letter.app_id, letter.id) is not None

    def words_until(self, letter: DeadLetter) -> datetime | None:
        """When its words go; None: they are gone, or were never kept."""
        name = self._words(letter)
        now, left_ms = self._store.call(lambda redis: (redis.time(), redis.pttl(name)))
        return from_ms(now[0] * 1000 + now[1] // 1000 + left_ms) if left_ms > 0 else None

    def whole(self, letter: DeadLetter) -> Job | OfflineMessage | Forward | Entry | None:
        """What the dead letter is about, with its words. None: they are gone."""
        record: bytes | None = self._store.call(lambda redis: redis.get(self._words(letter)))
        if record is None:
            return None
        try:
            match letter.subject:
                case Job():
                    return load_job(record)
                case OfflineMessage():
                    return load_offline_message(record)
                case Forward():
                    return load_forward(record)
                case Unread():
                    return Entry(letter.id.encode(), record)
                case None:
                    return None
        except UnreadableRecord:  # of another version, or damaged: of no use here
            return None

    def put_back(
        self, letter: DeadLetter, subject: Job | OfflineMessage | Forward | Entry, lane: Lane | None
    ) -> PutBack:
        """The dead letter leaves and `subject` is in its lane, or with None among the callbacks; or nothing happens."""
        app_id, layout = letter.app_id, self._store.layout
        shard, own = self._place(letter.id)  # of the job's account too, or of the callback
        names = [layout.dead_letters(app_id, shard), self._words(letter)]
        if lane:
            names += [layout.jobs(lane, shard), layout.retries(lane, shard)]
        else:
            names += [layout.callbacks(app_id, shard), layout.waiting(app_id, shard)]
        args: list[Argument] = [
            own,
            self._jobs_cap if lane else self._callbacks_cap,
            _record(subject, compact=self._store.layout.is_compact),
        ]
        answer = self._store.call(lambda redis: script("replay_letter").run(redis, names, args))
        return {1: PutBack.DONE, 0: PutBack.GONE}.get(answer, PutBack.FULL)

    def drop(self, letter: DeadLetter) -> bool:
        """The dead letter and its words are gone. False: it was gone before."""

        shard, own = self._place(letter.id)

        def remove(redis: Any) -> bool:
            pipe = redis.pipeline(transaction=True)
            pipe.xdel(self._store.layout.dead_letters(letter.app_id, shard), own)
            pipe.delete(self._words(letter))
            return bool(pipe.execute()[0])

        return self._store.call(remove)

    def _newest_first(self, app_id: str, shard: int, choice: DeadLetterFilter) -> Iterator[DeadLetter]:
        first, last = _bounds(choice)
        while found := self._page("xrevrange", app_id, shard, first, last):
            yield from filter(choice.takes, found)
            last = f"({self._place(found[-1].id)[1]}"

    def _oldest_first(self, app_id: str, shard: int, choice: DeadLetterFilter) -> Iterator[DeadLetter]:
        first, last = _bounds(choice)
        while found := self._page("xrange", app_id, shard, first, last):
            yield from filter(choice.takes, found)
            first = f"({self._place(found[-1].id)[1]}"

    def _page(self, command: str, app_id: str, shard: int, first: str, last: str) -> list[DeadLetter]:
        name, ends = self._store.layout.dead_letters(app_id, shard), {"min": first, "max": last}
        entries = self._store.call(lambda redis: getattr(redis, command)(name, **ends, count=self._page_size))
        suffix = f".{shard}" if self._store.layout.shards else ""
        return [_letter(app_id, id_.decode() + suffix, fields) for id_, fields in entries]

    def _place(self, letter_id: str) -> tuple[int, str]:
        """Its shard, which follows the dot, and its id there."""
        own, _, shard = letter_id.partition(".")
        return int(shard) if shard.isdigit() and int(shard) in self._store.layout.all_shards else 0, own

    def _words(self, letter: DeadLetter) -> str:
        shard, own = self._place(letter.id)
        return self._store.layout.dead_words(letter.app_id, own, shard)


def _bounds(choice: DeadLetterFilter) -> tuple[str, str]:
    """Ids begin with the time."""
    first = f"{to_ms(choice.after)}-0" if choice.after else "-"
    return first, f"({to_ms(choice.before)}-0" if choice.before else "+"


def _letter(app_id: str, id_: str, fields: dict[bytes, bytes]) -> DeadLetter:
    texts = {name.decode(): value.decode("utf-8", "replace") for name, value in fields.items() if name != b"r"}
    return DeadLetter(
        id_,
        app_id,
        from_ms(int(id_.split("-", 1)[0])),
        _CAUSES.get(texts.get("cause", ""), Cause.UNKNOWN),
        texts.get("reason", ""),
        load_dead_letter(texts.get("kind", ""), fields.get(b"r", b"")),
    )


def _record(subject: Job | OfflineMessage | Forward | Entry, *, compact: bool) -> bytes:
    match subject:
        case Job():
            return dump_job(subject, compact=compact)
        case OfflineMessage():
            return dump_offline_message(subject, compact=compact)
        case Forward():
            return dump_forward(subject)
        case Entry():
            return subject.record
