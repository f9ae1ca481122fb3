"""What a worker does before a callback ends, for tests of a master that is none any more and does not know it."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from proxy.domain.alerts import Update
from proxy.domain.lanes import Lane
from proxy.store.queue.streams import RedisQueue
from proxy.store.queue.withdrawals import RedisWithdrawals, Said
from tests.store.samples import DAY, NOON, alert, job


async def _append(redis: Any, lane: Lane, message_id: str) -> None:
    queue = RedisQueue(redis, "w", lease=DAY, dedupe_ttl=DAY, jobs_cap=100, dead_cap=10, replicas=1)
    chunks = list(queue.chunks(lane.app_id, message_id, [(lane, job(lane, of=alert(message_id)))], 50))
    (result,), _ = await queue.append_planned(chunks, NOON)
    if result.error:
        raise result.error


async def _withdraw(redis: Any, lane: Lane, message_id: str) -> None:
    gone = replace(alert(message_id), update=Update.RECALL)
    kept = RedisWithdrawals(redis, ttl=DAY, jobs_cap=100, replicas=1)
    await kept.withdraw(lane.app_id, [([Said(message_id, gone.order)], [(lane, job(lane, of=gone))])])


BEFORE_A_CALLBACKS_END: dict[str, Callable[[Any, Lane, str], Awaitable[None]]] = {
    "append": _append,
    "withdraw": _withdraw,
}
