"""Clocks that are wrong, by machine and by whose answers showed it, for the /readyz of all web processes."""

import platform
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from proxy.store import keys
from proxy.store.connection import Commands
from proxy.store.records import from_ms, to_ms

_KNOWN_FOR = timedelta(seconds=keys.CLOCKS_TTL_S)
_TOLD = 20  # sentences at most


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
    told = {}
    for name, value in sorted(redis.hgetall(keys.clocks()).items())[:_TOLD]:
        machine, _, source = name.decode().partition("\n")
        seconds, at_ms = map(int, value.split())
        at = from_ms(at_ms)
        if at > now - _KNOWN_FOR:
            side = "ahead of" if seconds > 0 else "behind"
            told[f"clock of {machine} by {source}"] = (
                f"{abs(seconds)} s {side} theirs, seen at {at:%Y-%m-%d %H:%M:%S} UTC: let both follow a time server"
            )
    return told
