"""Clocks that are wrong, by machine and by whose answers showed it, for the /readyz of all web processes."""

import platform
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from proxy.domain.times import from_ms, to_ms
from proxy.store import keys
from proxy.store.connection import Commands
from proxy.store.scripts import ask_strictly

_KNOWN_FOR = timedelta(seconds=keys.CLOCKS_TTL_S)
_SAMPLES = 8  # measurements of which the quickest counts
_DRIFT = timedelta(milliseconds=50)  # of two clocks within so many measurements, and more
_SLEW = timedelta(milliseconds=200)  # back by no more than this at once
_STEP = timedelta(seconds=2)  # unless it is a clock that was set, ours or theirs
_OWN_CLOCK = partial(datetime.now, UTC)
_SHOWN = 20  # sentences at most


class StoreClock:
    """The store's time as this process knows it: its own clock, and the offset that it measures once a second.

    Times that several machines share are the store's. Of the latest measurements the quickest counts: the store read
    its clock at some moment while it was asked, so that a measurement is wrong by half its time at most. A small
    correction backwards comes in steps that are shorter than the time between two. Safe to share between threads.
    `redis` is the worker's own client; threads bring theirs.
    """

    def __init__(self, redis: Any = None, own_clock: Callable[[], datetime] = _OWN_CLOCK) -> None:
        self._redis, self._own_clock = redis, own_clock
        self.offset = timedelta(0)
        self._samples: deque[_Sample] = deque(maxlen=_SAMPLES)
        self._lock = threading.Lock()

    def now(self) -> datetime:
        return self._own_clock() + self.offset

    @property
    def is_measured(self) -> bool:
        """The store was asked; until then `now` is this machine's own."""
        return bool(self._samples)

    async def measure(self) -> None:
        """Ask the store for its time. Raises RedisError."""
        asked_at = self._own_clock()
        (answer,) = await ask_strictly(self._redis, [("TIME",)])
        self._learn(asked_at, answer)

    def measure_with(self, redis: Commands) -> None:
        """The same, from a thread."""
        asked_at = self._own_clock()
        self._learn(asked_at, redis.time())

    def _learn(self, asked_at: datetime, answer: Sequence[Any]) -> None:
        took = self._own_clock() - asked_at
        seconds, microseconds = map(int, answer)
        theirs = datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=microseconds)
        with self._lock:
            self._take(_Sample(theirs - (asked_at + took / 2), abs(took)))

    def _take(self, sample: "_Sample") -> None:
        is_first = not self._samples
        if any(sample.contradicts(former) for former in self._samples):
            self._samples.clear()
        self._samples.append(sample)
        measured = min(self._samples, key=lambda known: known.took).offset
        back = self.offset - measured
        self.offset = self.offset - _SLEW if not is_first and _SLEW < back < _STEP else measured


@dataclass(frozen=True)
class _Sample:
    """One measurement of the offset; `took`: how long the store had for its answer."""

    offset: timedelta
    took: timedelta

    def contradicts(self, other: "_Sample") -> bool:
        """They cannot both be right: one of the clocks was set between them."""
        return abs(self.offset - other.offset) > (self.took + other.took) / 2 + _DRIFT


def clock_commands(
    redis: Any, measured: Mapping[str, timedelta], tolerated: timedelta, now: datetime, machine: str = ""
) -> Any:
    """A pipeline, not executed yet, that keeps a machine's (this one's) skews where they exceed what is tolerated."""
    pipe = redis.pipeline(transaction=False)
    for source, skew in measured.items():
        name = f"{(machine or platform.node())[:64]}\n{source}"
        if abs(skew) > tolerated:
            pipe.hset(keys.clocks(), name, f"{skew // timedelta(seconds=1)} {to_ms(now)}")
            pipe.expire(keys.clocks(), keys.CLOCKS_TTL_S)
        else:
            pipe.hdel(keys.clocks(), name)
    return pipe


def clock_details(redis: Commands, now: datetime) -> dict[str, str]:
    """A sentence for each clock that was found wrong within the last hour."""
    sentences = {}
    for name, value in sorted(redis.hgetall(keys.clocks()).items())[:_SHOWN]:
        machine, _, source = name.decode().partition("\n")
        seconds, at_ms = map(int, value.split())
        at = from_ms(at_ms)
        if at > now - _KNOWN_FOR:
            side = "ahead of" if seconds > 0 else "behind"
            sentences[f"clock of {machine} by {source}"] = (
                f"{abs(seconds)} s {side} theirs, seen at {at:%Y-%m-%d %H:%M:%S} UTC: let both follow a time server"
            )
    return sentences
