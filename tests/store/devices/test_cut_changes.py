"""A process dies between any two commands of a change: nothing dangerous is left, and the next use mends the rest."""

import uuid
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.domain.callbacks import account_digest
from proxy.domain.devices import Address, Device, Platform, RemovalResult
from proxy.domain.lanes import Lane
from proxy.domain.times import to_ms
from proxy.errors import StoreUnavailable
from proxy.store.connection import Store
from proxy.store.devices.addresses import RedisAddresses
from proxy.store.devices.changes import Change, change
from proxy.store.devices.registering import importing, registering, signing_out
from proxy.store.devices.registry import RedisDeviceRegistry
from proxy.store.devices.removal import CountFirst, RemovalGuard, removing
from proxy.store.devices.removed import RedisRemovedDevices
from proxy.store.devices.restoring import RestoreResult, restoring
from proxy.store.scripts import Command, ask_now, script
from proxy.store.steps import Steps, take_steps
from tests.store.samples import DAY, NOON, SECOND, device, job, raw, with_redis

NO_GUARD = RemovalGuard(share=1.0)
FCM, OWN = Address(Platform.HTTP, "fcm:1"), Address(Platform.HTTP, "own:1")
PHONE = replace(device(), fallbacks=(FCM, OWN))
AGAIN = replace(device(push_token="c3", registered_at=NOON + SECOND), fallbacks=(OWN, Address(Platform.HTTP, "fcm:2")))
CAIS = device("cai", "cais", registered_at=NOON + SECOND)
CAIS_OF_OLD = replace(CAIS, push_token=OWN.push_token, platform=OWN.platform, registered_at=NOON - SECOND)
CAIS_WHOLE = replace(PHONE, account="cai", device_id="cais", registered_at=NOON + SECOND)
OTHER_ID = replace(PHONE, device_id="other", registered_at=NOON + SECOND)
PADS = [device("ben", f"pad-{n}", f"pad{n}", NOON + n * SECOND) for n in range(1, 4)]
LAST = device("ben", "last", "last1", NOON + 9 * SECOND)


class World:
    """One section's devices and a clock."""

    def __init__(self, url: str, *, backwards: bool = False, per_account: int = 3) -> None:
        self.url, self.store, self.app_id = url, Store(url), uuid.uuid4().hex
        self.now_s, self.backwards, self.per_account = NOON.timestamp(), backwards, per_account
        self.devices = RedisDeviceRegistry(self.store, {"main": self.app_id}, per_account, self._clock)
        self.removed = RedisRemovedDevices(self.store, {"main": self.app_id}, per_account, self._clock)

    def register(self, one: Device) -> Steps[Any]:
        return registering(self.change(), one, self.per_account)

    def bring(self, one: Device) -> Steps[Any]:
        return importing(self.change(), one, self.per_account, only_ask=False)

    def sign_out(self, account: str, device_id: str) -> Steps[Any]:
        return signing_out(self.change(), account_digest(account), device_id)

    def remove(self, one: Device, at: datetime = NOON + DAY, guard: RemovalGuard = NO_GUARD) -> Steps[Any]:
        return removing(self.change(), one, guard, at, at)

    def restore(self, one: Device) -> Steps[Any]:
        return restoring(self.change(), one, self.per_account, only_ask=False)

    def change(self) -> Change:
        return change(self.store.layout, self.app_id, "main", self._clock)

    def do(self, steps: Steps[Any]) -> Any:
        return take_steps(self.store, steps)

    def cut(self, steps: Steps[Any], after: int) -> bool:
        """Carry out so many commands of it, and no more. True where it had no more."""
        try:
            commands = next(steps)
            while True:
                answers: dict[int, Any] = {}
                for place in self._order(commands):
                    if after == 0:
                        return False
                    after -= 1
                    answers[place] = self.ask(commands[place])
                commands = steps.send([answers[place] for place in range(len(commands))])
        except StopIteration:
            return True

    def later(self) -> None:
        self.now_s += 61

    def use(self) -> None:
        """Each account does anything."""
        for account in ("ben", "cai"):
            self.do(self.sign_out(account, "never"))

    def all_devices(self) -> list[Device]:
        return in_order(self.devices.all_devices("main"))

    def reached(self) -> set[tuple[str, str, str]]:
        """Account, device and push token of each alert that would go out now, whichever of the channels are on."""

        async def scenario(redis: Any) -> set[tuple[str, str, str]]:
            found = set()
            for channels in (("apns", "http"), ("http",)):
                addresses = RedisAddresses(redis, {"main": self.app_id}, "w", channels={"main": channels})
                lane = Lane(self.app_id, "main", channels[0])
                read = await addresses.read_accounts(self.app_id, ["main"], ["ben", "cai"])
                planned = [one for devices in read.devices.values() for one in devices if one.channel in channels]
                jobs = [replace(job(lane, it.account, it.device_id), token_digest=it.token_digest) for it in planned]
                to = [it.device for it in (await addresses.destinations(lane, jobs)).destinations]
                found |= {(it.account, it.device_id, it.push_token) for it in to if it}
            return found

        return with_redis(self.url, scenario)

    def check_whole(self) -> None:
        """Each push token has the owner that a list names, and no other; the counters agree; nothing is left over."""
        named = [
            (self.owner_key(it.platform, it.push_token), account_digest(one.account), one.device_id)
            for one in self.all_devices()
            for it in one.addresses
        ]
        assert self.owners() == sorted(named)
        counts = Counter(key.rpartition(":")[0].replace(":token:", ":devices:") for key, _, _ in named)
        assert {key: int(raw(self.store, "GET", key)) for key in self._keys("devices:*")} == counts
        assert self._keys("leftover:*") == []

    def owners(self) -> list[tuple[str, str, str]]:
        """The key of each push token, its account's digest and its device."""
        keys = self._keys("token:*")
        found = self.store.call(lambda redis: ask_now(redis, [("HMGET", key, "account", "device") for key in keys]))
        return sorted((key, who.decode(), which.decode()) for key, (who, which) in zip(keys, found, strict=True))

    def owner_key(self, platform: str, push_token: str) -> str:
        return self.store.layout.push_token(self.app_id, "main", platform, push_token)

    def _keys(self, kind: str) -> list[str]:
        return [key.decode() for key in raw(self.store, "KEYS", f"proxy:*{self.app_id}*:{kind}")]

    def ask(self, command: Command) -> Any:
        return self.store.call(lambda redis: ask_now(redis, [command]))[0]

    def _order(self, commands: Sequence[Command]) -> list[int]:
        """That of each shard holds; which shard comes first does not."""
        tags = [next(str(it).partition("}")[0] for it in command if "{" in str(it)) for command in commands]
        first = list(dict.fromkeys(reversed(tags) if self.backwards else tags))
        return sorted(range(len(commands)), key=lambda place: first.index(tags[place]))

    def _clock(self) -> float:
        return self.now_s


