"""From Settings to the services of a web process."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import structlog

from proxy.auth import build_authenticator
from proxy.auth.accounts import SessionTokens
from proxy.auth.accounts_db import open_accounts
from proxy.auth.block_user import mend_blocks
from proxy.auth.operators import Operators
from proxy.auth.passwords import Argon2Passwords
from proxy.auth.sign_in import SignIns
from proxy.channels.mipush.receipts import ReceiptReaders
from proxy.domain.devices import platform_of
from proxy.domain.lanes import Lane
from proxy.domain.messages import MessageReading
from proxy.domain.receipts import Delivery, DeliveryReceipt
from proxy.domain.service_state import BreakerRules
from proxy.domain.times import TOLERATED_SKEW
from proxy.domain.webhooks import Webhook
from proxy.errors import SpoolRefused, StoreUnavailable
from proxy.files import WatchedFiles
from proxy.metrics import history_lost_total, keys_fetched, token_echoes_total, webhooks_full_total
from proxy.mimc.bare_body import without_authentication
from proxy.mimc.client import TokenClient
from proxy.mimc.echo import Echo
from proxy.mimc.passable import Passable
from proxy.mimc.senders import Senders
from proxy.ports import ApiKeys, BlockMarks, Idempotency, TokenService
from proxy.settings import AccountsSettings, ConsoleSettings, Settings, TokenSettings
from proxy.spool.drain import Drain
from proxy.spool.folder import open_spool
from proxy.spool.health import SpoolHealth, SpoolMetrics
from proxy.spool.inbox import SpoolingInbox
from proxy.store.connection import Store, lasting_redis
from proxy.store.devices.receipt_notes import ReceiptNotes
from proxy.store.devices.receipts import ReceiptEffects
from proxy.store.devices.registry import RedisDeviceRegistry
from proxy.store.devices.removal import DeviceRemoval
from proxy.store.queue.copying_inbox import CopyingInbox
from proxy.store.queue.history import RedisHistory
from proxy.store.queue.inbox import RedisInbox
from proxy.store.server.clocks import StoreClock, clock_commands
from proxy.store.server.figures import FiguresReader
from proxy.store.server.health import RedisHealth
from proxy.store.server.identity import DataLoss, IdentityMonitor
from proxy.store.server.metrics import RedisMetrics
from proxy.store.server.token_facts import token_commands
from proxy.store.server.writes import CountedWrites
from proxy.store.users.admission import RedisAdmission
from proxy.store.users.blocks import RedisBlocks
from proxy.store.users.preferences import RedisPreferences
from proxy.store.users.presence import RedisPresence
from proxy.store.users.unread import RedisUnread
from proxy.usecases.changed_files import ChangedFiles
from proxy.usecases.copy_callback import Copying
from proxy.usecases.guarded_mimc import GuardedTokens, MimcGuard
from proxy.usecases.monitor_clock import ClockedTokens
from proxy.usecases.monitor_tokens import TokenMonitor
from proxy.usecases.noted_health import NotedHealth
from proxy.usecases.remembered_health import RememberedHealth
from proxy.web.receiving import WaitingReceipts
from proxy.web.services import ConsoleServices, ReceiptServices, Services, SpoolServices
from proxy.wiring.common import (
    app_ids_of,
    clock_monitor,
    identity_of,
    lanes_of,
    log_held,
    log_loss,
    log_store,
    quota_monitor,
    removal_guard_of,
    risks_of,
    utc_now,
    webhooks_of,
)
from proxy.wiring.messages import reading_of_app

if TYPE_CHECKING:
    from proxy.mimc.api import MimcApi
    from proxy.store.users.quotas import RedisQuotas

_SAY_EVERY_S = 60.0

log = structlog.get_logger()


def web_services(settings: Settings) -> Services:
    """Raises BadSettings."""
    timeout_s = settings.store.timeout.total_seconds()
    lanes, app_ids = lanes_of(settings), sorted(set(app_ids_of(settings).values()))
    webhooks = {it.lane: it.most for it in webhooks_of(settings)}
    store = Store(
        settings.store.url.get_secret_value(),
        timeout_s,
        on_change=partial(log_store, "store.url"),
        shards=settings.store.shards,
        app_ids=app_ids,
    )
    counters = _counters(settings, timeout_s)
    skews, clock = clock_monitor(), StoreClock()
    sign_ins = built_in_accounts(settings.auth.accounts, RedisBlocks(store), settings.server.sign_in_threads)

    def on_loss(loss: DataLoss) -> None:
        log_loss(loss)
        if sign_ins:  # the store no longer knows who is blocked
            mend_blocks(sign_ins.accounts, sign_ins.blocks, utc_now())

    writes = CountedWrites()
    monitor = IdentityMonitor(store, identity_of(settings), on_loss, clock.now, writes=writes)

    def monitor_store() -> None:
        if not monitor.look():
            return
        store.follow_master()
        with suppress(StoreUnavailable):
            inbox.look_at_caps(app_ids)
        with suppress(StoreUnavailable):
            store.call(clock.measure_with)
            skews.measured("store", -clock.offset)
            if measured := skews.take():
                store.call(lambda redis: clock_commands(redis, measured, TOLERATED_SKEW, clock.now()).execute())
        keep_tokens()

    def keep_tokens() -> None:
        if facts := token_monitor.take():
            with suppress(StoreUnavailable):
                store.call(lambda redis: token_commands(redis, facts).execute())

    def note_echo(app: str, echo: Echo) -> None:
        token_echoes_total.labels(app, echo).inc()
        log.error("an answer of MIMC's TokenService holds our appKey or appSecret", app=app, where=echo)
        token_monitor.echoed(app, echo)

    token_monitor = TokenMonitor(clock.now, _log_no_tokens, _log_tokens_again, keep_tokens)
    passable, guard = Passable(settings.apps, settings.token.echo_guard, note_echo), _guard(settings.token)
    tokens = GuardedTokens(ClockedTokens(TokenClient(settings.apps, settings.token, passable), skews), guard)
    its, quotas = settings.store, _quotas(settings, counters or store)
    inbox = _inbox(settings, store, writes)

    def store_now() -> datetime:
        if not clock.is_measured:  # the store was away so far
            with suppress(StoreUnavailable):
                store.call(clock.measure_with)
        return clock.now()

    spool = _spool(settings, store, inbox, store_now, lambda: clock.offset)
    return Services(
        settings=settings,
        authenticator=build_authenticator(settings.auth, _note_keys),
        admission=RedisAdmission(
            store,
            clock.now,
            counters,
            app_ids_of(settings),
            _lanes_by_account(settings, lanes),
            quotas,
        ),
        senders=Senders(settings.apps),
        inbox=SpoolingInbox(inbox, store, spool.spool, lambda: clock.is_measured) if spool else inbox,
        tokens=tokens,
        token_monitor=token_monitor,
        api=_api(settings, passable, tokens, guard),
        devices=RedisDeviceRegistry(
            store, app_ids_of(settings), settings.devices.per_account, replicas=settings.store.replicas
        ),
        preferences=RedisPreferences(store, app_ids_of(settings)),
        history=RedisHistory(store, app_ids_of(settings)),
        store_metrics=RedisMetrics(store, lanes, clock.now, webhooks),
        health=RememberedHealth(
            NotedHealth(
                SpoolHealth(
                    RedisHealth(store, lanes, clock.now, its.replicas, webhooks),
                    store,
                    spool.spool if spool else None,
                    clock.now,
                ),
                _notes_of(settings),
            )
        ),
        now=utc_now,
        store_now=store_now,
        second_clock=lambda: utc_now() if clock.is_measured else None,
        monitor_store=monitor_store,
        receipts=_receipts(settings, store, store_now),
        presence=_presence(settings, store),
        unread=RedisUnread(store, app_ids_of(settings)) if settings.alerts.badge else None,
        api_keys=_api_keys(settings, store),
        idempotency=_idempotency(settings, store),
        quotas=quotas,
        sign_ins=sign_ins,
        spool=spool,
        withdrawing=_withdrawing(settings),
        copying=_copying(settings),
        console=_console(settings, store, lanes),
    )


def _notes_of(settings: Settings) -> Callable[[], dict[str, str]]:
    """gunicorn's master has the web begin anew where files have changed; what it cannot use is told here."""
    risks, files = risks_of(settings), ChangedFiles(WatchedFiles(settings.files), settings.read_again)

    def notes() -> dict[str, str]:
        files.look()
        return {**risks, **files.details()}

    return notes


