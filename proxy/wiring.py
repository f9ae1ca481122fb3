"""The only place that builds things: from Settings to what a process works with.

Nothing connects before it is used, but the built-in accounts' file, where they are on, is opened and checked, and the
spool's folder tried out.
"""

import os
import platform
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from proxy.auth import Authenticator, build_authenticator
from proxy.auth.accounts import SessionTokens
from proxy.auth.accounts_db import open_accounts
from proxy.auth.block_user import mend_blocks
from proxy.auth.passwords import Argon2Passwords
from proxy.auth.sign_in import SignIns
from proxy.channels import APNS, MIPUSH
from proxy.channels.apns.provider_token import fresh_enough, read_issued_at, sign_provider_token
from proxy.channels.before.carriers import TransportFactory
from proxy.channels.before.transport import Limits
from proxy.channels.before.wire import BothEnvironments
from proxy.channels.mipush.wire import MipushWire
from proxy.channels.mipush.wire import authorization as mipush_authorization
from proxy.domain.devices import Device
from proxy.domain.lanes import Lane, Route
from proxy.errors import SpoolRefused, StoreUnavailable
from proxy.metrics import clock_skew, gate_total, keys_fetched
from proxy.mimc.client import TokenClient
from proxy.mimc.senders import Senders
from proxy.ports import (
    BlockList,
    BlockMarks,
    CallbackInbox,
    DeviceRegistry,
    HealthCheck,
    RateLimits,
    StoreMetrics,
    TokenService,
)
from proxy.settings import AccountsSettings, ApnsSettings, AppSettings, MipushSettings, Settings
from proxy.spool.drain import Drain
from proxy.spool.folder import Spool, open_spool
from proxy.spool.health import SpoolHealth, SpoolMetrics
from proxy.spool.inbox import SpoolingInbox
from proxy.store import keys
from proxy.store.connection import Store, async_redis
from proxy.store.devices.addresses import RedisAddresses
from proxy.store.devices.registry import RedisDeviceRegistry
from proxy.store.devices.removal import DeviceRemoval, RemovalGuard
from proxy.store.provider_tokens import FixedAuthorization, SharedProviderToken
from proxy.store.queue.inbox import RedisInbox
from proxy.store.queue.lane_states import RedisLaneStates
from proxy.store.queue.streams import RedisQueue
from proxy.store.server.clocks import clock_commands
from proxy.store.server.health import RedisHealth
from proxy.store.server.identity import WHAT_WAS_LOST, AsyncStoreMonitor, DataLoss, StoreIdentity, StoreMonitor
from proxy.store.server.metrics import RedisMetrics
from proxy.store.users.blocks import RedisBlocks
from proxy.store.users.limits import RedisLimits
from proxy.usecases.deliver import Channel
from proxy.usecases.monitor_clock import TOLERATED, ClockedTokens, ClockMonitor

log = structlog.get_logger()
_ASYNC_STORE_TIMEOUT_S = 5.0  # above the longest blocking read


@dataclass(frozen=True)
class Services:
    """All that a web process works with. Safe to share between its threads."""

    settings: Settings
    authenticator: Authenticator
    blocks: BlockList
    senders: Senders
    tokens: TokenService
    inbox: CallbackInbox
    devices: DeviceRegistry
    limits: RateLimits
    store_metrics: StoreMetrics
    health: HealthCheck
    now: Callable[[], datetime]
    monitor_store: Callable[[], None]
    sign_ins: SignIns | None = None  # None: the built-in accounts are off
    spool: "SpoolServices | None" = None  # None: it is off


@dataclass(frozen=True)
class SpoolServices:
    """What keeps callbacks while the store is away, and hands them in."""

    store: Store
    spool: Spool
    drain: Drain
    store_metrics: StoreMetrics


