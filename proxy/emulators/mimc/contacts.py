"""What an account's contact list has besides its messages: which conversations were removed, and the extras.

The list itself is made of the history, see api/contacts.py.
"""

import threading
from collections import OrderedDict

from proxy.emulators.mimc.history import Conversation

_LIMIT = 10_000


class Contacts:
    """The newest 10,000 of each, of all accounts. Safe to use from several threads."""

    def __init__(self) -> None:
        self._removed: OrderedDict[tuple[str, Conversation], int] = OrderedDict()
        self._extras: OrderedDict[tuple[str, Conversation], str] = OrderedDict()
        self._lock = threading.Lock()

    def remove(self, account: str, conversation: Conversation, sequence: int) -> None:
        """Hide it until a message after `sequence`."""
        with self._lock:
            self._removed[account, conversation] = sequence
            if len(self._removed) > _LIMIT:
                self._removed.popitem(last=False)

    def is_removed(self, account: str, conversation: Conversation, sequence: int) -> bool:
        """Whether its newest message, of this sequence, is older than the removal."""
        with self._lock:
            return sequence <= self._removed.get((account, conversation), -1)

    def set_extra(self, account: str, conversation: Conversation, extra: str) -> None:
        with self._lock:
            self._extras[account, conversation] = extra
            if len(self._extras) > _LIMIT:
                self._extras.popitem(last=False)

    def extra_of(self, account: str, conversation: Conversation) -> str | None:
        with self._lock:
            return self._extras.get((account, conversation))
