"""Callbacks in: de-duplicated and appended in one round trip."""

from collections.abc import Collection, Sequence
from datetime import timedelta
from itertools import islice
from typing import Any, NamedTuple

from proxy.domain.callbacks import Receipt
from proxy.domain.forwards import Copy
from proxy.domain.lanes import Callbacks
from proxy.domain.offline_messages import Letter
from proxy.domain.times import to_ms
from proxy.errors import StoreFull, StoreUnavailable
from proxy.ports import CallbackInbox
from proxy.store.connection import Store
from proxy.store.queue.caps import Caps
from proxy.store.records import dump_offline_message, load_offline_message
from proxy.store.scripts import Argument, Command, ask_now, script
from proxy.store.server.writes import CountedWrites, Known

_SHARE_OF_REPLICAS = 0.5  # of a call's time, which ends after 0.7 of it


class Record(NamedTuple):
    app_id: str
    callback_id: str
    record: bytes
    accepted_at_ms: int
    copies: tuple[Copy, ...] = ()  # for webhooks: see copying_inbox.py


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
        """Each is stored for good, or known already, or why it is not. Raises StoreUnavailable; then some may be.

        Of a cluster a node that is away is told of what lies there alone.
        """
        compact = self._store.layout.is_compact
        records = [
            Record(it.message.app_id, it.callback_id, dump_offline_message(it.message, compact=compact),
                    to_ms(it.message.accepted_at))
            for it in letters
        ]  # fmt: skip
        return [receipt or StoreFull("the stream of callbacks is full") for receipt in self._put(records)]

    def put_all(self, records: Sequence[tuple[str, str, bytes]]) -> list[Receipt | StoreUnavailable | None]:
        """The same with records of (appId, callback id, record) that were made before, in their order and one round
        trip; None where a stream is full. Raises StoreUnavailable; then some may be stored.
        """
        return self._put([Record(*record, to_ms(load_offline_message(record[2]).accepted_at)) for record in records])

    def _put(self, records: Sequence[Record]) -> list[Receipt | StoreUnavailable | None]:
        try:
            return self._put_together(records)
        except StoreUnavailable:
            if not self._store.is_cluster or self._store.is_away:
                raise
        receipts: dict[Record, Receipt | StoreUnavailable | None] = {}
        by_shard: dict[int, list[Record]] = {}
        for one in records:
            by_shard.setdefault(self._shard_of(one), []).append(one)
        for some in by_shard.values():
            try:
                receipts |= zip(some, self._put_together(some), strict=True)
            except StoreUnavailable as away:
                receipts |= dict.fromkeys(some, away)
        return [receipts[one] for one in records]

    def _put_together(self, records: Sequence[Record]) -> list[Receipt | StoreUnavailable | None]:
        commands = [self._asked(record) for record in records]
        known = [self._writes.known(self._writes_of(one)) for one in records]
        if self._replicas:
            counters = dict.fromkeys(self._writes_of(one) for one in records)
            answers, unsafe = self._replicated(counters, commands)
        else:
            answers, unsafe = self._store.call(lambda redis: ask_now(redis, commands)), frozenset()
        receipts = [
            self._receipt(record, self._writes_of(record), before, answer)
            for record, before, answer in zip(records, known, answers, strict=True)
        ]
        if not unsafe:
            return [*receipts]
        return [
            _too_few(self._store) if receipt and self._writes_of(record) in unsafe else receipt
            for record, receipt in zip(records, receipts, strict=True)
        ]

    def _replicated(
        self, counters: Collection[str], commands: Sequence[Command]
    ) -> tuple[Sequence[Any], frozenset[str]]:
        """The answers, and the counters whose replicas have too little.

        In a cluster waited for where each counter lies; one server's replicas have all that came before.
        """
        share_ms = int(self._store.timeout_s * _SHARE_OF_REPLICAS * 1000)
        asked, wait = list(counters) if self._store.is_cluster else [*counters][-1:], list[Command]()
        for counter in asked:
            wait += [("INCRBY", counter, 0), ("WAIT", self._replicas, share_ms)]
        answers = self._store.call(lambda redis: ask_now(redis, commands, wait))
        having = zip(asked, answers[len(commands) + 1 :: 2], strict=True)
        unsafe = frozenset(counter for counter, number in having if number < self._replicas)
        if unsafe:
            self._store.leave()  # its replicas may follow another master now
            if not self._store.is_cluster:
                raise _too_few(self._store)
        return answers[: len(commands)], unsafe

    def _asked(self, it: Record) -> Command:
        return self._accept.call(*self._named(it))

    def _named(self, it: Record) -> tuple[list[str], list[Argument]]:
        """Keys and arguments of the script; the keys end with those of its mark."""
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
        return names, [self._dedupe_ttl_ms, cap, it.record, mark, apart]

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

    def _writes_of(self, it: Record) -> str:
        """The counter that storing it raises."""
        return self._store.layout.writes(it.app_id, self._shard_of(it))

    def _shard_of(self, it: Record) -> int:
        return self._store.layout.shard_of_callback(it.callback_id)

    def _receipt(self, _record: Record, counter: str, known: Known, answer: Sequence[int]) -> Receipt | None:
        """None where there is no room."""
        stored, *writes = answer
        for count in writes:
            self._writes.answered(counter, known, count)
        return None if stored < 0 else Receipt(duplicate=stored == 0)


def _too_few(store: Store) -> StoreUnavailable:
    return StoreUnavailable("too few of the store's replicas have it", store.at)
