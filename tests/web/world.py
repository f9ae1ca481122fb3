"""A web application whose ports are in memory, and what its callers send."""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
from flask.testing import FlaskClient

from proxy.app import create_app
from proxy.auth import build_authenticator
from proxy.channels.mipush.receipts import ReceiptReaders
from proxy.domain.api_keys import ApiKey
from proxy.domain.callbacks import Receipt
from proxy.domain.devices import Device, Registered
from proxy.domain.history import Noted
from proxy.domain.jobs import Job
from proxy.domain.lanes import Lane
from proxy.domain.limits import Admitted, Blocked, Budget, Exceeded
from proxy.domain.monitoring import Health, Metric
from proxy.domain.offline_messages import Letter, OfflineMessage
from proxy.domain.preferences import DEFAULT, Preferences
from proxy.domain.quotas import QuotaRequest, QuotaSpent
from proxy.domain.receipts import DeliveryReceipt
from proxy.domain.transfers import Paused, Response, TransportFailure
from proxy.errors import StoreUnavailable
from proxy.mimc.senders import Senders
from proxy.ports import BlockList, CallbackInbox
from proxy.settings import Settings
from proxy.usecases.monitor_quota import NamedUse, QuotaMonitor
from proxy.usecases.monitor_tokens import TokenMonitor
from proxy.web.listeners import ON_OPERATOR
from proxy.web.receiving import WaitingReceipts
from proxy.web.services import ConsoleServices, ReceiptServices, Services

Application = Callable[..., Any]

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
APP_ID, OTHER_APP_ID = "2882303761517000001", "2882303761517000002"
APP_SECRET = "b64-demo-secret+0123456789AB=="
JWT_KEY = "a key of the tests, never used anywhere else 0123456789"
URL_SECRET, OTHER_URL_SECRET = "url-secret-of-main-000000000000", "url-secret-of-other-00000000000"
ORIGIN = "https://chat.example.com"


def app_section(**changes: object) -> dict[str, object]:
    return {"app_id": APP_ID, "app_key": "key", "app_secret": APP_SECRET, "url_secret": URL_SECRET} | changes


def other_section(**changes: object) -> dict[str, object]:
    return app_section(app_id=OTHER_APP_ID, url_secret=OTHER_URL_SECRET) | changes


def mipush_section(**changes: object) -> dict[str, object]:
    return {"app_secret": "push", "package": "com.example.chat", "address": "regid"} | changes


def settings(apps: Mapping[str, object] | None = None, **sections: object) -> Settings:
    document: dict[str, Any] = {
        "server": {"allowed_origins": [ORIGIN]},
        "auth": {"jwt": {"own": {"secret": JWT_KEY}}},
        "apps": apps or {"main": app_section()},
    }
    return Settings.model_validate(document | sections)


@dataclass
class MemoryInbox(CallbackInbox):
    """Keeps callbacks by their ids."""

    stored: dict[str, OfflineMessage] = field(default_factory=dict)
    failure: StoreUnavailable | None = None

    def accept_all(self, letters: Sequence[Letter]) -> list[Receipt | StoreUnavailable]:
        if self.failure:
            raise self.failure
        return [self._accept(letter) for letter in letters]

    def _accept(self, letter: Letter) -> Receipt:
        known = letter.callback_id in self.stored
        self.stored[letter.callback_id] = letter.message
        return Receipt(duplicate=known)


@dataclass
class MemoryDevices:
    """Implements ports.DeviceRegistry."""

    stored: dict[tuple[str, str, str], Device] = field(default_factory=dict)
    per_account: int = 10

    def register(self, device: Device) -> Registered:
        self.stored.pop((device.app, device.account, device.device_id), None)
        token = (device.app, device.platform, device.push_token)
        former = {key: one for key, one in self.stored.items() if (one.app, one.platform, one.push_token) == token}
        for key in former:
            del self.stored[key]
        mine = self.devices_of(device.app, device.account)
        gone = [it.device_id for it in mine[: max(0, len(mine) + 1 - self.per_account)]]
        for device_id in gone:
            self.remove(device.app, device.account, device_id)
        self.stored[device.app, device.account, device.device_id] = device
        return Registered(gone, moved=any(one.account != device.account for one in former.values()))

    def devices_of(self, app: str, account: str) -> list[Device]:
        return [device for key, device in self.stored.items() if key[:2] == (app, account)]

    def remove(self, app: str, account: str, device_id: str) -> bool:
        return self.stored.pop((app, account, device_id), None) is not None


