"""From Settings to a worker."""

import asyncio
import os
import platform
import random
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from proxy.channels import APNS, APNS_SANDBOX, MIPUSH
from proxy.channels.apns.provider_token import fresh_enough, read_issued_at, sign_provider_token
from proxy.channels.apns.wire import ApnsWire
from proxy.channels.factory import TransportFactory
from proxy.channels.http.wire import HttpWire
from proxy.channels.mipush.receipts import quota_in
from proxy.channels.mipush.wire import MipushWire
from proxy.channels.mipush.wire import authorization as mipush_authorization
from proxy.channels.transfer import Limits
from proxy.channels.webhooks.wire import WebhookWire
from proxy.domain.decisions import Result, exponential_backoff
from proxy.domain.delivery import Delivery
from proxy.domain.devices import ApnsEnvironment, platform_of
from proxy.domain.lanes import Callbacks, Lane, Route, Source
from proxy.domain.settlements import Settlement, SettleResult
from proxy.domain.transfers import Response
from proxy.domain.webhooks import lane_of_webhook
from proxy.files import WatchedFiles
from proxy.garbage import look_for_cycles_seldom
from proxy.metrics import connection_events_total, exposition, lost_details, profile_answers_total
from proxy.ports import Transport
from proxy.profiles.lookup import ProfileLookup
from proxy.profiles.wire import ProfileWire
from proxy.settings import (
    ApnsSettings,
    AppSettings,
    HttpSettings,
    MipushSettings,
    RelaySettings,
    Settings,
    WebhookSettings,
)
from proxy.shard_names import shards_in
from proxy.store import keys
from proxy.store.connection import address_of, async_redis
from proxy.store.devices.addresses import RedisAddresses
from proxy.store.devices.removal import DeviceRemoval
from proxy.store.provider_tokens import FixedAuthorization, SharedProviderToken
from proxy.store.queue.conversation_locks import RedisConversationLocks
from proxy.store.queue.folds import Folding
from proxy.store.queue.history import HistorySweep
from proxy.store.queue.lane_states import RedisLaneStates
from proxy.store.queue.mark_sizes import MarkSizes
from proxy.store.queue.streams import RedisQueue
from proxy.store.queue.withdrawals import RedisWithdrawals
from proxy.store.server.clocks import StoreClock
from proxy.store.server.figures import FiguresKeeper
from proxy.store.server.identity import AsyncIdentityMonitor
from proxy.store.server.worker_states import WorkerStates
from proxy.store.server.writes import CountedWrites
from proxy.usecases.ages import ends_in_files, keys_since, servers
from proxy.usecases.changed_files import ChangedFiles
from proxy.usecases.monitor_clock import ClockMonitor
from proxy.usecases.monitor_quota import QuotaListener
from proxy.wiring.common import (
    app_ids_of,
    channels_on,
    clock_monitor,
    identity_of,
    is_on,
    lanes_of,
    log_fault_in_files,
    log_held,
    log_loss,
    quota_monitor,
    removal_guard_of,
    risks_of,
    utc_now,
)
from proxy.wiring.messages import preview_of, reading_of_app, vocabulary_of
from proxy.worker.consumer import SettleCall, StreamConsumer
from proxy.worker.conversations import Conversations
from proxy.worker.deliver import Channel, LaneWorker
from proxy.worker.effects import Effects
from proxy.worker.event_loop_watchdog import EventLoopWatchdog
from proxy.worker.figures import CountedFigures
from proxy.worker.forwarding import WebhookWorker
from proxy.worker.handover import HandOver
from proxy.worker.key_ages import KeyAges
from proxy.worker.lane_control import LaneControl
from proxy.worker.leases import Leases
from proxy.worker.observer import RelayObserver, hear_apns, hear_clock, hear_quota, hear_sandbox
from proxy.worker.operator import serve_operator
from proxy.worker.plan import PlanWorker
from proxy.worker.process import Worker
from proxy.worker.readiness import Readiness
from proxy.worker.store_monitor import StoreMonitor
from proxy.worker.store_outage import StoreOutage
from proxy.worker.tasks import cancel_all
from proxy.worker.turns import Turns
from proxy.worker.withdrawals import PlanWithdrawals

