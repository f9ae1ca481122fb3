"""Can the service do its work, and what does this store put at risk?"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from redis.exceptions import ResponseError

from proxy.domain.lanes import Lane, Pause, PauseKind
from proxy.domain.monitoring import Health
from proxy.errors import StoreUnavailable
from proxy.store import keys
from proxy.store.connection import Store
from proxy.store.devices.removed import guard_details
from proxy.store.queue.lane_states import PAUSE_FIELDS, read_pause
from proxy.store.server.clocks import clock_details
from proxy.store.server.identity import loss_details
from proxy.store.server.policy import (
    eviction_fault,
    persistence_risk,
    read_persistence,
    read_policy,
    replicas_fault,
)
from proxy.store.server.token_facts import token_details
from proxy.store.server.worker_states import worker_details

_READY_TTL_S = 60
_PAUSES = {
    PauseKind.FAULT: "paused",
    PauseKind.BREAKER: "paused by the breaker",
    PauseKind.REST: "paused as the provider asked",
}


class RedisHealth:
    """Implements ports.HealthCheck."""

    def __init__(self, store: Store, lanes: Sequence[Lane], now: Callable[[], datetime], replicas: int = 0) -> None:
        """`replicas`: how many must have a callback."""
        self._store, self._replicas = store, replicas
        self._now = now
        self._lanes = lanes
        self._app_ids = sorted({lane.app_id for lane in lanes})

    def check(self) -> Health:
        """Not ready without a writable store and its groups; the details also say what is merely at risk."""
        try:
            return self._store.call(self._look)
        except StoreUnavailable as error:
            return Health(False, {"store": f"{error} ({error.at})"})

    def _look(self, redis: Any) -> Health:
        for app_id in self._app_ids:
            redis.set(keys.ready(app_id), "1", ex=_READY_TTL_S)
        missing = [stream for stream in self._streams() if not _has_group(redis, stream)]
        policy = read_policy(redis)
        evicts = eviction_fault(policy)
        details = {"store": "writable", **self._paused(redis)}
        if lag := replicas_fault(self._replicas, redis):  # tokens and devices do not need them
            details["replicas"] = lag
        if risk := persistence_risk(*read_persistence(redis)):
            details["persistence"] = risk
        details |= guard_details(redis, self._lanes, self._now()) | loss_details(redis, self._now())
        details |= clock_details(redis, self._now()) | token_details(redis, self._now()) | worker_details(redis)
        if missing:
            details["groups"] = f"{len(missing)} streams have no consumer group: no worker has started yet"
        if evicts or policy is None:
            details["eviction"] = (
                evicts or "unknown: the store does not show its maxmemory-policy; only noeviction will do"
            )
        return Health(not missing and not evicts, details)

    def _streams(self) -> list[str]:
        return [*(keys.callbacks(app_id) for app_id in self._app_ids), *(keys.jobs(lane) for lane in self._lanes)]

    def _paused(self, redis: Any) -> dict[str, str]:
        pipe = redis.pipeline(transaction=False)
        for lane in self._lanes:
            pipe.hmget(keys.pause(lane), *PAUSE_FIELDS)
        pauses = zip(self._lanes, map(read_pause, pipe.execute()), strict=True)
        return {f"lane {lane.app}/{lane.channel}": _sentence(pause) for lane, pause in pauses if pause is not None}


def _sentence(pause: Pause) -> str:
    return f"{_PAUSES[pause.kind]} since {pause.since:%Y-%m-%d %H:%M:%S} UTC: {pause.reason}"


def _has_group(redis: Any, stream: str) -> bool:
    try:
        return any(group["name"] == keys.GROUP.encode() for group in redis.xinfo_groups(stream))
    except ResponseError:  # no such key
        return False
