"""The catalogue: complete, and true of what the scripts really write."""

import inspect
import re
from binascii import crc_hqx
from collections import Counter
from collections.abc import Callable
from types import FunctionType
from typing import Any

import pytest

from proxy.domain.callbacks import digest
from proxy.domain.conversations import LockRelease
from proxy.domain.dead_letters import Cause
from proxy.domain.lanes import Lane
from proxy.domain.preferences import Preferences
from proxy.domain.previews import Preview
from proxy.domain.settlements import Bury, Postpone
from proxy.store import keys
from proxy.store.connection import Store
from proxy.store.devices.addresses import RedisAddresses
from proxy.store.devices.registry import RedisDeviceRegistry
from proxy.store.keys import Layout, tags_of
from proxy.store.marks import Marks
from proxy.store.queue.conversation_locks import RedisConversationLocks
from proxy.store.queue.inbox import RedisInbox
from proxy.store.queue.lane_states import RedisLaneStates
from proxy.store.server.health import RedisHealth
from proxy.store.users.preferences import RedisPreferences
from proxy.store.users.presence import RedisPresence
from tests.store.samples import (
    DAY,
    LAYOUT,
    LEASE,
    NOON,
    SECOND,
    apns_lane,
    callback,
    device,
    for_inbox,
    job,
    mipush_lane,
    new_of,
    put_jobs,
    queue_of,
    raw,
    with_redis,
)

LANE = Lane("77", "main", "apns")
COMPACT = Layout(1, Marks.new(1))
(TAG,) = tags_of(1)
TAGS_OF_1024 = "acd6cd6dea6a3e844e950f214299cc42"
SAMPLES: dict[str, Callable[[], str]] = {
    "workers": keys.workers,
    "figures": lambda: keys.figures(60, 1795435200),
    "worker_state": lambda: keys.worker_state("host-1-ab"),
    "jobs": lambda: LAYOUT.jobs(LANE, 0),
    "moved": lambda: LAYOUT.moved("77", 0, "callbacks"),
    "retries": lambda: LAYOUT.retries(LANE, 0),
    "pause": lambda: keys.pause(LANE),
    "probe": lambda: keys.probe(LANE),
    "resumed": lambda: keys.resumed(LANE),
    "rest_of": lambda: keys.rest_of(LAYOUT.push_token("77", "main", "apns", "a1b2")),
    "shown": lambda: LAYOUT.shown(LANE, "l1"),
    "sent": lambda: LAYOUT.sent(LANE, "l1"),
    "conversation_lock": lambda: LAYOUT.conversation_lock(LANE, "l1"),
    "unknown": lambda: LAYOUT.unknown(LANE, "ben"),
    "callbacks": lambda: LAYOUT.callbacks("77", 0),
    "waiting": lambda: LAYOUT.waiting("77", 0),
    "writes": lambda: LAYOUT.writes("77", 0),
    "seen": lambda: LAYOUT.seen("77", "c1"),
    "planned": lambda: LAYOUT.planned("77", "m1", 0),
    "marks_of_message": lambda: COMPACT.marks_of_message("77", "m1", 0, 1795435200000)[0],
    "marks_of_callback": lambda: COMPACT.marks_of_callback("77", "c1", 1795435200000, 1)[0][0],
    "words": lambda: LAYOUT.words("77", 0, b"\x01"),
    "said": lambda: LAYOUT.said("77", "3f2a"),
    "badge": lambda: LAYOUT.badge("77", "ben"),
    "badge_due": lambda: LAYOUT.badge_due("77", "ben"),
    "fold": lambda: LAYOUT.fold("77", "ben", "3f2a"),
    "dead_letters": lambda: LAYOUT.dead_letters("77", 0),
    "dead_words": lambda: LAYOUT.dead_words("77", "1793534400000-0", 0),
    "account": lambda: LAYOUT.account("77", "main", "ben"),
    "leftovers": lambda: LAYOUT.leftovers("77", "main", "3f2a"),
    "present": lambda: LAYOUT.present("77", "ben"),
    "preferences": lambda: LAYOUT.preferences("77", "ben"),
    "push_token": lambda: LAYOUT.push_token("77", "main", "apns", "a1b2"),
    "device_count": lambda: LAYOUT.device_count("77", "main", "apns", 0),
    "removed": lambda: keys.removed("77", "main", "apns"),
    "removed_record_of": lambda: keys.removed_record_of(LAYOUT.push_token("77", "main", "apns", "a1b2")),
    "removed_of_account": lambda: LAYOUT.removed_of_account("77", "main", "3f2a"),
    "held": lambda: keys.held("77", "main", "apns"),
    "reserved": lambda: keys.reserved("77", "main", "apns"),
    "removal_guard": lambda: keys.removal_guard("77", "main", "apns"),
    "provider_token": lambda: keys.provider_token("TEAM", "KEY", b"PEM"),
    "history_new": lambda: LAYOUT.history_new("77", 0),
    "history": lambda: LAYOUT.history("77", 63, 0),
    "quota": lambda: keys.quota("77", "personal"),
    "quota_of_users": lambda: keys.quota_of_users("77", "personal"),
    "quota_of_account": lambda: keys.quota_of_account("77", "personal", "ben"),
    "ready": lambda: keys.ready("77"),
    "identity": keys.identity,
    "clocks": keys.clocks,
    "tokens": keys.tokens,
    "blocked_accounts": keys.blocked_accounts,
    "blocked_session": lambda: keys.blocked_session("s1"),
    "api_keys": keys.api_keys,
    "api_keys_used": keys.api_keys_used,
    "idempotency": lambda: keys.idempotency("3f2a"),
    "calls": lambda: keys.calls("token_per_account", "ben"),
    "signed_in": lambda: keys.signed_in("ben", "203.0.113.7"),
}


