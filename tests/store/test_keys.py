"""The catalogue: complete, and true of what the scripts really write."""

import inspect
import re
from collections.abc import Callable
from types import FunctionType
from typing import Any

import pytest

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
from proxy.store.queue.conversation_locks import RedisConversationLocks
from proxy.store.queue.inbox import RedisInbox
from proxy.store.queue.lane_states import RedisLaneStates
from proxy.store.server.health import RedisHealth
from proxy.store.users.preferences import RedisPreferences
from proxy.store.users.presence import RedisPresence
from tests.store.samples import (
    DAY,
    LEASE,
    NO_WAIT,
    NOON,
    SECOND,
    apns_lane,
    callback,
    device,
    for_inbox,
    job,
    mipush_lane,
    put_jobs,
    queue_of,
    raw,
    with_redis,
)

LANE = Lane("77", "main", "apns")
SAMPLES: dict[str, Callable[[], str]] = {
    "workers": keys.workers,
    "worker_state": lambda: keys.worker_state("host-1-ab"),
    "jobs": lambda: keys.jobs(LANE),
    "retries": lambda: keys.retries(LANE),
    "pause": lambda: keys.pause(LANE),
    "probe": lambda: keys.probe(LANE),
    "resumed": lambda: keys.resumed(LANE),
    "rest_of": lambda: keys.rest_of(keys.push_token("77", "main", "apns", "a1b2")),
    "shown": lambda: keys.shown(LANE, "l1"),
    "sent": lambda: keys.sent(LANE, "l1"),
    "conversation_lock": lambda: keys.conversation_lock(LANE, "l1"),
    "unknown": lambda: keys.unknown(LANE, "ben"),
    "callbacks": lambda: keys.callbacks("77"),
    "waiting": lambda: keys.waiting("77"),
    "writes": lambda: keys.writes("77"),
    "seen": lambda: keys.seen("77", "c1"),
    "planned": lambda: keys.planned("77", "m1"),
    "said": lambda: keys.said("77", "3f2a"),
    "badge": lambda: keys.badge("77", "ben"),
    "badge_due": lambda: keys.badge_due("77", "ben"),
    "fold": lambda: keys.fold("77", "ben", "3f2a"),
    "dead_letters": lambda: keys.dead_letters("77"),
    "dead_words": lambda: keys.dead_words("77", "1793534400000-0"),
    "account": lambda: keys.account("77", "main", "ben"),
    "present": lambda: keys.present("77", "ben"),
    "preferences": lambda: keys.preferences("77", "ben"),
    "push_token": lambda: keys.push_token("77", "main", "apns", "a1b2"),
    "removed": lambda: keys.removed("77", "main", "apns"),
    "removed_registration": lambda: keys.removed_registration("77", "main", "apns", "a1b2"),
    "removed_of_account": lambda: keys.removed_of_account("77", "main", "ben"),
    "held": lambda: keys.held("77", "main", "apns"),
    "removal_guard": lambda: keys.removal_guard("77", "main", "apns"),
    "provider_token": lambda: keys.provider_token("TEAM", "KEY", b"PEM"),
    "history_new": lambda: keys.history_new("77"),
    "history": lambda: keys.history("77", 63),
    "ready": lambda: keys.ready("77"),
    "identity": keys.identity,
    "clocks": keys.clocks,
    "tokens": keys.tokens,
    "blocked_accounts": keys.blocked_accounts,
    "blocked_session": lambda: keys.blocked_session("s1"),
    "calls": lambda: keys.calls("token_per_account", "ben"),
    "signed_in": lambda: keys.signed_in("ben", "203.0.113.7"),
}


SHARED = {
    "provider_token",
    "identity",
    "clocks",
    "tokens",
    "workers",
    "worker_state",
    "blocked_accounts",
    "blocked_session",
    "calls",
    "signed_in",
}  # not one app's own


def catalogue() -> list[re.Pattern[str]]:
    """The rows of the module's docstring, each <placeholder> standing for any text without a colon."""
    rows = re.findall(r"^    (proxy:\S*(?: d>\S*| id>\S*)?)", inspect.getdoc(keys) or "", re.MULTILINE)
    assert len(rows) == 43
    row_texts = [re.escape(row).replace(r"\ ", " ") for row in rows]
    texts = [
        text.replace(re.escape("{appId}"), r"\{77\}").replace(re.escape("{<team>}"), r"\{TEAM\}") for text in row_texts
    ]
    return [re.compile(re.sub(r"<[^>]*>", "[^:]+", text)) for text in texts]


def test_every_function_makes_a_key_of_the_catalogue_and_every_row_has_one() -> None:
    functions = {
        name
        for name, it in vars(keys).items()
        if isinstance(it, FunctionType) and it.__module__ == keys.__name__ and not name.startswith("_")
    }
    assert {name for name in functions if not name.endswith("_prefix")} == set(SAMPLES)
    made = [sample() for sample in SAMPLES.values()]
    rows = catalogue()
    for key in made:
        assert [row for row in rows if row.fullmatch(key)], key
    for row in rows:
        assert [key for key in made if row.fullmatch(key)], row


@pytest.mark.parametrize("name", [name for name in SAMPLES if name not in SHARED])
def test_all_keys_of_an_app_carry_its_hash_tag(name: str) -> None:
    assert re.findall(r"\{(.*?)\}", SAMPLES[name]()) == ["77"]


@pytest.mark.parametrize(
    "make",
    [
        lambda text: keys.account("77", "main", text),
        lambda text: keys.preferences("77", text),
        lambda text: keys.present("77", text),
        lambda text: keys.push_token("77", "main", "apns", text),
        lambda text: keys.removed_registration("77", "main", "apns", text),
        lambda text: keys.removed_of_account("77", "main", text),
        lambda text: keys.badge("77", text),
        lambda text: keys.badge_due("77", text),
        lambda text: keys.fold("77", text, "").rstrip(":"),
        lambda text: keys.unknown(LANE, text),
        lambda text: keys.calls("token_per_account", text),
        lambda text: keys.signed_in(text, "203.0.113.7"),
    ],
)
def test_what_users_name_enters_a_key_as_a_digest(make: Callable[[Any], str]) -> None:
    odd = make("}:*[\n ben")
    assert "ben" not in odd
    assert re.fullmatch(r"[0-9a-f]{32}", odd.rsplit(":", 1)[1])
    assert make("other") != odd


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
        await queue.ensure_group(keys.jobs(lane))
        await put_jobs(redis, lane, [job(lane, name, "") for name in ("ben", "cai", "dan")])
        late, dead, _ = await queue.claim(keys.jobs(lane), 10, NO_WAIT)
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
    names = [it.decode() for it in store.call(lambda it: list(it.scan_iter(match=f"proxy:{{{app_id}}}*", count=1000)))]
    kinds = {name.split(":")[2] for name in names}
    assert kinds == {
        "callbacks", "seen", "planned", "jobs", "retries", "pause", "probe", "resumed", "rest", "shown", "flying",
        "sent", "unknown", "dead", "dead-words", "account", "preferences", "present", "token", "ready", "writes",
    }  # fmt: skip
    for name in names:
        assert [row for row in catalogue() if row.fullmatch(name.replace(app_id, "77"))], name
    endless = {name.split(":")[2] for name in names if raw(store, "TTL", name) < 0}
    assert endless == {"callbacks", "jobs", "retries", "dead", "writes"}  # jobs and retries share the lane's cap
