"""What the tests of the store and of its users put into it."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from redis.exceptions import RedisError

from proxy.domain.alerts import Alert, AlertText, Order
from proxy.domain.callbacks import Callback, CallbackOrigin, Kind, Recipient
from proxy.domain.devices import Device, Platform
from proxy.domain.jobs import Job
from proxy.domain.lanes import Lane, Pause, Source
from proxy.domain.offline_messages import OfflineMessage, offline_message
from proxy.domain.settlements import Entry, PlanChunk
from proxy.domain.times import to_ms
from proxy.store.connection import Store, async_redis
from proxy.store.keys import Layout
from proxy.store.queue.lane_states import RedisLaneStates
from proxy.store.queue.streams import RedisQueue

T = TypeVar("T")

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
MS = timedelta(milliseconds=1)
SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)
LEASE = timedelta(seconds=15)
SHORT_LEASE = 20 * MS
NO_WAIT = MS
LAYOUT = Layout(1)  # of the store of tests/conftest.py
SHARDED = Layout(16)  # of that of tests/store/devices


def with_redis(url: str, scenario: Callable[[Any], Awaitable[T]], shards: int | None = None) -> T:
    """Run `scenario` on an event loop of its own, with a client of the store. `shards`: of one that is new."""

    async def run() -> T:
        redis = async_redis(url, timeout_s=5.0, shards=shards)
        with suppress(RedisError):  # of a store that is away, which may be what the scenario is about
            await redis.learn_layout()
        try:
            return await scenario(redis)
        finally:
            await redis.aclose()

    return asyncio.run(run())


def apns_lane(app_id: str, app: str = "main") -> Lane:
    return Lane(app_id, app, "apns")


def sandbox_lane(app_id: str, app: str = "main") -> Lane:
    return Lane(app_id, app, "apns-sandbox")


def mipush_lane(app_id: str, app: str = "main") -> Lane:
    return Lane(app_id, app, "mipush")


def queue_of(
    redis: Any,
    instance: str = "worker-1",
    lease: timedelta = LEASE,
    jobs_cap: int = 10_000,
    share: Collection[int] | None = None,
    dead_cap: int = 100,
) -> RedisQueue:
    return RedisQueue(redis, instance, lease=lease, dedupe_ttl=DAY, jobs_cap=jobs_cap, dead_cap=dead_cap, share=share)


def alert(message_id: str = "m1", conversation: str = "p2p:ann", sequence: int = 1, life: timedelta = DAY) -> Alert:
    order = Order(sequence, 0, int(NOON.timestamp() * 1000))
    return Alert(message_id, conversation, AlertText("ann", "the words of ann"), order, NOON + life)


def job(lane: Lane, account: str = "ben", device_id: str = "phone", of: Alert | None = None) -> Job:
    return Job(lane.app, lane.channel, account, device_id, of or alert())


def device(
    account: str = "ben",
    device_id: str = "phone",
    push_token: str = "a1b2",  # noqa: S107  of no phone
    registered_at: datetime = NOON,
    platform: Platform = Platform.APNS,
    resource: str = "",
) -> Device:
    return Device("main", account, device_id, platform, push_token, registered_at, resource=resource)


def callback(
    app_id: str, recipients: Sequence[Recipient] = (Recipient("ben"),), sequence: str = "7", topic_id: str | None = "t1"
) -> Callback:
    return Callback(
        kind=Kind.OFFLINE_TOPIC_MSG if topic_id else Kind.OFFLINE_MSG,
        app_id=app_id,
        from_account="ann",
        topic_id=topic_id,
        recipients=tuple(recipients),
        payload=b"the words of ann",
        origin=CallbackOrigin(app_id, (app_id,), None, None),
        sequence=sequence,
        biz_type="TEXT",
    )


def for_inbox(callback: Callback, accepted_at: datetime) -> tuple[OfflineMessage, str]:
    """What the inbox is asked to take of a callback."""
    return offline_message(callback, accepted_at), callback.callback_id


async def names_like(redis: Any, pattern: str) -> list[bytes]:
    """Of keys, on all nodes of a cluster."""
    return [name async for name in redis.scan_iter(match=pattern, count=1000)]


async def all_that_is_stored(redis: Any, app_id: str) -> bytes:
    """Of an app, as it was written: DUMP would compress it."""
    reads = {
        b"string": redis.get,
        b"hash": redis.hgetall,
        b"set": redis.smembers,
        b"stream": redis.xrange,
        b"zset": lambda name: redis.zrange(name, 0, -1),
    }
    names = [name async for name in redis.scan_iter(match=f"*{app_id}*")]
    return b"".join([repr(await reads[await redis.type(name)](name)).encode() for name in names])


def raw(store: Store, command: str, *args: Any) -> Any:
    """One command's answer, as the server gives it."""
    return store.call(lambda redis: redis.execute_command(command, *args))


async def put_jobs(redis: Any, lane: Lane, jobs: Sequence[Job]) -> None:
    """Through plan's own script, as if their message had been planned."""
    chunks = [PlanChunk(lane.app_id, one.alert.message_id, [(lane, one)]) for one in jobs]
    await queue_of(redis).append_planned(chunks, NOON)


async def new_of(queue: RedisQueue, source: Source, count: int = 100) -> list[Entry]:
    """What a worker claims that does not wait."""
    return (await queue.claim(source, count, NO_WAIT)).entries


async def pauses(states: RedisLaneStates, lanes: Sequence[Lane]) -> dict[Lane, Pause]:
    """The lanes that are paused, and why."""
    return {lane: state.pause for lane, state in (await states.states(lanes)).items() if state.pause}


def marks_of(layout: Layout, app_id: str, message_id: str, accepted_at: datetime = NOON) -> str:
    """Where those of its targets are written."""
    (key,) = layout.marks_of_message(app_id, message_id, 0, to_ms(accepted_at))
    return key


async def marks(redis: Any, app_id: str, message_id: str, targets: Sequence[str]) -> list[bytes | None]:
    """What its marks say of these targets."""
    layout: Layout = redis.layout
    found = [layout.mark_read(app_id, message_id, 0, target, to_ms(NOON), DAY // MS) for target in targets]
    return [next(filter(None, [await redis.hget(*place) for place in places]), None) for places in found]