OF_THE_APP = {
    "pause",
    "probe",
    "resumed",
    "removed",
    "held",
    "reserved",
    "removal_guard",
    "ready",
    "quota",
    "quota_of_users",
    "quota_of_account",
}
SHARED = {
    "provider_token",
    "identity",
    "clocks",
    "tokens",
    "workers",
    "worker_state",
    "figures",
    "blocked_accounts",
    "blocked_session",
    "api_keys",
    "api_keys_used",
    "idempotency",
    "calls",
    "signed_in",
}  # not one app's own


def catalogue() -> list[re.Pattern[str]]:
    """The rows of the module's docstring, each <placeholder> standing for any text without a colon."""
    found = re.findall(r"^    ((?:proxy:|~)\S*(?: d>\S*| id>\S*)?)", inspect.getdoc(keys) or "", re.MULTILINE)
    assert len(found) == 56
    rows = [row.replace("~~", f"proxy:{{{TAG}}}:").replace("~", f"proxy:{{{TAG}}}:<appId>:") for row in found]
    row_texts = [re.escape(row).replace(r"\ ", " ") for row in rows]
    texts = [
        text.replace(re.escape("{appId}"), r"\{77\}").replace(re.escape("{<team>}"), r"\{TEAM\}") for text in row_texts
    ]
    return [re.compile(re.sub(r"<[^>]*>", "[^:]+", text)) for text in texts]


def test_every_function_makes_a_key_of_the_catalogue_and_every_row_has_one() -> None:
    functions = {
        name
        for of in (keys, Layout)
        for name, it in vars(of).items()
        if isinstance(it, FunctionType) and it.__module__ == keys.__name__ and not name.startswith("_")
    }
    others = {
        name
        for name in functions
        if name.endswith(("_prefix", "_of"))
        or name.startswith(("shard_of_", "mark_", "marks_of_targets", "base_", "is_"))
    }
    assert functions - others - {"spread", "place", "name_at"} | {"rest_of", "removed_record_of"} == set(SAMPLES)
    made = [sample() for sample in SAMPLES.values()]
    rows = catalogue()
    for key in made:
        assert [row for row in rows if row.fullmatch(key)], key
    for row in rows:
        assert [key for key in made if row.fullmatch(key)], row


@pytest.mark.parametrize("name", [name for name in SAMPLES if name not in SHARED])
def test_all_keys_of_an_app_carry_a_shards_hash_tag_or_its_own(name: str) -> None:
    assert re.findall(r"\{(.*?)\}", SAMPLES[name]()) == (["77"] if name in OF_THE_APP else [TAG])