def _inbox(settings: Settings, store: Store, writes: CountedWrites) -> RedisInbox:
    ttl, its, webhooks = settings.relay.dedupe_ttl, settings.store, webhooks_of(settings)
    if not webhooks:
        return RedisInbox(store, ttl, its.callbacks_cap, writes, its.replicas)
    lanes = [it.lane for it in webhooks]
    return CopyingInbox(store, ttl, its.callbacks_cap, writes, its.replicas, lanes=lanes, on_full=_FullWebhooks())


def _console(settings: Settings, store: Store, lanes: Sequence[Lane]) -> ConsoleServices | None:
    its = settings.console
    if not its.enabled:
        return None
    all_lanes = [*lanes, *(it.lane for it in webhooks_of(settings))]
    made = ConsoleServices(store, operators_of(its), all_lanes, FiguresReader(store))
    if its.emulators is None:
        return made
    from proxy.web.console.emulated import Emulators  # noqa: PLC0415  requests, for a developer's machine alone

    return replace(made, emulators=Emulators(its.emulators))


def operators_of(settings: ConsoleSettings) -> Operators:
    """The accounts of the operators. Raises BadSettings for a file that is none of ours."""
    operators = Operators(settings.operators, Argon2Passwords(), settings.session)
    operators.exist()
    return operators


