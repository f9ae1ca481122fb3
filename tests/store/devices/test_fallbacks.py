"""Devices with several push addresses: who owns them, which is in use, and how one takes the place of another."""

import json
import uuid
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.domain.callbacks import digest
from proxy.domain.devices import Address, Device, Platform, RemovalResult
from proxy.domain.lanes import Lane
from proxy.store.connection import Store
from proxy.store.devices.addresses import RedisAddresses
from proxy.store.devices.registry import RedisDeviceRegistry
from proxy.store.devices.removal import DeviceRemoval, RemovalGuard
from proxy.store.devices.removed import RedisRemovedDevices
from proxy.store.devices.restoring import RestoreResult
from proxy.store.records import dump_device, load_device, without_address
from tests.store.samples import DAY, NOON, SECOND, apns_lane, device, job, raw, with_redis
from tests.store.samples import SHARDED as LAYOUT

FCM, OWN = Address(Platform.HTTP, "fcm:1"), Address(Platform.HTTP, "own:1")
PHONE = replace(device(), fallbacks=(FCM, OWN))
NO_GUARD = RemovalGuard(share=1.0)


class Phones:
    """One section's devices, its worker and its operator. `channels`: those that are on."""

    def __init__(self, store: Store, store_url: str, app_id: str) -> None:
        self.store, self.url, self.app_id, self.app_ids = store, store_url, app_id, {"main": app_id}
        self.devices = RedisDeviceRegistry(store, self.app_ids, per_account=3)
        self.removed = RedisRemovedDevices(store, self.app_ids, per_account=3)

    def remove(self, one: Device, guard: RemovalGuard = NO_GUARD) -> RemovalResult:
        at = NOON + DAY
        return with_redis(self.url, lambda redis: DeviceRemoval(redis, self.app_ids, guard).remove(one, at, at))

    def restored(self) -> list[RestoreResult]:
        return [self.removed.restore(one) for one in list(self.removed.removed("main", NOON))]

    def of(self, account: str) -> list[Device]:
        return self.devices.devices_of("main", account)

    def tokens(self) -> int:
        """How many push tokens have an owner."""
        return len(self.owners())

    def owners(self) -> list[tuple[str, ...]]:
        """The key of each push token, its account's digest and its device."""
        found = [key.decode() for key in raw(self.store, "KEYS", f"proxy:*{self.app_id}*:token:*")]
        return [(key, *map(bytes.decode, raw(self.store, "HMGET", key, "account", "device"))) for key in found]

    def seen(self, channels: Sequence[str], lane: Lane, push_token: str) -> tuple[Device | None, Device | None]:
        """As plan sees ben's phone, and as deliver does with a job of that lane for that token."""

        async def scenario(redis: Any) -> tuple[Device | None, Device | None]:
            addresses = RedisAddresses(redis, self.app_ids, "w", channels={"main": frozenset(channels)})
            found = await addresses.read_accounts(self.app_id, ["main"], ["ben"])
            (planned,) = found.devices["main", "ben"]
            one = replace(job(lane), token_digest=replace(planned, push_token=push_token).token_digest)
            (destination,) = (await addresses.destinations(lane, [one])).destinations
            return planned, destination.device

        return with_redis(self.url, scenario)


@pytest.fixture
def phones(store: Store, store_url: str, app_id: str) -> Phones:
    return Phones(store, store_url, app_id)


def at(place: int) -> Device:
    """The phone whose former addresses have gone."""
    one = PHONE.at(place)
    return replace(one, fallbacks=PHONE.fallbacks[place:])


def test_a_dead_address_makes_room_for_the_next_and_the_last_one_takes_the_device_along(phones: Phones) -> None:
    phones.devices.register(PHONE)
    assert phones.of("ben") == [PHONE]
    assert phones.tokens() == 3
    assert phones.remove(PHONE) is RemovalResult.REMOVED
    assert phones.of("ben") == [at(1)]
    assert phones.remove(PHONE) is RemovalResult.GONE  # a second push to the same address was answered so too
    assert phones.remove(at(1)) is RemovalResult.REMOVED
    assert phones.of("ben") == [at(2)]
    assert phones.remove(at(2)) is RemovalResult.REMOVED
    assert phones.of("ben") == []
    assert phones.tokens() == 0


