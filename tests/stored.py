"""Where things lie in a store that processes of the program use: names by shard, and what is there in all of them."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from proxy.domain.callbacks import account_digest
from proxy.domain.lanes import Lane
from proxy.store import keys
from proxy.store.compact_records import name_of_words, with_words
from proxy.store.keys import Layout
from proxy.store.marks import Marks


def layout_in(redis: Any) -> Layout:
    """While no process has met the store, that of a new one: they write to it before they give it an identity."""
    id_, shards, marks = redis.hmget(keys.identity(), "id", "shards", "marks")
    said = marks.decode() if isinstance(marks, bytes) else marks
    return Layout(int(shards or 0) if id_ else keys.SHARDS, Marks.read(said) if said else None)


def callbacks(redis: Any, app_id: str) -> list[str]:
    return _by_shard(redis, lambda layout, shard: layout.callbacks(app_id, shard))


def waiting(redis: Any, app_id: str) -> list[str]:
    return _by_shard(redis, lambda layout, shard: layout.waiting(app_id, shard))


def jobs(redis: Any, lane: Lane) -> list[str]:
    return _by_shard(redis, lambda layout, shard: layout.jobs(lane, shard))


def retries(redis: Any, lane: Lane) -> list[str]:
    return _by_shard(redis, lambda layout, shard: layout.retries(lane, shard))


def dead_letters(redis: Any, app_id: str) -> list[str]:
    return _by_shard(redis, lambda layout, shard: layout.dead_letters(app_id, shard))


def planned(redis: Any, app_id: str, message_id: str) -> list[str]:
    """Where the marks of a message that was just accepted lie; those of some others may lie there too."""
    at_ms = int(time.time() * 1000)
    return _by_shard(redis, lambda layout, shard: layout.marks_of_message(app_id, message_id, shard, at_ms)[0])


def length(redis: Any, streams: Sequence[str]) -> int:
    return sum(redis.xlen(name) for name in streams)


def scored(redis: Any, sets: Sequence[str]) -> int:
    return sum(redis.zcard(name) for name in sets)


def marked(redis: Any, hashes: Sequence[str]) -> int:
    return sum(redis.hlen(name) for name in hashes)


def entries(redis: Any, streams: Sequence[str]) -> list[tuple[Any, dict[Any, Any]]]:
    """Shard by shard."""
    return [entry for name in streams for entry in redis.xrange(name)]


def pending(redis: Any, streams: Sequence[str], group: str = keys.GROUP) -> dict[str, Any]:
    """XPENDING of all of them: how many, and by consumer. Raises ResponseError where there is no group yet."""
    total, consumers = 0, dict[str, int]()
    for name in streams:
        found = redis.xpending(name, group)
        total += found["pending"]
        for one in found["consumers"]:
            who = one["name"].decode() if isinstance(one["name"], bytes) else one["name"]
            consumers[who] = consumers.get(who, 0) + one["pending"]
    return {"pending": total, "consumers": [{"name": who, "pending": count} for who, count in consumers.items()]}


def jobs_in(redis: Any, lane: Lane) -> list[bytes]:
    """The records of all jobs in the lane, whole. `redis` gives bytes."""
    layout, found = layout_in(redis), list[bytes]()
    for shard in layout.all_shards:
        for _, fields in redis.xrange(layout.jobs(lane, shard)):
            record, name = fields[b"r"], name_of_words(fields[b"r"])
            words = redis.get(layout.words(lane.app_id, shard, name)) if name else None
            found.append(with_words(record, words) if words else record)
    return found


def stream_of(redis: Any, lane: Lane, account: str) -> str:
    """Where the account's jobs lie."""
    layout = layout_in(redis)
    return layout.jobs(lane, layout.shard_of_digest(account_digest(account)))


def _by_shard(redis: Any, name_of: Callable[[Layout, int], str]) -> list[str]:
    layout = layout_in(redis)
    return [name_of(layout, shard) for shard in layout.all_shards]