@pytest.mark.parametrize("shards", [1, 2, 16, 64, 1024])
def test_shards_are_spread_over_the_masters_of_a_cluster(shards: int) -> None:
    """CRC16 is the store's own: see test_cluster's slots."""
    slots = [crc_hqx(tag.encode(), 0) % 16384 for tag in tags_of(shards)]
    assert len(set(tags_of(shards))) == shards
    for masters in (3, 6):
        of_each = Counter(slot * masters // 16384 for slot in slots)
        assert max(of_each.values()) <= max(1.16 * shards / masters, 1)


def test_the_tags_of_a_store_never_change() -> None:
    """Or its keys would not be found any more."""
    first, *_, last = tags_of(16)
    assert (first, last, digest(*tags_of(1024))) == ("0.200", "15.151", TAGS_OF_1024)


def test_accounts_tokens_and_callbacks_are_spread_over_the_shards() -> None:
    layout = Layout(16)
    for shard_of in (
        layout.shard_of_account, layout.shard_of_callback, lambda text: layout.shard_of_digest(digest(text)),
    ):  # fmt: skip
        found = Counter(shard_of(f"user-{n}") for n in range(100_000))
        assert set(found) == set(layout.all_shards)
        assert max(found.values()) < 1.05 * 100_000 / 16


@pytest.mark.parametrize("masters", [3, 6])
def test_accounts_are_spread_over_the_masters_of_a_cluster(masters: int) -> None:
    layout = Layout(16)
    slots = [crc_hqx(tag.encode(), 0) % 16384 for tag in tags_of(16)]
    found = Counter(slots[layout.shard_of_account(f"user-{n}")] * masters // 16384 for n in range(100_000))
    assert len(found) == masters
    assert max(found.values()) <= 1.16 * 100_000 / masters


def test_an_earlier_programs_keys_are_those_of_a_store_without_shards() -> None:
    layout = Layout(0)
    assert layout.all_shards == range(1)
    assert layout.jobs(LANE, 0) == "proxy:{77}:jobs:main:apns"
    assert layout.callbacks("77", 0) == "proxy:{77}:callbacks"
    assert layout.account("77", "main", "ben") == f"proxy:{{77}}:account:main:{digest('ben')}"


@pytest.mark.parametrize(
    "make",
    [
        lambda text: LAYOUT.account("77", "main", text),
        lambda text: LAYOUT.preferences("77", text),
        lambda text: LAYOUT.present("77", text),
        lambda text: LAYOUT.push_token("77", "main", "apns", text),
        lambda text: LAYOUT.badge("77", text),
        lambda text: LAYOUT.badge_due("77", text),
        lambda text: LAYOUT.fold("77", text, "").rstrip(":"),
        lambda text: LAYOUT.unknown(LANE, text),
        lambda text: keys.calls("token_per_account", text),
        lambda text: keys.quota_of_account("77", "personal", text),
        lambda text: keys.signed_in(text, "203.0.113.7"),
    ],
)
def test_what_users_name_enters_a_key_as_a_digest(make: Callable[[Any], str]) -> None:
    odd = make("}:*[\n ben")
    assert "ben" not in odd
    assert re.fullmatch(r"[0-9a-f]{32}", odd.rsplit(":", 1)[1])
    assert make("other") != odd


def kind_of(name: str, app_id: str) -> str:
    return name.replace("{", "").replace("}", "").partition(f"{app_id}:")[2].split(":")[0]


def test_all_that_a_message_leaves_in_the_store_is_in_the_catalogue_and_ends_by_itself_or_is_capped(
    store: Store, store_url: str, app_id: str
) -> None:
    lane = mipush_lane(app_id)
    RedisInbox(store, DAY, 10).accept(*for_inbox(callback(app_id), NOON))
    RedisDeviceRegistry(store, {"main": app_id}).register(device())
    RedisPreferences(store, {"main": app_id}).write("main", "ben", Preferences(preview=Preview.NONE), None)
    RedisPresence(store, {"main": app_id}, SECOND).note("main", "ben")
    RedisHealth(store, [lane], lambda: NOON).check()

    async def scenario(redis: Any) -> None:
        queue, addresses = queue_of(redis), RedisAddresses(redis, {"main": app_id}, "worker-1")
        await queue.ensure_groups(lane)
        await put_jobs(redis, lane, [job(lane, name, "") for name in ("ben", "cai", "dan")])
        late, dead, _ = await new_of(queue, lane)
        one = job(lane)
        await queue.settle_jobs(lane, [Postpone(late.id, one, NOON), Bury(dead.id, Cause.EXPIRED, "late", one)])
        await RedisLaneStates(redis).pause(lane, "quota", NOON, NOON + SECOND)
        await RedisLaneStates(redis).pause(apns_lane(app_id), "quota", NOON, NOON + SECOND)
        await RedisLaneStates(redis).resume(apns_lane(app_id))
        await addresses.rest(device(), DAY)
        await addresses.remember_unknown(lane, "ghost", DAY)
        locks = RedisConversationLocks(redis, "worker-1")
        await locks.acquire(lane, ["line-1", "line-2"], LEASE)
        await locks.mark_sent(lane, [("line-2", one.alert.order)], DAY)
        await locks.release(lane, [LockRelease("line-1", one.alert.order, accepted=True, over=True)], DAY)

    with_redis(store_url, scenario)
    names = [it.decode() for it in store.call(lambda it: list(it.scan_iter(match=f"*{app_id}*", count=1000)))]
    kinds = {kind_of(name, app_id) for name in names}
    assert kinds == {
        "callbacks", "jobs", "retries", "pause", "probe", "resumed", "rest", "shown", "flying", "sent", "unknown",
        "dead", "dead-words", "account", "preferences", "present", "token", "devices", "ready", "writes",
    }  # fmt: skip
    for name in names:
        assert [row for row in catalogue() if row.fullmatch(name.replace(app_id, "77"))], name
    endless = {kind_of(name, app_id) for name in names if raw(store, "TTL", name) < 0}
    assert endless == {"callbacks", "jobs", "retries", "dead", "writes"}  # jobs and retries share the lane's cap


def test_where_a_key_lies_can_be_read_from_its_name() -> None:
    """All that is in a shard, and nothing else, whatever the layout."""
    for name, sample in SAMPLES.items():
        made, earlier = sample(), sample().replace(f"{{{TAG}}}:77", "{77}").replace(f"{{{TAG}}}:", "{77}:")
        is_in_a_shard = name not in OF_THE_APP | SHARED
        for layout, its in ((Layout(1), made), (Layout(0), earlier)):
            place = layout.place(its)
            assert (place is not None) == is_in_a_shard, its
            assert place is None or layout.name_at(place) == its
        assert Layout(16).place(made) is None
    tags = [tag for shards in (1 << n for n in range(9)) for tag in tags_of(shards)]
    assert len(set(tags)) == len(tags)
