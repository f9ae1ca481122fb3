"""A team's provider token, shared by all processes: Apple counts how often a team makes a new one."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from proxy.store import keys

_SIGNING_TAKES_S = 5.0
_RULE = timedelta(minutes=20)  # Apple: no more often than every 20 minutes

Sign = Callable[[datetime], str]
IssuedAt = Callable[[str], datetime]
IsFresh = Callable[[datetime, datetime], bool]


async def _is_right() -> None: ...


class SharedProviderToken:
    """Implements ports.Authorization. One process signs, under a lock in the store; the others take its token.

    `sign`, `issued_at` and `is_fresh` are those of channels/apns/provider_token.py. `now` is the store's time, which
    `measure` makes sure of before a token is signed: a worker whose clock is wrong would stop the others' lanes too.
    `on_young_refused` is called when a token was refused as too old that by our clock is too young to be replaced.
    """

    def __init__(
        self,
        redis: Any,
        key: str,
        sign: Sign,
        issued_at: IssuedAt,
        is_fresh: IsFresh,
        now: Callable[[], datetime],
        on_young_refused: Callable[[], None] = lambda: None,
        measure: Callable[[], Awaitable[None]] = _is_right,
    ) -> None:
        self._measure = measure
        self._on_young_refused = on_young_refused
        self._redis = redis
        self._key = key
        self._sign = sign
        self._issued_at = lru_cache(maxsize=4)(issued_at)  # asked for every push, and a JWT takes 90 us to read
        self._is_fresh = is_fresh
        self._now = now
        self._mine: str | None = None
        self._lock = asyncio.Lock()

    async def current(self) -> str:
        """`bearer <JWT>`."""
        if self._mine is None or not self._is_fresh(self._issued_at(self._mine), self._now()):
            async with self._lock:
                if self._mine is None or not self._is_fresh(self._issued_at(self._mine), self._now()):
                    self._mine = await self._shared(refused=None)
        return f"bearer {self._mine}"

    async def renew(self, refused: str) -> bool:
        """Another token than the refused one is at hand now. False: a new one would break Apple's 20-minute rule."""
        async with self._lock:
            if f"bearer {self._mine}" != refused:
                return True
            stale = self._mine
            if stale and self._now() - self._issued_at(stale) < _RULE and await self._read() in (None, stale):
                self._on_young_refused()
                return False
            self._mine = await self._shared(refused=stale)
            return self._mine != stale

    async def _shared(self, refused: str | None) -> str:
        if found := await self._usable(refused):
            return found
        async with self._redis.lock(
            f"{self._key}:signing", timeout=_SIGNING_TAKES_S, sleep=0.05, raise_on_release_error=False
        ):  # another may have signed while we waited for it
            return await self._usable(refused) or await self._made()

    async def _usable(self, refused: str | None) -> str | None:
        found = await self._read()
        return found if found and found != refused and self._is_fresh(self._issued_at(found), self._now()) else None

    async def _made(self) -> str:
        await self._measure()
        made = self._sign(self._now())
        await self._redis.set(self._key, made, ex=keys.PROVIDER_TOKEN_TTL_S)
        return made

    async def _read(self) -> str | None:
        found: bytes | None = await self._redis.get(self._key)
        return found.decode() if found else None


class FixedAuthorization:
    """Implements ports.Authorization for a provider whose key does not change."""

    def __init__(self, value: str) -> None:
        self._value = value

    async def current(self) -> str:
        return self._value

    async def renew(self, refused: str) -> bool:  # noqa: ARG002  the port's
        return False
