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
from proxy.store.replicas import TOO_FEW, Waits, counters_of
from proxy.store.scripts import Command, ask_now, ask_strictly

T = TypeVar("T")
Steps = Generator[Sequence[Command], list[Any], T]


_SHARE_OF_REPLICAS = 0.5  # of a call's time, all shards of a step together


def take_steps(store: Store, steps: Steps[T], replicas: int = 0) -> T:
    """What the operation returns. Raises StoreUnavailable.

    `replicas`: so many have what a step wrote before the next one lets another key forget, which may lie in another
    shard, or on a new master by then.
    """
    try:
        commands = next(steps)
        while True:
            commands = steps.send(_take(store, commands, replicas))
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
        answers = iter(_take(store, commands, replicas))
        for number, its in asked:
            go_on(number, list(islice(answers, len(its))))
    return [found[number] for number in range(len(operations))]


def _take(store: Store, commands: Sequence[Command], replicas: int) -> list[Any]:
    counters = counters_of(store.layout, commands) if replicas else ()
    waits = Waits(counters, replicas, store.timeout_s * _SHARE_OF_REPLICAS, store.is_cluster)
    answers = store.call(partial(ask_now, commands=commands, then=waits.commands))
    if waits.faults(answers[len(commands) :]):
        store.leave()
        raise StoreUnavailable(TOO_FEW, store.at)
    return answers[: len(commands)]


async def take_steps_async(redis: Any, steps: Steps[T]) -> T:
    """The same. Raises RedisError."""
    try:
        commands = next(steps)
        while True:
            commands = steps.send(await ask_strictly(redis, commands))
    except StopIteration as end:
        found: T = end.value
        return found
