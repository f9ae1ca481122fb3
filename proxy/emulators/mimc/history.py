"""The messages that were written, as roaming shows them: the newest of all, by conversation."""

import base64
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from proxy.emulators.mimc.orders import Order

_BYTES_LIMIT = 64 * 1024 * 1024
ROWS_LIMIT = 1000

Conversation = tuple[str, ...]


@dataclass(frozen=True)
class Kept:
    """One message. `to_account` is None in a group; `seen_by` are its sender and its recipients."""

    sequence: int
    timestamp_ms: int
    from_account: str
    to_account: str | None
    payload: bytes
    biz_type: str
    seen_by: frozenset[str]
    extra: str | None = None

    @property
    def payload_base64(self) -> str:
        return base64.b64encode(self.payload).decode()


def between(app_id: str, one: str, other: str) -> Conversation:
    return (app_id, "p2p", *sorted((one, other)))


def of_topic(app_id: str, topic_id: str) -> Conversation:
    return (app_id, "topic", topic_id)


class History:
    """The newest `limit` messages, and no more than 64 MB of payloads. Safe to use from several threads."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._conversations: dict[Conversation, dict[int, Kept]] = {}
        self._order: deque[tuple[Conversation, int, int]] = deque()
        self._bytes = 0
        self._lock = threading.Lock()

    def keep(self, orders: Iterable[Order], after: Callable[[], None]) -> None:
        """Keep them once `after` has returned, before anyone can read; nothing if it raises.

        Not kept is what only reports an earlier message again, or has no numbers that could be asked for.
        """
        with self._lock:
            after()
            for order in orders:
                if order.instant and _is_number(order.sequence) and _is_number(order.timestamp):
                    self._add(_conversation(order), _kept(order))

    def read(self, where: Conversation, wanted: Callable[[Kept], bool]) -> list[Kept]:
        """The wanted ones, oldest first."""
        with self._lock:
            found = [message for message in self._conversations.get(where, {}).values() if wanted(message)]
        return sorted(found, key=lambda message: (message.timestamp_ms, message.sequence))

    def set_extra(self, where: Conversation, sequence: int, extra: str, account: str) -> bool:
        """False if there is no such message that the account has seen."""
        with self._lock:
            message = self._conversations.get(where, {}).get(sequence)
            if message is None or account not in message.seen_by:
                return False
            self._conversations[where][sequence] = replace(message, extra=extra)
            return True

    def last_of_each(self, app_id: str, account: str) -> list[tuple[Conversation, Kept]]:
        """The newest message of each conversation that the account has part in, newest first."""
        with self._lock:
            mine = (
                (where, max(seen, key=lambda message: message.sequence))
                for where, messages in self._conversations.items()
                if where[0] == app_id
                and (seen := [message for message in messages.values() if account in message.seen_by])
            )
            return sorted(mine, key=lambda found: found[1].sequence, reverse=True)

    def _add(self, where: Conversation, message: Kept) -> None:
        messages = self._conversations.setdefault(where, {})
        if message.sequence in messages:
            return
        messages[message.sequence] = message
        self._order.append((where, message.sequence, len(message.payload)))
        self._bytes += len(message.payload)
        while len(self._order) > self._limit or self._bytes > _BYTES_LIMIT:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        where, sequence, size = self._order.popleft()
        self._bytes -= size
        messages = self._conversations[where]
        del messages[sequence]
        if not messages:
            del self._conversations[where]


def _conversation(order: Order) -> Conversation:
    if order.topic_id is not None:
        return of_topic(order.app_id, order.topic_id)
    return between(order.app_id, order.from_account, order.recipients[0])


def _kept(order: Order) -> Kept:
    return Kept(
        sequence=int(order.sequence),
        timestamp_ms=int(order.timestamp),
        from_account=order.from_account,
        to_account=order.recipients[0] if order.topic_id is None else None,
        payload=order.payload,
        biz_type=order.biz_type,
        seen_by=frozenset((order.from_account, *order.recipients)),
    )


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 20
