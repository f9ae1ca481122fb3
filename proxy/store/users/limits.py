"""How often a caller called, counted by the library `limits` in Redis, over a sliding window.

A window is two counters, the current and the one before it, which counts for the part of it that the window still
covers: small however high the limit. Source: the library's manual, "Sliding Window Counter".
"""

import threading
import time
from functools import cache

from limits import RateLimitItem, parse
from limits.storage import RedisStorage
from limits.strategies import SlidingWindowCounterRateLimiter
from redis import Redis

from proxy.domain.callbacks import digest
from proxy.store import keys
from proxy.store.connection import Store


class RedisLimits:
    """Implements ports.RateLimits. The library brings its scripts, the store its time limits and its breaker.

    On a client of its own the library would wait for a dead server without a limit, and redis-py repeat for seconds.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._local = threading.local()

    def spend(self, name: str, rate: str, who: str) -> float | None:
        item, ids = _item(rate), (name, digest(who))

        def do(redis: Redis) -> float | None:
            limiter = self._limiter(redis)
            if limiter.hit(item, *ids):
                return None
            return max(0.0, limiter.get_window_stats(item, *ids).reset_time - time.time())

        return self._store.call(do)

    def _limiter(self, redis: Redis) -> SlidingWindowCounterRateLimiter:
        """This thread's own, on a kept connection with the same options as the store's; it goes with the store's."""
        limiter: SlidingWindowCounterRateLimiter | None = getattr(self._local, "limiter", None)
        if limiter is None or self._local.beside is not redis:
            self._local.beside = redis
            storage = RedisStorage(
                "redis://",  # not looked at beside a pool
                connection_pool=redis.connection_pool,
                key_prefix=keys.LIMITS_PREFIX,
                single_connection_client=True,
            )
            limiter = self._local.limiter = SlidingWindowCounterRateLimiter(storage)
        return limiter


@cache
def _item(rate: str) -> RateLimitItem:
    return parse(rate)
