"""One of everything that the program keeps in the store: written, read back, and laid out as files.

    python tests/store/golden.py lay FOLDER       write it into a store of its own, then a file for each kind of key
    python tests/store/golden.py put FOLDER URL   put those files into that empty store
    python tests/store/golden.py read URL          read it from there, and print as JSON what it says
    python tests/store/golden.py spool FILE        write a spool file of two callbacks, of which one is done

The package that is imported decides which version does it: `PYTHONPATH=<a checkout>` names it. What lies in
`tests/data/records/<format>` was laid so by the first version of that format.
"""

import asyncio
import json
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, time, timedelta
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from proxy.domain import kinds
from proxy.domain.alerts import Alert, AlertText, Order, Update
from proxy.domain.api_keys import KEY_BYTES, ApiKey, Scope, hash_of, id_of, new_bearer
from proxy.domain.callbacks import Callback, CallbackOrigin, Kind, Recipient
from proxy.domain.conversations import LockRelease
from proxy.domain.dead_letters import Cause
from proxy.domain.devices import ApnsEnvironment, Device, Platform
from proxy.domain.jobs import Job, Try
from proxy.domain.lanes import Callbacks, Lane
from proxy.domain.monitoring import TokenFacts
from proxy.domain.offline_messages import offline_message
from proxy.domain.preferences import Mute, Preferences, QuietHours
from proxy.domain.previews import Preview
from proxy.domain.quotas import Amount, Quota, QuotaRequest
from proxy.domain.settlements import Bury, PlanChunk, PlanEnd, Postpone
from proxy.domain.times import from_ms, to_ms
from proxy.spool import format as spool
from proxy.store import keys
from proxy.store.connection import Store, async_redis
from proxy.store.devices.addresses import RedisAddresses
from proxy.store.devices.changes import Change
from proxy.store.devices.registering import registering
from proxy.store.devices.registry import RedisDeviceRegistry
from proxy.store.devices.removal import DeviceRemoval, RemovalGuard, removing
from proxy.store.keys import Layout
from proxy.store.provider_tokens import SharedProviderToken
from proxy.store.queue.conversation_locks import RedisConversationLocks
from proxy.store.queue.dead_letters import RedisDeadLetters
from proxy.store.queue.folds import Folding
from proxy.store.queue.inbox import RedisInbox
from proxy.store.queue.lane_states import RedisLaneStates
from proxy.store.queue.streams import RedisQueue
from proxy.store.queue.withdrawals import RedisWithdrawals
from proxy.store.records import dump_offline_message, load_job, load_offline_message
from proxy.store.scripts import ask_now, ask_strictly
from proxy.store.server.clocks import clock_commands
from proxy.store.server.embedded import ensure_store, stop_store
from proxy.store.server.health import RedisHealth
from proxy.store.server.token_facts import token_commands
from proxy.store.server.worker_states import WorkerStates
from proxy.store.steps import Steps
from proxy.store.users.api_keys import RedisApiKeys
from proxy.store.users.blocks import RedisBlocks
from proxy.store.users.preferences import RedisPreferences
from proxy.store.users.presence import RedisPresence
from proxy.store.users.quotas import RedisQuotas
from proxy.store.users.unread import uncounting
from tests.store.samples import DAY, MS, NOON, SECOND, for_inbox, new_of, pauses, queue_of

APP_ID = "2882303761517000009"
LAYOUT = Layout(0)  # formats began in it
APNS, MIPUSH = Lane(APP_ID, "main", "apns"), Lane(APP_ID, "main", "mipush")
APP_IDS = {"main": APP_ID}
PROVIDER_TOKEN = "head.claims.signature"
PROVIDER_KEY = keys.provider_token("TEAM000001", "KEY0000001", b"PEM")
LINE = "3f2a"

