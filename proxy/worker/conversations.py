"""Alerts that replace each other on a phone: one at a time is in flight, and the latest covers those before it.

A conversation's lock is in the store, one for each (target, conversation) of a lane whose channel replaces. Of the
alerts of one conversation that are in hand together the latest goes out alone; the others are held back behind it.
When it is accepted, those that it covers are settled, and when it is not, they go on by themselves. So an alert is
only given up for a later one that did reach the provider, and none goes out as long as a later one may have.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import Enum, auto

from proxy.domain.alerts import Order, Update
from proxy.domain.callbacks import digest
from proxy.domain.conversations import ConversationState, LockRelease
from proxy.domain.decisions import Result
from proxy.domain.jobs import ClaimedJob, Job
from proxy.domain.lanes import Lane
from proxy.domain.outcomes import Deferred, Outcome
from proxy.store.queue.conversation_locks import RedisConversationLocks
from proxy.worker.batches import Addressed

# longer than a job waits between two tries, unless the settings or a provider ask for more
_SENT_TTL = timedelta(minutes=10)


class Ending(Enum):
    """How the push of an alert ended."""

    ACCEPTED = auto()
    GIVEN_UP = auto()  # the alert is settled otherwise
    REFUSED = auto()  # and will be tried again
    UNANSWERED = auto()  # there was no answer, though it may have been accepted; or it has not left yet


def ending(result: Result | None, outcome: Outcome | None) -> Ending:
    """`result` None: nothing was decided about the job."""
    if result is Result.ACCEPTED:
        return Ending.ACCEPTED
    if result not in (None, Result.RETRY, Result.PAUSED):
        return Ending.GIVEN_UP
    if outcome is None or (isinstance(outcome, Deferred) and outcome.unanswered):
        return Ending.UNANSWERED
    return Ending.REFUSED


@dataclass(frozen=True)
class Acquired:
    """Those that may go out now, those that a later accepted one covers, and those whose lock another worker has.

    `early`: a later one may be shown, and they would take its place. It is to be tried again. `away`: the node of a
    cluster that has their locks is.
    """

    ready: list[Addressed] = field(default_factory=list)
    superseded: list[ClaimedJob] = field(default_factory=list)
    busy: list[ClaimedJob] = field(default_factory=list)
    early: list[ClaimedJob] = field(default_factory=list)
    away: list[ClaimedJob] = field(default_factory=list)


class Conversations:
    """The conversations of one lane as one worker sends on them.

    `lock_ttl` is longer than a push may take: two pushes of a conversation in flight at once could arrive in the wrong
    order. `shown_ttl` is how long it is known which alert a conversation shows.
    """

    def __init__(self, lane: Lane, locks: RedisConversationLocks, *, lock_ttl: timedelta, shown_ttl: timedelta) -> None:
        self._lane, self._locks = lane, locks
        self._lock_ttl, self._shown_ttl = lock_ttl, shown_ttl
        self._behind: dict[str, list[ClaimedJob]] = {}  # held back, by the conversation of what is in flight
        self._unanswered: set[str] = set()  # conversations whose alert in flight was sent before, without an answer
        self._unreleased: list[LockRelease] = []  # what the store does not know yet
        self._acquiring = asyncio.Lock()  # or a claim would find a conversation busy that another is just taking

    @property
    def held_back(self) -> int:
        """How many alerts wait here for a later one's end."""
        return sum(map(len, self._behind.values()))

    async def acquire(self, pushes: Sequence[Addressed]) -> Acquired:
        """Take the locks of these pushes; what is held back comes back from `freed` once its conversation is free."""
        async with self._acquiring:
            return await self._acquire(pushes)

    async def _acquire(self, pushes: Sequence[Addressed]) -> Acquired:
        acquired = Acquired()
        by_conversation: dict[str, list[Addressed]] = {}
        for claimed, push in pushes:
            by_conversation.setdefault(conversation_of(push.job), []).append((claimed, push))
        await self._release([])
        for name in {it.conversation for it in self._unreleased}:
            acquired.away.extend(claimed for claimed, _ in by_conversation.pop(name, []))
        names = [name for name in by_conversation if name not in self._behind]
        found = await self._locks.acquire(self._lane, names, self._lock_ttl) if names else []
        known = {name: state for name, state in zip(names, found, strict=True) if state is not None}
        for name in names:
            if name not in known:
                acquired.away.extend(claimed for claimed, _ in by_conversation.pop(name))
        asked, states = list(known), list(known.values())
        free = {name for name, state in zip(asked, states, strict=True) if state.is_free}
        for name, state in zip(asked, states, strict=True):
            by_conversation[name], covered = _split(by_conversation[name], state)
            acquired.superseded.extend(covered)
            if by_conversation[name] and state.sent and state.sent.is_later_than(_latest(by_conversation[name])):
                acquired.early.extend(claimed for claimed, _ in by_conversation.pop(name))
        if unused := [name for name in free if not by_conversation.get(name)]:
            await self._release([LockRelease(name) for name in unused])
        leaving = {name: _latest(by_conversation[name]) for name in free - set(unused)}
        if leaving:
            await self._locks.mark_sent(self._lane, list(leaving.items()), _SENT_TTL)
        self._unanswered |= {
            name for name, state in zip(asked, states, strict=True) if state.sent and leaving.get(name) == state.sent
        }
        for name, going in by_conversation.items():  # from here on nothing may fail, or what is held back is lost
            if name in free and going:
                first, *others = sorted(going, key=lambda one: _sort_key(_order(one[1].job)), reverse=True)
                acquired.ready.append(first)
                self._behind[name] = [claimed for claimed, _ in others]
            elif name in self._behind:
                self._behind[name].extend(claimed for claimed, _ in going)
            else:  # in flight at another worker, or ended while we asked
                acquired.busy.extend(claimed for claimed, _ in going)
        return acquired

    async def release(self, ended: Sequence[tuple[Job, Ending]]) -> None:
        """The pushes of these jobs ended so. A store that is away learns it before the next lock is taken."""
        releases = list[LockRelease]()
        for job, how in ended:
            name = conversation_of(job)
            was_unanswered = name in self._unanswered
            self._unanswered.discard(name)
            is_over = how in (Ending.ACCEPTED, Ending.GIVEN_UP) or (how is Ending.REFUSED and not was_unanswered)
            is_shown = how is Ending.ACCEPTED and not job.alert.update  # taking an alert back shows none
            releases.append(LockRelease(name, job.alert.order, accepted=is_shown, over=is_over))
        await self._release(releases)

    async def _release(self, releases: Sequence[LockRelease]) -> None:
        releasing, self._unreleased = [*self._unreleased, *releases], []
        undone = releasing
        try:
            if releasing:
                undone = await self._locks.release(self._lane, releasing, self._shown_ttl)
        finally:
            self._unreleased = [*undone, *self._unreleased]

    def freed(self, job: Job, *, accepted: bool) -> tuple[list[ClaimedJob], list[ClaimedJob]]:
        """What was held back behind this job: those that it covers now, and those that go on."""
        covered, going = list[ClaimedJob](), list[ClaimedJob]()
        for claimed in self._behind.pop(conversation_of(job), []):
            is_covered = accepted and not job.alert.update and _order(job).is_later_than(_order(claimed.job))
            (covered if is_covered else going).append(claimed)
        return covered, going


