"""Jobs become pushes, answers become steps, steps become settlements."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, assert_never

from proxy.domain.breaker import Breaker
from proxy.domain.dead_letters import Cause
from proxy.domain.devices import RemovalResult
from proxy.domain.jobs import Job, Push
from proxy.domain.lanes import Lane, PauseKind, Route
from proxy.domain.outcomes import About, CredentialsExpired, Deferred, Outcome, Split
from proxy.domain.steps import (
    Backoff,
    BuryStep,
    Done,
    Forget,
    MarkInvalid,
    PauseLane,
    RememberUnknown,
    RestDevice,
    RetryAt,
    Step,
    next_step,
    retry_or_give_up,
)
from proxy.domain.transfers import TRANSPORT_CLOSED, FailureKind, Response, TransportFailure
from proxy.ports import AddressBook, Authorization, Bury, Finish, LaneStates, Postpone, Settlement, Transport, Wire
from proxy.usecases.lines import Ending, Held, Lines

_BUSY_WAIT = timedelta(milliseconds=300)
_EARLY_WAIT = timedelta(seconds=2)  # for one that is to be tried again, which takes longer than an answer


@dataclass(frozen=True)
class Settled:
    """How a job ended, or why it goes on: for logs and metrics. `result` is of a closed set, `reason` a provider's.

    `stopped`: with this answer the lane began to stand, for trouble of that kind.
    """

    job: Job
    result: str
    reason: str = ""
    stopped: PauseKind | None = None


@dataclass(frozen=True)
class Channel:
    """All that delivers the jobs of one lane. `replaces`: its alerts of one conversation replace each other."""

    route: Route
    wire: Wire
    transport: Transport
    authorization: Authorization
    replaces: bool


Report = Callable[[Settled], None]
Settle = Callable[[Settlement], None]


@dataclass(frozen=True)
class Delivery:
    """The delivery of one lane. `settle` and `report` hear of each job once, when its outcome is decided.

    `breaker` is what this worker knows of the lane's standing; a breaker's first probe comes after `first_probe`. Of a
    failure that we learn of while not `is_awake` the provider may be innocent.
    """

    channel: Channel
    addresses: AddressBook
    lanes: LaneStates
    backoff: Backoff
    now: Callable[[], datetime]
    settle: Settle
    report: Report
    line_life: timedelta
    dedupe_ttl: timedelta
    unknown_account_ttl: timedelta
    probe_every: timedelta
    first_probe: timedelta
    breaker: Breaker
    is_awake: Callable[[], bool] = lambda: True
    lines: Lines = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "lines", Lines(self.lane, self.addresses, self.line_life, self.dedupe_ttl))

    @property
    def lane(self) -> Lane:
        return self.channel.route.lane

    async def ready(self, held: Sequence[Held]) -> list[list[tuple[Held, Push]]]:
        """Look once more at where the jobs go, settle those that go nowhere, and batch the others."""
        alive = [it for it in held if not self._too_late(it)]
        addressed = await self._addressed(alive)
        sendable = [(it, push) for it, push in addressed if not self._refused(it, push)]
        batch_keys = {it.entry_id: self.channel.wire.batch_key(push.job) for it, push in sendable}
        if self.channel.replaces:  # what has boarded must be pushed: others are held back beside it
            sendable = await self._board(sendable)
        batches: dict[Hashable, list[tuple[Held, Push]]] = {}
        for it, push in sendable:
            batches.setdefault(batch_keys[it.entry_id], []).append((it, push))
        limit = self.channel.wire.batch_limit
        return [batch[i : i + limit] for batch in batches.values() for i in range(0, len(batch), limit)]

    async def push(self, batch: Sequence[tuple[Held, Push]], may_send: Callable[[], bool]) -> list[Settled]:
        """Send one batch, in halves where it must be, and settle each of its jobs by its own outcome.

        What could not leave because `may_send` said no is not settled. To be followed by `part`.
        """
        sent_at = self.now()
        pushes = [push for _, push in batch]
        outcomes = await self._outcomes(pushes, may_send)
        is_out = self._is_out(pushes, outcomes)
        settled = await all_or_raise(
            self._carry_out(held, push, outcome, sent_at, is_out=is_out)
            for (held, push), outcome in zip(batch, outcomes, strict=True)
            if outcome is not None
        )
        if self.channel.replaces:
            results = {it.job.id: it.result for it in settled}
            await self.lines.land(
                [
                    (push, _ending(outcome, results.get(push.job.id, "")))
                    for push, outcome in zip(pushes, outcomes, strict=True)
                ]
            )
        return settled

    async def give_up(self, batch: Sequence[tuple[Held, Push]]) -> None:
        """Its jobs were settled without an outcome."""
        if self.channel.replaces:
            await self.lines.land([(push, Ending.GIVEN_UP) for _, push in batch])

    def part(self, batch: Sequence[tuple[Held, Push]], settled: Sequence[Settled]) -> list[Held]:
        """Settle what was held back beside a batch and is covered by it now; returns what is to be readied again."""
        if not self.channel.replaces:
            return []
        covered, going = self.lines.part([push for _, push in batch], _accepted(settled))
        for it in covered:
            self._finish(it, "superseded")
        return going

    def _is_out(self, pushes: Sequence[Push], outcomes: Sequence[Outcome | None]) -> bool:
        """Does the provider fail whatever it is asked?"""
        if any(isinstance(it, Deferred) and it.about is About.PROVIDER for it in outcomes):
            return self.breaker.failed(pushes[0].job.id) if self.is_awake() else self.breaker.is_open
        if any(it is not None for it in outcomes):
            self.breaker.answered()
        return False

    def _too_late(self, held: Held) -> bool:
        if held.job.alert.expires_at > self.now():
            return False
        self._bury(held, Cause.EXPIRED, "too late: expired while waiting")
        return True

    async def _addressed(self, held: Sequence[Held]) -> list[tuple[Held, Push]]:
        if not held:
            return []
        held = await self._unblocked(held)
        if self.channel.route.to_account:
            unknown = await self.addresses.unknown(self.lane, [it.job.account for it in held])
            for it in held:
                if it.job.account in unknown:
                    self._finish(it, "unknown account")
            return [(it, Push(it.job, None)) for it in held if it.job.account not in unknown]
        targets = [(it.job.account, it.job.device_id) for it in held]
        addressed = []
        for it, owned in zip(held, await self.addresses.owned(self.lane.app, targets), strict=True):
            if owned is None or owned.device.platform != self.lane.channel:
                self._finish(it, "device moved")
            elif owned.rests:
                self.settle(Postpone(it.entry_id, it.job, self.now() + owned.rests))
            else:
                addressed.append((it, Push(it.job, owned.device)))
        return addressed

    async def _unblocked(self, held: Sequence[Held]) -> list[Held]:
        blocked = await self.addresses.blocked([it.job.account for it in held])
        for it in held:
            if it.job.account in blocked:
                self._finish(it, "blocked")
        return [it for it in held if it.job.account not in blocked]

    def _refused(self, held: Held, push: Push) -> bool:
        outcome = self.channel.wire.refuse(push)
        if outcome is None:
            return False
        self._bury(held, Cause.REJECTED, getattr(outcome, "reason", type(outcome).__name__))
        return True

    async def _board(self, pushes: Sequence[tuple[Held, Push]]) -> list[tuple[Held, Push]]:
        """At most one push of a line is out, none that a later accepted one covers or that would cover a later one."""
        if not pushes:
            return []
        boarded = await self.lines.board(pushes)
        for it in boarded.superseded:
            self._finish(it, "superseded")
        for it in boarded.busy:
            self.settle(Postpone(it.entry_id, it.job, self.now() + _BUSY_WAIT))
        for it in boarded.early:
            self.settle(Postpone(it.entry_id, it.job, self.now() + _EARLY_WAIT))
        return boarded.ready

    async def _outcomes(self, pushes: Sequence[Push], may_send: Callable[[], bool]) -> list[Outcome | None]:
        """None for those that we may not send."""
        answered = await self._answered(pushes, may_send)
        if len(pushes) == 1 or not any(isinstance(outcome, Split) for outcome in answered):
            return answered
        middle = len(pushes) // 2
        first = await self._outcomes(pushes[:middle], may_send)
        return first + await self._outcomes(pushes[middle:], may_send)

    async def _answered(self, pushes: Sequence[Push], may_send: Callable[[], bool]) -> list[Outcome | None]:
        authorization = await self.channel.authorization.current()
        outcomes = await self._once(pushes, authorization, may_send)
        expired = any(isinstance(outcome, CredentialsExpired) for outcome in outcomes)
        if expired and await self.channel.authorization.renew(authorization):
            outcomes = await self._once(pushes, await self.channel.authorization.current(), may_send)
        return outcomes

    async def _once(
        self, pushes: Sequence[Push], authorization: str, may_send: Callable[[], bool]
    ) -> list[Outcome | None]:
        withheld = False

        def leaves() -> bool:
            nonlocal withheld
            withheld = not may_send()
            return not withheld

        request = self.channel.wire.build(pushes, authorization, self.now())
        answer = await self.channel.transport.send(request, leaves)
        is_second = isinstance(answer, TransportFailure) and answer.kind is FailureKind.BROKEN
        if is_second:  # as when an idle one was closed: once more, on a new one
            answer = await self.channel.transport.send(request, leaves)
        match answer:
            case Response():
                outcomes = self.channel.wire.read(pushes, answer, self.now())
                return [replace(it, unheard=True) if is_second and isinstance(it, Deferred) else it for it in outcomes]
            case TransportFailure() if withheld:
                return [None] * len(pushes)
            case TransportFailure(reason):
                sent = answer.sent
                about = About.JOB if reason == TRANSPORT_CLOSED else About.PROVIDER
                return [Deferred(reason, counts=sent, about=about, unheard=sent or is_second)] * len(pushes)

    async def _carry_out(self, held: Held, push: Push, outcome: Outcome, sent_at: datetime, *, is_out: bool) -> Settled:
        step: Step = next_step(held.job, outcome, self.now(), self.backoff, is_out=is_out)
        match step:
            case Done(result):
                return self._finish(held, result)
            case RetryAt(when, job, reason):
                return self._postpone(held, job, when, reason)
            case RestDevice(when, job, reason):
                if push.device:
                    await self.addresses.rest(push.device, when - self.now())
                return self._postpone(held, job, when, reason)
            case BuryStep(cause, reason):
                return self._bury(held, cause, reason)
            case Forget(since):
                return await self._forget(held, push, since or sent_at)
            case MarkInvalid(reason):
                if push.device:
                    await self.addresses.mark_invalid(push.device, reason)
                return self._bury(held, Cause.MISADDRESSED, reason)
            case RememberUnknown():
                await self.addresses.remember_unknown(self.lane, held.job.account, self.unknown_account_ttl)
                return self._finish(held, "unknown account")
            case PauseLane(reason, until, kind):
                return await self._pause(held, reason, until, kind)
            case _:
                assert_never(step)

    async def _pause(self, held: Held, reason: str, until: datetime | None, kind: PauseKind) -> Settled:
        now = self.now()
        probe_at = until or now + (self.first_probe if kind is PauseKind.BREAKER else self.probe_every)
        is_news = await self.lanes.pause(self.lane, reason, now, probe_at, kind, self.probe_every)
        again = probe_at if kind is PauseKind.REST else now  # a lane that stands is not read anyway
        self.settle(Postpone(held.entry_id, held.job.tried(now, reason), again))
        return self._say(Settled(held.job, "paused", reason, kind if is_news else None))

    async def _forget(self, held: Held, push: Push, before: datetime) -> Settled:
        if push.device is None:
            return self._finish(held, "device gone")
        removal = await self.addresses.forget(push.device, before, self.now())
        if removal is RemovalResult.HELD:
            return self._bury(held, Cause.UNREGISTERED, "unregistered, and kept: too many at once")
        if removal is not RemovalResult.KEPT:
            return self._finish(held, "device gone")
        if held.job.second_chance:
            return self._bury(held, Cause.UNREGISTERED, "unregistered, yet registered again")
        step = retry_or_give_up(replace(held.job, second_chance=True), self.now(), "registered again")
        match step:
            case RetryAt(when, job, reason):
                return self._postpone(held, job, when, reason)
            case _:
                return self._bury(held, Cause.EXPIRED, "too late: registered again")

    def _finish(self, held: Held, result: str) -> Settled:
        self.settle(Finish(held.entry_id))
        return self._say(Settled(held.job, result))

    def _postpone(self, held: Held, job: Job, when: datetime, reason: str) -> Settled:
        self.settle(Postpone(held.entry_id, job.tried(self.now(), reason), when))
        return self._say(Settled(held.job, "retry", reason))

    def _bury(self, held: Held, cause: Cause, reason: str) -> Settled:
        self.settle(Bury(held.entry_id, cause, reason, held.job))
        return self._say(Settled(held.job, "dead letter", reason))

    def _say(self, settled: Settled) -> Settled:
        self.report(settled)
        return settled


async def all_or_raise(steps: Iterable[Coroutine[Any, Any, Settled]]) -> list[Settled]:
    """Let every step end, then raise what the first failed one raised: one job's trouble is not the others'."""
    done = await asyncio.gather(*steps, return_exceptions=True)
    for it in done:
        if isinstance(it, BaseException):
            raise it
    return [it for it in done if isinstance(it, Settled)]


def _accepted(settled: Sequence[Settled]) -> set[str]:
    return {it.job.id for it in settled if it.result == "accepted"}


def _ending(outcome: Outcome | None, result: str) -> Ending:
    if result == "accepted":
        return Ending.ACCEPTED
    if result not in ("", "retry", "paused"):
        return Ending.GIVEN_UP
    if outcome is None or (isinstance(outcome, Deferred) and outcome.unheard):
        return Ending.UNHEARD
    return Ending.REFUSED
