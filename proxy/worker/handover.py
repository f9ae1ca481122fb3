"""From the plan to the lanes of this worker: what is appended is claimed and looked up in the same round trip.

    rooms -> append, claim, look up -> the lanes send what they have room for

Only a lane that has room takes part, and it gives the room before anything is read. Whatever goes wrong on the way, the
jobs lie in their streams: not claimed, or claimed and taken over like those of a dead worker.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from proxy.domain.devices import Destination
from proxy.domain.jobs import Job
from proxy.domain.lanes import Lane
from proxy.domain.settlements import ChunkResult, PlanChunk
from proxy.store.devices.addresses import RedisAddresses
from proxy.store.queue.streams import RedisQueue
from proxy.store.scripts import Command
from proxy.worker.deliver import LaneWorker, Room


@dataclass(frozen=True)
class _Offer:
    """A lane's room, and the jobs that are looked up for it."""

    worker: LaneWorker
    room: Room
    jobs: Sequence[Job]
    question: Sequence[Command]


class HandOver:
    """Appends the jobs of one app. `clock` is monotonic."""

    def __init__(
        self, queue: RedisQueue, addresses: RedisAddresses, lanes: Sequence[LaneWorker], clock: Callable[[], float]
    ) -> None:
        self._queue, self._addresses, self._clock = queue, addresses, clock
        self._lanes = {worker.lane: worker for worker in lanes}

    async def append(self, chunks: Sequence[PlanChunk], now: datetime) -> list[ChunkResult]:
        """See RedisQueue.append_planned. Raises RedisError."""
        offers = self._offers(chunks)
        asked = [command for offer in offers for command in offer.question]
        rooms, since = {offer.worker.lane: offer.room.jobs for offer in offers}, self._clock()
        try:
            results, answers = await self._queue.append_planned(chunks, now, rooms, asked)
        except BaseException:
            for offer in offers:
                offer.worker.give_back(offer.room)
            raise
        for offer in offers:
            mine, answers = answers[: len(offer.question)], answers[len(offer.question) :]
            claimed = [one for result in results for one in result.claimed.get(offer.worker.lane, ())]
            await offer.worker.hand_over(offer.room, claimed, self._destinations(offer, mine), since)
        for result in results:
            if result.error is not None:
                raise result.error
        return results

    def _offers(self, chunks: Sequence[PlanChunk]) -> list[_Offer]:
        jobs: dict[Lane, list[Job]] = {}
        for chunk in chunks:
            for lane, job in chunk.jobs:
                jobs.setdefault(lane, []).append(job)
        offers = []
        for lane in jobs.keys() & self._lanes.keys():
            room = self._lanes[lane].admit(len(jobs[lane]))
            some = jobs[lane][: room.places]
            offers.append(_Offer(self._lanes[lane], room, some, self._addresses.question(lane, some) if some else []))
        return offers

    def _destinations(self, offer: _Offer, answers: Sequence[Any]) -> Mapping[str, Destination]:
        """By job id. None where the look-up failed, or the lane is paused: it will find that out by itself."""
        if not answers or any(isinstance(answer, Exception) for answer in answers):
            return {}
        found, others = self._addresses.read(offer.worker.lane, offer.jobs, answers)
        if found.is_paused:
            return {}
        known = dict(zip((job.id for job in offer.jobs), found.destinations, strict=True))
        for place, _, _ in others:
            del known[offer.jobs[place].id]
        return known