TO_A_GROUP = Callback(
    kind=Kind.OFFLINE_TOPIC_MSG,
    app_id=APP_ID,
    from_account="ann",
    topic_id="21351198708203520",
    recipients=(Recipient("ben"), Recipient("小 米", ("r1", "r2"))),
    payload=b"\x00words of ann\xff",
    origin=CallbackOrigin(APP_ID, (APP_ID,), "1795435200000", None),
    sent_at=NOON - SECOND,
    sequence="154503794553568001",
    packet_id="packet-1",
    biz_type="TEXT",
)
TO_ONE = Callback(
    kind=Kind.OFFLINE_MSG,
    app_id=APP_ID,
    from_account="ann",
    topic_id=None,
    recipients=(Recipient("ben"),),
    payload=b"",
    origin=CallbackOrigin(APP_ID, (APP_ID,), None, None),
)
IPHONE = Device(
    "main", "ben", "phone-1", Platform.APNS, "a1b2c3", NOON, ApnsEnvironment.SANDBOX, "zh-CN", "r1"
)  # fmt: skip
XIAOMI = Device("main", "ben", "phone-2", Platform.MIPUSH, "regid/+=", NOON + MS)
FORGOTTEN = Device("main", "fay", "phone-5", Platform.APNS, "d4e5f6", NOON, ApnsEnvironment.PRODUCTION, "en", "r2")
HELD = Device("main", "gil", "phone-6", Platform.APNS, "e5f6a7", NOON)
PREFERENCES = Preferences(
    {"p2p:小 米": Mute(), "topic:21351198708203520": Mute(NOON + DAY, mentions_pass=True)},
    QuietHours(time(22, 30), time(7), ZoneInfo("Asia/Shanghai"), calls_pass=False),
    Preview.SENDER,
)
BEARER = new_bearer(b"of the golden records".ljust(KEY_BYTES, b"."))
BOT = ApiKey(
    id_of(hash_of(BEARER)), "bot", "main", "小 米", frozenset({Scope.PUSH_SEND, Scope.HISTORY_READ}), NOON,
    NOON + SECOND,
)  # fmt: skip
TRIES = (Try(NOON - SECOND, "503 ServiceUnavailable"), Try(NOON, "no answer in time"))
ORDER = Order(154503794553568001, 1795435199000, 1795435200000)


class Jobs(NamedTuple):
    """Jobs in each of their states."""

    fresh: Job
    to_account: Job
    waiting: Job
    ended: Job


def jobs() -> Jobs:
    alert = Alert("m1", "topic:21351198708203520", AlertText("小 米", "words of ann 🙂\n"), ORDER, NOON + DAY)
    return Jobs(
        Job("main", "apns", "ben", "phone-1", alert),
        Job("main", "mipush", "ben", "", alert),
        Job("main", "apns", "cai", "phone-3", alert, 3, second_chance=True, history=TRIES),
        Job("main", "apns", "dan", "phone-4", alert, 1, history=TRIES[1:]),
    )


def write(url: str) -> None:
    """Put one of everything into an empty store."""
    store = Store(url)  # which an earlier version met first: so all formats began
    store.call(lambda redis: redis.hset(keys.identity(), mapping={"id": "0123456789abcdef", "made_at": to_ms(NOON)}))
    RedisInbox(store, DAY, 10).accept(*for_inbox(TO_A_GROUP, NOON))
    RedisInbox(store, DAY, 10).accept(*for_inbox(TO_ONE, NOON))
    devices = RedisDeviceRegistry(store, APP_IDS)
    skews = {"mimc": timedelta(seconds=90)}
    store.call(lambda redis: clock_commands(redis, skews, SECOND, NOON, machine="machine-1").execute())
    seen = TokenFacts({"main": NOON}, {"pad": (NOON, "MIMC's code 401")}, {("main", "answer"): NOON})
    store.call(lambda redis: token_commands(redis, seen).execute())
    devices.register(IPHONE)
    devices.register(XIAOMI)
    devices.register(FORGOTTEN)
    devices.register(HELD)
    RedisPreferences(store, APP_IDS).write("main", "ben", PREFERENCES, None)
    RedisPresence(store, APP_IDS, DAY).note("main", "ben")
    RedisBlocks(store).block("eve")
    RedisBlocks(store).block_session("session-1", DAY)
    RedisHealth(store, [APNS], lambda: NOON).check()
    RedisApiKeys(store).add(BOT, BEARER)
    RedisApiKeys(store).find(BEARER, NOON + SECOND)
    RedisQuotas(store, APP_IDS, {Amount.PERSONAL: Quota(50, DAY)}).take(
        QuotaRequest("main", Amount.PERSONAL, 45, "ben"), NOON
    )
    asyncio.run(_with_redis(url, _work))
    store.call(lambda redis: redis.set(LAYOUT.writes(APP_ID, 0), 3))  # whatever it took in this version
    devices.remove("main", HELD.account, HELD.device_id)
    began = Change(LAYOUT, APP_ID, "main", to_ms(NOON), f"{to_ms(NOON)}-0a1b2c3d")
    _begin(store, registering(began, replace(HELD, device_id="phone-8"), 10), 1)
    _begin(store, removing(began, XIAOMI, RemovalGuard(share=1), NOON + SECOND, NOON + SECOND), 2)


