"""Which lanes stand still, and why: one truth for all workers."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from proxy.domain.lanes import Lane, Pause
from proxy.store import keys
from proxy.store.records import from_ms, to_ms
from proxy.store.scripts import Argument, script


class RedisLanes:
    """The pauses of lanes."""

    def __init__(self, redis: Any) -> None:
        self._redis = redis

    async def pauses(self, lanes: Sequence[Lane]) -> dict[Lane, Pause]:
        """The lanes that stand."""
        pipe = self._redis.pipeline(transaction=False)
        for lane in lanes:
            pipe.hmget(keys.pause(lane), "reason", "since")
        answers = zip(lanes, await pipe.execute(), strict=True)
        return {lane: read_pause(reason, since) for lane, (reason, since) in answers if reason}

    async def pause(self, lane: Lane, reason: str, now: datetime, first_probe: datetime) -> None:
        """The lane stands; nobody probes it before `first_probe`."""
        wait_ms = max(to_ms(first_probe) - to_ms(now), 1)
        args: list[Argument] = [reason, to_ms(now), wait_ms, keys.PAUSE_LIFE_S]
        await script("pause_lane").run_async(self._redis, [keys.pause(lane), keys.probe(lane)], args)

    async def may_probe(self, lane: Lane, every: timedelta) -> bool:
        """True for one worker per `every`: it may send one job to see whether the lane works again."""
        return bool(await self._redis.set(keys.probe(lane), "1", nx=True, px=every))

    async def resume(self, lane: Lane) -> None:
        await self._redis.delete(keys.pause(lane), keys.probe(lane))


def read_pause(reason: bytes, since: bytes) -> Pause:
    return Pause(reason.decode(), from_ms(int(since)))
