"""A provider for whom no network is needed: he answers each push as he is told."""

import asyncio
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from proxy.domain.jobs import Job, Push
from proxy.domain.outcomes import Outcome
from proxy.domain.transfers import FailureKind, Request, Response, TransportFailure

Verdict = Callable[[Sequence[Push], str], list[Outcome]]


def always(outcome: Outcome) -> Verdict:
    return lambda pushes, _authorization: [outcome] * len(pushes)


@dataclass
class Provider:
    """A channel's words and its far end in one: `verdict` answers. Implements ports.Wire and ports.Transport."""

    verdict: Verdict
    batch_limit: int = 1000
    refusal: Outcome | None = None
    failures: list[TransportFailure] = field(default_factory=list)
    sent: list[list[str]] = field(default_factory=list)

    def batch_key(self, job: Job) -> Hashable:
        return job.alert

    def refuse(self, push: Push) -> Outcome | None:
        return self.refusal if push.job.account == "refused" else None

    def build(self, pushes: Sequence[Push], authorization: str, now: datetime) -> Request:  # noqa: ARG002  the port's
        return Request(",".join(push.address for push in pushes), (authorization,), b"")

    async def send(self, request: Request, may_send: Callable[[], bool]) -> Response | TransportFailure:
        await asyncio.sleep(0)
        if not may_send():
            return TransportFailure("the lease is lost", FailureKind.NOT_SENT)
        self.sent.append(request.url.split(","))
        return self.failures.pop() if self.failures else Response(200, {}, request.headers[0].encode())

    def read(self, pushes: Sequence[Push], answer: Response, now: datetime) -> list[Outcome]:  # noqa: ARG002
        return self.verdict(pushes, answer.body.decode())


@dataclass
class Keys:
    """Implements ports.Authorization: the first key expires, and is renewed if `renewable`."""

    renewable: bool = True
    used: str = "key-1"
    renewals: list[str] = field(default_factory=list)

    async def current(self) -> str:
        return self.used

    async def renew(self, refused: str) -> bool:
        self.renewals.append(refused)
        self.used = f"key-{len(self.renewals) + 1}" if self.renewable else self.used
        return self.renewable