def in_order(devices: Iterator[Device] | Sequence[Device]) -> list[Device]:
    return sorted(devices, key=lambda it: (it.account, it.device_id))


@dataclass(frozen=True)
class Case:
    """`first`: what is registered before. `left`: what is there once `steps` have been taken and repeated as a whole.
    `dead`: what its provider has called so before."""

    name: str
    first: Sequence[Device]
    steps: Callable[[World], Steps[Any]]
    left: Sequence[Device]
    dead: Sequence[Device] = ()

    def __str__(self) -> str:
        return self.name


def at(place: int) -> Device:
    """The phone whose former addresses have gone."""
    return replace(PHONE.at(place), fallbacks=PHONE.fallbacks[place:])


REMOVAL = Case("a removal", [device(), PADS[0]], lambda it: it.remove(device()), [PADS[0]])
TAKEN = Case("another's phone", [PHONE], lambda it: it.register(CAIS), [CAIS])
SIGN_OUT_OF_DEAD = Case("a removed one's sign-out", [PHONE], lambda it: it.sign_out("ben", "phone"), [], [PHONE])
CASES = [
    Case("a first registration", [], lambda it: it.register(PHONE), [PHONE]),
    Case("the same again", [PHONE], lambda it: it.register(PHONE), [PHONE]),
    Case("other push tokens", [PHONE], lambda it: it.register(AGAIN), [AGAIN]),
    Case("an import", [replace(PHONE, registered_at=NOON - SECOND), CAIS_OF_OLD], lambda it: it.bring(PHONE), [PHONE]),
    TAKEN,
    Case("another's with all", [PHONE, device("cai", "cais", "c9")], lambda it: it.register(CAIS_WHOLE), [CAIS_WHOLE]),
    Case("another id", [PHONE], lambda it: it.register(OTHER_ID), [OTHER_ID]),
    Case("one too many", [PHONE, *PADS[:2]], lambda it: it.register(LAST), [LAST, *PADS[:2]]),
    Case("a removed one again", [PHONE], lambda it: it.register(PHONE), [PHONE], [PHONE]),
    Case("a sign-out", [PHONE, PADS[0]], lambda it: it.sign_out("ben", "phone"), [PADS[0]]),
    SIGN_OUT_OF_DEAD,
    REMOVAL,
    Case("a dead first address", [PHONE], lambda it: it.remove(PHONE), [at(1)]),
    Case("a dead second address", [PHONE], lambda it: it.remove(at(1)), [at(2)], [PHONE]),
    Case("a dead fallback", [PHONE], lambda it: it.remove(PHONE.at(1)), [replace(PHONE, fallbacks=(OWN,))]),
    Case("a restore", [device()], lambda it: it.restore(device()), [device()], [device()]),
    Case("a restored address", [PHONE], lambda it: it.restore(PHONE), [PHONE], [PHONE]),
    Case("a restore of all", [PHONE], lambda it: it.restore(PHONE), [PHONE], [PHONE, at(1), at(2)]),
]
# 0: as earlier versions lay a store out; backwards: the shards of a step answer in the other order
STORES = pytest.mark.parametrize(("shards", "backwards"), [(16, False), (16, True), (0, False)])
FEW = (TAKEN, REMOVAL, CASES[-1])


