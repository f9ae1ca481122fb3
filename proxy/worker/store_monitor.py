"""Is it a store to work on, and still the one that we knew? And what the other processes should know of this one."""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from proxy.domain.times import TOLERATED_SKEW
from proxy.store.server.clocks import clock_commands
from proxy.store.server.identity import AsyncIdentityMonitor
from proxy.store.server.policy import refuse_eviction_async
from proxy.usecases.monitor_clock import ClockMonitor


@dataclass(frozen=True)
class StoreMonitor:
    """`admitted` is set at the first contact with the store, unless it is one that evicts; nothing is claimed before.

    A store that was away at the start can only be checked then.
    """

    redis: Any
    identity: AsyncIdentityMonitor
    clock: ClockMonitor
    admitted: asyncio.Event = field(default_factory=asyncio.Event)

    async def look(self, now: datetime) -> None:
        """Raises BadSettings at the first contact with a store that evicts, and RedisError where it is away."""
        if not self.admitted.is_set():
            await refuse_eviction_async(self.redis)
        await self.redis.follow_master()
        await self.identity.look(now)
        self.admitted.set()
        if measured := self.clock.take():
            await clock_commands(self.redis, measured, TOLERATED_SKEW, now).execute()
