"""What the store should hold, in plain Python: streams with leases, marks, retries and dead letters of one app.

Nothing here knows a script or a command of Redis. Times are milliseconds, as the queue gets them.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace

from proxy.domain.jobs import Job
from proxy.domain.lanes import Lane
from proxy.domain.offline_messages import OfflineMessage
from proxy.domain.settlements import Bury, Finish, Move, PlanChunk, PlanEnd, Postpone, Settlement
from proxy.domain.times import to_ms
from proxy.store.records import dump_job, dump_offline_message


@dataclass
class Lying:
    """An entry of a stream; `id` is the store's to give. `silent`: no worker has renewed it for a lease."""

    record: bytes
    id: bytes = b""
    owner: str = ""
    deliveries: int = 0
    silent: bool = False
    lanes: frozenset[str] = frozenset()
    tries: int = 0

    def be(self, id_: bytes) -> None:
        """It has this id, now that the store has given it, and no other later."""
        assert self.id in (b"", id_)
        self.id = id_

    def hand_to(self, instance: str) -> None:
        self.owner, self.deliveries, self.silent = instance, self.deliveries + 1, False


@dataclass
class StreamModel:
    """Entries in the order in which they came. Without its group, no worker holds or gets anything."""

    lying: list[Lying] = field(default_factory=list)
    has_group: bool = False

    def append(self, record: bytes, lanes: frozenset[str] = frozenset(), tries: int = 0) -> None:
        self.lying.append(Lying(record, lanes=lanes, tries=tries))

    def claim(self, instance: str, count: int) -> list[Lying]:
        return self._hand_out(instance, self.unclaimed()[:count])

    def take_over(self, instance: str, count: int, *, suspect: bool) -> list[Lying]:
        """Up to `count` that were claimed once, and then one of those that were claimed more often, the least so."""
        silent = [it for it in self.lying if it.owner and it.silent]
        suspects = sorted((it for it in silent if it.deliveries > 1), key=lambda it: it.deliveries)
        innocent = [it for it in silent if it.deliveries == 1]
        return self._hand_out(instance, innocent[:count] + (suspects[:1] if suspect else []))

    def renew(self, instance: str, ids: Sequence[bytes]) -> list[bytes]:
        """The ids that are not this instance's."""
        mine = {it.id: it for it in self.held_by(instance)}
        for id_ in ids:
            if id_ in mine:
                mine[id_].silent = False
        return [id_ for id_ in ids if id_ not in mine]

    def unclaimed(self) -> list[Lying]:
        return [it for it in self.lying if not it.owner]

    def held_by(self, instance: str) -> list[Lying]:
        return [it for it in self.lying if it.owner == instance]

    def fall_silent(self, alive: Collection[str]) -> list[Lying]:
        """A lease passes in which only those alive renew what they hold; what no worker renewed."""
        silent = [it for it in self.lying if it.owner and it.owner not in alive]
        for it in silent:
            it.silent = True
        return silent

    def remove(self, id_: bytes) -> None:
        self.lying = [it for it in self.lying if it.id != id_]

    def _hand_out(self, instance: str, chosen: list[Lying]) -> list[Lying]:
        if not self.has_group:
            self.has_group = True
            return []
        for it in chosen:
            it.hand_to(instance)
        return chosen


@dataclass(frozen=True)
class Dead:
    """A letter: what it is about, as it was. `lane` is None for a callback's."""

    reason: str
    lane: Lane | None
    of: Job | OfflineMessage


@dataclass(frozen=True)
class WaitingMessage:
    """A message that waits for full lanes."""

    record: bytes
    lanes: frozenset[str]
    tries: int
    due_ms: int