def each_case(*, backwards: bool) -> pytest.MarkDecorator:
    """In a store of 16 shards; and some in one of an earlier version."""
    return pytest.mark.parametrize(
        ("case", "shards", "backwards"),
        [*((case, 16, backwards) for case in CASES), *((case, 0, False) for case in FEW)],
        ids=lambda it: it.name if isinstance(it, Case) else None,
    )


def cuts(case: Case, url: str, *, backwards: bool) -> Iterator[World]:
    """A world for each number of commands after which the change ends."""
    for after in range(100):
        world = prepared(case, url, backwards=backwards)
        ended = world.cut(case.steps(world), after)
        yield world
        if ended:
            return


def prepared(case: Case, url: str, *, backwards: bool = False) -> World:
    world = World(url, backwards=backwards)
    for one in case.first:
        world.do(world.register(one))
    for one in case.dead:
        world.do(world.remove(one))
    return world


@each_case(backwards=True)
def test_a_change_that_is_cut_and_repeated_ends_as_if_it_had_not_been_cut(
    case: Case, store_url: str, *, backwards: bool
) -> None:
    for world in cuts(case, store_url, backwards=backwards):
        world.do(case.steps(world))
        assert world.all_devices() == in_order(case.left)
        world.later()
        world.use()
        assert world.all_devices() == in_order(case.left)
        world.check_whole()


@each_case(backwards=False)
def test_a_change_that_is_cut_for_good_leaves_no_push_token_to_nobody_and_no_phone_to_two(
    case: Case, store_url: str, *, backwards: bool
) -> None:
    phone = {it.push_token for it in PHONE.addresses}
    for world in cuts(case, store_url, backwards=backwards):
        reached = world.reached()
        assert len({account for account, _, push_token in reached if push_token in phone}) <= 1
        world.later()
        world.use()
        world.check_whole()
        assert world.reached() <= reached  # mending gives a phone to no one
        for one in world.all_devices():
            world.do(world.sign_out(one.account, one.device_id))
        assert world.owners() == []


@STORES
def test_a_phone_that_another_user_registered_halfway_gets_none_of_the_former_ones_alerts(
    store_url: str, *, backwards: bool
) -> None:
    """Its other push tokens still are the former user's then."""
    for world in cuts(TAKEN, store_url, backwards=backwards):
        has_moved = any(account == account_digest("cai") for _, account, _ in world.owners())
        assert not (has_moved and "ben" in {account for account, *_ in world.reached()})


@STORES
def test_a_removal_that_was_cut_can_be_restored_or_has_changed_nothing(store_url: str, *, backwards: bool) -> None:
    for world in cuts(REMOVAL, store_url, backwards=backwards):
        is_there = device() in world.all_devices()
        removed = list(world.removed.removed("main", NOON))
        assert [it.device for it in removed] == ([] if is_there else [device()])
        assert [world.removed.restore(it) for it in removed] == [RestoreResult.RESTORED] * len(removed)
        assert device() in world.all_devices()
        world.later()
        world.use()
        assert device() in world.all_devices()
        world.check_whole()


@STORES
def test_what_a_user_signed_out_cannot_be_restored_wherever_the_sign_out_was_cut(
    store_url: str, *, backwards: bool
) -> None:
    results = []
    for world in cuts(SIGN_OUT_OF_DEAD, store_url, backwards=backwards):
        removed = list(world.removed.removed("main", NOON))
        results.append([world.removed.restore(it) for it in removed])
    began = results.index([])
    assert began < len(results) - 1
    assert results[began:] == [[]] * (len(results) - began)