def conversation_of(job: Job) -> str:
    """What a phone shows as one: the target and the conversation, as a digest."""
    return digest("line", job.account, job.device_id, job.alert.conversation)


def _split(pushes: Sequence[Addressed], state: ConversationState) -> tuple[list[Addressed], list[ClaimedJob]]:
    """Those that still have something to show or to take back, and those that the alert shown covers."""
    going, covered = list[Addressed](), list[ClaimedJob]()
    for claimed, push in pushes:
        if _is_over(claimed.job, state):
            covered.append(claimed)
        else:
            going.append((claimed, push))
    return going, covered


def _is_over(job: Job, state: ConversationState) -> bool:
    """A later alert is shown; or one that is recalled is not, and what the phone shows instead is to stay."""
    order = _order(job)
    if state.shown is None or state.shown.is_later_than(order):
        return state.shown is not None
    is_sent = state.sent is not None and not order.is_later_than(state.sent)
    return job.alert.update is Update.RECALL and order.is_later_than(state.shown) and not is_sent


def _latest(pushes: Sequence[Addressed]) -> Order:
    return max((_order(push.job) for _, push in pushes), key=_sort_key)


def _order(job: Job) -> Order:
    """The place of what is taken back is its message's: which of several callbacks brought the alert, is not known."""
    return replace(job.alert.order, accepted_at_ms=0) if job.alert.update else job.alert.order


def _sort_key(order: Order) -> tuple[int, int, int]:
    return order.sequence, order.sent_at_ms, order.accepted_at_ms