def _copying(settings: Settings) -> Copying | None:
    by_app_id = defaultdict[str, list[Webhook]](list)
    for webhook in webhooks_of(settings):
        by_app_id[webhook.lane.app_id].append(webhook)
    return Copying(by_app_id, without_authentication) if by_app_id else None


class _FullWebhooks:
    """Counts what they do not get, and says so once a minute."""

    def __init__(self) -> None:
        self._said: dict[Lane, float] = {}

    def __call__(self, lane: Lane) -> None:
        webhooks_full_total.labels(lane.app, lane.channel).inc()
        now = time.monotonic()
        if now - self._said.get(lane, -_SAY_EVERY_S) >= _SAY_EVERY_S:
            self._said[lane] = now
            log.error("a webhook is full: what comes in is lost to it", app=lane.app, channel=lane.channel)


def _withdrawing(settings: Settings) -> dict[str, MessageReading]:
    is_on = settings.alerts.withdraw or settings.alerts.badge
    app_ids = set(app_ids_of(settings).values()) if is_on else ()
    return {app_id: reading_of_app(settings, app_id) for app_id in app_ids}


def _receipts(settings: Settings, store: Store, now: Callable[[], datetime]) -> ReceiptServices:
    url, app_ids = settings.store.url.get_secret_value(), app_ids_of(settings)
    guard, timeout_s = removal_guard_of(settings), settings.store.timeout.total_seconds()

    notes = ReceiptNotes(store, app_ids) if settings.alerts.history_max_bytes else None

    def apply(receipts: Sequence[DeliveryReceipt]) -> None:
        """Noted first, for a device that goes has no owner any more. That is done on an event loop of its own, for
        which it is made; it ends with the receipts of a second.
        """
        if notes:
            history_lost_total.inc(notes.append(receipts, now()))
        if any(receipt.what is Delivery.INVALID_TARGET for receipt in receipts):
            asyncio.run(_apply(receipts))

    async def _apply(receipts: Sequence[DeliveryReceipt]) -> None:
        async with lasting_redis(url, timeout_s, store.layout) as redis:
            removal = DeviceRemoval(redis, app_ids, guard, log_held)
            effects = ReceiptEffects(redis, app_ids, removal, settings.relay.unknown_account_ttl)
            await effects.apply(receipts, now())

    return ReceiptServices(ReceiptReaders(settings.apps), WaitingReceipts(apply), quota_monitor())