def test_a_change_that_took_so_long_that_another_undid_it_leaves_nothing_wherever_it_ends(store_url: str) -> None:
    """Its process was stopped between two commands for more than a minute, and dies some commands later."""
    commit = script("commit_registration").sha
    for pause in range(1, 12, 2):
        for more in range(0, 30, 2):
            world = World(store_url)
            world.do(world.register(PADS[0]))
            changing = each_command(world.register(replace(PHONE, fallbacks=(FCM,))))
            command, number, left = next(changing), 0, more
            with suppress(StopIteration, StoreUnavailable):
                while left >= 0:
                    if number == pause:
                        world.later()
                        world.use()
                    answer = world.ask(command)
                    left -= command[1] == commit or left < more  # it writes its list, and no more than so many after it
                    command, number = changing.send(answer), number + 1
            world.later()
            world.use()
            world.check_whole()
            if left >= 0:
                break


@pytest.mark.parametrize("case", [TAKEN, replace(REMOVAL, first=[PHONE], steps=lambda it: it.remove(PHONE))], ids=str)
def test_a_registration_that_comes_between_two_commands_of_another_change_stays(case: Case, store_url: str) -> None:
    """What that change looked at is not what it would take from the list."""
    for pause in range(20):
        world = prepared(case, store_url)
        changing, answer = each_command(case.steps(world)), None
        with suppress(StopIteration):
            for number in range(100):
                if number == pause:
                    world.do(world.register(AGAIN))
                answer = world.ask(changing.send(answer))
        if number < pause:
            return
        assert AGAIN in world.all_devices()
        world.later()
        world.use()
        world.check_whole()


def test_a_push_token_that_is_taken_anew_while_it_is_removed_stays_in_the_list(store_url: str) -> None:
    """The answer was about the registration before. The new one dies before it writes the list."""
    again = replace(device(), registered_at=NOON + SECOND)
    taken = next(after for after in range(20) if is_taken_anew(store_url, again, after))
    for pause in range(1, 20):
        world = prepared(REMOVAL, store_url)
        removing, answer = each_command(world.remove(device(), NOON + SECOND)), None
        with suppress(StopIteration):
            for number in range(100):
                if number == pause:
                    world.cut(world.register(again), taken)
                answer = world.ask(removing.send(answer))
        if number < pause:
            return
        removed = [it.device.device_id for it in world.removed.removed("main", NOON)]
        assert sorted([*removed, *(it.device_id for it in world.all_devices())]) == ["pad-1", "phone"]


def is_taken_anew(url: str, one: Device, after: int) -> bool:
    """So many commands of its registration take its push token, and no more."""
    world = prepared(REMOVAL, url)
    world.cut(world.register(one), after)
    at: bytes = raw(world.store, "HGET", world.owner_key(one.platform, one.push_token), "at")
    return at == b"%d" % to_ms(one.registered_at)


def test_a_reservation_whose_removal_did_not_happen_counts_for_a_minute(store_url: str) -> None:
    world, guard = World(store_url), RemovalGuard(share=0.5, at_least=2)
    for one in PADS:
        world.do(world.register(one))
    steps = world.remove(PADS[0], NOON + DAY, guard)
    reserving = steps.send(world.store.call(lambda redis: ask_now(redis, list(next(steps)))))
    world.store.call(lambda redis: ask_now(redis, list(reserving)))
    assert isinstance(world.do(world.remove(PADS[1], NOON + DAY, guard)), CountFirst)  # it would be the second one
    later = NOON + DAY + 60 * SECOND
    assert world.do(world.remove(PADS[1], later, guard)) is RemovalResult.REMOVED


@pytest.mark.parametrize("case", [it for it in CASES if it is not REMOVAL and not it.name.startswith("a dead")])
def test_a_change_whose_every_command_is_carried_out_twice_ends_the_same(case: Case, store_url: str) -> None:
    """A connection that breaks before the answers come has them asked again; but what the worker removes."""
    world = prepared(case, store_url)
    steps = case.steps(world)
    with suppress(StopIteration):
        commands = next(steps)
        while True:
            world.store.call(partial(ask_now, commands=commands))
            commands = steps.send(world.store.call(partial(ask_now, commands=commands)))
    assert world.all_devices() == in_order(case.left)
    world.later()
    world.use()
    world.check_whole()


