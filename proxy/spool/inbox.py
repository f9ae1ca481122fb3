"""Intake with a second place to keep what it takes."""

from collections.abc import Callable, Sequence
from contextlib import suppress

from proxy.domain.callbacks import Receipt
from proxy.domain.offline_messages import Letter
from proxy.errors import SpoolRefused, StoreFull, StoreUnavailable
from proxy.ports import CallbackInbox
from proxy.spool.folder import Spool
from proxy.store.connection import Store
from proxy.store.queue.inbox import RedisInbox
from proxy.store.records import dump_offline_message
from proxy.store.spooled_copies import with_copies


class SpoolingInbox(CallbackInbox):
    """The store, or while it is away this machine's disk.

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

    def accept_all(self, letters: Sequence[Letter]) -> list[Receipt | StoreUnavailable]:
        """Each is stored or on the disk, or known already; else StoreFull or SpoolRefused."""
        if not self._store.is_away:
            with suppress(StoreUnavailable):
                found = zip(letters, self._inbox.accept_all(letters), strict=True)
                return [self._keep(letter) if _is_away(receipt) else receipt for letter, receipt in found]
        return [self._keep(letter) for letter in letters]

    def _keep(self, letter: Letter) -> Receipt | SpoolRefused:
        record = dump_offline_message(letter.message, own_clock=not self._knows_time())
        if letter.copies:
            record = with_copies(record, letter.copies, is_planned=letter.is_planned)
        try:
            self._spool.keep(letter.callback_id, record, letter.message.accepted_at)
        except SpoolRefused as refused:
            return refused
        return Receipt(duplicate=False, spooled=True)


def _is_away(receipt: Receipt | StoreUnavailable) -> bool:
    return isinstance(receipt, StoreUnavailable) and not isinstance(receipt, StoreFull)
