"""Callbacks in where there are webhooks: in the round trip that stores one it lies in the lane of each of them, too."""

from collections.abc import Callable, Collection, Sequence
from datetime import timedelta
from typing import Any

from proxy.domain.callbacks import Receipt
from proxy.domain.forwards import Copy
from proxy.domain.lanes import Lane
from proxy.domain.offline_messages import Letter
from proxy.domain.times import to_ms
from proxy.errors import StoreFull, StoreUnavailable
from proxy.store.connection import Store
from proxy.store.queue.inbox import Record, RedisInbox
from proxy.store.records import dump_forward, dump_offline_message, load_offline_message
from proxy.store.scripts import Argument, Command, script
from proxy.store.server.writes import CountedWrites, Known
from proxy.store.spooled_copies import copies_in


class CopyingInbox(RedisInbox):
    """A callback that was answered 200 has reached the lanes of its webhooks, in the one step that stores it.

    A webhook lies in the callback's shard and has an equal part of its cap in each: ids of callbacks are spread evenly.
    What a full one does not get is lost to it, and `on_full` is told.
    """

    def __init__(
        self,
        store: Store,
        dedupe_ttl: timedelta,
        cap: int,
        writes: CountedWrites | None = None,
        replicas: int = 0,
        *,
        lanes: Collection[Lane],
        on_full: Callable[[Lane], None],
    ) -> None:
        super().__init__(store, dedupe_ttl, cap, writes, replicas)
        self._lanes, self._on_full = frozenset(lanes), on_full
        self._accept_copied = script("accept_copied")

    def accept_all(self, letters: Sequence[Letter]) -> list[Receipt | StoreUnavailable]:
        compact = self._store.layout.is_compact
        records = [
            Record(
                it.message.app_id, it.callback_id,
                dump_offline_message(it.message, compact=compact) if it.is_planned else b"",
                to_ms(it.message.accepted_at), it.copies,
            )
            for it in letters
        ]  # fmt: skip
        return [receipt or StoreFull("the stream of callbacks is full") for receipt in self._put(records)]

    def put_all(self, records: Sequence[tuple[str, str, bytes]]) -> list[Receipt | StoreUnavailable | None]:
        return self._put([self._spooled(*record) for record in records])

    def _spooled(self, app_id: str, callback_id: str, record: bytes) -> Record:
        """A webhook that the settings no longer name gets nothing."""
        message, (copies, is_planned) = load_offline_message(record), copies_in(record)
        if copies and is_planned:
            record = dump_offline_message(message, compact=self._store.layout.is_compact)
        known = tuple(it for it in copies if it.lane in self._lanes)
        return Record(app_id, callback_id, record if is_planned else b"", to_ms(message.accepted_at), known)

    def _asked(self, it: Record) -> Command:
        if not it.copies and it.record:
            return super()._asked(it)
        names, args = self._named(it)
        marks, layout = len(names) - 3, self._store.layout
        shard = layout.shard_of_callback(it.callback_id)
        more: list[Argument] = [marks]
        for copy in it.copies:
            names += [layout.jobs(copy.lane, shard), layout.retries(copy.lane, shard)]
            more += [_part(copy, len(layout.all_shards)), dump_forward(copy.forward)]
        return self._accept_copied.call(names, [*args, *more])

    def _receipt(self, it: Record, counter: str, known: Known, answer: Sequence[Any]) -> Receipt | None:
        if len(answer) == 3:
            for number in answer[2]:
                self._on_full(it.copies[number - 1].lane)
        return super()._receipt(it, counter, known, answer[:2])


def _part(copy: Copy, shards: int) -> int:
    return -(-copy.most // shards)
