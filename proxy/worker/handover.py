"""From the plan to the lanes of this worker: what is appended is claimed and looked up in the same round trip.

    rooms -> append, claim, look up -> the lanes send what they have room for

Only a lane that has room takes part, and it gives the room before anything is read. Whatever goes wrong on the way, the
jobs lie in their streams: not claimed, or claimed and taken over like those of a dead worker.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
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


class HandOver:
    """Appends the jobs of one app. `clock` is monotonic."""

    def __init__(
        self, queue: RedisQueue, addresses: RedisAddresses, lanes: Sequence[LaneWorker], clock: Callable[[], float]
    ) -> None:
        self._queue, self._addresses, self._clock = queue, addresses, clock
        self._lanes = {worker.lane: worker for worker in lanes}

    async def append(self, chunks: Sequence[PlanChunk], now: datetime) -> list[ChunkResult]:
        """See RedisQueue.append_planned. Raises RedisError where the store does not answer."""
        served = self._queue.served
        others = {shard for shard in self._queue.layout.all_shards if shard not in served}
        behind = {lane: {*worker.behind, *others} for lane, worker in self._lanes.items()}
        offers = self._offers(chunks, behind)
        rooms, since = {offer.worker.lane: offer.room.jobs for offer in offers}, self._clock()
        try:
            questions = [self._question(offer) for offer in offers]
            asked = [command for question in questions for command in question]
            results, answers = await self._queue.append_planned(chunks, now, rooms, asked, behind)
            rest = iter(answers)
            known = [
                self._destinations(offer, list(islice(rest, len(question))))
                for offer, question in zip(offers, questions, strict=True)
            ]
        except BaseException:
            for offer in offers:
                offer.worker.give_back(offer.room)
            raise
        claimed = [[one for it in results for one in it.claimed.get(offer.worker.lane, ())] for offer in offers]
        jobs = [  # all of them first: what one lane then waits for leaves no claim of another unknown
            offer.worker.take(offer.room, some, since) for offer, some in zip(offers, claimed, strict=True)
        ]
        for offer, some, destinations in zip(offers, jobs, known, strict=True):
            await offer.worker.hand_over(offer.room, some, destinations)
        return results

    def chunks(self, app_id: str, message_id: str, jobs: Sequence[tuple[Lane, Job]], most: int) -> Iterator[PlanChunk]:
        """See RedisQueue.chunks."""
        return self._queue.chunks(app_id, message_id, jobs, most)

    def shard_of(self, account: str) -> int:
        return self._queue.layout.shard_of_account(account)

    async def note(self, app_id: str, notes: Mapping[int, bytes]) -> None:
        """See RedisQueue.append_notes."""
        await self._queue.append_notes(app_id, notes)

    def _offers(self, chunks: Sequence[PlanChunk], behind: Mapping[Lane, Collection[int]]) -> list[_Offer]:
        jobs: dict[Lane, list[Job]] = {}
        for chunk in chunks:
            shard = self.shard_of(chunk.jobs[0][1].account)
            for lane, job in chunk.jobs:
                if shard not in behind.get(lane, ()):
                    jobs.setdefault(lane, []).append(job)
        offers = []
        for lane in jobs.keys() & self._lanes.keys():
            room = self._lanes[lane].admit(len(jobs[lane]))
            offers.append(_Offer(self._lanes[lane], room, jobs[lane][: room.places]))
        return offers

    def _question(self, offer: _Offer) -> Sequence[Command]:
        return self._addresses.question(offer.worker.lane, offer.jobs) if offer.jobs else []

    def _destinations(self, offer: _Offer, answers: Sequence[Any]) -> Mapping[str, Destination]:
        """By job id. None where the look-up failed, or the lane is paused: it will find that out by itself."""
        if not answers or any(isinstance(answer, Exception) for answer in answers):
            return {}
        found, others = self._addresses.read(offer.worker.lane, offer.jobs, answers)
        if found.is_paused:
            return {}
        known = dict(zip((job.id for job in offer.jobs), found.destinations, strict=True))
        for place, _, _ in others:
            known.pop(offer.jobs[place].id, None)  # two callbacks may name one message
        return known
