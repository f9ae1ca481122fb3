"""All that the views of a web process work with; `wiring/web.py` fills it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from proxy.auth import Authenticator
from proxy.auth.operators import Operators
from proxy.auth.sign_in import SignIns
from proxy.channels.mipush.receipts import ReceiptReaders
from proxy.domain.lanes import Lane
from proxy.domain.messages import MessageReading
from proxy.mimc.senders import Senders
from proxy.ports import (
    Admission,
    AlertHistory,
    ApiKeys,
    CallbackInbox,
    DeviceRegistry,
    HealthCheck,
    Idempotency,
    PreferenceBook,
    Quotas,
    StoreMetrics,
    TokenService,
    Unread,
)
from proxy.settings import Settings
from proxy.spool.drain import Drain
from proxy.spool.folder import Spool
from proxy.store.connection import Store
from proxy.store.server.figures import FiguresReader
from proxy.store.users.presence import RedisPresence
from proxy.usecases.copy_callback import Copying
from proxy.usecases.monitor_quota import QuotaMonitor
from proxy.usecases.monitor_tokens import TokenMonitor
from proxy.web.receiving import WaitingReceipts

if TYPE_CHECKING:
    from proxy.mimc.api import MimcApi
    from proxy.web.console.emulated import Emulators


@dataclass(frozen=True)
class Services:
    """Safe to share between the threads of a process."""

    settings: Settings
    authenticator: Authenticator
    admission: Admission
    senders: Senders
    tokens: TokenService
    token_monitor: TokenMonitor
    inbox: CallbackInbox
    devices: DeviceRegistry
    preferences: PreferenceBook
    history: AlertHistory
    store_metrics: StoreMetrics
    health: HealthCheck
    now: Callable[[], datetime]  # this machine's
    store_now: Callable[[], datetime]  # the store's, for times that several machines share
    second_clock: Callable[[], datetime | None]  # beside the store's, which it must confirm; None: that is unknown yet
    monitor_store: Callable[[], None]
    receipts: "ReceiptServices"
    api: "MimcApi | None" = None  # None: no section opens MIMC's API
    presence: RedisPresence | None = None  # None: it is off
    unread: Unread | None = None  # None: badges are off
    api_keys: ApiKeys | None = None  # None: no section opens MIMC's API
    idempotency: Idempotency | None = None  # None: likewise
    quotas: Quotas | None = None  # None: likewise
    sign_ins: SignIns | None = None  # None: the built-in accounts are off
    spool: "SpoolServices | None" = None  # None: it is off
    withdrawing: Mapping[str, MessageReading] = field(default_factory=dict)  # by appId; empty: it is off
    copying: Copying | None = None  # None: there are no webhooks
    console: "ConsoleServices | None" = None  # None: it is off


@dataclass(frozen=True)
class SpoolServices:
    """What keeps callbacks while the store is away, and hands them in."""

    store: Store
    spool: Spool
    drain: Drain
    store_metrics: StoreMetrics


@dataclass(frozen=True)
class ReceiptServices:
    """What a provider says of pushes that it accepted: whose word counts, and what follows from it."""

    readers: ReceiptReaders
    waiting: WaitingReceipts
    quota: QuotaMonitor


@dataclass(frozen=True)
class ConsoleServices:
    """What the operator's pages show: `store` is for the readers that they share with the commands."""

    store: Store
    operators: Operators
    lanes: Sequence[Lane]  # of phones and webhooks
    figures: FiguresReader
    emulators: "Emulators | None" = None  # None: this service works with the real providers