REGISTRATIONS = st.builds(
    lambda account, device_id, tokens: Device(
        "main", account, device_id, Platform.HTTP, tokens[0], NOON,
        fallbacks=tuple(Address(Platform.HTTP, it) for it in tokens[1:]),
    ),
    st.sampled_from(["ben", "cai"]),
    st.sampled_from(["phone", "pad"]),
    st.lists(st.sampled_from("abcd"), min_size=1, max_size=3, unique=True),
)  # fmt: skip
CHANGES = st.one_of(
    REGISTRATIONS,
    REGISTRATIONS,
    st.sampled_from([("ben", "phone"), ("ben", "pad"), ("cai", "phone")]),  # sign-outs
    st.sampled_from(["remove", "restore"]),
)


@settings(max_examples=60)
@given(
    first=st.lists(REGISTRATIONS, max_size=2),
    is_dead=st.booleans(),
    changes=st.lists(CHANGES, min_size=2, max_size=4),
    runs=st.lists(st.tuples(st.integers(0, 3), st.integers(1, 12)), max_size=12),
    pause=st.none() | st.integers(0, 30),
    shards=st.sampled_from([0, 16]),
)
def test_in_whatever_order_changes_come_between_each_other_each_push_token_has_the_owner_that_names_it(
    store_urls: dict[int, str], first: list[Device], changes: list[Any], runs: list[tuple[int, int]], pause: int | None,
    shards: int, *, is_dead: bool,
) -> None:  # fmt: skip
    """Command by command. At a `pause` all stand still for longer than a change may take, but for one more."""
    world = World(store_urls[shards], per_account=9)
    first, changes = one_after_another(first, 0), one_after_another(changes, len(first))
    turns = [number for number, length in [*runs, *((number, 200) for number in range(4))] for _ in range(length)]
    for one in first:
        world.do(world.register(one))
    for one in first[:1] if is_dead else []:
        world.do(world.remove(one, NOON + DAY))
    under_way = dict(enumerate(each_command(begun(world, it, first)) for it in changes))
    answers: dict[int, Any] = {}
    refused = set()
    for turn, number in enumerate(turns):
        if turn == pause:
            world.later()
            world.use()
        if number in under_way:
            try:
                answers[number] = world.ask(under_way[number].send(answers.get(number)))
            except StopIteration:
                del under_way[number]
            except StoreUnavailable:
                refused.add(number)
                del under_way[number]
    assert not under_way
    world.later()
    world.use()
    world.check_whole()
    done = [it for number, it in enumerate(changes) if isinstance(it, Device) and number not in refused]
    for one in done:
        same = [it for it in changes if isinstance(it, Device) and is_same(it, one)]
        rivals = [it for it in (*changes, *first) if not (isinstance(it, Device) and is_same(it, one))]
        is_sure = set(same) <= set(done)  # a client that is refused repeats what it asked for
        if is_sure and not any(is_about(rival, it) for rival in rivals for it in same):
            assert not {it for it in done if is_same(it, one)}.isdisjoint(world.all_devices())
    there = {(it.account, it.device_id) for it in world.all_devices()}
    registered = {(it.account, it.device_id) for it in changes if isinstance(it, Device)}
    assert there.isdisjoint(
        {it for it in changes if isinstance(it, tuple)} - registered
    )  # no restore undoes a sign-out


def one_after_another(changes: Sequence[Any], start: int) -> list[Any]:
    """Of two registrations the later one was asked for later."""
    return [
        replace(it, registered_at=NOON + number * SECOND) if isinstance(it, Device) else it
        for number, it in enumerate(changes, start)
    ]


def begun(world: World, what: Any, devices: Sequence[Device]) -> Steps[Any]:
    removed = [it.device for it in world.removed.removed("main", NOON)]
    match what:
        case Device():
            return world.register(what)
        case (account, device_id):
            return world.sign_out(account, device_id)
        case "restore" if removed:
            return world.restore(removed[0])
        case "remove" if devices:
            return world.remove(devices[-1], NOON + len(devices) * SECOND)
        case _:
            return world.sign_out("ben", "never")


def each_command(steps: Steps[Any]) -> Generator[Command, Any, None]:
    """Its commands one by one, each to be sent its answer."""
    with suppress(StopIteration):
        commands = next(steps)
        while True:
            answers = []
            for command in commands:
                answers.append((yield command))  # noqa: PERF401  a comprehension cannot yield
            commands = steps.send(answers)


def is_same(one: Device, other: Device) -> bool:
    return (one.account, one.device_id) == (other.account, other.device_id)


def is_about(change: Any, device: Device) -> bool:
    """The device, or one of its push tokens. A restore takes from no one, and what is removed is older."""
    match change:
        case Device():
            return not {it.push_token for it in device.addresses}.isdisjoint(it.push_token for it in change.addresses)
        case (account, device_id):
            return bool((account, device_id) == (device.account, device.device_id))
        case _:
            return False
