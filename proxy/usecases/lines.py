"""Alerts that a phone shows in one place: one at a time goes out, and the latest stands for those before it."""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum, auto

from proxy.domain.alerts import Order
from proxy.domain.callbacks import digest
from proxy.domain.jobs import Job, Push
from proxy.domain.lanes import Lane
from proxy.ports import AddressBook, Landing

# longer than a job waits between two tries, unless the settings or a provider ask for more
_SENT_LIFE = timedelta(minutes=10)


@dataclass(frozen=True)
class Held:
    """A claimed job and the entry it lies in."""

    entry_id: bytes
    job: Job


class Ending(Enum):
    """How the push of an alert ended."""

    ACCEPTED = auto()
    GIVEN_UP = auto()  # the alert is settled otherwise
    REFUSED = auto()  # and will be tried again
    UNHEARD = auto()  # there was no answer, though it may have been accepted; or it has not left yet


@dataclass(frozen=True)
class Boarded:
    """Those that may go out now, those that a later accepted one covers, and those whose line another worker has.

    `early`: a later one may be shown, and they would take its place. It is to be tried again.
    """

    ready: list[tuple[Held, Push]] = field(default_factory=list)
    superseded: list[Held] = field(default_factory=list)
    busy: list[Held] = field(default_factory=list)
    early: list[Held] = field(default_factory=list)


class Lines:
    """The lines of one lane as one worker sends on them.

    Of the alerts of a line that are in hand together the latest goes out alone. The others are held back beside it:
    once it is accepted those that it covers are settled, and if it is not, they go on by themselves. So an alert is
    only given up for a later one that did reach the provider, and none goes out as long as a later one may have.
    """

    def __init__(self, lane: Lane, addresses: AddressBook, line_life: timedelta, dedupe_ttl: timedelta) -> None:
        self._lane, self._addresses = lane, addresses
        self._line_life, self._marks_life = line_life, dedupe_ttl
        self._beside: dict[str, list[Held]] = {}  # what is held back, by the line of what is out
        self._unheard: set[str] = set()  # lines whose alert that is out was sent before, without an answer
        self._untold: list[Landing] = []  # what the store has not heard of yet
        self._boarding = asyncio.Lock()  # or a claim would find a line busy that another is just taking

    @property
    def held_back(self) -> int:
        """How many alerts wait here for a later one's end."""
        return sum(map(len, self._beside.values()))

    async def board(self, pushes: Sequence[tuple[Held, Push]]) -> Boarded:
        """Take the lines of these pushes; what is held back appears again when its line lands."""
        async with self._boarding:
            return await self._board(pushes)

    async def _board(self, pushes: Sequence[tuple[Held, Push]]) -> Boarded:
        boarded = Boarded()
        by_line: dict[str, list[tuple[Held, Push]]] = {}
        for held, push in pushes:
            by_line.setdefault(line_of(push.job), []).append((held, push))
        await self._tell([])
        asked = [line for line in by_line if line not in self._beside]
        states = await self._addresses.board(self._lane, asked, self._line_life) if asked else []
        free = {line for line, state in zip(asked, states, strict=True) if state.is_free}
        for line, state in zip(asked, states, strict=True):
            by_line[line], covered = _split(by_line[line], state.shown)
            boarded.superseded.extend(covered)
            if by_line[line] and state.sent and state.sent.is_later_than(_latest(by_line[line])):
                boarded.early.extend(held for held, _ in by_line.pop(line))
        if idle := [line for line in free if not by_line.get(line)]:
            await self._tell([Landing(line) for line in idle])
        departing = {line: _latest(by_line[line]) for line in free - set(idle)}
        if departing:
            await self._addresses.depart(self._lane, list(departing.items()), _SENT_LIFE)
        self._unheard |= {
            line for line, it in zip(asked, states, strict=True) if it.sent and departing.get(line) == it.sent
        }
        for line, going in by_line.items():  # from here on nothing may fail, or what is held back would be forgotten
            if line in free and going:
                first, *others = sorted(going, key=lambda it: _sort_key(it[1].job.alert.order), reverse=True)
                boarded.ready.append(first)
                self._beside[line] = [held for held, _ in others]
            elif line in self._beside:
                self._beside[line].extend(held for held, _ in going)
            else:  # out by another worker, or landed while we asked
                boarded.busy.extend(held for held, _ in going)
        return boarded

    async def land(self, ended: Sequence[tuple[Push, Ending]]) -> None:
        """These pushes have ended so. Where the store is away it hears of them before it is asked for a line again."""
        landed = list[Landing]()
        for push, ending in ended:
            line = line_of(push.job)
            was_unheard = line in self._unheard
            self._unheard.discard(line)
            is_over = ending in (Ending.ACCEPTED, Ending.GIVEN_UP) or (ending is Ending.REFUSED and not was_unheard)
            landed.append(Landing(line, push.job.alert.order, accepted=ending is Ending.ACCEPTED, over=is_over))
        await self._tell(landed)

    async def _tell(self, landed: Sequence[Landing]) -> None:
        telling, self._untold = [*self._untold, *landed], []
        told = not telling
        try:
            if telling:
                await self._addresses.land(self._lane, telling, self._marks_life)
                told = True
        finally:
            if not told:
                self._untold = [*telling, *self._untold]

    def part(self, pushes: Sequence[Push], accepted: Collection[str]) -> tuple[list[Held], list[Held]]:
        """What was held back beside these pushes: those that are covered now, and those that go on."""
        covered, going = list[Held](), list[Held]()
        for push in pushes:
            order = push.job.alert.order if push.job.id in accepted else None
            for held in self._beside.pop(line_of(push.job), []):
                is_covered = order is not None and order.is_later_than(held.job.alert.order)
                (covered if is_covered else going).append(held)
        return covered, going


def line_of(job: Job) -> str:
    """What a phone shows as one: the target and the conversation, as a digest."""
    return digest("line", job.account, job.device_id, job.alert.conversation)


def _split(pushes: Sequence[tuple[Held, Push]], shown: Order | None) -> tuple[list[tuple[Held, Push]], list[Held]]:
    """Those that still have something to show, and those that what is shown covers."""
    going, covered = list[tuple[Held, Push]](), list[Held]()
    for held, push in pushes:
        if shown is not None and shown.is_later_than(held.job.alert.order):
            covered.append(held)
        else:
            going.append((held, push))
    return going, covered


def _latest(pushes: Sequence[tuple[Held, Push]]) -> Order:
    return max((push.job.alert.order for _, push in pushes), key=_sort_key)


def _sort_key(order: Order) -> tuple[int, int, int]:
    return order.sequence, order.sent_at_ms, order.accepted_at_ms
