"""What the history costs: CPU of an alert between two people with it and without, and bytes for each.

    python -m tests.bench.history [ROUNDS [ALERTS]]

Plan and delivery with a scripted provider on a store of their own, everything in this process but the store. With and
without take turns, each round's order is the other way round, and each ratio is of one round. Filing is part of it.
"""

import asyncio
import gc
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import sqrt
from pathlib import Path
from statistics import median
from typing import Any
from uuid import UUID

import structlog

from proxy.domain.devices import Device
from proxy.domain.history import Note
from proxy.domain.times import from_ms, to_ms
from proxy.store.connection import Store, async_redis
from proxy.store.history_records import record_of
from proxy.store.queue.history import HistorySweep, RedisHistory
from proxy.store.queue.inbox import RedisInbox
from proxy.store.server.embedded import ensure_store, stop_store
from tests.bench.figures import machine, number
from tests.store.samples import DAY, NOON, apns_lane, callback, device, for_inbox, queue_of
from tests.worker.lane_bench import LaneBench
from tests.worker.test_plan import Relay, readers

ROUNDS, ALERTS, READERS = 16, 3000, 1000
STORED = 100_000
_SCRAMBLE = 0x9E3779B97F4A7C15F39CC0605CEDC834  # ids without a pattern, the same each time


@dataclass(frozen=True)
class Cost:
    """CPU us of an alert, of this process and of the store."""

    worker: float
    store: float


def device_of(account: str, number_: int) -> Device:
    return replace(device(account, str(UUID(int=_scrambled(number_, 128))), f"token-{account}"))


async def cost(redis: Any, url: str, store: Store, app_id: str, alerts: int, *, keeps: bool) -> Cost:
    """Of `alerts` messages to READERS people, in an appId of their own."""
    relay, lane = Relay(redis, store, app_id, url), apns_lane(app_id)
    accounts = [f"user-{n:07}" for n in range(READERS)]
    for n, account in enumerate(accounts):
        relay.devices.register(device_of(account, n))
    inbox = RedisInbox(store, DAY, alerts)
    for n in range(alerts):
        message = replace(
            callback(app_id, readers([accounts[n % READERS]]), str(n + 1), None), from_account=accounts[n * 7 % READERS]
        )
        inbox.accept(*for_inbox(message, NOON))
    await relay.ensure_group()
    bench = LaneBench(redis, store, lane, [], keeps_history=keeps)
    await bench.queue.ensure_groups(bench.lane)
    plan = relay.instance(lane)
    bench.start()
    sweep = HistorySweep(redis, [app_id], 10**9)
    gc.collect()
    gc.disable()  # a collection now and then costs more than what is measured
    store_before, worker_before = _store_cpu(store), time.process_time()
    for _ in range(0, alerts, 128):
        await plan.turn()
        await bench.turn()
    while (await bench.backlog())[0]:
        await bench.turn()
    await sweep.file(NOON + 1000 * DAY)
    worker, used = time.process_time() - worker_before, _store_cpu(store) - store_before
    gc.enable()
    await bench.end()
    await relay.end()
    if keeps and len(RedisHistory(store, {"main": app_id}).of_account("main", accounts[1], from_ms(0), 99)) < 1:
        raise AssertionError("nothing was noted")
    await redis.execute_command("FLUSHALL", "SYNC")
    return Cost(worker / alerts * 1e6, used / alerts * 1e6)


async def measure(url: str, store: Store, rounds: int, alerts: int) -> list[tuple[Cost, Cost]]:
    """Of each round: with the history, and without it. One more comes first, which is not counted."""
    redis, found = async_redis(url, 30.0), list[tuple[Cost, Cost]]()
    for number_ in range(rounds + 1):
        costs: dict[bool, Cost] = {}
        for keeps in (True, False) if number_ % 2 else (False, True):
            costs[keeps] = await cost(redis, url, store, f"77{number_}{keeps:d}", alerts, keeps=keeps)
        found.append((costs[True], costs[False]))
    await redis.aclose()
    return found[1:]


