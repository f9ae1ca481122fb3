"""What receipts change: a dead push token goes, under the guard; an account that no phone has set is remembered."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from proxy.domain.callbacks import digest
from proxy.domain.devices import Address, Device, Platform
from proxy.domain.history import Note, shortened
from proxy.domain.jobs import target_mark
from proxy.domain.lanes import Lane
from proxy.domain.receipts import NOTED, Delivery, DeliveryReceipt, ReceiptReference
from proxy.domain.times import to_ms
from proxy.store.connection import Store
from proxy.store.devices.receipt_notes import ReceiptNotes
from proxy.store.devices.receipts import ReceiptEffects
from proxy.store.devices.registry import RedisDeviceRegistry
from proxy.store.devices.removal import DeviceRemoval, RemovalGuard
from proxy.store.queue.history import RedisHistory
from tests.store.samples import DAY, NOON, device, with_redis
from tests.store.samples import SHARDED as LAYOUT

TTL = timedelta(hours=6)
SENT = NOON + DAY
SOON = SENT + timedelta(seconds=2)
MESSAGE = digest("message", "1")


class World:
    def __init__(self, store: Store, store_url: str, app_id: str) -> None:
        self.store, self.url, self.app_id = store, store_url, app_id
        self.devices = RedisDeviceRegistry(store, {"main": app_id})

    def register(self, count: int = 1) -> list[Device]:
        made = [device(f"user-{n}", platform=Platform.MIPUSH, push_token=f"reg-{n}") for n in range(count)]
        for one in made:
            self.devices.register(one)
            self.plan(one.account, one.device_id)
        return made

    def plan(self, account: str, device_id: str = "") -> None:
        self.mark(account, target_mark("main", "mipush", account, device_id))

    def mark(self, account: str, target: str) -> None:
        layout = self.store.layout
        (place,) = layout.mark_read(self.app_id, MESSAGE, layout.shard_of_account(account), target, to_ms(SENT))
        self.store.call(lambda redis: redis.hset(*place, "1"))

    def hear(
        self, targets: Sequence[str], *, by_account: bool = False, what: Delivery = Delivery.INVALID_TARGET,
        message_id: str = MESSAGE, guard: RemovalGuard | None = None, after: timedelta = SOON - SENT,
    ) -> None:  # fmt: skip
        reference = ReceiptReference(message_id, SENT)
        receipt = DeliveryReceipt("main", "mipush", what, reference, tuple(targets), by_account, SENT + after)

        async def scenario(redis: Any) -> None:
            ids = {"main": self.app_id}
            effects = ReceiptEffects(redis, ids, DeviceRemoval(redis, ids, guard), TTL)
            await effects.apply([receipt, receipt], SENT + after)

        with_redis(self.url, scenario)

    def note(self, *receipts: DeliveryReceipt) -> list[Note]:
        """All that the history has of the message then."""
        assert ReceiptNotes(self.store, {"main": self.app_id}).append(receipts, SOON) == 0
        noted = RedisHistory(self.store, {"main": self.app_id}).of_message("main", MESSAGE, NOON - DAY)
        return [one.note for one in noted]

    def accounts(self) -> set[str]:
        return {one.account for one in self.devices.all_devices("main")}

    def unknown_ms(self, account: str) -> int:
        mark = LAYOUT.unknown(Lane(self.app_id, "main", "mipush"), account)
        left: int = self.store.call(lambda redis: redis.pttl(mark))
        return left


@pytest.fixture
def world(store: Store, store_url: str, app_id: str) -> World:
    return World(store, store_url, app_id)


def test_a_push_token_that_reaches_no_phone_goes_and_its_neighbours_stay(world: World) -> None:
    world.register(2)
    world.hear(["reg-0", "never-registered"])
    assert world.accounts() == {"user-1"}


@pytest.mark.parametrize("place", [0, 1])
def test_of_a_device_with_fallbacks_the_address_goes_that_reaches_no_phone(world: World, place: int) -> None:
    first, second = Address(Platform.HTTP, "own:1"), Address(Platform.MIPUSH, "reg-0")
    phone = replace(device("user-0", platform=Platform.HTTP, push_token="own:1"), fallbacks=(second,))
    one = phone.at(place)
    world.devices.register(one)
    world.mark("user-0", target_mark("main", one.marked_as, "user-0", "phone"))
    world.hear(["reg-0"])
    (left,) = world.devices.devices_of("main", "user-0")
    assert left.addresses == (first,)


@pytest.mark.parametrize("what", [it for it in Delivery if it is not Delivery.INVALID_TARGET])
def test_nothing_else_removes_a_device(world: World, what: Delivery) -> None:
    world.register()
    world.hear(["reg-0"], what=what)
    assert world.accounts() == {"user-0"}


def test_a_token_that_the_message_was_not_planned_for_stays(world: World) -> None:
    world.register()
    world.hear(["reg-0"], message_id=digest("message", "another"))
    assert world.accounts() == {"user-0"}


def test_a_device_that_registered_after_the_push_stays(world: World) -> None:
    (one,) = world.register()
    world.devices.register(device(one.account, platform=Platform.MIPUSH, push_token="reg-0", registered_at=SOON))
    world.hear(["reg-0"], after=timedelta(hours=1))
    assert world.accounts() == {"user-0"}


def test_a_flood_of_them_is_held_by_the_removal_guard(world: World) -> None:
    world.register(10)
    world.hear([f"reg-{n}" for n in range(10)], guard=RemovalGuard(share=0.2, at_least=3))
    assert len(world.accounts()) >= 7


def test_an_account_that_no_phone_has_set_is_remembered_as_long_as_from_its_push_on(world: World) -> None:
    world.plan("carol")
    world.hear(["carol", "never-written-to"], by_account=True, after=timedelta(hours=5))
    assert 0 < world.unknown_ms("carol") <= 3_600_000
    assert world.unknown_ms("never-written-to") == -2


def test_a_receipt_about_an_account_that_comes_late_changes_nothing(world: World) -> None:
    world.plan("carol")
    world.hear(["carol"], by_account=True, after=timedelta(hours=6))
    assert world.unknown_ms("carol") == -2


def receipt(what: Delivery, *targets: str, by_account: bool = False, message_id: str = MESSAGE) -> DeliveryReceipt:
    return DeliveryReceipt("main", "mipush", what, ReceiptReference(message_id, SENT), targets, by_account, SOON)


@pytest.mark.parametrize("what", list(Delivery))
def test_each_receipt_is_a_note_of_the_device_that_has_the_push_token(world: World, what: Delivery) -> None:
    world.register(2)
    (note,) = world.note(receipt(what, "reg-1", "never-registered"))
    assert (note.result, note.account, note.device_id, note.app, note.channel) == (
        NOTED[what], "user-1", "phone", "main", "mipush",
    )  # fmt: skip
    assert (note.message_id, note.accepted_at_ms) == (shortened(MESSAGE), 0)
    assert (note.pushed_at_ms, note.ended_at_ms) == (to_ms(SENT), to_ms(SOON))


def test_a_receipt_about_an_account_is_its_note_and_one_for_whom_nothing_was_planned_is_none(world: World) -> None:
    world.plan("ben")
    notes = world.note(receipt(Delivery.DELIVERED, "ben", "cai", by_account=True))
    assert [(it.account, it.device_id) for it in notes] == [("ben", "")]


def test_one_that_comes_twice_or_in_a_crowd_of_others_is_noted_and_no_receipt_costs_nothing(world: World) -> None:
    world.register()
    assert world.note() == []
    crowd = [f"stranger-{n}" for n in range(600)]
    notes = world.note(receipt(Delivery.DELIVERED, *crowd, "reg-0"), receipt(Delivery.DELIVERED, "reg-0"))
    assert [it.account for it in notes] == ["user-0", "user-0"]


def test_a_history_that_takes_none_hinders_no_receipt(world: World) -> None:
    world.plan("ben")
    world.store.call(
        lambda redis: redis.set(LAYOUT.history_new(world.app_id, LAYOUT.shard_of_account("ben")), "no stream")
    )
    notes = ReceiptNotes(world.store, {"main": world.app_id})
    assert notes.append([receipt(Delivery.DELIVERED, "ben", by_account=True)], SOON) == 1
    assert world.store.call(lambda redis: redis.ping())
