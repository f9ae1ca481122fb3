"""How many devices an app has on a platform: by a counter in each shard, which the scripts keep that take and free a
push token.

A counter drifts with what ends by its TTL, and where it is lost. So once a day the push tokens are counted, by
scanning, when the number is needed. One whose owner's list does not name it, as a change may leave it whose process
stood still for a minute, is freed then. A store that is laid out as in earlier versions may be shared with such a
program, which knows no counter: there they are counted each time, which is once an hour at most.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from proxy.domain.times import to_ms
from proxy.store import keys
from proxy.store.devices.changes import ENDED_AFTER_MS, Change, change, free
from proxy.store.devices.registry import in_any_shard
from proxy.store.keys import Layout
from proxy.store.scripts import Command, ask_strictly, script

_RECOUNTED_EACH = timedelta(days=1)
_A_SCAN = 1000  # names looked at in one call: 0.2 ms of the store's time


async def count_devices(
    redis: Any, app_id: str, app: str, platform: str, removed: int, under_way: Sequence[bytes], now: datetime
) -> None:
    """Tell the guard how many there are. `removed`: within the hour; `under_way`: removals, by their records' keys."""
    layout: Layout = redis.layout
    guard = keys.removal_guard(app_id, app, platform)
    (recounted,) = await ask_strictly(redis, [("HGET", guard, "recounted")])
    told: list[str | int] = []
    if not layout.shards or int(recounted or 0) <= to_ms(now - _RECOUNTED_EACH):
        await _recount(redis, app_id, app, platform, now)
        told = ["recounted", to_ms(now)]
    owners = defaultdict[int, list[str]](list)
    for record in under_way:
        key = keys.owner_of(record.decode())
        owners[layout.shard_of_digest(key.rpartition(":")[2])].append(key)
    counts = await ask_strictly(
        redis,
        [
            script("count_devices").call([layout.device_count(app_id, app, platform, shard), *owners[shard]], [])
            for shard in layout.all_shards
        ],
    )
    devices = removed + sum(counts)
    await ask_strictly(
        redis,
        [
            ("HSET", guard, "devices", devices, "counted", to_ms(now), *told),
            ("EXPIRE", guard, keys.REMOVAL_GUARD_TTL_S),
        ],
    )


async def _recount(redis: Any, app_id: str, app: str, platform: str, now: datetime) -> None:
    """As exact as a scan can be while devices come and go."""
    layout: Layout = redis.layout
    found = Counter[int]()
    pattern = in_any_shard(layout, lambda shard: layout.push_token_prefix(app_id, app, platform, shard))
    of, some = change(layout, app_id, app, clock=now.timestamp), list[str]()
    async for key in redis.scan_iter(match=pattern, count=_A_SCAN):  # a key for each device
        some.append(key.decode())
        found[layout.shard_of_digest(some[-1].rpartition(":")[2])] += 1
        if len(some) >= _A_SCAN:
            found -= await _freed(redis, of, some)
            some = []
    found -= await _freed(redis, of, some)
    corrected: list[Command] = [
        ("SET", layout.device_count(app_id, app, platform, shard), found[shard], "EX", keys.DEVICE_TTL_S)
        for shard in layout.all_shards
    ]
    await ask_strictly(redis, corrected)


async def _freed(redis: Any, of: Change, owner_keys: Sequence[str]) -> Counter[int]:
    """Free those among these push tokens that no list names. Returns how many were, by shard.

    A push token is taken before the list names it: then that change has a note among the account's leftovers. One that
    changes meanwhile is not as it was read, and stays.
    """
    if not (of.layout.shards and owner_keys):  # else every change was a single step
        return Counter()
    owners = await ask_strictly(redis, [("HMGET", key, "account", "device", "at") for key in owner_keys])
    rows = [
        (key, owner[0].decode(), owner[1].decode(), int(owner[2]))
        for key, owner in zip(owner_keys, owners, strict=True)
        if None not in owner and int(owner[2]) < of.began_ms - 2 * ENDED_AFTER_MS
    ]
    asked: list[Command] = []
    for _, account, device_id, _ in rows:
        asked += [("HLEN", of.leftovers(account)), ("HGET", of.account(account), device_id)]
    answers = await ask_strictly(redis, asked)
    frees, found = list[Command](), Counter[int]()
    for (key, account, device_id, at_ms), notes, value in zip(rows, answers[::2], answers[1::2], strict=True):
        registration = of.read(device_id, value)
        is_named = registration is not None and (registration.at_ms is None or key in registration.owner_keys)
        if not (notes or is_named):
            frees.append(free(key, account, device_id, at_ms))
            found[of.layout.shard_of_digest(key.rpartition(":")[2])] += 1
    await ask_strictly(redis, frees)
    return found
