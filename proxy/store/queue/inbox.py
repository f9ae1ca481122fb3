"""Callbacks in: de-duplicated and appended in one round trip."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from itertools import islice
from typing import Any, NamedTuple

from proxy.domain.callbacks import Receipt
from proxy.domain.lanes import Callbacks
from proxy.domain.offline_messages import Letter
from proxy.domain.times import to_ms
from proxy.errors import StoreFull, StoreUnavailable
from proxy.ports import CallbackInbox
from proxy.store.connection import Store
from proxy.store.queue.caps import Caps
from proxy.store.records import dump_offline_message, load_offline_message
from proxy.store.scripts import Command, ask_now, script
from proxy.store.server.writes import CountedWrites, Known

_SHARE_OF_REPLICAS = 0.5  # of a call's time, which ends after 0.7 of it


class _Record(NamedTuple):
    app_id: str
    callback_id: str
    record: bytes
    accepted_at_ms: int


class RedisInbox(CallbackInbox):
    """Keeps them in the stream of their appId. `replicas`: so many of the store's have them, too, or they are not kept.

    Then a write comes last, for the server waits for what its own connection wrote: a callback that it knows already
    may have reached no replica yet.
    """

    def __init__(
        self, store: Store, dedupe_ttl: timedelta, cap: int, writes: CountedWrites | None = None, replicas: int = 0
    ) -> None:
        self._store, self._replicas = store, replicas
        self._writes = writes or CountedWrites()
        self._dedupe_ttl_ms = dedupe_ttl // timedelta(milliseconds=1)
        self._caps = Caps(cap)
        self._accept = script("accept_callback")

    def accept_all(self, letters: Sequence[Letter]) -> list[Receipt | StoreUnavailable]:
        """Each is stored for good, or known already, or why it is not. Raises StoreUnavailable; then some may be."""
        compact = self._store.layout.is_compact
        records = [
            _Record(it.message.app_id, it.callback_id, dump_offline_message(it.message, compact=compact),
                    to_ms(it.message.accepted_at))
            for it in letters
        ]  # fmt: skip
        return [receipt or StoreFull("the stream of callbacks is full") for receipt in self._put(records)]

    def put_all(self, records: Sequence[tuple[str, str, bytes]]) -> list[Receipt | None]:
        """The same with records of (appId, callback id, record) that were made before, in their order and one round
        trip; None where a stream is full. Raises StoreUnavailable; then some may be stored.
        """
        return self._put([_Record(*record, to_ms(load_offline_message(record[2]).accepted_at)) for record in records])

    def _put(self, records: Sequence["_Record"]) -> list[Receipt | None]:
        commands = [self._asked(record) for record in records]
        known = [self._writes.known(self._writes_of(one)) for one in records]
        if self._replicas:
            answers = self._replicated(dict.fromkeys(self._writes_of(one) for one in records), commands)
        else:
            answers = self._store.call(lambda redis: ask_now(redis, commands))
        return [
            self._receipt(self._writes_of(record), before, answer)
            for record, before, answer in zip(records, known, answers, strict=True)
        ]

    def _replicated(self, counters: Iterable[str], commands: Sequence[Command]) -> list[Any]:
        """In a cluster waited for where each counter lies; one server's replicas have all that came before."""
        share_ms = int(self._store.timeout_s * _SHARE_OF_REPLICAS * 1000)
        wait: list[Command] = []
        for counter in counters if self._store.is_cluster else [*counters][-1:]:
            wait += [("INCRBY", counter, 0), ("WAIT", self._replicas, share_ms)]
        answers = self._store.call(lambda redis: ask_now(redis, commands, wait))
        if min(answers[len(commands) + 1 :: 2]) < self._replicas:
            self._store.leave()  # its replicas may follow another master now
            raise StoreUnavailable("too few of the store's replicas have it", self._store.at)
        return answers[: len(commands)]

    def _asked(self, it: "_Record") -> Command:
        layout = self._store.layout
        shard = layout.shard_of_callback(it.callback_id)
        marks, mark = layout.marks_of_callback(it.app_id, it.callback_id, it.accepted_at_ms, self._dedupe_ttl_ms)
        names = [
            layout.callbacks(it.app_id, shard), layout.waiting(it.app_id, shard), layout.writes(it.app_id, shard),
            *marks,
        ]  # fmt: skip
        cap = self._caps.of_shard(Callbacks(it.app_id), layout.shards)
        seen = (
            layout.seen(it.app_id, it.callback_id)
            if layout.is_on_its_way(it.accepted_at_ms, self._dedupe_ttl_ms)
            else ""
        )
        apart = names.index(seen) + 1 if seen else 0
        return self._accept.call(names, [self._dedupe_ttl_ms, cap, it.record, mark, apart])

    def look_at_caps(self, app_ids: Sequence[str]) -> None:
        """Whether there is room, all shards together. To be called every second."""
        layout = self._store.layout
        if len(layout.all_shards) == 1:
            return
        asked = [
            command
            for app_id in app_ids
            for shard in layout.all_shards
            for command in (("XLEN", layout.callbacks(app_id, shard)), ("ZCARD", layout.waiting(app_id, shard)))
        ]
        lengths = iter(self._store.call(lambda redis: ask_now(redis, asked)))
        for app_id in app_ids:
            self._caps.learn(Callbacks(app_id), sum(islice(lengths, 2 * len(layout.all_shards))))

    def _writes_of(self, it: "_Record") -> str:
        """The counter that storing it raises."""
        layout = self._store.layout
        return layout.writes(it.app_id, layout.shard_of_callback(it.callback_id))

    def _receipt(self, counter: str, known: Known, answer: Sequence[int]) -> Receipt | None:
        """None where there is no room."""
        stored, *writes = answer
        for count in writes:
            self._writes.answered(counter, known, count)
        return None if stored < 0 else Receipt(duplicate=stored == 0)
