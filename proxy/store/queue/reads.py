"""Blocking reads over a Cluster: one command cannot name the streams of two shards.

At each shard a read waits for all sources that wait just then. What one brings is kept for its source until that claims
again: so the claim that another shard's entry ended loses nothing of the reads that still wait. A shard whose node is
away rests for a moment, and holds up no other.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from redis.exceptions import RedisError

from proxy.domain.lanes import Source
from proxy.store import keys
from proxy.store.scripts import Command, ask
from proxy.store.troubles import is_the_stores_own

_REST_S = 0.5
_ROUND_TRIP_S = 0.1  # what the reads themselves bring at the end of their time is not left for the next claim

Found = tuple[int, Sequence[Any]]  # a shard, and entries of its stream


@dataclass
class _Waiting:
    """A source: what was read for it and not claimed yet, since when, and how many entries a shard's read may bring."""

    each: Mapping[int, int] = field(default_factory=dict)
    found: list[Found] = field(default_factory=list)
    since: float = float("inf")
    error: RedisError | None = None
    is_waited_for: bool = False
    arrived: asyncio.Event = field(default_factory=asyncio.Event)


class ShardReads:
    """Of one worker instance. `stream` names that of a source in a shard; `clock` is monotonic."""

    def __init__(
        self,
        redis: Any,
        instance: str,
        stream: Callable[[Source, int], str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._redis, self._instance, self._stream, self._clock = redis, instance, stream, clock
        self._sources: dict[Source, _Waiting] = {}
        self._wanted: dict[int, dict[Source, None]] = {}  # by shard, from the next read on
        self._read: dict[int, set[Source]] = {}  # by shard, those of reads under way
        self._rests: dict[int, float] = {}  # shards whose node failed, until then
        self._tasks: set[asyncio.Task[None]] = set()

    async def claim(
        self, source: Source, shards: Mapping[int, int], block: timedelta
    ) -> tuple[list[Found], float | None]:
        """What there is in these shards, of each so many entries at most; waits up to `block` for the first.

        Second, since when what was found is claimed (monotonic), where it is older than this call. Raises what a shard
        answered, where nothing was found.
        """
        mine = self._sources.setdefault(source, _Waiting())
        if not mine.found:
            mine.error = None
            mine.arrived.clear()
            mine.each, mine.is_waited_for = shards, True
            self._want(source, shards, block)
            with suppress(TimeoutError):
                async with asyncio.timeout(block.total_seconds() + _ROUND_TRIP_S):
                    await mine.arrived.wait()
            mine.is_waited_for = False
        found, since = self.rest(source)
        if not found and mine.error is not None:
            raise mine.error
        return found, since

    async def ended(self) -> None:
        """Returns once none is under way: a read that is cancelled would strand what it brings."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def rest(self, source: Source) -> tuple[list[Found], float | None]:
        """What was found and not claimed yet; second, since when it is claimed."""
        mine = self._sources.setdefault(source, _Waiting())
        found, since, mine.found, mine.since = mine.found, mine.since, [], float("inf")
        return found, since if found else None

    def _want(self, source: Source, shards: Iterable[int], block: timedelta) -> None:
        now = self._clock()
        away = [shard for shard in shards if self._rests.get(shard, 0.0) > now]
        for shard in shards:
            if shard in away or source in self._read.get(shard, ()):
                continue
            wanted = self._wanted.setdefault(shard, {})
            if not wanted:  # the others that want it in this turn of the loop go with the same read
                asyncio.get_running_loop().call_soon(self._start, shard, block)
            wanted[source] = None

    def _start(self, shard: int, block: timedelta) -> None:
        self._begin(shard, list(self._wanted.pop(shard)), block)

    def _begin(self, shard: int, sources: Sequence[Source], block: timedelta) -> None:
        task = asyncio.create_task(self._wait_at(shard, sources, block))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _wait_at(self, shard: int, sources: Sequence[Source], block: timedelta) -> None:
        self._read.setdefault(shard, set()).update(sources)
        names = {self._stream(source, shard).encode(): source for source in sources}
        count = min(self._sources[source].each.get(shard, 1) for source in sources)
        command: Command = (
            "XREADGROUP", "GROUP", keys.GROUP, self._instance, "COUNT", count, "BLOCK",
            max(block // timedelta(milliseconds=1), 1), "STREAMS", *names, *[">"] * len(names),
        )  # fmt: skip
        since = self._clock()
        try:
            (answer,) = await ask(self._redis, [command])
        except RedisError as error:
            answer = error
        self._read[shard].difference_update(sources)
        if isinstance(answer, RedisError):
            self._failed(shard, sources, answer, block)
            return
        for name, entries in answer or []:
            it = self._sources[names[name]]
            it.found.append((shard, entries))
            it.since = min(it.since, since)
            it.arrived.set()
        for source in sources:  # it ended for another's sake
            if answer and self._sources[source].is_waited_for and not self._sources[source].arrived.is_set():
                self._want(source, [shard], block)

    def _failed(self, shard: int, sources: Sequence[Source], error: RedisError, block: timedelta) -> None:
        """What a node cannot do now is told by who else asks it; a stream that cannot be used is its source's alone."""
        if is_the_stores_own(error):
            self._rests[shard] = self._clock() + _REST_S
        elif len(sources) > 1:
            for source in sources:
                self._begin(shard, [source], block)
        else:
            self._sources[sources[0]].error = error
            self._sources[sources[0]].arrived.set()
