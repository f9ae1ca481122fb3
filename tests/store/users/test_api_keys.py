"""API keys in a real store: only a hash is kept, a revoked one ends at once, and use is written once a minute."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from proxy.domain.api_keys import KEY_BYTES, ApiKey, Scope, can_be_a_name, hash_of, id_of, new_bearer
from proxy.domain.bearers import shows_api_key
from proxy.domain.limits import Admitted, Blocked
from proxy.domain.times import to_ms
from proxy.store import keys
from proxy.store.connection import Store
from proxy.store.users.admission import RedisAdmission
from proxy.store.users.api_keys import RedisApiKeys
from tests.store.samples import NOON, SECOND, raw
from tests.store.trips import counted_trips

MINUTE = timedelta(minutes=1)


def bearer_of(app_id: str) -> str:
    return new_bearer(app_id.encode().ljust(KEY_BYTES, b"."))


def key(app_id: str) -> ApiKey:
    scopes = frozenset({Scope.PUSH_SEND, Scope.HISTORY_READ})
    return ApiKey(id_of(hash_of(bearer_of(app_id))), f"bot-{app_id}", "main", "小明", scopes, NOON)


@pytest.fixture
def api_keys(store: Store) -> RedisApiKeys:
    return RedisApiKeys(store)


def listed(api_keys: RedisApiKeys, app_id: str) -> list[ApiKey]:
    return [it for it in api_keys.all_keys() if it.name.endswith(app_id)]


def test_a_bearer_finds_its_key_and_the_store_has_no_bearer(api_keys: RedisApiKeys, store: Store, app_id: str) -> None:
    bearer = bearer_of(app_id)
    assert api_keys.add(key(app_id), bearer)
    assert api_keys.find(bearer, NOON) == key(app_id)
    assert listed(api_keys, app_id) == [replace(key(app_id), last_used_at=NOON)]
    kept = repr([raw(store, "HGETALL", name) for name in (keys.api_keys(), keys.api_keys_used())])
    assert hash_of(bearer) in kept
    assert bearer.removeprefix("ak_") not in kept


@pytest.mark.parametrize("change", [lambda it: it[:-1], lambda it: it.upper(), lambda it: f"{it}0", lambda _: "\udc80"])
def test_another_bearer_finds_nothing_and_leaves_nothing(api_keys: RedisApiKeys, app_id: str, change: object) -> None:
    assert callable(change)
    api_keys.add(key(app_id), bearer_of(app_id))
    assert api_keys.find(change(bearer_of(app_id)), NOON) is None
    assert listed(api_keys, app_id) == [key(app_id)]


@pytest.mark.parametrize("by", ["id", "name"])
def test_a_revoked_key_is_unknown_at_once_in_every_process_and_leaves_nothing(
    store: Store, store_url: str, app_id: str, by: str
) -> None:
    here, there = RedisApiKeys(store), RedisApiKeys(Store(store_url))
    here.add(key(app_id), bearer_of(app_id))
    assert there.find(bearer_of(app_id), NOON)
    assert here.revoke(getattr(key(app_id), by)) == replace(key(app_id), last_used_at=NOON)
    assert there.find(bearer_of(app_id), NOON + MINUTE) is None
    assert here.revoke(getattr(key(app_id), by)) is None
    assert raw(store, "HGET", keys.api_keys_used(), key(app_id).id) is None


def test_a_name_belongs_to_one_key(api_keys: RedisApiKeys, app_id: str) -> None:
    api_keys.add(key(app_id), bearer_of(app_id))
    second = bearer_of(app_id[::-1])
    assert not api_keys.add(key(app_id), second)
    assert api_keys.find(second, NOON) is None


def test_last_use_is_written_once_a_minute_and_is_right_again_after_a_clock_that_was_ahead(
    api_keys: RedisApiKeys, store: Store, app_id: str
) -> None:
    api_keys.add(key(app_id), bearer_of(app_id))

    def used_at(at: datetime) -> int:
        api_keys.find(bearer_of(app_id), at)
        written: bytes = raw(store, "HGET", keys.api_keys_used(), key(app_id).id)
        return int(written)

    for at, written in (
        (NOON, NOON), (NOON + 59 * SECOND, NOON), (NOON + MINUTE, NOON + MINUTE), (NOON - MINUTE, NOON - MINUTE),
    ):  # fmt: skip
        assert used_at(at) == to_ms(written)


def test_a_key_is_found_and_its_use_written_in_one_round_trip(
    store_url: str, api_keys: RedisApiKeys, app_id: str
) -> None:
    api_keys.add(key(app_id), bearer_of(app_id))
    with counted_trips(store_url) as relay:
        far = RedisApiKeys(Store(relay.url))
        far.find("ak_", NOON)  # connects, and knows the script
        before = relay.count
        assert far.find(bearer_of(app_id), NOON)
        assert relay.count == before + 1


def test_where_the_use_cannot_be_written_the_key_is_found(store: Store, api_keys: RedisApiKeys, app_id: str) -> None:
    """The record of a use is another type now, so that the write fails, as it would in a store that takes none."""
    api_keys.add(key(app_id), bearer_of(app_id))
    raw(store, "CONFIG", "SET", "maxmemory", "1")
    try:
        assert api_keys.find(bearer_of(app_id), NOON) == key(app_id)
    finally:
        raw(store, "CONFIG", "SET", "maxmemory", "0")
    assert listed(api_keys, app_id) == [key(app_id)]


@pytest.mark.parametrize(
    ("change", "scopes"),
    [({"scopes": ["push:send", "of:later"]}, {Scope.PUSH_SEND}), ({"v": 2}, None), ({"at": "x"}, None)],
)
def test_what_a_later_program_wrote_allows_less_and_never_more(
    api_keys: RedisApiKeys, store: Store, app_id: str, change: dict[str, object], scopes: set[Scope] | None
) -> None:
    api_keys.add(key(app_id), bearer_of(app_id))
    field = hash_of(bearer_of(app_id))
    record = json.loads(raw(store, "HGET", keys.api_keys(), field))
    raw(store, "HSET", keys.api_keys(), field, json.dumps(record | change))
    found = api_keys.find(bearer_of(app_id), datetime(2026, 11, 28, tzinfo=UTC))
    assert (found.scopes if found else None) == scopes
    raw(store, "HDEL", keys.api_keys(), field)


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer  ", "Token ", "", " ", "Bearer\t"])
def test_a_bearer_is_known_for_an_api_key_whatever_is_wrong_with_it(scheme: str) -> None:
    assert shows_api_key(scheme + new_bearer(bytes(KEY_BYTES)))
    assert shows_api_key(f"{scheme}AK_x y, z")
    assert not shows_api_key(f"{scheme}eyJhbGciOiJIUzI1NiJ9.ak_.ak_")


def test_a_bearer_has_256_bits_of_chance_at_least() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        new_bearer(bytes(31))


def test_no_name_can_be_taken_for_an_id() -> None:
    assert can_be_a_name("push-bot.2")
    for text in ("", "-bot", "a" * 65, "0123456789abcdef", "two words", "é"):
        assert not can_be_a_name(text)


def test_a_remembered_key_is_refused_at_once_when_it_is_revoked(
    store: Store, store_url: str, api_keys: RedisApiKeys, app_id: str
) -> None:
    """In the round trip that admits the service, beside its own counters or not."""
    api_keys.add(key(app_id), bearer_of(app_id))
    there, admissions = RedisApiKeys(Store(store_url)), [
        RedisAdmission(Store(store_url), lambda: NOON, counters) for counters in (None, Store(store_url))
    ]  # fmt: skip
    for revoked in (False, True):
        if revoked:
            assert api_keys.revoke(key(app_id).id)
        found = there.find(bearer_of(app_id), NOON)
        assert found
        for admission in admissions:
            verdict = admission.admit(found.account, None, found.app, api_key=found.bearer_hash)
            assert verdict == (Blocked() if revoked else Admitted())


def test_of_many_keys_the_memory_stays_small(api_keys: RedisApiKeys, app_id: str) -> None:
    for number in range(3_000):
        assert api_keys.find(f"ak_{app_id}{number}", NOON) is None
    assert len(vars(api_keys)["_known"]) <= 1_000