def web_services(settings: Settings) -> Services:
    """Raises BadSettings."""
    timeout_s = settings.store.timeout.total_seconds()
    store = Store(settings.store.url.get_secret_value(), timeout_s)
    app_ids = {name: app.app_id for name, app in settings.apps.items()}
    lanes = lanes_of(settings)
    counters = settings.limits.url
    clock = clock_monitor()
    sign_ins = built_in_accounts(settings.auth.accounts, RedisBlocks(store))

    def on_loss(loss: DataLoss) -> None:
        tell_loss(loss)
        if sign_ins:  # the store no longer knows who is blocked
            mend_blocks(sign_ins.accounts, sign_ins.blocks, utc_now())

    watch = StoreMonitor(store, identity_of(settings), on_loss, utc_now)

    def monitor_store() -> None:
        watch.look()
        if not store.is_away and (measured := clock.take()):
            with suppress(StoreUnavailable):
                store.call(lambda redis: clock_commands(redis, measured, TOLERATED, utc_now()).execute())

    inbox = RedisInbox(store, settings.relay.dedupe_ttl, settings.store.callbacks_cap)
    spool = _spool(settings, store, inbox)
    return Services(
        settings=settings,
        authenticator=build_authenticator(settings.auth, _note_keys),
        blocks=RedisBlocks(store),
        senders=Senders(settings.apps),
        tokens=ClockedTokens(TokenClient(settings.apps, settings.token), clock),
        inbox=SpoolingInbox(inbox, store, spool.spool) if spool else inbox,
        devices=RedisDeviceRegistry(store, app_ids, settings.devices.per_account),
        limits=RedisLimits(Store(counters.get_secret_value(), timeout_s) if counters else store),
        store_metrics=RedisMetrics(store, lanes, utc_now),
        health=SpoolHealth(RedisHealth(store, lanes), store, spool.spool if spool else None, utc_now),
        now=utc_now,
        monitor_store=monitor_store,
        sign_ins=sign_ins,
        spool=spool,
    )


def _spool(settings: Settings, store: Store, inbox: RedisInbox) -> SpoolServices | None:
    spool = open_spool(settings.store)
    if spool is None:
        return None
    with suppress(SpoolRefused):  # the disk may get well again; until then /readyz tells
        spool.try_out()
    drain = Drain(spool, inbox, settings.relay.dedupe_margin, utc_now)
    return SpoolServices(store, spool, drain, SpoolMetrics(spool, utc_now))


def built_in_accounts(settings: AccountsSettings | None, blocks: BlockMarks) -> SignIns | None:
    """The built-in accounts, their database opened and made if need be. Raises BadSettings."""
    if settings is None:
        return None
    return SignIns(
        open_accounts(settings.database),
        Argon2Passwords(),
        SessionTokens(settings),
        blocks,
        access_ttl=settings.access_ttl,
        refresh_ttl=settings.refresh_ttl,
    )


@dataclass(frozen=True)
class RelayServices:
    """All that a worker process works with, on one event loop. `instance` names it anew at each start."""

    settings: Settings
    instance: str
    queue: RedisQueue
    addresses: RedisAddresses
    lane_states: RedisLaneStates
    channels: tuple[Channel, ...]
    redis: Any
    identity: AsyncStoreMonitor
    clock: ClockMonitor
    now: Callable[[], datetime]
    close: Callable[[], Awaitable[None]]


def relay_services(settings: Settings) -> RelayServices:
    """Call it on the running event loop: the transports belong to it."""
    relay = settings.relay
    redis = async_redis(settings.store.url.get_secret_value(), timeout_s=_ASYNC_STORE_TIMEOUT_S)
    instance = f"{platform.node()[:32]}-{os.getpid()}-{secrets.token_hex(4)}"
    push_timeout_s = relay.push_timeout.total_seconds()
    limits = Limits(push_timeout_s, wait_s=push_timeout_s, silence_min_s=relay.silence_min.total_seconds())
    app_ids = {name: app.app_id for name, app in settings.apps.items()}
    clock = clock_monitor()
    carriers = TransportFactory(limits, on_event=lambda event: gate_total.labels(event).inc())

    async def close() -> None:
        await carriers.aclose()
        await redis.aclose()

    return RelayServices(
        settings=settings,
        instance=instance,
        queue=RedisQueue(
            redis,
            instance,
            lease=relay.lease,
            dedupe_ttl=relay.dedupe_ttl,
            jobs_cap=settings.store.jobs_cap,
            dead_cap=settings.store.dead_letters_cap,
        ),
        addresses=RedisAddresses(redis, app_ids, instance, DeviceRemoval(redis, app_ids, _brake(settings), _tell_held)),
        lane_states=RedisLaneStates(redis, instance),
        channels=tuple(_channel(lane, settings.apps[lane.app], redis, carriers, clock) for lane in lanes_of(settings)),
        redis=redis,
        identity=AsyncStoreMonitor(redis, identity_of(settings), tell_loss),
        clock=clock,
        now=utc_now,
        close=close,
    )


