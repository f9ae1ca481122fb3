"""Stream entries as a worker claims them, and what becomes of each."""

from dataclasses import dataclass, field
from datetime import datetime

from proxy.domain.dead_letters import Cause
from proxy.domain.jobs import Job
from proxy.domain.lanes import Lane
from proxy.domain.offline_messages import OfflineMessage


@dataclass(frozen=True)
class Entry:
    """A claimed stream entry. `deliveries` counts the claims so far, this one included.

    A message that waited for a full lane comes back for `lanes` alone ("app:channel"; none named: all), for the `tries`
    + 1st time.
    """

    id: bytes
    record: bytes = field(repr=False)
    deliveries: int = 1
    lanes: frozenset[str] = frozenset()
    tries: int = 0


@dataclass(frozen=True)
class Finish:
    """The entry is done with and goes."""

    entry_id: bytes


@dataclass(frozen=True)
class Postpone:
    """The entry goes; its job comes back to the lane at `when`."""

    entry_id: bytes
    job: Job
    when: datetime


@dataclass(frozen=True)
class Move:
    """The entry goes; its job is appended to another lane of the same app."""

    entry_id: bytes
    job: Job
    lane: Lane


@dataclass(frozen=True)
class Bury:
    """The entry becomes a dead letter: a job, a callback's message, or as it is where it cannot be read."""

    entry_id: bytes
    cause: Cause
    reason: str
    subject: Job | OfflineMessage | Entry


Settlement = Finish | Postpone | Move | Bury


@dataclass(frozen=True)
class SettleResult:
    """Entries about which nothing was done: `foreign` ones belong to another worker, `failed` ones stay pending."""

    foreign: list[bytes] = field(default_factory=list)
    failed: list[bytes] = field(default_factory=list)
