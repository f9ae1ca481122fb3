"""From the arrangement of an earlier version, which that can read, to the one that takes least room.

Each process learns of it when it looks at the store's identity, once a second. Until then it goes on as before, and so
the new marks begin some minutes later: a process that has not looked for as long is away from the store.
"""

from datetime import datetime, timedelta

from proxy.domain.times import from_ms, to_ms
from proxy.store import keys
from proxy.store.connection import Store
from proxy.store.marks import Marks
from proxy.store.scripts import script

BEGINS_AFTER = timedelta(minutes=5)


def make_compact(store: Store, now: datetime) -> datetime | None:
    """When marks are written in their new place, None: the store had been asked before. Raises StoreUnavailable.

    To be called only when no earlier program runs any more.
    """
    marks = Marks.new(store.layout.shards, to_ms(now + BEGINS_AFTER))
    _, is_new = store.call(lambda redis: script("compact_marks").run(redis, [keys.identity()], [str(marks)]))
    return from_ms(marks.from_ms) if is_new else None
