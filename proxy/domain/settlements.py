"""Claimed entries of a stream, and what a worker decided about them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from proxy.domain.dead_letters import Cause
from proxy.domain.forwards import Forward
from proxy.domain.history import JobEnd, Note
from proxy.domain.jobs import ClaimedJob, Job
from proxy.domain.lanes import Lane
from proxy.domain.offline_messages import OfflineMessage


@dataclass(frozen=True)
class Entry:
    """A claimed stream entry. `deliveries` counts the claims so far, this one included.

    `lanes` and `tries` are those of a message that waited for full lanes: it is to be planned for these lanes only
    ("app:channel"; empty: for all), and it waited so many times.
    """

    id: bytes
    record: bytes = field(repr=False)
    deliveries: int = 1
    lanes: frozenset[str] = frozenset()
    tries: int = 0


@dataclass(frozen=True)
class Claimed:
    """What a claim brought. `is_all`: there was nothing more. `since`: it is ours since then (monotonic), None: now.

    `full`: the shards that gave all that they were asked for.
    """

    entries: list[Entry]
    is_all: bool
    since: float | None = None
    full: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Renewed:
    """Which of some leases were not renewed. `lost`: the entries are not ours any more; `unknown`: no answer came."""

    lost: list[bytes] = field(default_factory=list)
    unknown: list[bytes] = field(default_factory=list)


@dataclass(frozen=True)
class Finish:
    """The entry is done with and goes. Of this and others `notes` are for the history."""

    entry_id: bytes
    notes: Sequence[Note | JobEnd] = field(default=(), compare=False)


@dataclass(frozen=True)
class Shown:
    """The entry goes, and its alert may be on the phone from here on.

    Where it was withdrawn meanwhile the withdrawal goes into the lane in its place.
    """

    entry_id: bytes
    job: Job
    notes: Sequence[Note | JobEnd] = field(default=(), compare=False)


@dataclass(frozen=True)
class Told:
    """The entry goes, an update of a fold, and what it told is told.

    `next_at`: the window that began with it ends then; None: the phone was not told. Where more was folded meanwhile
    the next update becomes due.
    """

    entry_id: bytes
    job: Job
    next_at: datetime | None
    notes: Sequence[Note | JobEnd] = field(default=(), compare=False)


@dataclass(frozen=True)
class Postpone:
    """The entry goes; its job comes back to the lane at `when`."""

    entry_id: bytes
    job: Job
    when: datetime
    notes: Sequence[Note | JobEnd] = field(default=(), compare=False)


@dataclass(frozen=True)
class Again:
    """The entry goes; what it has for a webhook comes back to the lane at `when`."""

    entry_id: bytes
    forward: Forward
    when: datetime
    notes: Sequence[Note | JobEnd] = field(default=(), compare=False)


@dataclass(frozen=True)
class Bury:
    """The entry becomes a dead letter: a job, a callback's message, what was for a webhook, or the entry as it is where
    it is unreadable.
    """

    entry_id: bytes
    cause: Cause
    reason: str
    subject: Job | OfflineMessage | Forward | Entry
    notes: Sequence[Note | JobEnd] = field(default=(), compare=False)


@dataclass(frozen=True)
class Move:
    """The entry goes; its job is appended to another lane of the same app."""

    entry_id: bytes
    job: Job
    lane: Lane
    notes: Sequence[Note | JobEnd] = field(default=(), compare=False)


@dataclass(frozen=True)
class PlanEnd:
    """A callback is done with, or where lanes were `full` its message waits for these; it waited `tries` times before.

    `records` are notes for the history, by the shard of their accounts: see store/history_records.py.
    """

    entry_id: bytes
    full: frozenset[Lane] = frozenset()
    tries: int = 0
    records: Mapping[int, bytes] = field(default_factory=dict, compare=False)


JobSettlement = Finish | Shown | Told | Postpone | Bury | Move
Settlement = JobSettlement | Again | PlanEnd


@dataclass(frozen=True)
class SettleResult:
    """Which settlements were not carried out as asked; all others were.

    `foreign`: another worker has the entry, nothing was done. `buried`: the store refused this one settlement each time
    it was asked, so it became this dead letter instead. `failed`: it refused that too; the entry stays pending.
    `unnoted`: why the history took no note of something that was settled. `away`: where the entry lies gave no answer;
    to be asked again.
    """

    foreign: list[bytes] = field(default_factory=list)
    failed: list[bytes] = field(default_factory=list)
    buried: list[Bury] = field(default_factory=list)
    unnoted: list[str] = field(default_factory=list)
    away: list[bytes] = field(default_factory=list)


@dataclass(frozen=True)
class PlanChunk:
    """Some of a message's jobs, for accounts of one shard."""

    app_id: str
    message_id: str
    jobs: Sequence[tuple[Lane, Job]]


@dataclass(frozen=True)
class ChunkResult:
    """For each job whether it was planned now; and the lanes that are full, which took nothing.

    `folded`: of those jobs that were folded, by place, the message that names the fold.

    `claimed`: by lane what was claimed in the same step. An entry that was appended earlier comes unread. `error`: what
    the store said instead of all that.
    """

    new: list[bool]
    full: frozenset[Lane] = frozenset()
    claimed: Mapping[Lane, Sequence[ClaimedJob | Entry]] = field(default_factory=dict)
    error: Exception | None = None
    folded: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class MovedDue:
    """How many jobs went back to each lane, and messages to their streams.

    `next_due_at`: when the earliest of those that still wait is due; None where nothing waits. `errors`: what the store
    answered instead, by key.
    """

    jobs: dict[Lane, int] = field(default_factory=dict)
    messages: int = 0
    next_due_at: datetime | None = None
    errors: dict[str, str] = field(default_factory=dict)