log = structlog.get_logger()
_LONGEST_BLOCK = timedelta(seconds=2)
_WAITING_PER_CONNECTION = 4  # callbacks of a webhook, so that no connection waits for a claim
_LOOK_AT_FILES_S = 1.0
_TLS_TIMEOUT_S = 5.0
_STORE_TIMEOUT_S = 5.0  # above the longest blocking read
# plans are short and wait for the store: enough to keep it busy, few enough to share it
_PLANS_IN_FLIGHT, _OF_FLOODS = 128, 64


async def run_worker(settings: Settings) -> None:
    """Work until SIGTERM; the operator's listener answers once it has begun."""
    worker, changed = build_worker(settings)
    look_for_cycles_seldom()
    for setting, risk in risks_of(settings).items():
        log.warning("a setting that Xiaomi expects is missing", setting=setting, risk=risk)

    def ready() -> None:
        at = address_of(settings.store.url.get_secret_value())
        log.info("worker started", instance=worker.readiness.instance, store_at=at)
        open_metrics = partial(exposition, open_metrics=True) if settings.relay.exemplars else None
        serve_operator(settings.relay.operator_bind, exposition, details, settings.server.operator_hosts, open_metrics)

    def details() -> tuple[bool, dict[str, str]]:
        is_ready, sentences = worker.readiness.details()
        return is_ready, {**sentences, **changed.details(), **lost_details()}

    async def follow() -> None:
        while True:
            await asyncio.sleep(_LOOK_AT_FILES_S)
            changed.look()

    following = [asyncio.create_task(follow()), asyncio.create_task(_key_ages(settings).follow())]
    try:
        await worker.run(ready)
    finally:
        await cancel_all(following)


def _key_ages(settings: Settings) -> KeyAges:
    def keys() -> dict[str, datetime]:
        return {setting: since for setting, _, since in keys_since(settings)}

    def ends() -> dict[str, datetime]:
        of_files = {setting: max(its) for setting, _, its in ends_in_files(settings) if its}
        shown = {it.setting: end for it in servers(settings) if (end := it.end(_TLS_TIMEOUT_S))}
        return of_files | shown

    return KeyAges(keys, ends)


@dataclass(frozen=True)
class _Shared:
    """What all consumers of one worker share."""

    settings: Settings
    redis: Any
    queue: RedisQueue
    addresses: RedisAddresses
    lane_states: RedisLaneStates
    locks: RedisConversationLocks
    leases: Leases
    watchdog: EventLoopWatchdog
    transports: TransportFactory
    clock: StoreClock
    providers_clock: ClockMonitor
    outage: StoreOutage
    turns: Turns

    def consumer(
        self,
        source: Source,
        settle: SettleCall,
        observer: RelayObserver,
        in_flight: int,
        for_floods: int | None = None,
    ) -> StreamConsumer:
        # an entry that arrives at the end of a blocking read is as old as the read: keep that well under the lease
        block = min(_LONGEST_BLOCK, self.settings.relay.lease / 8)
        return StreamConsumer(
            source, self.queue, self.leases, settle, observer, in_flight=in_flight, block=block, for_floods=for_floods
        )


