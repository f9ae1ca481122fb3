"""Operations of several round trips, which no script can do at once: their keys lie in several shards.

Each is a generator of steps. A step is commands that may be carried out in any order, but for those of one shard, and
gets their answers. The next one is asked only then, so that an operation may end between any two commands. Written so
it serves threads and event loops, and a test that ends it wherever it likes.
"""

from collections.abc import Generator, Sequence
from functools import partial
from itertools import islice
from typing import Any, TypeVar

from proxy.errors import StoreUnavailable
from proxy.store.connection import Store
from proxy.store.keys import Layout
from proxy.store.scripts import Command, ask_now, ask_strictly

T = TypeVar("T")
Steps = Generator[Sequence[Command], list[Any], T]


_READS = frozenset({"EXISTS", "HGET", "HGETALL", "HLEN", "HMGET"})
_SHARE_OF_REPLICAS = 0.5  # of a call's time, all shards of a step together


def take_steps(store: Store, steps: Steps[T], replicas: int = 0) -> T:
    """What the operation returns. Raises StoreUnavailable.

    `replicas`: of a cluster so many have what a step wrote before the next one lets another shard forget.
    """
    try:
        commands = next(steps)
        while True:
            commands = steps.send(_take(store, commands, replicas if store.is_cluster else 0))
    except StopIteration as end:
        found: T = end.value
        return found


def take_together(store: Store, operations: Sequence[Steps[T]], replicas: int = 0) -> list[T]:
    """What each of many operations returns that have nothing to do with each other; their steps share round trips.

    The first that raises something ends all of them, wherever they are.
    """
    found: dict[int, T] = {}
    under_way: dict[int, Sequence[Command]] = {}

    def go_on(number: int, answers: list[Any] | None) -> None:
        try:
            under_way[number] = operations[number].send(answers)  # type: ignore[arg-type]  # None begins it
        except StopIteration as end:
            under_way.pop(number, None)
            found[number] = end.value

    for number in range(len(operations)):
        go_on(number, None)
    while under_way:
        asked = list(under_way.items())
        commands = [one for _, its in asked for one in its]
        answers = iter(_take(store, commands, replicas if store.is_cluster else 0))
        for number, its in asked:
            go_on(number, list(islice(answers, len(its))))
    return [found[number] for number in range(len(operations))]


def _take(store: Store, commands: Sequence[Command], replicas: int) -> list[Any]:
    waits = waits_for(store.layout, commands, replicas, store.timeout_s * _SHARE_OF_REPLICAS) if replicas else []
    answers = store.call(partial(ask_now, commands=commands, then=waits))
    if waits and min(answers[len(commands) + 1 :: 2]) < replicas:
        store.leave()
        raise StoreUnavailable("too few of the store's replicas have it", store.at)
    return answers[: len(commands)]


def waits_for(layout: Layout, commands: Sequence[Command], replicas: int, within_s: float) -> list[Command]:
    """In turn a write in each shard that these have written to, and the WAIT behind it, see RedisInbox."""
    names = (str(it[3] if it[0] == "EVALSHA" else it[1]) for it in commands if it[0] not in _READS)
    places = (layout.place(name) for name in names)
    counters = dict.fromkeys(layout.writes(it.app_id, it.shard) for it in places if it)
    span_ms = max(int(within_s * 1000 / max(len(counters), 1)), 1)
    return [it for name in counters for it in (("INCRBY", name, 0), ("WAIT", replicas, span_ms))]


async def take_steps_async(redis: Any, steps: Steps[T]) -> T:
    """The same. Raises RedisError."""
    try:
        commands = next(steps)
        while True:
            commands = steps.send(await ask_strictly(redis, commands))
    except StopIteration as end:
        found: T = end.value
        return found