async def stored_bytes(url: str, store: Store, per_second: int) -> float:
    """Of a note between two people with names of 12 characters, whose devices are UUIDs: what the store uses more.

    At this pace each settlement notes a twentieth of a second, and the notes of ten minutes are filed at once, or a
    hundred seconds' where they are many.
    """
    redis: Any = async_redis(url, 30.0)
    app_id = "78"
    sweep, before = HistorySweep(redis, [app_id], 10**12), _used(store)
    together, at = max(per_second // 20, 1), to_ms(NOON)
    at_once = per_second * (600 if per_second < 10 else 100)
    for first in range(0, STORED, at_once):
        for start in range(first, min(first + at_once, STORED), together):
            notes = b"".join(record_of(_note(n, at + n * 1000 // per_second)) for n in range(start, start + together))
            await queue_of(redis).append_notes(app_id, {0: notes})
        await sweep.file(NOON + 1000 * DAY)
    used = (_used(store) - before) / STORED
    await redis.execute_command("FLUSHALL", "SYNC")
    await redis.aclose()
    return used


def _note(n: int, at: int) -> Note:
    return Note(
        f"{_scrambled(n, 64):016x}", f"p2p:user-{n * 7919 % 977:07}", at, at - 900 - n % 401, "accepted",
        f"user-{n * 7919 % 5000:07}", str(UUID(int=_scrambled(n * 7919 % 5000, 128))), "main", "apns",
        planned_at_ms=at + 3 + n % 9, pushed_at_ms=at + 12 + n % 13, ended_at_ms=at + 80 + n % 97,
    )  # fmt: skip


def _scrambled(n: int, bits: int) -> int:
    return int((n + 1) * _SCRAMBLE % (1 << 128)) >> (128 - bits)


def _store_cpu(store: Store) -> float:
    said: Mapping[str, Any] = store.call(lambda redis: redis.info("cpu"))
    return float(said["used_cpu_user"]) + float(said["used_cpu_sys"])


def _used(store: Store) -> int:
    return int(store.call(lambda redis: redis.info("memory"))["used_memory"])


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Of the median, with 95 %: from the ranks that a fair coin leaves out."""
    ordered, count = sorted(values), len(values)
    rank = max(int((count - 1.96 * sqrt(count)) / 2), 0)
    return ordered[rank], ordered[count - 1 - rank]


def _line(what: str, pairs: Sequence[tuple[float, float]]) -> str:
    ratios = [more / less for more, less in pairs]
    least, most = interval(ratios)
    with_, without = (number(median(pair[place] for pair in pairs)) for place in (0, 1))
    more = number(median(more - less for more, less in pairs))
    spread = f"ratio {median(ratios):.3f} [{least:.3f}, {most:.3f}]"
    return f"{what}: {with_} us with, {without} without ({more} more); {spread}"


def main() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    rounds, alerts = (int(given) for given in [*sys.argv[1:], *map(str, (ROUNDS, ALERTS)[len(sys.argv) - 1 :])])
    with tempfile.TemporaryDirectory(prefix="bench-", dir="/tmp") as folder:
        url = ensure_store(Path(folder))
        try:
            store = Store(url)
            found = asyncio.run(measure(url, store, rounds, alerts))
            sizes = {pace: asyncio.run(stored_bytes(url, store, pace)) for pace in (1, 10, 100)}
        finally:
            stop_store(Path(folder))
    out = [machine(), f"{rounds} rounds of {alerts} alerts"]
    out.append(_line("worker", [(one.worker, other.worker) for one, other in found]))
    out.append(_line("store", [(one.store, other.store) for one, other in found]))
    out += [f"{number(size)} bytes for an alert, {pace} a second" for pace, size in sizes.items()]
    sys.stdout.write("\n".join(out) + "\n")


if __name__ == "__main__":
    main()
