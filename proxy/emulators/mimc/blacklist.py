"""Who takes no message from whom. One direction, between two accounts: MIMC's chapter "blacklist"."""

import threading
from collections import OrderedDict

_LIMIT = 10_000


class Blacklist:
    """The newest 10,000 blocks of all apps. Safe to use from several threads."""

    def __init__(self) -> None:
        self._blocks: OrderedDict[tuple[str, str, str], None] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, app_id: str, owner: str, blocked: str) -> None:
        with self._lock:
            self._blocks[app_id, owner, blocked] = None
            if len(self._blocks) > _LIMIT:
                self._blocks.popitem(last=False)

    def remove(self, app_id: str, owner: str, blocked: str) -> None:
        with self._lock:
            self._blocks.pop((app_id, owner, blocked), None)

    def holds(self, app_id: str, owner: str, blocked: str) -> bool:
        """Whether messages of `blocked` do not reach `owner`."""
        with self._lock:
            return (app_id, owner, blocked) in self._blocks