def build_worker(settings: Settings) -> tuple[Worker, ChangedFiles]:
    """One worker instance: a plan per appId, a lane worker per lane. Call it on the running event loop.

    And what gives its lanes the keys and secrets of files that change.
    """
    relay = settings.relay
    url, app_ids = settings.store.url.get_secret_value(), app_ids_of(settings)
    redis = async_redis(
        url, timeout_s=_STORE_TIMEOUT_S, shards=settings.store.shards, app_ids=sorted(set(app_ids.values()))
    )
    turns = Turns()
    instance = f"{platform.node()[:32]}-{os.getpid()}-{secrets.token_hex(4)}"
    writes = CountedWrites()
    shared = _Shared(
        settings=settings,
        redis=redis,
        queue=RedisQueue(
            redis,
            instance,
            lease=relay.lease,
            dedupe_ttl=relay.dedupe_ttl,
            jobs_cap=settings.store.jobs_cap,
            dead_cap=settings.store.dead_letters_cap,
            writes=writes,
            keeps_history=settings.alerts.history_max_bytes > 0,
            counts_unread=settings.alerts.badge,
            folding=_folding(settings),
            replicas=settings.store.replicas,
            share=shards_in(relay.shards) if relay.shards else None,
            after=turns.after,
        ),
        addresses=RedisAddresses(
            redis,
            app_ids,
            instance,
            DeviceRemoval(redis, app_ids, removal_guard_of(settings), log_held),
            with_presence=bool(settings.alerts.present),
            with_withdrawals=settings.alerts.withdraw,
            with_badges=settings.alerts.badge,
            channels=channels_on(settings),
        ),
        lane_states=RedisLaneStates(redis, instance),
        locks=RedisConversationLocks(redis, instance),
        leases=Leases(relay.lease.total_seconds()),
        watchdog=EventLoopWatchdog(),
        transports=TransportFactory(
            Limits(push_timeout_s=relay.push_timeout.total_seconds(), silence_min_s=relay.silence_min.total_seconds()),
            on_event=lambda event: connection_events_total.labels(event).inc(),
        ),
        clock=StoreClock(redis),
        providers_clock=clock_monitor(),
        outage=StoreOutage(address_of(settings.store.url.get_secret_value())),
        turns=turns,
    )

    async def close() -> None:
        await shared.transports.aclose()
        await shared.queue.reads_ended()
        await redis.aclose()

    lanes = [_lane_worker(lane, shared) for lane in lanes_of(settings)]
    profiles = {app_id: _profiles(app_id, shared) for app_id in app_ids.values()}
    webhooks = [_webhook_worker(section, shared) for section in settings.webhooks]
    taking = _Taking(shared, lanes, webhooks, profiles, {lane.lane: _in_files(lane.lane, settings) for lane in lanes})
    worker = Worker(
        plans=[_plan_worker(app_id, shared, lanes, profiles[app_id]) for app_id in sorted(set(app_ids.values()))],
        lanes=lanes,
        webhooks=webhooks,
        queue=shared.queue,
        lane_states=shared.lane_states,
        leases=shared.leases,
        clock=shared.clock,
        states=WorkerStates(redis),
        history=HistorySweep(redis, sorted(set(app_ids.values())), settings.alerts.history_max_bytes),
        mark_sizes=MarkSizes(redis, sorted(set(app_ids.values()))),
        figures=CountedFigures(FiguresKeeper(redis)) if settings.console.enabled else None,
        readiness=Readiness(instance),
        monitor=StoreMonitor(
            redis, AsyncIdentityMonitor(redis, identity_of(settings), log_loss, writes), shared.providers_clock
        ),
        outage=shared.outage,
        watchdog=shared.watchdog,
        share=relay.shards,
        heartbeat=relay.heartbeat,
        lease=relay.lease,
        drain=relay.drain,
        close=close,
    )
    return worker, ChangedFiles(WatchedFiles(settings.files), taking.take, log_fault_in_files)


