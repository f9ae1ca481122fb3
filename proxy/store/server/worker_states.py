"""What each worker says of itself, for the web's /readyz."""

import json
from collections.abc import Mapping
from typing import Any

from proxy.store import keys
from proxy.store.connection import Commands
from proxy.store.scripts import ask_strictly

_TTL_S = 15


class WorkerStates:
    """The worker's side."""

    def __init__(self, redis: Any) -> None:
        self._redis = redis

    async def write(self, instance: str, state: Mapping[str, str]) -> None:
        """It is forgotten after 15 s."""
        await ask_strictly(self._redis, [("SET", keys.worker_state(instance), json.dumps(dict(state)), "EX", _TTL_S)])


def read_worker_states(redis: Commands) -> dict[str, dict[str, str]]:
    """The states of the workers that live, by instance."""
    names = list(redis.scan_iter(match=keys.worker_state("*"), count=1000))
    found = redis.mget(names) if names else []
    return {
        name.decode().rsplit(":", 1)[1]: json.loads(state) for name, state in zip(names, found, strict=True) if state
    }
