"""Claimed jobs on their way to the wire: a batch is what makes one request."""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from proxy.domain.jobs import ClaimedJob, Push
from proxy.domain.transfers import FailureKind, TransportFailure
from proxy.ports import Wire

Addressed = tuple[ClaimedJob, Push]


@dataclass(frozen=True)
class Batch:
    """One job for APNs, the claimed jobs of one alert for Mi Push.

    `failed` is how its first request failed; `renewed`: that one found our provider token expired.
    """

    jobs: tuple[ClaimedJob, ...]
    failed: TransportFailure | None = None
    renewed: bool = False

    @property
    def entry_ids(self) -> list[bytes]:
        return [claimed.entry_id for claimed in self.jobs]

    @property
    def may_have_arrived(self) -> bool:
        """Its first request may have."""
        return self.failed is not None and self.failed.kind is FailureKind.BROKEN


@dataclass(frozen=True)
class Sent:
    """A request under way, and the jobs of the batch that are in it. `at` is aware UTC, `began` monotonic."""

    batch: Batch
    addressed: tuple[Addressed, ...]
    authorization: str
    at: datetime
    began: float
    is_probe: bool

    @property
    def entry_ids(self) -> list[bytes]:
        return [claimed.entry_id for claimed, _ in self.addressed]


def batches_of(jobs: Sequence[ClaimedJob], wire: Wire) -> list[Batch]:
    """These jobs in batches, as the channel's wire joins them."""
    limit = wire.batch_limit
    if limit == 1:
        return [Batch((claimed,)) for claimed in jobs]
    joined: dict[object, list[ClaimedJob]] = {}
    for claimed in jobs:
        joined.setdefault(wire.batch_key(claimed.job), []).append(claimed)
    return [Batch(tuple(some[i : i + limit])) for some in joined.values() for i in range(0, len(some), limit)]


class WaitingBatches:
    """Batches that wait for a place on the wire. Those put in front are never joined with others."""

    def __init__(self) -> None:
        self._batches: deque[Batch] = deque()
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._batches)

    def put(self, batches: Sequence[Batch]) -> None:
        self._batches.extend(batches)
        if batches:
            self._changed.set()

    def put_first(self, batches: Sequence[Batch]) -> None:
        self._batches.extendleft(reversed(batches))
        if batches:
            self._changed.set()

    def take(self, most: int) -> list[Batch]:
        return [self._batches.popleft() for _ in range(min(most, len(self._batches)))]

    def wake(self) -> None:
        """`some` returns once more, also where none waits."""
        self._changed.set()

    async def some(self) -> None:
        """Returns once there are some, or after `wake`."""
        if not self._batches:
            self._changed.clear()
            await self._changed.wait()