@dataclass
class _Taking:
    """What the files say goes into use, whole or not at all. `known`: what each lane's section said last."""

    shared: _Shared
    lanes: Sequence[LaneWorker]
    webhooks: Sequence[WebhookWorker]
    profiles: Mapping[str, ProfileLookup | None]
    known: dict[Lane, tuple[object, ...]]

    def take(self) -> None:
        """Raises BadSettings and OSError."""
        settings = self.shared.settings.read_again()
        shared = replace(self.shared, settings=settings)
        found = {lane.lane: _in_files(lane.lane, settings) for lane in self.lanes}
        changed = [lane for lane in self.lanes if found[lane.lane] != self.known[lane.lane]]
        for lane in changed:
            _refuse_no_key(lane.lane, settings)
        authorities = [found[lane.lane][-1] != self.known[lane.lane][-1] for lane in changed]
        if any(authorities):
            shared.transports.open_anew()
        made = [
            _channel(lane.lane, settings.apps[lane.lane.app], shared, None if is_new else lane.channel.transport)
            for lane, is_new in zip(changed, authorities, strict=True)
        ]
        for lane, channel in zip(changed, made, strict=True):
            lane.use(channel)
        for webhook, section in zip(self.webhooks, settings.webhooks, strict=True):
            webhook.use(WebhookWire(section))
        for app in settings.apps.values():
            if app.profiles and (lookup := self.profiles[app.app_id]):
                lookup.use(ProfileWire(app.profiles))
        self.known = found
        log.info("files have changed, and are in use", lanes=[f"{it.lane.app}/{it.lane.channel}" for it in changed])


def _refuse_no_key(lane: Lane, settings: Settings) -> None:
    """Raises BadSettings where Apple's key, which is only read where a push needs it, signs nothing."""
    section = settings.apps[lane.app].channels[platform_of(lane.channel)]
    if isinstance(section, ApnsSettings):
        key = section.key_for(sandbox=lane.channel == APNS_SANDBOX)
        sign_provider_token(key.file.read_bytes(), key.id, section.team_id, utc_now())


def _in_files(lane: Lane, settings: Settings) -> tuple[object, ...]:
    """All that a lane's channel is made from: its section, Apple's key, and last the authorities."""
    section = settings.apps[lane.app].channels[platform_of(lane.channel)]
    key = section.key_for(sandbox=lane.channel == APNS_SANDBOX) if isinstance(section, ApnsSettings) else None
    ca_file: Path | None = getattr(section, "ca_file", None)
    return section, key and key.file.read_bytes(), ca_file and ca_file.read_bytes()


def _plan_worker(
    app_id: str, shared: _Shared, lanes: Sequence[LaneWorker], profiles: ProfileLookup | None
) -> PlanWorker:
    observer = RelayObserver(app_id, outage=shared.outage)

    def settle(settlements: Sequence[Settlement]) -> Awaitable[SettleResult]:
        return shared.queue.settle_callbacks(app_id, settlements, shared.clock.now())

    consumer = shared.consumer(Callbacks(app_id), settle, observer, _PLANS_IN_FLIGHT, _OF_FLOODS)
    mine = [worker for worker in lanes if worker.lane.app_id == app_id and is_on(worker.lane, shared.settings)]
    routes = [_route(worker.lane, shared.settings) for worker in mine]
    return PlanWorker(
        app_id,
        consumer,
        routes,
        shared.addresses,
        HandOver(shared.queue, shared.addresses, mine, time.monotonic),
        observer,
        reading=reading_of_app(shared.settings, app_id),
        alert_ttl=shared.settings.relay.alert_ttl,
        now=shared.clock.now,
        withdrawals=_withdrawals(app_id, shared, routes),
        profiles=profiles,
        turns=shared.turns,
    )


def _profiles(app_id: str, shared: _Shared) -> ProfileLookup | None:
    """Asked once for all sections of an appId."""
    sections = [
        (name, app.profiles) for name, app in shared.settings.apps.items() if app.app_id == app_id and app.profiles
    ]
    if not sections:
        return None
    ((name, section),) = sections
    return ProfileLookup(
        ProfileWire(section),
        shared.transports.profiles(section),
        timeout_s=section.timeout.total_seconds(),
        keep_s=section.cache.total_seconds(),
        now=shared.clock.now,
        clock=time.monotonic,
        chance=random.random,
        on_answer=lambda answer: profile_answers_total.labels(name, answer).inc(),
        on_pause=lambda: log.warning("names are not asked for a while: profiles.url fails", app=name),
    )


