"""Webhooks: servers of the developer's to which MIMC's callbacks are passed on. Pure.

Webhook.takes(callback)                    -> does it go there?
decide_forward(forward, outcome ...)       -> ForwardDecision      once the endpoint has answered
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from proxy.domain.callbacks import Callback, Ignored
from proxy.domain.dead_letters import Cause
from proxy.domain.decisions import Backoff, PauseLane, Result
from proxy.domain.forwards import Forward
from proxy.domain.lanes import Lane, PauseKind
from proxy.domain.outcomes import About, Accepted, Deferred, OurFault
from proxy.domain.settlements import Again, Bury, Finish

UNTIL_RESUMED = timedelta(days=30)  # by the operator; the store keeps a pause no longer
_CHANNEL = "webhook-"
ForwardOutcome = Accepted | Deferred | OurFault


@dataclass(frozen=True)
class Webhook:
    """One endpoint: which callbacks go there, for how long each is tried, and how many wait at most."""

    lane: Lane
    kinds: frozenset[str]
    life: timedelta
    most: int
    accounts: frozenset[str] = frozenset()
    topics: frozenset[str] = frozenset()
    passes_authentication: bool = False

    def takes(self, callback: Callback | Ignored) -> bool:
        """One of a kind that we do not read concerns no account and no group that we know of."""
        if callback.kind not in self.kinds:
            return False
        if not (self.accounts or self.topics):
            return True
        if isinstance(callback, Ignored):
            return False
        if callback.topic_id is not None and callback.topic_id in self.topics:
            return True
        return callback.from_account in self.accounts or any(it.account in self.accounts for it in callback.recipients)


@dataclass(frozen=True)
class ForwardDecision:
    """What becomes of it: its settlement, why, and whether its lane pauses."""

    settlement: Finish | Again | Bury
    result: Result
    reason: str = ""
    pause: PauseLane | None = None


def lane_of_webhook(app_id: str, app: str, name: str) -> Lane:
    return Lane(app_id, app, f"{_CHANNEL}{name}")


def is_webhook(channel: str) -> bool:
    return channel.startswith(_CHANNEL)


def expired(entry_id: bytes, forward: Forward) -> ForwardDecision:
    """Its time is over."""
    reason = f"not delivered in time: {forward.reason}" if forward.reason else "not delivered in time"
    return ForwardDecision(Bury(entry_id, Cause.EXPIRED, reason, forward), Result.DEAD_LETTER, reason)


def put_back(entry_id: bytes, forward: Forward, now: datetime, pause: PauseLane | None = None) -> ForwardDecision:
    """The lane is paused, or this worker ends: it waits in the store, where any worker finds it."""
    reason = pause.reason if pause else ""
    return ForwardDecision(Again(entry_id, forward, now), Result.PAUSED, reason, pause)


def decide_forward(
    entry_id: bytes,
    forward: Forward,
    outcome: ForwardOutcome,
    *,
    now: datetime,
    backoff: Backoff,
    is_paused: bool = False,
    is_probe: bool = False,
) -> ForwardDecision:
    """What to do once the endpoint has answered. Time alone ends its tries.

    `is_paused`: the endpoint fails all alike, so its failure says nothing about this callback.
    """
    match outcome:
        case Accepted():
            return ForwardDecision(Finish(entry_id), Result.ACCEPTED)
        case OurFault(reason, until):
            return put_back(entry_id, forward.failed(reason), now, PauseLane(reason, PauseKind.FAULT, until))
        case Deferred(reason, wait) if wait > timedelta(0) and (is_probe or not is_paused):
            rest = PauseLane(reason, PauseKind.REST, now + wait)
            return put_back(entry_id, forward.failed(reason), now, rest)
        case Deferred(reason, about=About.PROVIDER) if is_paused:
            return put_back(entry_id, forward.failed(reason), now, PauseLane(reason, PauseKind.BREAKER))
        case Deferred(reason):
            again = replace(forward.failed(reason), attempt=forward.attempt + 1)
            when = now + backoff(forward.attempt)
            if when >= forward.until:
                return expired(entry_id, again)
            return ForwardDecision(Again(entry_id, again, when), Result.RETRY, reason)