class MemoryHistory:
    """Implements ports.AlertHistory."""

    def __init__(self) -> None:
        self.noted: dict[tuple[str, str], list[Noted]] = {}

    def of_account(self, app: str, account: str, since: datetime, most: int) -> list[Noted]:
        return [one for one in self.noted.get((app, account), []) if one.at >= since][-most:]


@dataclass
class MemoryPreferences:
    """Implements ports.PreferenceBook."""

    stored: dict[tuple[str, str], Preferences] = field(default_factory=dict)

    def read(self, app: str, account: str) -> tuple[Preferences, str]:
        found = self.stored.get((app, account), DEFAULT)
        return found, hashlib.sha1(repr(found).encode(), usedforsecurity=False).hexdigest()

    def write(self, app: str, account: str, preferences: Preferences, expected: str | None) -> str | None:
        if expected not in (None, self.read(app, account)[1]):
            return None
        self.stored[app, account] = preferences
        return self.read(app, account)[1]


@dataclass
class MemoryUnread:
    """Implements ports.Unread: what each account has not read, by conversation."""

    stored: dict[tuple[str, str], dict[str, int]] = field(default_factory=dict)
    told: list[Job] = field(default_factory=list)

    def clear(
        self,
        app: str,
        account: str,
        conversation: str,
        now: datetime,  # noqa: ARG002  the port's
        jobs: Sequence[tuple[Lane, Job]],
    ) -> int:
        unread = self.stored.get((app, account), {})
        for name in [conversation] if conversation else list(unread):
            if unread.pop(name, 0):
                self.told += [job for _, job in jobs]
        return sum(unread.values())


@dataclass
class MemoryApiKeys:
    """Implements ports.ApiKeys: `known` by their bearers."""

    known: dict[str, ApiKey] = field(default_factory=dict)
    asked: list[tuple[str, datetime]] = field(default_factory=list)
    failure: StoreUnavailable | None = None

    def find(self, bearer: str, now: datetime) -> ApiKey | None:
        if self.failure:
            raise self.failure
        self.asked.append((bearer, now))
        return self.known.get(bearer)


@dataclass
class MemoryQuotas:
    """Implements ports.Quotas: there is room, unless `answer` says otherwise."""

    answer: QuotaSpent | StoreUnavailable | None = None
    taken: list[QuotaRequest] = field(default_factory=list)

    def take(self, request: QuotaRequest, now: datetime) -> QuotaSpent | None:
        assert now == NOW
        if isinstance(self.answer, StoreUnavailable):
            raise self.answer
        self.taken.append(request)
        return self.answer


@dataclass
class MemoryBlocks:
    """Implements ports.BlockList."""

    accounts: set[str] = field(default_factory=set)
    sessions: set[str] = field(default_factory=set)
    failure: Exception | None = None

    def is_blocked(self, account: str, session_id: str | None) -> bool:
        if self.failure:
            raise self.failure
        return account in self.accounts or session_id in self.sessions

    def block(self, account: str) -> None:
        self.accounts.add(account)

    def unblock(self, account: str) -> None:
        self.accounts.discard(account)

    def block_session(self, session_id: str, life: timedelta) -> None:  # noqa: ARG002  nothing ends here by itself
        self.sessions.add(session_id)


@dataclass
class MemoryAdmission:
    """Implements ports.Admission; a caller in `spent` is over the limit of that name, and waits for so many seconds.

    `failure` is the counters', `blocks` may fail by themselves. `asked` has the methods that need the store.
    """

    blocks: BlockList = field(default_factory=MemoryBlocks)
    quotas: MemoryQuotas = field(default_factory=MemoryQuotas)
    spent: dict[tuple[str, str], float] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    lifted: list[tuple[str, str | None]] = field(default_factory=list)
    signed_in: set[tuple[str, str]] = field(default_factory=set)
    failure: StoreUnavailable | None = None

    def count(self, address: Budget) -> Exceeded | None:
        return self._count(address)

    def spend(self, budgets: Sequence[Budget], address: Budget | None) -> Exceeded | None:  # noqa: ARG002
        self.asked.append("spend" if budgets else "share")
        if self.failure:
            raise self.failure
        return next((exceeded for budget in budgets if (exceeded := self._count(budget))), None)

    def admit(
        self,
        account: str,
        session_id: str | None,
        app: str | None,
        budget: Budget | None = None,
        address: Budget | None = None,  # noqa: ARG002  `count` has had it
        api_key: str | None = None,  # noqa: ARG002  MemoryApiKeys says so
        quota: QuotaRequest | None = None,
    ) -> Admitted | Blocked | Exceeded | QuotaSpent:
        self.asked.append("admit")
        if self.blocks.is_blocked(account, session_id):
            return Blocked()
        if self.failure:
            return Admitted(counted=False)
        if budget and (exceeded := self._count(budget)):
            return exceeded
        self.lifted.append((account, app))
        try:
            return (self.quotas.take(quota, NOW) if quota else None) or Admitted()
        except StoreUnavailable:
            return Admitted(counted=False)

    def has_signed_in(self, account: str, network: str) -> bool:
        if self.failure:
            raise self.failure
        return (account, network) in self.signed_in

    def remember_sign_in(self, account: str, network: str) -> None:
        self.signed_in.add((account, network))

    def _count(self, budget: Budget) -> Exceeded | None:
        wait_s = self.spent.get((budget.name, budget.caller))
        if wait_s is not None:
            return Exceeded(budget, round(wait_s * 1000))
        self.calls.append((budget.name, budget.caller))
        return None


