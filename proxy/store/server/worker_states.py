"""What each worker says of itself, for the web's /readyz. An index spares the look through all keys of the store."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from proxy.domain.times import to_ms
from proxy.store import keys
from proxy.store.connection import Commands
from proxy.store.scripts import ask_strictly

_FRESH = timedelta(seconds=keys.WORKER_STATE_TTL_S)
_SHOWN = 50  # workers at most


class WorkerStates:
    """The worker's side."""

    def __init__(self, redis: Any) -> None:
        self._redis = redis

    async def write(self, instance: str, state: Mapping[str, str], now: datetime) -> None:
        """`state` holds "state" ("ok" or "stalled") and why, by lane. It ends after 15 s."""
        commands = [
            ("SET", keys.worker_state(instance), json.dumps(dict(state)), "EX", keys.WORKER_STATE_TTL_S),
            ("ZADD", keys.workers(), to_ms(now), instance),
            ("ZREMRANGEBYSCORE", keys.workers(), "-inf", to_ms(now - _FRESH)),
            ("EXPIRE", keys.workers(), keys.WORKERS_TTL_S),
        ]
        await ask_strictly(self._redis, commands)


def worker_details(redis: Commands) -> dict[str, str]:
    """A sentence for each worker that lives, for a person."""
    instances = [instance.decode() for instance in redis.zrange(keys.workers(), 0, -1)]
    states = redis.mget([keys.worker_state(instance) for instance in instances]) if instances else []
    sentences = {
        f"worker {instance}": _sentence(json.loads(state))
        for instance, state in zip(instances, states, strict=True)
        if state
    }
    if not sentences:
        return {"workers": "none has written its state within 15 s: callbacks are kept, and nothing is pushed"}
    return dict(sorted(sentences.items())[:_SHOWN])


def _sentence(state: Mapping[str, str]) -> str:
    stalls = [f"lane {lane} makes no progress: {why}" for lane, why in state.items() if lane != "state"]
    return "; ".join(stalls) or "works"