@dataclass
class AppModel:
    """Everything of one app."""

    lanes: Sequence[Lane]
    callbacks_cap: int
    jobs_cap: int
    callbacks: StreamModel = field(default_factory=StreamModel)
    seen: set[str] = field(default_factory=set)
    planned: dict[str, set[str]] = field(default_factory=dict)
    jobs: dict[Lane, StreamModel] = field(init=False)
    retries: dict[Lane, dict[bytes, int]] = field(init=False)
    dead: list[Dead] = field(default_factory=list)
    waiting: list[WaitingMessage] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.jobs = {lane: StreamModel() for lane in self.lanes}
        self.retries = {lane: {} for lane in self.lanes}

    def accept(self, callback_id: str, record: bytes) -> bool | None:
        """Whether it was known; None where there is no room."""
        if callback_id in self.seen:
            return True
        if len(self.callbacks.lying) + len(self.waiting) >= self.callbacks_cap:
            return None
        self.seen.add(callback_id)
        self.callbacks.append(record)
        return False

    def append_planned(self, chunk: PlanChunk) -> list[int]:
        """For each job 1 appended, 0 planned before, -1 its lane is full."""
        full = {lane for lane, _ in chunk.jobs if self._length(lane) >= self.jobs_cap}
        marks = self.planned.setdefault(chunk.message_id, set())
        found = []
        for lane, job in chunk.jobs:
            found.append(0 if job.mark in marks else -1 if lane in full else 1)
            if found[-1] == 1:
                marks.add(job.mark)
                self.jobs[lane].append(dump(job))
        return found

    def move_waiting(self, now_ms: int, count: int) -> int:
        due = [it for it in sorted(self.waiting, key=_by_due) if it.due_ms <= now_ms][:count]
        for it in due:
            self.waiting.remove(it)
            self.callbacks.append(it.record, it.lanes, it.tries)
        return len(due)

    def _wait(self, record: bytes, full: Iterable[Lane], tries: int, now_ms: int) -> None:
        names = frozenset(f"{lane.app}:{lane.channel}" for lane in full)
        due_ms = now_ms + min(1000 * 2**tries, 30_000)
        same = [it for it in self.waiting if (it.record, it.lanes, it.tries) == (record, names, tries + 1)]
        self.waiting = [it for it in self.waiting if it not in same]
        self.waiting.append(WaitingMessage(record, names, tries + 1, due_ms))

    def settle_jobs(self, lane: Lane, instance: str, settlements: Iterable[Settlement]) -> list[bytes]:
        return self._settle(lane, instance, settlements)

    def settle_callbacks(self, instance: str, settlements: Iterable[Settlement], now_ms: int) -> list[bytes]:
        return self._settle(None, instance, settlements, now_ms)

    def put_back(self, letter: Dead) -> bool:
        """False, and nothing done, where its stream is full."""
        if letter.lane is None:
            if len(self.callbacks.lying) + len(self.waiting) >= self.callbacks_cap:
                return False
            self.callbacks.append(dump(letter.of))
        else:
            if self._length(letter.lane) >= self.jobs_cap:
                return False
            self.jobs[letter.lane].append(dump(letter.of))
        self.dead.remove(letter)
        return True

    def move_due(self, lane: Lane, now_ms: int, count: int) -> int:
        """The earliest first."""
        waiting = self.retries[lane]
        due = sorted((when, record) for record, when in waiting.items() if when <= now_ms)[:count]
        for _, record in due:
            del waiting[record]
            self.jobs[lane].append(record)
        return len(due)

    def is_busy(self) -> bool:
        return bool(self.callbacks.lying or self.waiting) or any(self._length(lane) for lane in self.lanes)

    def _settle(
        self, lane: Lane | None, instance: str, settlements: Iterable[Settlement], now_ms: int = 0
    ) -> list[bytes]:
        stream = self.jobs[lane] if lane else self.callbacks
        foreign = []
        for it in settlements:
            if isinstance(it, PlanEnd) and not it.full:  # whoever has it: all of it is planned
                stream.remove(it.entry_id)
                continue
            mine = {one.id: one for one in stream.held_by(instance)}
            if it.entry_id not in mine:
                foreign.append(it.entry_id)
                continue
            record = mine[it.entry_id].record
            stream.remove(it.entry_id)
            match it:
                case Postpone(_, job, when) if lane:
                    self.retries[lane][dump(job)] = to_ms(when)
                case Move(_, job, target):
                    self.jobs[target].append(dump(replace(job, channel=target.channel)))
                case Bury(_, _, reason, Job() | OfflineMessage() as of):
                    self.dead.append(Dead(reason, lane, of))
                case PlanEnd(_, full, tries) if full:
                    self._wait(record, full, tries, now_ms)
                case _:
                    assert isinstance(it, Finish | PlanEnd)
        return foreign

    def _length(self, lane: Lane) -> int:
        return len(self.jobs[lane].lying) + len(self.retries[lane])


def dump(of: Job | OfflineMessage) -> bytes:
    return dump_job(of, compact=True) if isinstance(of, Job) else dump_offline_message(of, compact=True)


def _by_due(message: WaitingMessage) -> tuple[int, bytes]:
    """As the store sorts them: those that are due at once by their bytes."""
    return message.due_ms, f"{message.tries} {' '.join(sorted(message.lanes))}\n".encode() + message.record