def _folding(settings: Settings) -> Folding | None:
    if not settings.alerts.fold:
        return None
    return Folding(settings.alerts.fold, frozenset(lane for lane in lanes_of(settings) if _replaces(lane, settings)))


def _replaces(lane: Lane, settings: Settings) -> bool:
    """Its alerts of one conversation replace each other on the phone."""
    match settings.apps[lane.app].channels[platform_of(lane.channel)]:
        case HttpSettings() as section:
            return section.replaces
        case section:
            return isinstance(section, MipushSettings)


def _withdrawals(app_id: str, shared: _Shared, routes: Sequence[Route]) -> PlanWithdrawals | None:
    relay, store, alerts = shared.settings.relay, shared.settings.store, shared.settings.alerts
    if not (alerts.withdraw or alerts.badge):
        return None
    kept = RedisWithdrawals(
        shared.redis, ttl=relay.dedupe_ttl, jobs_cap=store.jobs_cap, folds=bool(alerts.fold), replicas=store.replicas
    )
    return PlanWithdrawals(
        app_id,
        kept,
        shared.addresses,
        shared.queue,
        routes,
        alert_ttl=relay.alert_ttl,
        now=shared.clock.now,
        withdraws=alerts.withdraw,
        counts=alerts.badge,
    )


def _lane_control(lane: Lane, shared: _Shared, observer: RelayObserver) -> LaneControl:
    relay = shared.settings.relay
    return LaneControl(
        lane,
        shared.lane_states,
        shared.watchdog,
        observer,
        breaker_failures=relay.breaker_failures,
        first_probe=relay.backoff_initial,
        probe_every=relay.probe,
        probe_lease=_longest_push(relay),
        clock=time.monotonic,
    )


def _longest_push(relay: RelaySettings) -> timedelta:
    """Its wait for a connection and its one repeat included."""
    return relay.lease + 2 * relay.push_timeout


def _webhook_worker(section: WebhookSettings, shared: _Shared) -> WebhookWorker:
    relay, lane = (
        shared.settings.relay,
        lane_of_webhook(shared.settings.apps[section.app].app_id, section.app, section.name),
    )
    observer = RelayObserver(lane.app_id, lane, shared.outage)
    in_flight = _WAITING_PER_CONNECTION * section.connections
    return WebhookWorker(
        lane,
        WebhookWire(section),
        shared.transports.webhook(section),
        shared.consumer(lane, partial(shared.queue.settle_jobs, lane), observer, in_flight),
        _lane_control(lane, shared, observer),
        observer,
        backoff=exponential_backoff(random.random, first=relay.backoff_initial, most=relay.backoff_max),
        in_flight=in_flight,
        patience=2 * relay.push_timeout,
        now=shared.clock.now,
        clock=time.monotonic,
    )


def _lane_worker(lane: Lane, shared: _Shared) -> LaneWorker:
    relay = shared.settings.relay
    observer = RelayObserver(lane.app_id, lane, shared.outage, exemplars=relay.exemplars)
    longest_push = _longest_push(relay)
    settle = partial(shared.queue.settle_jobs, lane)
    consumer = shared.consumer(lane, settle, observer, relay.in_flight)
    control = _lane_control(lane, shared, observer)
    return LaneWorker(
        _channel(lane, shared.settings.apps[lane.app], shared),
        consumer,
        shared.addresses,
        control,
        # what a conversation shows is known as long as an earlier alert may come late
        Conversations(lane, shared.locks, lock_ttl=longest_push, shown_ttl=max(relay.dedupe_ttl, relay.alert_ttl)),
        Effects(lane, shared.addresses, control, unknown_account_ttl=relay.unknown_account_ttl, now=shared.clock.now),
        observer,
        backoff=exponential_backoff(random.random, first=relay.backoff_initial, most=relay.backoff_max),
        in_flight=relay.in_flight,
        patience=2 * relay.push_timeout,
        now=shared.clock.now,
        clock=time.monotonic,
        on_response=_listener(lane, shared),
        turns=shared.turns,
    )


