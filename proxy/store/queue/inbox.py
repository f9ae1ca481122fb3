"""Callbacks in: de-duplicated and appended in one round trip."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from proxy.domain.callbacks import Receipt
from proxy.domain.offline_messages import Letter
from proxy.errors import StoreFull, StoreUnavailable
from proxy.ports import CallbackInbox
from proxy.store import keys
from proxy.store.connection import Store
from proxy.store.records import dump_offline_message
from proxy.store.scripts import Command, ask_now, script
from proxy.store.server.writes import CountedWrites, Known

_SHARE_OF_REPLICAS = 0.5  # of a call's time, which ends after 0.7 of it


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
        self._cap = cap
        self._accept = script("accept_callback")

    def accept_all(self, letters: Sequence[Letter]) -> list[Receipt | StoreUnavailable]:
        """Each is stored for good, or known already, or why it is not. Raises StoreUnavailable; then some may be."""
        records = [(it.message.app_id, it.callback_id, dump_offline_message(it.message)) for it in letters]
        return [receipt or StoreFull("the stream of callbacks is full") for receipt in self.put_all(records)]

    def put_all(self, records: Sequence[tuple[str, str, bytes]]) -> list[Receipt | None]:
        """The same with records of (appId, callback id, record) that were made before, in their order and one round
        trip; None where a stream is full. Raises StoreUnavailable; then some may be stored.
        """
        commands = [self._asked(*record) for record in records]
        known = [self._writes.known(app_id) for app_id, _, _ in records]
        if self._replicas:
            answers = self._replicated(records[0][0], commands)
        else:
            answers = self._store.call(lambda redis: ask_now(redis, commands))
        return [
            self._receipt(app_id, before, answer)
            for (app_id, _, _), before, answer in zip(records, known, answers, strict=True)
        ]

    def _replicated(self, app_id: str, commands: Sequence[Command]) -> list[Any]:
        wait: list[Command] = [
            ("INCRBY", keys.writes(app_id), 0),
            ("WAIT", self._replicas, int(self._store.timeout_s * _SHARE_OF_REPLICAS * 1000)),
        ]
        *answers, _, have_it = self._store.call(lambda redis: ask_now(redis, commands, wait))
        if have_it < self._replicas:
            self._store.leave()  # its replicas may follow another master now
            raise StoreUnavailable("too few of the store's replicas have it", self._store.at)
        return answers

    def _asked(self, app_id: str, callback_id: str, record: bytes) -> Command:
        names = [
            keys.seen(app_id, callback_id), keys.callbacks(app_id), keys.waiting(app_id), keys.writes(app_id)
        ]  # fmt: skip
        return self._accept.call(names, [self._dedupe_ttl_ms, self._cap, record])

    def _receipt(self, app_id: str, known: Known, answer: Sequence[int]) -> Receipt | None:
        """None where there is no room."""
        stored, *writes = answer
        for count in writes:
            self._writes.answered(app_id, known, count)
        return None if stored < 0 else Receipt(duplicate=stored == 0)
