"""Can the service do its work, and what does this store put at risk?"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any

from proxy.domain.lanes import Lane, Pause, PauseKind
from proxy.domain.monitoring import Health
from proxy.errors import StoreUnavailable
from proxy.store import keys
from proxy.store.connection import Store
from proxy.store.devices.removed import guard_details
from proxy.store.queue.lane_states import PAUSE_FIELDS, read_pause
from proxy.store.scripts import ask_now
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
_FULL = 0.99  # its parts are not all full at the same time
_PAUSES = {
    PauseKind.FAULT: "paused",
    PauseKind.BREAKER: "paused by the breaker",
    PauseKind.REST: "paused as the provider asked",
}


class RedisHealth:
    """Implements ports.HealthCheck."""

    def __init__(
        self,
        store: Store,
        lanes: Sequence[Lane],
        now: Callable[[], datetime],
        replicas: int = 0,
        webhooks: Mapping[Lane, int] = MappingProxyType({}),
    ) -> None:
        """`replicas`: how many must have a callback. `webhooks`: how many may wait in the lane of each."""
        self._webhooks, self._all = webhooks, [*lanes, *webhooks]
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
        streams = self._streams()
        groups = ask_now(redis, [("XINFO", "GROUPS", it) for it in streams], strictly=False)
        missing = [stream for stream, answer in zip(streams, groups, strict=True) if not _has_group(answer)]
        policy = read_policy(redis)
        evicts = eviction_fault(policy)
        details = {"store": "writable", **self._paused(redis), **self._full(redis)}
        if lag := replicas_fault(self._replicas, redis):  # tokens do not need them
            details["replicas"] = lag
        if risk := persistence_risk(*read_persistence(redis)):
            details["persistence"] = risk
        details |= guard_details(redis, self._lanes, self._now()) | loss_details(redis, self._now())
        details |= clock_details(redis, self._now()) | token_details(redis, self._now())
        details |= worker_details(redis, self._store.layout.all_shards)
        if missing:
            details["groups"] = f"{len(missing)} streams have no consumer group: no worker has started yet"
        if evicts or policy is None:
            details["eviction"] = (
                evicts or "unknown: the store does not show its maxmemory-policy; only noeviction will do"
            )
        return Health(not missing and not evicts, details)

    def _streams(self) -> list[str]:
        layout, streams = self._store.layout, list[str]()
        for shard in layout.all_shards:
            streams += [layout.callbacks(app_id, shard) for app_id in self._app_ids]
            streams += [layout.jobs(lane, shard) for lane in self._all]
        return streams

    def _paused(self, redis: Any) -> dict[str, str]:
        pipe = redis.pipeline(transaction=False)
        for lane in self._all:
            pipe.hmget(keys.pause(lane), *PAUSE_FIELDS)
        pauses = zip(self._all, map(read_pause, pipe.execute()), strict=True)
        return {f"lane {lane.app}/{lane.channel}": _sentence(pause) for lane, pause in pauses if pause is not None}

    def _full(self, redis: Any) -> dict[str, str]:
        """Webhooks in whose lanes there is no room, or next to none."""
        layout, details = self._store.layout, dict[str, str]()
        for lane, most in self._webhooks.items():
            asked = [
                command
                for shard in layout.all_shards
                for command in (("XLEN", layout.jobs(lane, shard)), ("ZCARD", layout.retries(lane, shard)))
            ]
            if sum(ask_now(redis, asked)) >= most * _FULL:
                details[f"webhook {lane.name}"] = f"full: what comes in is lost to it while {most} callbacks wait"
        return details


def _sentence(pause: Pause) -> str:
    return f"{_PAUSES[pause.kind]} since {pause.since:%Y-%m-%d %H:%M:%S} UTC: {pause.reason}"


def _has_group(answer: Any) -> bool:
    """An error says that there is no such key."""
    return isinstance(answer, list) and any(group[1] == keys.GROUP.encode() for group in answer)