def lanes_of(settings: Settings) -> list[Lane]:
    """Every lane that the settings open."""
    return [
        Lane(app.app_id, name, channel)
        for name, app in settings.apps.items()
        for channel, section in ((APNS, app.apns), (MIPUSH, app.mipush))
        if section is not None
    ]


def _channel(lane: Lane, app: AppSettings, redis: Any, carriers: TransportFactory, clock: ClockMonitor) -> Channel:
    if lane.channel == APNS and app.apns is not None:
        return _apns(lane, app.apns, redis, carriers, clock)
    if lane.channel == MIPUSH and app.mipush is not None:
        return _mipush(lane, app.mipush, carriers)
    raise LookupError(lane.channel)


def _apns(lane: Lane, section: ApnsSettings, redis: Any, carriers: TransportFactory, clock: ClockMonitor) -> Channel:
    key_pem = section.key_file.read_bytes()
    token = SharedProviderToken(
        redis,
        keys.provider_token(section.team_id, section.key_id, key_pem),
        sign=lambda now: sign_provider_token(key_pem, section.key_id, section.team_id, now),
        issued_at=read_issued_at,
        is_fresh=fresh_enough,
        now=utc_now,
        on_young_refused=clock.young_token_refused,
    )
    wire = BothEnvironments(section)
    return Channel(Route(lane, to_account=False), wire, carriers.apns(section), token, replaces=False)


def _mipush(lane: Lane, section: MipushSettings, carriers: TransportFactory) -> Channel:
    return Channel(
        Route(lane, to_account=section.address == "account"),
        MipushWire(section),
        carriers.mipush(section),
        FixedAuthorization(mipush_authorization(section)),
        replaces=True,
    )


def _brake(settings: Settings) -> RemovalGuard:
    return RemovalGuard(settings.devices.removal_guard_share, settings.devices.removal_guard_min)


def clock_monitor() -> ClockMonitor:
    return ClockMonitor(
        utc_now,
        on_measured=lambda source, skew: clock_skew.labels(source).set(skew.total_seconds()),
        on_wrong=_tell_skew,
    )


def _tell_skew(source: str, skew: timedelta) -> None:
    log.warning("the clocks differ: one of them is wrong", source=source, ahead_s=round(skew.total_seconds()))


def identity_of(settings: Settings) -> StoreIdentity:
    folder = settings.store.spool_dir  # the one place of this machine that is said to outlive us
    return StoreIdentity(settings.store.url.get_secret_value(), folder / "known-store" if folder else None)


def tell_loss(loss: DataLoss) -> None:
    if loss.is_news:
        log.error(WHAT_WAS_LOST, lost_at=loss.at.isoformat(timespec="seconds"))


def _tell_held(device: Device, devices: int, of: int) -> None:
    log.error(
        "forgetting is held: a provider calls too many devices dead at once. Look at topic, environment and package; "
        "/readyz says how to go on",
        app=device.app, channel=device.platform.value, devices=devices, of=of,
    )  # fmt: skip


def _note_keys(issuer: str, at: datetime) -> None:
    keys_fetched.labels(issuer).set(at.timestamp())


def utc_now() -> datetime:
    return datetime.now(UTC)
