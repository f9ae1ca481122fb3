"""Accounts and sessions that may do nothing any more: the block that token, plan and deliver look at.

The block is a fact of this service alone: a MIMC token that was given out before stays valid at MIMC.
"""

import unicodedata
from collections.abc import Sequence
from datetime import timedelta
from functools import lru_cache, partial
from typing import Any

from proxy.domain.callbacks import digest
from proxy.store import keys
from proxy.store.connection import Store
from proxy.store.scripts import script

_PART = 1000


class RedisBlocks:
    """Implements ports.BlockList, for the web and the command line. Every call raises StoreUnavailable."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def is_blocked(self, account: str, session_id: str | None) -> bool:
        """One round trip. Raises StoreUnavailable where the store cannot say."""

        def do(redis: Any) -> bool:
            if session_id is None:
                return bool(redis.sismember(keys.blocked_accounts(), account_mark(account)))
            names = [keys.blocked_accounts(), keys.blocked_session(session_id)]
            return bool(script("is_blocked").run(redis, names, [account_mark(account)]))

        return self._store.call(do)

    def block(self, account: str) -> None:
        self._store.call(lambda redis: redis.sadd(keys.blocked_accounts(), account_mark(account)))

    def unblock(self, account: str) -> None:
        self._store.call(lambda redis: redis.srem(keys.blocked_accounts(), account_mark(account)))

    def blocked_among(self, accounts: Sequence[str]) -> set[str]:
        """Those of the accounts that are blocked: a call for each thousand."""
        parts = [accounts[start : start + _PART] for start in range(0, len(accounts), _PART)]
        return {account for part in parts for account in self._store.call(partial(_blocked_in, accounts=part))}

    def block_session(self, session_id: str, life: timedelta) -> None:
        """`life` must cover whatever proves the session by itself, like an access token."""
        self._store.call(lambda redis: redis.set(keys.blocked_session(session_id), "1", px=life))


def _blocked_in(redis: Any, accounts: Sequence[str]) -> list[str]:
    found = redis.smismember(keys.blocked_accounts(), [account_mark(account) for account in accounts])
    return [account for account, is_blocked in zip(accounts, found, strict=True) if is_blocked]


@lru_cache(maxsize=8192)  # asked for with each alert
def account_mark(account: str) -> str:
    """An account's place in the list: whatever way its letters are composed."""
    return digest("blocked", unicodedata.normalize("NFC", account))
