"""Callbacks in: de-duplicated and appended in one round trip."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from proxy.domain.callbacks import Receipt
from proxy.domain.offline_messages import OfflineMessage
from proxy.errors import StoreFull
from proxy.store import keys
from proxy.store.connection import Store
from proxy.store.records import dump_offline_message
from proxy.store.scripts import Argument, script
from proxy.store.server.writes import CountedWrites, Known


class RedisInbox:
    """Implements ports.CallbackInbox."""

    def __init__(self, store: Store, dedupe_ttl: timedelta, cap: int, writes: CountedWrites | None = None) -> None:
        self._store = store
        self._writes = writes or CountedWrites()
        self._dedupe_ttl_ms = dedupe_ttl // timedelta(milliseconds=1)
        self._cap = cap
        self._accept = script("accept_callback")

    def accept(self, message: OfflineMessage, callback_id: str) -> Receipt:
        """Stored for good, or known already. Raises StoreUnavailable, StoreFull."""
        names, args = self._asked(message.app_id, callback_id, dump_offline_message(message))
        known = self._writes.known(message.app_id)
        answer = self._store.call(lambda redis: self._accept.run(redis, names, args))
        receipt = self._receipt(message.app_id, known, answer)
        if receipt is None:
            raise StoreFull("the stream of callbacks is full")
        return receipt

    def put_all(self, records: Sequence[tuple[str, str, bytes]]) -> list[Receipt | None]:
        """The same with records of (appId, callback id, record) that were made before, in their order and one round
        trip; None where a stream is full. Raises StoreUnavailable; then some may be stored.
        """
        known = [self._writes.known(app_id) for app_id, _, _ in records]
        answers = self._store.call(lambda redis: self._run_all(redis, records))
        return [
            self._receipt(app_id, before, answer)
            for (app_id, _, _), before, answer in zip(records, known, answers, strict=True)
        ]

    def _run_all(self, redis: Any, records: Sequence[tuple[str, str, bytes]]) -> list[list[int]]:
        pipe = redis.pipeline(transaction=False)
        for number, record in enumerate(records):
            names, args = self._asked(*record)
            if number == 0:  # whole, so that the server knows it by its digest for the others
                pipe.eval(self._accept.text.decode(), len(names), *names, *args)
            else:
                pipe.evalsha(self._accept.sha, len(names), *names, *args)
        found: list[list[int]] = pipe.execute()
        return found

    def _asked(self, app_id: str, callback_id: str, record: bytes) -> tuple[list[str], list[Argument]]:
        names = [
            keys.seen(app_id, callback_id), keys.callbacks(app_id), keys.waiting(app_id), keys.writes(app_id)
        ]  # fmt: skip
        return names, [self._dedupe_ttl_ms, self._cap, record]

    def _receipt(self, app_id: str, known: Known, answer: Sequence[int]) -> Receipt | None:
        """None where there is no room."""
        stored, *writes = answer
        for count in writes:
            self._writes.answered(app_id, known, count)
        return None if stored < 0 else Receipt(duplicate=stored == 0)