def _presence(settings: Settings, store: Store) -> RedisPresence | None:
    span = settings.alerts.present
    return RedisPresence(store, app_ids_of(settings), span) if span else None


def _api_keys(settings: Settings, store: Store) -> ApiKeys | None:
    if not settings.families:
        return None
    from proxy.store.users.api_keys import RedisApiKeys  # noqa: PLC0415  not loaded where it is off

    return RedisApiKeys(store)


def _idempotency(settings: Settings, store: Store) -> Idempotency | None:
    if not settings.families:
        return None
    from proxy.store.users.idempotency import RedisIdempotency  # noqa: PLC0415  as above

    return RedisIdempotency(store, settings.store.replicas)


def _quotas(settings: Settings, counters: Store) -> "RedisQuotas | None":
    if not settings.families:
        return None
    from proxy.wiring.api import quotas_at_mimc  # noqa: PLC0415  as above

    return quotas_at_mimc(settings, counters)


def _counters(settings: Settings, timeout_s: float) -> Store | None:
    url = settings.limits.url
    return Store(url.get_secret_value(), timeout_s, on_change=partial(log_store, "limits.url")) if url else None


def _spool(
    settings: Settings, store: Store, inbox: RedisInbox, now: Callable[[], datetime], offset: Callable[[], timedelta]
) -> SpoolServices | None:
    spool = open_spool(settings.store)
    if spool is None:
        return None
    with suppress(SpoolRefused):  # the disk may recover; until then /readyz says so
        spool.try_out()
    drain = Drain(spool, inbox, settings.relay.dedupe_margin, now, offset)
    return SpoolServices(store, spool, drain, SpoolMetrics(spool, now))


def built_in_accounts(settings: AccountsSettings | None, blocks: BlockMarks, at_once: int = 1) -> SignIns | None:
    """The built-in accounts, their database opened and made if need be; `at_once` passwords are checked together.

    Raises BadSettings.
    """
    if settings is None:
        return None
    return SignIns(
        open_accounts(settings.database),
        Argon2Passwords(at_once),
        SessionTokens(settings),
        blocks,
        access_ttl=settings.access_ttl,
        refresh_ttl=settings.refresh_ttl,
    )


def _lanes_by_account(settings: Settings, lanes: Sequence[Lane]) -> list[Lane]:
    """The lanes whose address is the account itself."""
    return [lane for lane in lanes if settings.apps[lane.app].channels[platform_of(lane.channel)].by_account]


def _api(settings: Settings, passable: Passable, tokens: TokenService, guard: MimcGuard) -> "MimcApi | None":
    if not settings.families:
        return None
    from proxy.wiring.api import mimc_api  # noqa: PLC0415  not loaded where it is off

    return mimc_api(settings, passable, tokens, guard)


def _guard(token: TokenSettings) -> MimcGuard:
    pauses = token.breaker_pause.total_seconds(), token.breaker_pause_max.total_seconds()
    rules = BreakerRules(token.breaker_failures, *pauses, probe_s=token.timeout.total_seconds() + 1)
    return MimcGuard(rules, _note_pause)


def _note_pause(app: str) -> None:
    log.warning("MIMC gives no answers, or fails: calls to it are answered 503 until it does", app=app)


def _note_keys(issuer: str, at: datetime) -> None:
    keys_fetched.labels(issuer).set(at.timestamp())


def _log_no_tokens(app: str, reason: str) -> None:
    log.error("MIMC's TokenService gives no token", app=app, reason=reason)


def _log_tokens_again(app: str) -> None:
    log.info("MIMC's TokenService gives tokens again", app=app)
