"""That replicas have what was written before something else is forgotten for it.

A master that was cut off, or that hung, goes on as one until it hears of its successor, and answers; what it takes is
lost. Its replicas are another's by then, so WAIT says so, but only over the connection that wrote: a new one leads to
the new master, whose replicas know nothing of it. So the WAITs stand behind the commands, in one exchange; and in front
of each a write that changes nothing, for a server waits for what the connection itself wrote.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from proxy.store.keys import Layout
from proxy.store.scripts import Command

TOO_FEW = "too few of the store's replicas have it"


@dataclass(frozen=True)
class Waits:
    """`counters`: of the shards that were written to. In a cluster each is waited for where it lies, `within_s` in all;
    one server's replicas have all that came before.
    """

    counters: Collection[str]
    replicas: int
    within_s: float
    is_cluster: bool

    @property
    def commands(self) -> list[Command]:
        asked = self._asked
        span_ms = max(int(self.within_s * 1000 / max(len(asked), 1)), 1)
        return [it for name in asked for it in (("INCRBY", name, 0), ("WAIT", self.replicas, span_ms))]

    def faults(self, answers: Sequence[Any]) -> Mapping[str, RedisError]:
        """By counter, of the answers to the commands: why the replicas may not have what was written there."""
        found = {name: it for name, it in zip(self._asked, map(self._fault, answers[1::2]), strict=True) if it}
        if found and not self.is_cluster:
            (fault,) = found.values()
            return dict.fromkeys(self.counters, fault)
        return found

    @property
    def _asked(self) -> Sequence[str]:
        if not self.replicas:
            return []
        counters = list(dict.fromkeys(self.counters))
        return counters if self.is_cluster else counters[-1:]

    def _fault(self, having: Any) -> RedisError | None:
        if isinstance(having, RedisError):
            return having
        return RedisConnectionError(TOO_FEW) if having < self.replicas else None


def counters_of(layout: Layout, commands: Iterable[Command], app_id: str = "") -> list[str]:
    """Of the shards that these write to; `app_id`: where a command begins with a key of all apps."""
    names = (str(it[3] if it[0] == "EVALSHA" else it[1]) for it in commands if it[0] not in _READS)
    places = (layout.place(name) for name in names)
    return list(dict.fromkeys(layout.writes(it.app_id or app_id, it.shard) for it in places if it))


_READS = frozenset({"EXISTS", "HGET", "HGETALL", "HLEN", "HMGET"})