def _begin(store: Store, steps: Steps[Any], count: int) -> None:
    """A change that never ends."""
    commands = next(steps)
    for _ in range(count):
        commands = steps.send(store.call(partial(ask_now, commands=commands)))


def spool_file() -> bytes:
    first, second = (
        spool.dump(it.callback_id, dump_offline_message(offline_message(it, NOON))) for it in (TO_A_GROUP, TO_ONE)
    )
    return first + spool.DONE + second[len(spool.DONE) :]


def read(url: str) -> dict[str, Any]:
    """What the program makes of a store in which one of everything lies. It changes the store."""
    store = Store(url, app_ids=[APP_ID])
    told: dict[str, Any] = {
        "group again": RedisInbox(store, DAY, 10).accept(*for_inbox(TO_A_GROUP, NOON)).duplicate,
        "devices": [_device(it) for it in RedisDeviceRegistry(store, APP_IDS).devices_of("main", "ben")],
        "dead": [
            [it.reason, it.app, it.channel, *_dead_job(it.subject)]
            for it in RedisDeadLetters(store, jobs_cap=9, callbacks_cap=9).newest_first(APP_ID)
        ],
        "blocked": [
            RedisBlocks(store).is_blocked("eve", None),
            RedisBlocks(store).is_blocked("ben", None),
            RedisBlocks(store).is_blocked("ben", "session-1"),
        ],
    }
    told |= asyncio.run(_with_redis(url, _look))
    return told


def snapshot(url: str) -> dict[str, list[dict[str, Any]]]:
    """Kind of key -> its keys, each with type and value. Ids of stream entries are the time, and left out."""
    store = Store(url)
    found: dict[str, list[dict[str, Any]]] = {}
    for name in sorted(store.call(lambda redis: list(redis.scan_iter(match="proxy:*")))):
        type_, value = store.call(partial(_typed, name=name))
        kind = name.decode().split(":")[2]
        key = re.sub(r"\d+-\d+$", "0-0", name.decode())
        found.setdefault(kind, []).append({"key": key, "type": type_, "value": value})
    return found


