"""Intake with a second place to keep what it takes."""

from collections.abc import Callable

from proxy.domain.callbacks import Receipt
from proxy.domain.offline_messages import OfflineMessage
from proxy.errors import StoreFull, StoreUnavailable
from proxy.spool.folder import Spool
from proxy.store.connection import Store
from proxy.store.queue.inbox import RedisInbox
from proxy.store.records import dump_offline_message


class SpoolingInbox:
    """Implements ports.CallbackInbox: the store, or while it is away this machine's disk.

    While the store is known to be away no caller waits for it here; the process's drain asks it once a second. A call
    that failed may have been carried out: its callback is spooled, and the dedupe mark that it left shows that when
    it is handed in. A stream at its cap is no reason to spool: the store would not take it later either.
    """

    def __init__(self, inbox: RedisInbox, store: Store, spool: Spool, knows_time: Callable[[], bool]) -> None:
        """`knows_time`: the time of a message is the store's, and not only this machine's."""
        self._inbox = inbox
        self._store = store
        self._spool = spool
        self._knows_time = knows_time

    def accept(self, message: OfflineMessage, callback_id: str) -> Receipt:
        """Stored or on the disk, or known already. Raises StoreFull, SpoolRefused."""
        if not self._store.is_away:
            try:
                return self._inbox.accept(message, callback_id)
            except StoreFull:
                raise
            except StoreUnavailable:
                pass
        record = dump_offline_message(message, own_clock=not self._knows_time())
        self._spool.keep(callback_id, record, message.accepted_at)
        return Receipt(duplicate=False, spooled=True)
