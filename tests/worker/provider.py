"""A provider for which no network is needed: it answers each request as it is told."""

import asyncio
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from proxy.domain.jobs import Job, Push
from proxy.domain.outcomes import Outcome
from proxy.domain.transfers import FailureKind, Request, Response, TransportFailure

Verdict = Callable[[Sequence[Push], str], list[Outcome]]
Answer = Response | TransportFailure

REFUSED = TransportFailure("connection refused", FailureKind.UNREACHABLE)
BROKEN = TransportFailure("connection broke", FailureKind.BROKEN)
TIMED_OUT = TransportFailure("no answer in time", FailureKind.TIMED_OUT)
RECALLED = TransportFailure("recalled", FailureKind.NOT_SENT)


def always(outcome: Outcome) -> Verdict:
    return lambda pushes, _authorization: [outcome] * len(pushes)


@dataclass
class ScriptedWire:
    """A channel's language: `verdict` says what each answer means. Implements ports.Wire."""

    verdict: Verdict
    batch_limit: int = 1
    refusals: dict[str, Outcome] = field(default_factory=dict)  # by account
    built: list[Push] = field(default_factory=list)

    def batch_key(self, job: Job) -> Hashable:
        return job.alert

    def variant(self, push: Push) -> Hashable:
        return push.locale

    def refuse(self, push: Push) -> Outcome | None:
        return self.refusals.get(push.job.account)

    def build(self, pushes: Sequence[Push], authorization: str, now: datetime) -> Request:  # noqa: ARG002  the port's
        self.built += pushes
        return Request(",".join(push.address for push in pushes), (authorization,), b"")

    def read(self, pushes: Sequence[Push], answer: Response, now: datetime) -> list[Outcome]:  # noqa: ARG002
        return self.verdict(pushes, answer.body.decode())


class ScriptedTransport:
    """Carries requests nowhere. Implements ports.Transport.

    `places`: so many requests at once. While `answering` is not set no answer comes. `failures` come first, the last of
    the list at first; after them every request fails with `failure`, or is answered 200.
    """

    def __init__(self, clock: Callable[[], float], places: int = 1000) -> None:
        self.places = places
        self.answering = asyncio.Event()
        self.answering.set()
        self.failures: list[TransportFailure] = []
        self.failure: TransportFailure | None = None
        self.tried = 0
        self.sent: list[list[str]] = []  # the addresses of each request that left
        self._clock, self._used, self._reserved = clock, 0, 0
        self._changed = asyncio.Event()
        self._answers: set[asyncio.Task[None]] = set()

    async def reserve(self, most: int) -> int:
        while self.places <= self._used:
            self._changed.clear()
            await self._changed.wait()
        taken = min(most, self.places - self._used)
        self._used += taken
        self._reserved += taken
        return taken

    def reserve_free(self, most: int) -> int:
        taken = max(min(most, self.places - self._used), 0)
        self._used += taken
        self._reserved += taken
        return taken

    def give_back(self, places: int) -> None:
        assert 0 <= places <= self._reserved
        self._reserved -= places
        self._free(places)

    def allow(self, places: int) -> None:
        """From now on so many."""
        self.places = places
        self._changed.set()

    def send(self, request: Request, leave_by: float) -> "asyncio.Future[Answer]":
        assert self._reserved > 0, "every request needs a place that was reserved"
        self._reserved -= 1
        self.tried += 1
        done: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        if self._clock() >= leave_by:
            self._end(done, TransportFailure("lease over", FailureKind.NOT_SENT))
            return done
        failure = self.failures.pop() if self.failures else self.failure
        if failure is None or failure.sent:
            self.sent.append(request.url.split(","))
        task = asyncio.create_task(self._answer(done, failure or Response(200, {}, request.headers[0].encode())))
        self._answers.add(task)
        task.add_done_callback(self._answers.discard)
        return done

    async def aclose(self) -> None:
        for task in self._answers:
            task.cancel()
        await asyncio.gather(*self._answers, return_exceptions=True)

    async def _answer(self, done: "asyncio.Future[Answer]", answer: Answer) -> None:
        await self.answering.wait()
        self._end(done, answer)

    def _end(self, done: "asyncio.Future[Answer]", answer: Answer) -> None:
        self._free(1)
        if not done.cancelled():
            done.set_result(answer)

    def _free(self, places: int) -> None:
        self._used -= places
        self._changed.set()


@dataclass
class Keys:
    """Implements ports.Authorization: the first key expires, and is renewed if `renewable`.

    None can be read as long as `fault` is set.
    """

    renewable: bool = True
    used: str = "key-1"
    renewals: list[str] = field(default_factory=list)
    fault: Exception | None = None

    async def current(self) -> str:
        if self.fault is not None:
            raise self.fault
        return self.used

    async def renew(self, refused: str) -> bool:
        self.renewals.append(refused)
        self.used = f"key-{len(self.renewals) + 1}" if self.renewable else self.used
        return self.renewable
