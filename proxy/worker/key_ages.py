"""Shows since when keys are in their places and when certificates end, looked at now and then beside the work."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from prometheus_client import Gauge

from proxy.metrics import certificate_ends, key_since

_FIRST_AFTER_S = 60.0  # not while a worker begins
_EVERY_S = 3600.0

Times = Mapping[str, datetime]


class KeyAges:
    """`keys` and `ends` give times by setting; `ends` asks servers, and takes as long as they do."""

    def __init__(self, keys: Callable[[], Times], ends: Callable[[], Times]) -> None:
        self._keys, self._ends = keys, ends

    async def follow(self) -> None:
        """Until cancelled."""
        await asyncio.sleep(_FIRST_AFTER_S)
        while True:
            await self.look()
            await asyncio.sleep(_EVERY_S)

    async def look(self) -> None:
        """A server that does not answer keeps the time that it had."""
        _show(key_since, self._keys().items())
        _show(certificate_ends, (await asyncio.to_thread(self._ends)).items())


def _show(gauge: Gauge, times: Iterable[tuple[str, datetime]]) -> None:
    for setting, at in times:
        gauge.labels(setting).set(at.timestamp())