def _listener(lane: Lane, shared: _Shared) -> Callable[[Response], None]:
    """What else is learned from a provider's answers."""
    if lane.channel == MIPUSH:
        quota = QuotaListener(quota_in, partial(quota_monitor().used, lane.app), time.monotonic)
        return partial(hear_quota, shared.providers_clock, lane, quota)
    if lane.channel == APNS:
        return partial(hear_apns, shared.providers_clock, lane)
    if lane.channel == APNS_SANDBOX:
        return partial(hear_sandbox, shared.providers_clock, lane)
    return partial(hear_clock, shared.providers_clock, lane)


def _route(lane: Lane, settings: Settings) -> Route:
    section = settings.apps[lane.app].channels[platform_of(lane.channel)]
    return Route(lane, section.by_account, preview_of(lane, settings))


def _channel(lane: Lane, app: AppSettings, shared: _Shared, transport: Transport | None = None) -> Channel:
    """`transport`: one that is open, for a channel with another secret."""
    return replace(_channel_that_sends(lane, app, shared, transport), delivery=delivery_of(app))


def delivery_of(app: AppSettings) -> Delivery:
    others = {"on": None, "off": Result.DELIVERY_OFF, "shadow": Result.SHADOW}
    return Delivery(others[app.delivery], app.delivery_share)


def _channel_that_sends(lane: Lane, app: AppSettings, shared: _Shared, transport: Transport | None) -> Channel:
    match app.channels[platform_of(lane.channel)]:
        case ApnsSettings() as section:
            return _apns(lane, section, shared)
        case MipushSettings() as section:
            return _mipush(lane, section, shared, transport)
        case HttpSettings() as section:
            return _http(lane, section, shared, transport)
    raise LookupError(lane.channel)


def _apns(lane: Lane, section: ApnsSettings, shared: _Shared) -> Channel:
    environment = ApnsEnvironment.SANDBOX if lane.channel == APNS_SANDBOX else ApnsEnvironment.PRODUCTION
    key = section.key_for(sandbox=environment is ApnsEnvironment.SANDBOX)
    key_pem = key.file.read_bytes()
    token = SharedProviderToken(
        shared.redis,
        keys.provider_token(section.team_id, key.id, key_pem),
        sign=lambda now: sign_provider_token(key_pem, key.id, section.team_id, now),
        issued_at=read_issued_at,
        is_fresh=fresh_enough,
        now=shared.clock.now,
        on_young_refused=shared.providers_clock.young_token_refused,
        measure=shared.clock.measure,
    )
    return Channel(
        _route(lane, shared.settings),
        ApnsWire(section, environment, vocabulary_of(shared.settings.apps[lane.app].messages)),
        shared.transports.apns(section, environment),
        token,
        withdraws=shared.settings.alerts.withdraw,
        window=shared.settings.alerts.fold,
        off=None if is_on(lane, shared.settings) else Result.SANDBOX_OFF,
    )


def _mipush(lane: Lane, section: MipushSettings, shared: _Shared, transport: Transport | None) -> Channel:
    return Channel(
        _route(lane, shared.settings),
        MipushWire(section, vocabulary_of(shared.settings.apps[lane.app].messages), lane.app),
        transport or shared.transports.mipush(section),
        FixedAuthorization(mipush_authorization(section)),
        replaces=_replaces(lane, shared.settings),
        withdraws=shared.settings.alerts.withdraw,
        window=shared.settings.alerts.fold,
    )


def _http(lane: Lane, section: HttpSettings, shared: _Shared, transport: Transport | None) -> Channel:
    return Channel(
        _route(lane, shared.settings),
        HttpWire(section, vocabulary_of(shared.settings.apps[lane.app].messages)),
        transport or shared.transports.http(section),
        FixedAuthorization(""),  # each request has a signature of its own
        replaces=_replaces(lane, shared.settings),
        withdraws=shared.settings.alerts.withdraw,
        window=shared.settings.alerts.fold,
    )
