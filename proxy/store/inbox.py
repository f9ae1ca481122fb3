"""Callbacks in: de-duplicated and appended in one round trip."""

from datetime import datetime, timedelta

from proxy.domain.callbacks import Callback
from proxy.domain.undelivered import undelivered
from proxy.errors import StoreFull
from proxy.ports import Receipt
from proxy.store import keys
from proxy.store.connection import Store
from proxy.store.records import dump_undelivered
from proxy.store.scripts import Argument, script


class RedisInbox:
    """Implements ports.CallbackInbox."""

    def __init__(self, store: Store, marks_life: timedelta, cap: int) -> None:
        self._store = store
        self._marks_life_ms = marks_life // timedelta(milliseconds=1)
        self._cap = cap
        self._accept = script("accept_callback")

    def accept(self, callback: Callback, now: datetime) -> Receipt:
        """Stored for good, or known already. Raises StoreUnavailable, StoreFull."""
        return self.put(callback.app_id, callback.callback_id, dump_undelivered(undelivered(callback, now)))

    def put(self, app_id: str, callback_id: str, record: bytes) -> Receipt:
        """The same with a record that was made before. Raises StoreUnavailable, StoreFull."""
        names = [keys.seen(app_id, callback_id), keys.callbacks(app_id)]
        args: list[Argument] = [self._marks_life_ms, self._cap, record]
        stored: int = self._store.call(lambda redis: self._accept.run(redis, names, args))
        if stored < 0:
            raise StoreFull("the stream of callbacks is full")
        return Receipt(duplicate=stored == 0)