def test_an_address_that_was_registered_again_since_stays(phones: Phones) -> None:
    phones.devices.register(replace(PHONE, registered_at=NOON + 2 * DAY))
    assert phones.remove(PHONE) is RemovalResult.KEPT
    assert phones.of("ben") == [replace(PHONE, registered_at=NOON + 2 * DAY)]


def test_the_removal_guard_keeps_an_address_in_its_place(phones: Phones) -> None:
    phones.devices.register(PHONE)
    assert phones.remove(PHONE, RemovalGuard(share=0.2, at_least=1)) is RemovalResult.HELD
    assert phones.of("ben") == [PHONE]


@pytest.mark.parametrize("dead", [1, 2, 3])
def test_restoring_brings_all_addresses_back_in_their_order(phones: Phones, dead: int) -> None:
    phones.devices.register(PHONE)
    for place in range(dead):
        phones.remove(at(place))
    assert phones.restored() == [RestoreResult.RESTORED]
    assert phones.of("ben") == [PHONE]
    assert phones.tokens() == 3
    phones.remove(PHONE)  # and it is as it was: the next one follows
    assert phones.of("ben") == [at(1)]
    assert phones.devices.remove("main", "ben", "phone")
    assert phones.tokens() == 0


def test_a_device_that_registered_since_is_not_overwritten_by_a_restore(phones: Phones) -> None:
    phones.devices.register(PHONE)
    phones.remove(PHONE)
    again = replace(PHONE, push_token="c3", registered_at=NOON + SECOND)
    phones.devices.register(again)
    assert phones.restored() == []
    assert phones.of("ben") == [again]


def test_a_device_is_not_restored_where_a_fallback_of_it_is_another_s_now(phones: Phones) -> None:
    phones.devices.register(PHONE)
    for place in range(3):
        phones.remove(at(place))
    other = replace(device("cai"), platform=OWN.platform, push_token=OWN.push_token)
    phones.devices.register(other)
    assert phones.restored() == [RestoreResult.TOKEN_REGISTERED]
    assert (phones.of("ben"), phones.of("cai")) == ([], [other])


def test_a_user_who_signs_out_takes_all_addresses_along(phones: Phones) -> None:
    phones.devices.register(PHONE)
    assert phones.devices.remove("main", "ben", "phone")
    assert phones.of("ben") == []
    assert phones.tokens() == 0


def test_a_device_whose_record_this_program_cannot_read_is_signed_out_with_all_its_push_tokens(
    phones: Phones, store: Store, app_id: str
) -> None:
    """A later program wrote it; the owner of the first push token names the others."""
    phones.devices.register(PHONE)
    account = LAYOUT.account(app_id, "main", "ben")
    owner_key, _, _ = raw(store, "HGET", account, "phone").partition(b"\n")
    raw(store, "HSET", account, "phone", owner_key + b'\n{"v":99}')
    assert phones.devices.remove("main", "ben", "phone")
    assert phones.tokens() == 0


def test_a_registration_replaces_all_addresses_of_the_one_before(phones: Phones) -> None:
    phones.devices.register(PHONE)
    phones.devices.register(replace(device(push_token="c3"), fallbacks=(OWN,)))
    assert phones.tokens() == 2
    phones.devices.register(device(push_token="c3"))
    assert phones.tokens() == 1


@pytest.mark.parametrize("taken", range(3))
def test_a_phone_that_changes_hands_goes_with_any_of_its_push_tokens(phones: Phones, taken: int) -> None:
    phones.devices.register(PHONE)
    address = PHONE.addresses[taken]
    other = replace(device("cai", "phone-of-cai"), platform=address.platform, push_token=address.push_token)
    assert phones.devices.register(other).moved
    assert phones.of("ben") == []
    assert phones.of("cai") == [other]
    assert phones.tokens() == 1