@dataclass
class ScriptedTokens:
    """Implements ports.TokenService."""

    answer: Response | TransportFailure | Paused | Exception = field(
        default_factory=lambda: Response(200, {"content-type": "application/json"}, b'{"code":200}')
    )
    calls: list[tuple[str, str]] = field(default_factory=list)

    def issue(self, app: str, account: str) -> Response | TransportFailure | Paused:
        self.calls.append((app, account))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@dataclass
class MemoryState:
    """Implements ports.StoreMetrics and ports.HealthCheck."""

    ready: bool = True
    store_metrics: list[Metric] | None = field(default_factory=list)
    details: dict[str, str] = field(default_factory=lambda: {"store": "a sentence"})

    def check(self) -> Health:
        return Health(self.ready, self.details)

    def read(self) -> list[Metric]:
        if self.store_metrics is None:
            raise StoreUnavailable("the store does not answer")
        return self.store_metrics


class World:
    """The application with everything around it in reach."""

    def __init__(self, configured: Settings | None = None, console: ConsoleServices | None = None) -> None:
        self.settings = configured or settings()
        self.inbox, self.devices, self.preferences = MemoryInbox(), MemoryDevices(), MemoryPreferences()
        self.history = MemoryHistory()
        self.unread, self.api_keys, self.quotas = MemoryUnread(), MemoryApiKeys(), MemoryQuotas()
        self.tokens, self.state, self.blocks = ScriptedTokens(), MemoryState(), MemoryBlocks()
        self.admission = MemoryAdmission(self.blocks, self.quotas)
        self.receipts: list[DeliveryReceipt] = []
        self.quota, self.quota_warnings = list[NamedUse](), list[NamedUse]()
        self.services = Services(
            settings=self.settings,
            authenticator=build_authenticator(self.settings.auth),
            admission=self.admission,
            senders=Senders(self.settings.apps),
            tokens=self.tokens,
            token_monitor=TokenMonitor(lambda: NOW),
            inbox=self.inbox,
            devices=self.devices,
            preferences=self.preferences,
            history=self.history,
            store_metrics=self.state,
            health=self.state,
            now=lambda: NOW,
            store_now=lambda: NOW,
            second_clock=lambda: NOW,
            monitor_store=lambda: None,
            receipts=ReceiptServices(
                ReceiptReaders(self.settings.apps),
                WaitingReceipts(self.receipts.extend),
                QuotaMonitor(self.quota.append, self.quota_warnings.append),
            ),
            unread=self.unread if self.settings.alerts.badge else None,
            api_keys=self.api_keys if self.settings.families else None,
            quotas=self.quotas if self.settings.families else None,
            console=console,
        )
        self.app = create_app(self.services)
        self.app.wsgi_app = self._served(self.app.wsgi_app)  # type: ignore[method-assign]

    def _served(self, application: Application) -> Application:
        """As our server hands requests over: those to port 9464 came in on the operator's listener."""

        def served(environ: dict[str, Any], start_response: Any) -> Any:
            of_operator = environ["SERVER_PORT"] == "9464" and not self.settings.server.has_one_listener
            return application({**environ, ON_OPERATOR: of_operator}, start_response)

        return served

    @property
    def client(self) -> FlaskClient:
        return self.app.test_client()


def bearer(account: str = "1000", **changes: object) -> dict[str, str]:
    """The header of a user whom the developer's system has signed in."""
    claims = {"sub": account, "exp": int(time.time()) + 600} | changes
    return {"Authorization": f"Bearer {jwt.encode(claims, JWT_KEY, 'HS256')}"}
