"""Operations of several round trips, which no script can do at once: their keys lie in several shards.

Each is a generator of steps. A step is commands that may be carried out in any order, but for those of one shard, and
gets their answers. The next one is asked only then, so that an operation may end between any two commands. Written so
it serves threads and event loops, and a test that ends it wherever it likes.
"""

from collections.abc import Generator, Sequence
from functools import partial
from typing import Any, TypeVar

from proxy.store.connection import Store
from proxy.store.scripts import Command, ask_now, ask_strictly

T = TypeVar("T")
Steps = Generator[Sequence[Command], list[Any], T]


def take_steps(store: Store, steps: Steps[T]) -> T:
    """What the operation returns. Raises StoreUnavailable."""
    try:
        commands = next(steps)
        while True:
            commands = steps.send(store.call(partial(ask_now, commands=commands)))
    except StopIteration as end:
        found: T = end.value
        return found


async def take_steps_async(redis: Any, steps: Steps[T]) -> T:
    """The same. Raises RedisError."""
    try:
        commands = next(steps)
        while True:
            commands = steps.send(await ask_strictly(redis, commands))
    except StopIteration as end:
        found: T = end.value
        return found
