"""API keys, by their hashes. What a key may do never changes, so it is remembered; whether it is still there each call
of a service asks in the round trip that admits it (admission.py): a key that is revoked ends at once everywhere.
"""

import threading
from dataclasses import replace
from datetime import datetime, timedelta

from proxy.compact_json import compact_json
from proxy.domain.api_keys import ApiKey, hash_of, id_of, known_scopes
from proxy.domain.times import MS, from_ms, to_ms
from proxy.store import keys
from proxy.store.connection import Store
from proxy.store.records import UnreadableRecord
from proxy.store.scripts import Argument, Command, ask_now, script
from proxy.strict_json import read_object

FORMAT = 1
_USED_EVERY_MS = timedelta(minutes=1) // MS
_MOST_KNOWN = 1_000
_KEYS = (keys.api_keys(), keys.api_keys_used())


class RedisApiKeys:
    """Implements ports.ApiKeys, and what the command line does with them. Every call raises StoreUnavailable."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._known: dict[str, tuple[int, ApiKey]] = {}  # by hash: when it was found, ms

    def find(self, bearer: str, now: datetime) -> ApiKey | None:
        """The key whose bearer this is, as it was found up to a minute ago. That it is used is written as often, or not
        at all where that fails.
        """
        bearer_hash, now_ms = hash_of(bearer), to_ms(now)
        found_ms, key = self._known.get(bearer_hash, (0, None))
        if key is not None and abs(now_ms - found_ms) < _USED_EVERY_MS:
            return key
        key = self._found(bearer_hash, now_ms)
        with self._lock:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            if key:
                self._known[bearer_hash] = now_ms, key
            else:
                self._known.pop(bearer_hash, None)
        return key

    def _found(self, bearer_hash: str, now_ms: int) -> ApiKey | None:
        args: list[Argument] = [bearer_hash, id_of(bearer_hash), now_ms, _USED_EVERY_MS]
        record, used_at = self._store.call(lambda redis: script("find_api_key").run(redis, _KEYS, args))
        if not record:
            return None
        try:
            return _read(bearer_hash, record, used_at)
        except UnreadableRecord:
            return None

    def add(self, key: ApiKey, bearer: str) -> bool:
        """False: there is a key of that name, and nothing is changed."""
        args: list[Argument] = [hash_of(bearer), _record(key), key.name]
        return bool(self._store.call(lambda redis: script("add_api_key").run(redis, _KEYS[:1], args)))

    def all_keys(self) -> list[ApiKey]:
        """All keys, the oldest first. Raises UnreadableRecord for one of a later program."""
        found = (_read(bearer_hash, record, used_at) for bearer_hash, record, used_at in self._all())
        return sorted(found, key=lambda key: (key.created_at, key.id))

    def revoke(self, id_or_name: str) -> ApiKey | None:
        """The key, which is none any more; None: there is no such key."""
        for bearer_hash, record, used_at in self._all():
            key = _read(bearer_hash, record, used_at)
            if id_or_name in (key.id, key.name):
                return key if self._remove(bearer_hash, key.id) else None
        return None

    def _remove(self, bearer_hash: str, key_id: str) -> bool:
        commands: list[Command] = [("HDEL", keys.api_keys(), bearer_hash), ("HDEL", keys.api_keys_used(), key_id)]
        return bool(self._store.call(lambda redis: ask_now(redis, commands))[0])

    def _all(self) -> list[tuple[str, bytes, bytes | None]]:
        commands: list[Command] = [("HGETALL", name) for name in _KEYS]
        records, used = (_pairs(it) for it in self._store.call(lambda redis: ask_now(redis, commands)))
        return [(name.decode(), record, used.get(id_of(name.decode()).encode())) for name, record in records.items()]


def _pairs(answer: list[bytes]) -> dict[bytes, bytes]:
    return dict(zip(answer[::2], answer[1::2], strict=True))


def _record(key: ApiKey) -> str:
    return compact_json({
        "v": FORMAT, "name": key.name, "app": key.app, "account": key.account, "scopes": sorted(key.scopes),
        "at": to_ms(key.created_at),
    })  # fmt: skip


def _read(bearer_hash: str, record: bytes, used_at: bytes | None) -> ApiKey:
    try:
        fields = read_object(record)
        if fields["v"] != FORMAT:
            raise UnreadableRecord("an API key of a later version")
        key = ApiKey(
            id=id_of(bearer_hash),
            name=fields["name"],
            app=fields["app"],
            account=fields["account"],
            scopes=known_scopes(fields["scopes"]),
            created_at=from_ms(fields["at"]),
            bearer_hash=bearer_hash,
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise UnreadableRecord(f"an API key: {type(error).__name__}") from None
    return replace(key, last_used_at=from_ms(int(used_at))) if used_at else key
