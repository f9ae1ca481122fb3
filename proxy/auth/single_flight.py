"""Answers of a slow peer: remembered for a while, and asked for once however many callers wait for them.

Safe to share between threads. Nothing of a question is kept but a digest under a key of this process.
"""

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass
from hashlib import blake2b
from typing import Generic, TypeVar

A = TypeVar("A")

Clock = Callable[[], float]


@dataclass(frozen=True)
class CachedAnswer(Generic[A]):
    """An answer that holds for `seconds` from now; with 0 it is that of this moment alone."""

    answer: A
    seconds: float
    partition: Hashable = None


class SingleFlight(Generic[A]):
    """Answers by question. Each partition holds `most` of them, so that a flood in one does not push out another's."""

    def __init__(self, most: int, patience_s: float, too_late: A, clock: Clock = time.monotonic) -> None:
        self._most = most
        self._patience_s = patience_s
        self._too_late = too_late
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._lock = threading.Lock()
        self._partitions: dict[Hashable, OrderedDict[bytes, tuple[float, A]]] = {}
        self._asked: dict[bytes, Future[A]] = {}

    def known(self, question: bytes) -> A | None:
        """The answer that still holds."""
        with self._lock:
            return self._known(self._digest(question))

    def get(self, question: bytes, ask: Callable[[], CachedAnswer[A]]) -> A:
        """The answer that still holds, else what `ask` says.

        A concurrent caller of the same question waits for that answer, `patience_s` at most, then gets `too_late`.
        """
        digest = self._digest(question)
        with self._lock:
            known = self._known(digest)
            if known is not None:
                return known
            pending = self._asked.get(digest)
            if pending is None:
                mine = self._asked[digest] = Future()
        if pending is None:
            return self._ask(digest, ask, mine)
        try:
            return pending.result(self._patience_s)
        except TimeoutError:
            return self._too_late

    def _ask(self, digest: bytes, ask: Callable[[], CachedAnswer[A]], mine: "Future[A]") -> A:
        answer = self._too_late  # for the callers that wait, should `ask` raise
        try:
            found = ask()
            answer = found.answer
            if found.seconds > 0:
                with self._lock:
                    self._keep(digest, found)
            return answer
        finally:
            with self._lock:
                del self._asked[digest]
            mine.set_result(answer)

    def _digest(self, question: bytes) -> bytes:
        return blake2b(question, digest_size=32, key=self._key).digest()

    def _known(self, digest: bytes) -> A | None:
        for partition in self._partitions.values():
            if digest not in partition:
                continue
            until, answer = partition[digest]
            if self._clock() < until:
                partition.move_to_end(digest)
                return answer
            del partition[digest]
        return None

    def _keep(self, digest: bytes, found: CachedAnswer[A]) -> None:
        partition = self._partitions.setdefault(found.partition, OrderedDict())
        partition[digest] = (self._clock() + found.seconds, found.answer)
        while len(partition) > self._most:
            partition.popitem(last=False)
