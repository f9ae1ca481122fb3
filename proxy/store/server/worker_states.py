"""What each worker says of itself, for the web's /readyz. An index spares the look through all keys of the store."""

import json
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

from proxy.domain.times import to_ms
from proxy.shard_names import named, shards_in
from proxy.store import keys
from proxy.store.connection import Commands
from proxy.store.scripts import ask_strictly

_FRESH = timedelta(seconds=keys.WORKER_STATE_TTL_S)
_SHOWN = 50  # workers at most


class WorkerStates:
    """The worker's side."""

    def __init__(self, redis: Any) -> None:
        self._redis = redis

    async def write(self, instance: str, state: Mapping[str, str], now: datetime, share: str = "") -> None:
        """`state` holds "state" ("ok" or "stalled") and why, by lane; `share` names the shards that it serves, "": all.
        It ends after 15 s.
        """
        its = {**state, "shards": share} if share else dict(state)
        commands = [
            ("SET", keys.worker_state(instance), json.dumps(its), "EX", keys.WORKER_STATE_TTL_S),
            ("ZADD", keys.workers(), to_ms(now), instance),
            ("ZREMRANGEBYSCORE", keys.workers(), "-inf", to_ms(now - _FRESH)),
            ("EXPIRE", keys.workers(), keys.WORKERS_TTL_S),
        ]
        await ask_strictly(self._redis, commands)


def worker_details(redis: Commands, shards: Collection[int]) -> dict[str, str]:
    """A sentence for each worker that lives, for a person; and which of the store's shards none of them serves."""
    instances = [instance.decode() for instance in redis.zrange(keys.workers(), 0, -1)]
    states = redis.mget([keys.worker_state(instance) for instance in instances]) if instances else []
    living = {it: json.loads(state) for it, state in zip(instances, states, strict=True) if state}
    if not living:
        return {"workers": "none has written its state within 15 s: callbacks are kept, and nothing is pushed"}
    sentences = {f"worker {instance}": _sentence(state) for instance, state in living.items()}
    details = dict(sorted(sentences.items())[:_SHOWN])
    shares = [state.get("shards", "") for state in living.values()]
    if all(shares) and (left := {*shards}.difference(*map(shards_in, shares))):
        details["shards"] = f"no worker serves {named(left)}: what lies there is kept, and nothing of it is pushed"
    return details


def _sentence(state: Mapping[str, str]) -> str:
    stalls = [f"lane {lane} makes no progress: {why}" for lane, why in state.items() if lane not in _NO_LANES]
    works = f"works on {state['shards']}" if "shards" in state else "works"
    return "; ".join(stalls) or works


_NO_LANES = frozenset({"state", "shards"})