def restore(url: str, kept: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Put a snapshot into an empty store, with plain commands."""

    def put(redis: Any) -> None:
        for it in (it for found in kept.values() for it in found):
            key, value = it["key"], it["value"]
            match it["type"]:
                case "stream":
                    for fields in value:
                        redis.xadd(key, fields)
                case "hash":
                    redis.hset(key, mapping={name: _raw(text) for name, text in value.items()})
                case "zset":
                    redis.zadd(key, {_raw(member): score for member, score in value})
                case "set":
                    redis.sadd(key, *value)
                case _:
                    redis.set(key, value)

    Store(url).call(put)


def lay(folder: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="golden-", dir="/tmp") as place:
        url = ensure_store(Path(place))
        try:
            write(url)
            found = snapshot(url)
        finally:
            stop_store(Path(place))
    folder.mkdir(parents=True, exist_ok=True)
    for kind, it in found.items():
        (folder / f"{kind}.json").write_text(json.dumps(it, indent=1, ensure_ascii=False) + "\n")


def laid(folder: Path) -> dict[str, list[dict[str, Any]]]:
    return {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}


def main(*order: str) -> None:
    match order:
        case ("lay", folder):
            lay(Path(folder))
        case ("put", folder, url):
            restore(url, laid(Path(folder)))
        case ("read", url):
            sys.stdout.write(json.dumps(read(url), indent=1, ensure_ascii=False) + "\n")
        case ("spool", file):
            Path(file).write_bytes(spool_file())
        case _:
            raise SystemExit(__doc__)


async def _with_redis(url: str, scenario: Any) -> Any:
    redis = async_redis(url, timeout_s=5.0, app_ids=[APP_ID])
    await redis.learn_layout()
    try:
        return await scenario(redis)
    finally:
        await redis.aclose()


async def _work(redis: Any) -> None:
    queue, addresses, one = queue_of(redis), RedisAddresses(redis, APP_IDS, "worker-1"), jobs()
    await queue.ensure_groups(APNS)
    planned = [(APNS, one.waiting), (APNS, one.ended), (APNS, one.fresh), (MIPUSH, one.to_account)]
    chunks = [PlanChunk(APP_ID, id_, some) for id_, some in (("m1", planned), ("m2", planned[1:2]))]
    await queue.append_planned(chunks, NOON)
    await queue.ensure_groups(Callbacks(APP_ID))
    await redis.xadd(LAYOUT.callbacks(APP_ID, 0), {"r": dump_offline_message(offline_message(TO_ONE, NOON + SECOND))})
    *_, callback = await new_of(queue, Callbacks(APP_ID), 3)
    full = PlanEnd(callback.id, frozenset({APNS, MIPUSH}), 2)
    await queue.settle_callbacks(APP_ID, [full], NOON)
    entries = await new_of(queue, APNS, 4)
    assert [load_job(it.record) for it in entries] == [one.waiting, one.ended, one.fresh, one.ended]
    waiting, ended, _, unread = entries
    await queue.settle_jobs(
        APNS,
        [
            Postpone(waiting.id, one.waiting, NOON + SECOND),
            Bury(ended.id, Cause.REJECTED, "BadTopic", one.ended),
            Bury(unread.id, Cause.UNREADABLE, "unreadable", unread),
        ],
    )
    removal = DeviceRemoval(redis, APP_IDS, RemovalGuard(share=0.25, at_least=2))
    for device in (FORGOTTEN, HELD):
        await removal.remove(device, NOON + SECOND, NOON + SECOND)
    await RedisLaneStates(redis).pause(APNS, "InvalidProviderToken", NOON, NOON + DAY)
    await RedisLaneStates(redis).pause(MIPUSH, "quota", NOON, NOON + DAY)
    await RedisLaneStates(redis).resume(MIPUSH)
    await addresses.rest(IPHONE, DAY)
    await addresses.mark_invalid(IPHONE, "BadDeviceToken")
    await addresses.remember_unknown(MIPUSH, "ghost", DAY)
    locks = RedisConversationLocks(redis, "worker-1")
    await locks.acquire(MIPUSH, [LINE, "4e5f"], timedelta(days=1))
    await locks.mark_sent(MIPUSH, [("4e5f", ORDER)], DAY)
    await locks.release(MIPUSH, [LockRelease(LINE, ORDER, accepted=True, over=True)], DAY)
    await _provider_token(redis).current()
    await _count_and_withdraw(redis)
    await WorkerStates(redis).write("machine-1-17-0a1b2c3d", {"state": "ok"}, NOON)


async def _count_and_withdraw(redis: Any) -> None:
    lane, message = Lane(APP_ID, "main", "http"), offline_message(TO_A_GROUP, NOON)
    alert = Alert(message.message_id, message.conversation, AlertText("小 米", "words of ann"), ORDER, NOON + DAY)
    job = Job("main", "http", "cai", "phone-7", alert)
    counting = RedisQueue(redis, "worker-1", lease=DAY, dedupe_ttl=DAY, jobs_cap=9, dead_cap=9, counts_unread=True)
    at = from_ms(ORDER.accepted_at_ms)
    await counting.append_planned(
        [PlanChunk(APP_ID, id_, [(lane, replace(job, alert=replace(alert, message_id=id_)))])
         for id_ in (message.message_id, "f" * 32)],
        at,
    )  # fmt: skip
    kept = RedisWithdrawals(redis, ttl=DAY, jobs_cap=9)
    told = replace(job, alert=replace(alert, text=AlertText("", "", kinds.Kind.NEW), update=Update.BADGE))
    read = uncounting(LAYOUT, APP_ID, "cai", message.conversation, at, [(lane, told)], message_ids=[message.message_id])
    await ask_strictly(redis, [kept.saying(message, "TEXT_1"), read])
    folding = RedisQueue(
        redis, "worker-1", lease=DAY, dedupe_ttl=DAY, jobs_cap=9, dead_cap=9, folding=Folding(60 * SECOND)
    )
    for id_ in ("e" * 32, "d" * 32, "c" * 32):  # at once, and two that are folded
        one = replace(job, alert=replace(alert, message_id=id_))
        await folding.append_planned([PlanChunk(APP_ID, id_, [(lane, one)])], at)
    ids = message.message_id, *(letter * 32 for letter in "fedc")
    others = LAYOUT.jobs(lane, 0), LAYOUT.retries(lane, 0), *(LAYOUT.planned(APP_ID, it, 0) for it in ids)
    await redis.delete(*others)  # golden records have those of other jobs


async def _look(redis: Any) -> dict[str, Any]:
    queue, addresses, one = queue_of(redis), RedisAddresses(redis, APP_IDS, "worker-1"), jobs()
    lanes = RedisLaneStates(redis)
    for source in (Callbacks(APP_ID), APNS, MIPUSH):
        await queue.ensure_groups(source)
    callbacks = [load_offline_message(it.record) for it in await new_of(queue, Callbacks(APP_ID))]
    due = [await queue.move_due([APNS], [], when, 9) for when in (NOON, NOON + SECOND)]
    waiting = [it for lane in (APNS, MIPUSH) for it in await new_of(queue, lane)]
    targets, accounts = [("ben", "phone-1"), ("eve", "phone-1")], ["ben", "ghost"]
    owned = await addresses.destinations(
        APNS, [replace(one.fresh, account=account, device_id=device_id) for account, device_id in targets]
    )
    planned_again, _ = await queue.append_planned([PlanChunk(APP_ID, "m1", [(APNS, one.fresh)])], NOON)
    known = await addresses.destinations(
        MIPUSH, [replace(one.fresh, channel="mipush", account=account, device_id="") for account in accounts]
    )
    return {
        "callbacks": [
            [it.message_id, it.app_id, it.conversation, it.sender, [[r.account, list(r.resources)] for r in
             it.recipients], list(it.payload), it.biz_type, it.sequence, it.sent_at_ms, it.accepted_at.isoformat()]
            for it in callbacks
        ],
        "due": [moved.jobs.get(APNS, 0) for moved in due],
        "jobs": [_job(load_job(it.record)) for it in waiting],
        "planned again": [new for chunk in planned_again for new in chunk.new],
        "owned": [one.device and _device(one.device) for one in owned.destinations],
        "paused": [[it.reason, it.since.isoformat()] for it in (await pauses(lanes, [APNS, MIPUSH])).values()],
        "may probe": await lanes.may_probe(APNS, SECOND),
        "board": [
            [it.is_free, it.shown and [it.shown.sequence, it.shown.sent_at_ms, it.shown.accepted_at_ms]]
            for it in await RedisConversationLocks(redis, "worker-1").acquire(MIPUSH, [LINE, "4e5f"], DAY)
            if it
        ],
        "unknown": [account for account, one in zip(accounts, known.destinations, strict=True) if one.unknown],
        "provider token": await _provider_token(redis, signs="another").current(),
    }  # fmt: skip


def _provider_token(redis: Any, signs: str = PROVIDER_TOKEN) -> SharedProviderToken:
    def is_fresh(_issued_at: datetime, _now: datetime) -> bool:
        return True

    return SharedProviderToken(redis, PROVIDER_KEY, lambda _: signs, lambda _: NOON, is_fresh, lambda: NOON)


def _device(it: Device) -> list[str]:
    return [it.app, it.account, it.device_id, it.platform, it.push_token, it.registered_at.isoformat(),
            it.environment, it.locale, it.resource, it.invalid_reason]  # fmt: skip


def _dead_job(of: object) -> list[Any]:
    return [of.account, of.device_id, of.attempt] if isinstance(of, Job) else ["", "", 0]


def _job(it: Job) -> list[Any]:
    alert, order = it.alert, it.alert.order
    return [it.app, it.channel, it.account, it.device_id, it.id, it.attempt, it.second_chance, alert.message_id,
            alert.conversation, alert.text.title, alert.text.body, order.sequence, order.sent_at_ms,
            order.accepted_at_ms, alert.expires_at.isoformat()]  # fmt: skip


def _typed(redis: Any, name: bytes) -> tuple[str, Any]:
    match type_ := redis.type(name).decode():
        case "stream":
            return type_, [_texts(fields) for _, fields in redis.xrange(name)]
        case "hash":
            return type_, _texts(redis.hgetall(name))
        case "zset":
            return type_, [[_readable(member), score] for member, score in redis.zrange(name, 0, -1, withscores=True)]
        case "set":
            return type_, sorted(it.decode() for it in redis.smembers(name))
        case _:
            return type_, redis.get(name).decode()


def _readable(member: bytes) -> str:
    try:
        return member.decode()
    except UnicodeDecodeError:
        return f"hex:{member.hex()}"


def _raw(member: str) -> str | bytes:
    return bytes.fromhex(member[4:]) if member.startswith("hex:") else member


def _texts(fields: Mapping[bytes, bytes]) -> dict[str, str]:
    return {name.decode(): _readable(value) for name, value in sorted(fields.items())}


if __name__ == "__main__":
    main(*sys.argv[1:])
