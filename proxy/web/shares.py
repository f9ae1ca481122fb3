"""Threads of their own for each kind of request, so that what is slow never takes the room of another kind.

Sign-ins cost CPU, client calls wait for MIMC, and the operator's page asks the store for much. None of them may keep a
callback waiting.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from enum import StrEnum
from typing import Generic, TypeVar

from gunicorn.util import unquote_to_wsgi_str  # type: ignore[import-untyped]  # gunicorn has no types

from proxy.mimc.wire import MAX_BODY
from proxy.web.body import MAX_JSON

T = TypeVar("T")


class Share(StrEnum):
    """Whose threads answer a request."""

    CALLBACKS = "callbacks"
    CALLS = "calls"
    MIMC_API = "mimc_api"
    SIGN_INS = "sign_ins"
    OPERATOR = "operator"


OPERATORS_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})


def share_of(
    method: str,
    raw_path: str,
    *,
    on_operator: bool,
    is_only: bool = True,
    prefix: str = "",
    mimc_api: tuple[str, ...] = (),
) -> Share:
    """By the path as the application will see it, however it is spelled, and by the listener.

    `is_only`: it is the operator's and the public one. Else strangers who ask for the operator's paths take no thread
    of theirs. `prefix`: gunicorn's SCRIPT_NAME, the path under which the whole service lies. `mimc_api`: the folders of
    MIMC's own API where it is open. A token call waits for MIMC too, but not behind a slow search in a history.
    """
    path: str = (unquote_to_wsgi_str(raw_path) if "%" in raw_path else raw_path).removeprefix(prefix)
    if path.startswith("//"):
        path = "/" + path.lstrip("/")
    if on_operator or (is_only and path in OPERATORS_PATHS):
        return Share.OPERATOR
    if path.startswith("/callbacks/"):
        return Share.CALLBACKS
    if mimc_api and path.startswith(mimc_api):
        return Share.MIMC_API
    # a browser's question before it (OPTIONS) costs nothing
    return Share.SIGN_INS if path == "/auth/login" and method == "POST" else Share.CALLS


def longest_body(share: Share) -> int:
    """The most bytes that a route of this share takes."""
    return MAX_BODY if share is Share.CALLBACKS else MAX_JSON


class Pool(Generic[T]):
    """A few threads that do `work`, which must not raise, with one item after the other, or up to `together` at once
    where so many wait.
    """

    def __init__(
        self, name: str, threads: int, patience_s: float, work: Callable[[Sequence[T]], None], together: int = 1
    ) -> None:
        self._patience_s, self._work, self._together = patience_s, work, together
        self._waiting: deque[tuple[float, T]] = deque()
        self._asleep: deque[threading.Lock] = deque()  # what each thread that sleeps waits for
        self._is_waking = False
        for number in range(threads):
            threading.Thread(target=self._run, name=f"{name}-{number}", daemon=True).start()

    def put(self, item: T, now: float) -> None:
        """`now` on a clock that never goes back."""
        self._waiting.append((now + self._patience_s, item))
        self._wake()

    def next_overdue(self) -> float | None:
        """When the item that has waited longest has waited too long."""
        try:
            return self._waiting[0][0]
        except IndexError:
            return None

    def take_overdue(self, now: float) -> Iterator[T]:
        """Items that have waited too long for a thread; no thread will see them any more."""
        while (when := self.next_overdue()) is not None and when <= now:
            try:
                when, item = self._waiting.popleft()
            except IndexError:
                return
            if when > now:  # a thread was faster, and this is the next one
                self._waiting.appendleft((when, item))
                self._wake()  # another may have come meanwhile and found nothing
                return
            yield item

    def _wake(self) -> None:
        """One thread for all that waits, and only where none is on its way: it takes several, and wakes the next one.

        The one that fell asleep last, whose memory is warm. A SimpleQueue wakes a second thread for each item.
        """
        if not self._is_waking:
            with suppress(IndexError):  # none sleeps: each looks again before it does
                bell = self._asleep.pop()
                self._is_waking = True
                bell.release()

    def _run(self) -> None:
        bell = threading.Lock()
        bell.acquire()
        while True:
            if items := list(self._take()):
                if self._waiting:
                    self._wake()
                self._work(items)
            else:
                self._sleep(bell)

    def _take(self) -> Iterator[T]:
        with suppress(IndexError):
            for _ in range(self._together):
                yield self._waiting.popleft()[1]

    def _sleep(self, bell: threading.Lock) -> None:
        self._asleep.append(bell)
        if self._waiting:  # it came before this thread could be woken for it
            try:
                self._asleep.remove(bell)
            except ValueError:  # it rings already
                pass
            else:
                return
        bell.acquire()
        self._is_waking = False
