"""Alerts that a phone shows in one place: one at a time goes out, and the latest stands for those before it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from proxy.domain.alerts import Order
from proxy.domain.callbacks import digest
from proxy.domain.jobs import Job, Push
from proxy.domain.lanes import Lane
from proxy.ports import AddressBook


@dataclass(frozen=True)
class Held:
    """A claimed job and the entry it lies in."""

    entry_id: bytes
    job: Job


@dataclass(frozen=True)
class Boarded:
    """Those that may go out now, those that a later accepted one covers, and those whose line another worker has."""

    ready: list[tuple[Held, Push]] = field(default_factory=list)
    superseded: list[Held] = field(default_factory=list)
    busy: list[Held] = field(default_factory=list)


class Lines:
    """The lines of one lane as one worker sends on them.

    Of the alerts of a line that are in hand together the latest goes out alone. The others are held back beside it:
    once it is accepted those that it covers are settled, and if it is not, they go on by themselves. So an alert is
    only given up for a later one that did reach the provider.
    """

    def __init__(self, lane: Lane, addresses: AddressBook, line_life: timedelta, marks_life: timedelta) -> None:
        self._lane, self._addresses = lane, addresses
        self._line_life, self._marks_life = line_life, marks_life
        self._beside: dict[str, list[Held]] = {}  # what is held back, by the line of what is out

    async def board(self, pushes: Sequence[tuple[Held, Push]]) -> Boarded:
        """Take the lines of these pushes; what is held back appears again when its line lands."""
        boarded = Boarded()
        by_line: dict[str, list[tuple[Held, Push]]] = {}
        for held, push in pushes:
            by_line.setdefault(line_of(push.job), []).append((held, push))
        asked = [line for line in by_line if line not in self._beside]
        answers = await self._addresses.board(self._lane, asked, self._line_life) if asked else []
        free = {line for line, (is_free, _) in zip(asked, answers, strict=True) if is_free}
        for line, (_, shown) in zip(asked, answers, strict=True):
            by_line[line], covered = _split(by_line[line], shown)
            boarded.superseded.extend(covered)
        if idle := [line for line in free if not by_line[line]]:
            await self._addresses.land(self._lane, [(line, None) for line in idle], self._marks_life)
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

    async def land(self, pushes: Sequence[Push], accepted: Collection[str]) -> None:
        """These pushes have ended; `accepted` are the jobs of those that the provider took on."""
        orders = [push.job.alert.order if push.job.id in accepted else None for push in pushes]
        lines = [line_of(push.job) for push in pushes]
        await self._addresses.land(self._lane, list(zip(lines, orders, strict=True)), self._marks_life)

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


def _sort_key(order: Order) -> tuple[int, int, int]:
    return order.sequence, order.sent_at_ms, order.accepted_at_ms
