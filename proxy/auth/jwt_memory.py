"""Which tokens were verified already. It spares the signature, and no other look: a token is good until its `exp`,
and only as long as the key that signed it is among its issuer's."""

import threading
from collections import OrderedDict
from dataclasses import dataclass, field

from proxy.auth.credentials import Authenticated


@dataclass(frozen=True)
class Remembered:
    """`until` is the token's own `exp`; `key` the identity of the issuer's key that signed it."""

    user: Authenticated
    until: float
    issuer: str
    key: bytes = field(repr=False)


class Memory:
    """The tokens used last, by digest, at most `most` of them. Safe to share between threads."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._known: OrderedDict[bytes, Remembered] = OrderedDict()

    def recall(self, digest: bytes, now: float) -> Remembered | None:
        with self._lock:
            found = self._known.get(digest)
            if found is None:
                return None
            if found.until <= now:
                del self._known[digest]
                return None
            self._known.move_to_end(digest)
            return found

    def keep(self, digest: bytes, token: Remembered) -> None:
        with self._lock:
            self._known[digest] = token
            self._known.move_to_end(digest)
            if len(self._known) > self._most:
                self._known.popitem(last=False)

    def remove(self, digest: bytes) -> None:
        with self._lock:
            self._known.pop(digest, None)

    def __len__(self) -> int:
        return len(self._known)
