"""Tasks that run beside a worker's loops, until they end or are cancelled."""

import asyncio
from collections.abc import Coroutine
from typing import Any

_CANCEL_AGAIN_S = 0.2


class Tasks:
    """Holds its tasks, as asyncio asks. After `cancel` it starts nothing more."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._cancelled = False

    def __bool__(self) -> bool:
        return bool(self._tasks)

    def start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        if self._cancelled:
            coroutine.close()
            return
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def ended(self) -> None:
        """Returns once none runs."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def cancel(self) -> None:
        self._cancelled = True
        await cancel_all(self._tasks)


async def cancel_all(tasks: "set[asyncio.Task[None]] | list[asyncio.Task[None]]") -> None:
    """Cancel them until they have ended: Python 3.11's wait_for, by which redis-py sends, may swallow it once."""
    while running := [task for task in tasks if not task.done()]:
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=_CANCEL_AGAIN_S)
