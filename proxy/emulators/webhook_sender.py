"""Posts callbacks in the background, and again after a refusal, as long as its schedule has pauses left."""

import heapq
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests


@dataclass(frozen=True)
class Webhook:
    """One body for one address. `facts` are repeated in the report of each attempt and must hold no secret."""

    url: str
    content: bytes
    content_type: str
    facts: dict[str, Any]


@dataclass(frozen=True)
class Attempt:
    """The result of one post. `status` is None and `error` the kind of failure if no answer came."""

    webhook: Webhook
    number: int
    status: int | None
    error: str | None
    answer: bytes
    last: bool  # no other attempt will follow

    @property
    def accepted(self) -> bool:
        return self.status == 200


class BacklogFull(Exception):
    """The backlog is full."""


class WebhookSender:
    """Threads that post; each keeps its connections. `report` is called after every attempt."""

    def __init__(
        self,
        report: Callable[[Attempt], None],
        *,
        pauses_s: Sequence[float],
        threads: int,
        timeout_s: float,
        backlog: int,
        ca_file: Path | None = None,
    ) -> None:
        self._report, self._pauses, self._timeout = report, tuple(pauses_s), timeout_s
        self._backlog, self._verify = backlog, str(ca_file) if ca_file else True
        self._heap: list[tuple[float, int, int, Webhook]] = []
        self._lock = threading.Lock()
        self._work_due, self._idle = threading.Condition(self._lock), threading.Condition(self._lock)
        self._pending = self._serial = 0
        self._closed = False
        self._threads = [threading.Thread(target=self._work, name="webhooks", daemon=True) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def send(self, webhooks: Sequence[Webhook]) -> None:
        """Accept all of them or none. Raises BacklogFull."""
        with self._lock:
            if self._pending + len(webhooks) > self._backlog:
                raise BacklogFull
            self._pending += len(webhooks)
            for webhook in webhooks:
                self._push(time.monotonic(), 1, webhook)

    @property
    def pending(self) -> int:
        """How many have been neither accepted nor given up."""
        with self._lock:
            return self._pending

    def wait_until_idle(self, seconds: float) -> int:
        """Wait until nothing is pending, but no longer than that; how many still are."""
        with self._lock:
            self._idle.wait_for(lambda: self._pending == 0, seconds)
            return self._pending

    def close(self) -> None:
        """Post nothing more, and wait for what is being posted."""
        with self._lock:
            self._closed = True
            self._work_due.notify_all()
        for thread in self._threads:
            thread.join()

    def _push(self, due: float, attempt: int, webhook: Webhook) -> None:
        self._serial += 1
        heapq.heappush(self._heap, (due, self._serial, attempt, webhook))
        self._work_due.notify()

    def _work(self) -> None:
        with requests.Session() as session:
            session.trust_env = False
            session.verify = self._verify
            while (taken := self._next()) is not None:
                self._attempt(session, *taken)

    def _next(self) -> tuple[int, Webhook] | None:
        with self._lock:
            while not self._closed:
                now = time.monotonic()
                if self._heap and self._heap[0][0] <= now:
                    _, _, attempt, webhook = heapq.heappop(self._heap)
                    return attempt, webhook
                self._work_due.wait(self._heap[0][0] - now if self._heap else None)
            return None

    def _attempt(self, session: requests.Session, number: int, webhook: Webhook) -> None:
        status, error, answer = self._post(session, webhook)
        again = status != 200 and number <= len(self._pauses)
        self._report(Attempt(webhook, number, status, error, answer, last=not again))
        with self._lock:
            if again:
                self._push(time.monotonic() + self._pauses[number - 1], number + 1, webhook)
            else:
                self._pending -= 1
                if self._pending == 0:
                    self._idle.notify_all()

    def _post(self, session: requests.Session, webhook: Webhook) -> tuple[int | None, str | None, bytes]:
        try:
            reply = session.post(
                webhook.url,
                data=webhook.content,
                headers={"Content-Type": webhook.content_type},
                timeout=self._timeout,
                allow_redirects=False,
            )
        except requests.RequestException as error:  # its text holds the address, which holds a secret
            return None, type(error).__name__, b""
        return reply.status_code, None, reply.content
