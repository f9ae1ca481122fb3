"""Settlements leave in batches: those of about 2 ms together, in one call."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog
from redis.exceptions import RedisError

from proxy.metrics import lost_total
from proxy.ports import Bury, Settlement
from proxy.worker.holdings import Holdings

_GATHER_S = 0.002
_STORE_AWAY_S = 0.5

log = structlog.get_logger()
SettleCall = Callable[[Sequence[Settlement]], Awaitable[list[bytes]]]


class Settler:
    """Carries out settlements of one stream, in order, until the store has taken them.

    `freed` hears how many entries have left our hands, `buried` of each that the store has taken as a dead letter.
    """

    def __init__(
        self,
        stream: str,
        call: SettleCall,
        holdings: Holdings,
        freed: Callable[[int], None],
        buried: Callable[[Bury], None] = lambda _: None,
    ) -> None:
        self._stream = stream
        self._call = call
        self._holdings = holdings
        self._freed = freed
        self._buried = buried
        self._waiting: list[Settlement] = []
        self._ids: set[bytes] = set()
        self._some = asyncio.Event()
        self._none = asyncio.Event()
        self._none.set()

    def add(self, settlement: Settlement) -> None:
        self._waiting.append(settlement)
        self._ids.add(settlement.entry_id)
        self._none.clear()
        self._some.set()

    def has(self, entry_id: bytes) -> bool:
        """What becomes of this entry is decided, and the store has not taken it yet."""
        return entry_id in self._ids

    async def run(self) -> None:
        """Until cancelled. A store that is away is waited for: the outcome is known, only the record is missing."""
        while True:
            await self._some.wait()
            await asyncio.sleep(_GATHER_S)
            batch, self._waiting = self._waiting, []
            self._some.clear()
            await self._carry_out(batch)
            if not self._waiting:
                self._none.set()

    async def empty(self) -> None:
        """Returns once everything has been carried out."""
        await self._none.wait()

    async def _carry_out(self, batch: list[Settlement]) -> None:
        while True:
            try:
                foreign = await self._call(batch)
            except RedisError as error:
                log.warning("settling waits for the store", error=type(error).__name__)
                await asyncio.sleep(_STORE_AWAY_S)
                continue
            if foreign:
                lost_total.inc(len(foreign))
                log.warning("entries were taken over before we settled them", count=len(foreign))
            for it in batch:
                if isinstance(it, Bury) and it.entry_id not in foreign:
                    self._buried(it)
            ids = [it.entry_id for it in batch]
            self._ids.difference_update(ids)
            self._holdings.drop(self._stream, ids)
            self._freed(len(batch))
            return