def test_a_fallback_takes_its_token_from_whoever_had_it(phones: Phones) -> None:
    phones.devices.register(replace(device("cai", "tablet"), platform=Platform.HTTP, push_token=OWN.push_token))
    assert phones.devices.register(PHONE).moved
    assert phones.of("cai") == []
    assert phones.of("ben") == [PHONE]


def test_an_owner_that_an_earlier_program_left_behind_costs_no_later_registration(
    phones: Phones, store: Store, app_id: str
) -> None:
    """It knows no fallbacks: where it registers the first token anew, their owners stay."""
    phones.devices.register(PHONE)
    left_behind = LAYOUT.push_token(app_id, "main", OWN.platform, OWN.push_token)
    phones.devices.register(device(push_token="c3"))
    raw(store, "HSET", left_behind, "account", digest("ben"), "device", "phone", "at", "1")
    phones.devices.register(replace(device("cai"), platform=Platform.HTTP, push_token=OWN.push_token))
    assert phones.of("ben") == [device(push_token="c3")]


def test_the_oldest_device_makes_room_with_all_its_addresses(phones: Phones) -> None:
    phones.devices.register(PHONE)
    for number in range(1, 4):
        one = device(device_id=f"pad-{number}", push_token=f"c{number}", registered_at=NOON + number * SECOND)
        gone = phones.devices.register(one).gone
    assert gone == ["phone"]
    assert phones.tokens() == 3


def test_where_a_channel_is_off_the_next_address_is_used_and_the_mark_is_the_same(phones: Phones, app_id: str) -> None:
    phones.devices.register(PHONE)
    http, apns = Lane(app_id, "main", "http"), apns_lane(app_id)
    both = ["apns", "http"]
    assert phones.seen(both, apns, PHONE.push_token) == (PHONE, PHONE)
    over_http = PHONE.at(1)
    assert (over_http.push_token, over_http.marked_as) == (FCM.push_token, "apns")
    assert phones.seen(["http"], http, FCM.push_token) == (over_http, over_http)
    assert phones.seen(["mipush"], http, FCM.push_token) == (PHONE, None)  # no channel of the section reaches it
    raw(phones.store, "HSET", LAYOUT.push_token(app_id, "main", "http", FCM.push_token), "account", "another")
    assert phones.seen(["http"], http, FCM.push_token) == (over_http, None)


def test_a_job_does_not_follow_its_device_to_an_address_whose_channel_is_off(phones: Phones, app_id: str) -> None:
    """No worker serves that lane, so that the job would wait there for ever."""
    one = replace(PHONE, fallbacks=(FCM,))
    phones.devices.register(one)
    phones.remove(one.at(1))
    http = Lane(app_id, "main", "http")
    assert phones.seen(["http"], http, FCM.push_token) == (replace(PHONE, fallbacks=()), None)
    assert phones.seen(["http", "apns"], http, FCM.push_token)[1] == replace(PHONE, fallbacks=())


def test_jobs_that_wait_for_a_dead_address_find_the_one_that_took_its_place(phones: Phones, app_id: str) -> None:
    phones.devices.register(PHONE)
    phones.remove(PHONE)
    _, found = phones.seen(["apns", "http"], apns_lane(app_id), PHONE.push_token)
    assert found == at(1)


def test_an_address_that_is_not_in_use_goes_without_the_others(phones: Phones) -> None:
    """The first one's channel is off, and the fallback that was used instead is dead."""
    phones.devices.register(PHONE)
    assert phones.remove(PHONE.at(1)) is RemovalResult.REMOVED
    assert phones.of("ben") == [replace(PHONE, fallbacks=(OWN,))]
    assert phones.tokens() == 2
    phones.remove(replace(PHONE, fallbacks=(OWN,)))
    assert phones.of("ben") == [at(2)]


def test_a_device_without_fallbacks_is_laid_down_as_before(phones: Phones, store: Store, app_id: str) -> None:
    phones.devices.register(device())
    assert set(json.loads(dump_device(device()))) == {
        *("v", "account", "platform", "token", "at", "env", "locale", "resource"),
    }
    owner = raw(store, "HKEYS", LAYOUT.push_token(app_id, "main", "apns", device().push_token))
    assert sorted(owner) == [b"account", b"at", b"device"]


def test_what_an_earlier_program_reads_of_a_device_is_its_present_address() -> None:
    """Of a record it takes the members that it knows."""
    kept = json.loads((Path(__file__).parents[2] / "data/records/1-fallbacks.json").read_text())
    assert [json.loads(dump_device(one)) for one in (PHONE, at(1), at(2))] == kept
    for record, place in zip(kept, range(3), strict=True):
        assert load_device("main", "phone", json.dumps(record).encode()) == at(place)
        known = {name: value for name, value in record.items() if name not in ("more", "first")}
        first = at(place).addresses[0]
        assert load_device("main", "phone", json.dumps(known).encode()) == replace(
            device(), platform=first.platform, push_token=first.push_token
        )


def test_a_later_programs_members_outlive_an_address() -> None:
    record = json.dumps({**json.loads(dump_device(PHONE)), "later": 7}).encode()
    left = without_address(record, PHONE.platform, PHONE.push_token)
    assert left is not None
    assert json.loads(left) == {**json.loads(dump_device(at(1))), "later": 7}


@pytest.mark.parametrize("record", [b"", b"{", b'{"v":1,"more":7}', dump_device(device())])
def test_a_record_that_has_no_other_address_is_not_rewritten(record: bytes) -> None:
    assert without_address(record, "apns", "a1b2") is None


STEPS = st.one_of(
    st.tuples(
        st.just("register"), st.sampled_from(["ben", "cai"]), st.sampled_from(["phone", "pad", "watch"]),
        st.lists(st.sampled_from("abcde"), min_size=1, max_size=4, unique=True),
    ),
    st.tuples(st.just("sign out"), st.sampled_from(["ben", "cai"]), st.sampled_from(["phone", "pad", "watch"])),
    st.tuples(st.just("is dead"), st.sampled_from("abcde")),
    st.tuples(st.just("restore")),
)  # fmt: skip


@settings(max_examples=40)
@given(steps=st.lists(STEPS, max_size=12), shards=st.sampled_from([0, 1, 16]))
def test_whatever_happens_each_push_token_has_the_owner_that_names_it(
    store_urls: dict[int, str], steps: list[Any], shards: int
) -> None:
    store = Store(store_urls[shards])
    phones = Phones(store, store_urls[shards], uuid.uuid4().hex)
    for number, (what, *of) in enumerate(steps):
        match what, of:
            case "register", (account, device_id, tokens):
                first, *others = (Address(Platform.HTTP, token) for token in tokens)
                phones.devices.register(
                    Device("main", account, device_id, first.platform, first.push_token, NOON + number * SECOND,
                           fallbacks=tuple(others))
                )  # fmt: skip
            case "sign out", (account, device_id):
                phones.devices.remove("main", account, device_id)
            case "is dead", (token,):
                for one in list(phones.devices.all_devices("main")):
                    places = [place for place, it in enumerate(one.addresses) if it.push_token == token]
                    assert {phones.remove(one.at(place)) for place in places} <= {RemovalResult.REMOVED}
            case _:
                phones.restored()
        named = [
            (
                store.layout.push_token(phones.app_id, "main", it.platform, it.push_token),
                digest(one.account),
                one.device_id,
            )
            for one in phones.devices.all_devices("main")
            for it in one.addresses
        ]
        assert sorted(phones.owners()) == sorted(named)
