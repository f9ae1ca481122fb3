"""All that an operator can set: `config/proxy.toml` explains each key. `configuration.load_settings` reads it.

A secret is a text, `{ file = "path" }` or `{ env = "NAME" }`; its repr is `***`. Everything is checked at start, and
all faults are reported at once. Validation's context may hold `folder`, where relative paths start (the current one
when absent), and `environ`, where `{ env = ... }` looks (the process's when absent). No message repeats a value.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr, SecretStr, model_validator

from proxy.settings.channels import ChannelSettings, HttpSettings, ProfileSettings
from proxy.settings.console import ConsoleSettings
from proxy.settings.fields import (
    AppleId,
    BindAddress,
    ClickAddress,
    Digits,
    Faults,
    FileSecret,
    HostName,
    Name,
    Network,
    Origins,
    ProxyAddress,
    Rate,
    ReadableFile,
    Seconds,
    Secret,
    Section,
    UrlSecret,
    WebAddress,
    digits,
    distinct,
    is_loopback,
    power_of_two,
    refuse,
    rooted,
    seconds,
    shards_named,
    store_address,
    web_address,
    written_as,
)
from proxy.settings.messages import MessageSettings, TypeSettings, WordsSettings
from proxy.settings.users import AccountsSettings, AuthSettings, IntrospectionSettings, JwtSettings, key_text
from proxy.settings.webhooks import WebhookSettings

__all__ = [
    "AccountsSettings",
    "AlertSettings",
    "ApiFamily",
    "ApnsSettings",
    "AppSettings",
    "AuthSettings",
    "CallbackSettings",
    "ChannelSettings",
    "ConsoleSettings",
    "DeviceSettings",
    "Faults",
    "FileSecret",
    "HttpSettings",
    "IntrospectionSettings",
    "JwtSettings",
    "LimitSettings",
    "LogSettings",
    "MessageSettings",
    "MipushSettings",
    "ProfileSettings",
    "RelaySettings",
    "Section",
    "ServerSettings",
    "Settings",
    "StoreSettings",
    "TemplateSettings",
    "TokenSettings",
    "TypeSettings",
    "WebhookSettings",
    "WordsSettings",
    "key_text",
]


GRACE = timedelta(seconds=10)  # what gunicorn gives requests under way when it is stopped
REPEATS = timedelta(seconds=335)  # MIMC says a callback again 5 s, 30 s and 5 min after an answer that is not 200


class ServerSettings(Section):
    """Where gunicorn listens. The second address serves /metrics, /healthz and /readyz to the operator alone.

    Counts are for each process. `connections_per_address` None: half of `connections`.
    """

    bind: BindAddress = "127.0.0.1:8080"
    operator_bind: BindAddress = "127.0.0.1:9464"
    operator_hosts: tuple[HostName, ...] = ()
    workers: Annotated[int, Field(ge=1, le=64)] = 2
    threads: Annotated[int, Field(ge=1, le=256)] = 16
    mimc_api_threads: Annotated[int, Field(ge=1, le=256)] = 8
    callback_threads: Annotated[int, Field(ge=1, le=256)] = 8
    sign_in_threads: Annotated[int, Field(ge=1, le=64)] = 2
    connections: Annotated[int, Field(ge=16, le=100_000)] = 2000
    connections_per_address: Annotated[int, Field(ge=1, le=100_000)] | None = None
    request_timeout: Annotated[timedelta, seconds(ge=1, le=60)] = Field(
        timedelta(seconds=10), alias="request_timeout_s"
    )
    request_min_rate: Annotated[int, Field(ge=0, le=100_000)] = 100
    collected_max_bytes: Annotated[int, Field(ge=4 * 1024 * 1024)] = 67_108_864
    allowed_origins: Origins = ()

    @model_validator(mode="after")
    def _address_is_part_of_all(self) -> "ServerSettings":
        most = self.connections_per_address
        problem = "must not be more than connections"
        refuse([("connections_per_address", problem) if most and most > self.connections else None])
        return self

    @property
    def has_one_listener(self) -> bool:
        """The operator has no listener of their own."""
        return self.bind == self.operator_bind


class StoreSettings(Section):
    """Redis 6.2+ or Valkey. `timeout` bounds one call of the web processes.

    `shards`: into so many parts its work is divided; None: as many as the store has, or a new one gets. `replicas`: so
    many of the store's have what is answered 200, too. `spool_dir` None: while the store is away
    callbacks are answered 503.
    """

    url: Annotated[Secret, AfterValidator(store_address)] = SecretStr("redis://127.0.0.1:6379/0")
    timeout: Seconds = Field(timedelta(seconds=1.0), alias="timeout_s")
    shards: Annotated[int, AfterValidator(power_of_two), Field(ge=1, le=1024)] | None = None
    replicas: Annotated[int, Field(ge=0, le=10)] = 0
    callbacks_cap: Annotated[int, Field(ge=1)] = 1_000_000
    jobs_cap: Annotated[int, Field(ge=1)] = 1_000_000
    dead_letters_cap: Annotated[int, Field(ge=1)] = 100_000
    spool_dir: Annotated[Path, AfterValidator(rooted)] | None = None
    spool_max_bytes: Annotated[int, Field(ge=1)] = 268_435_456
    spool_max_age: Seconds = Field(timedelta(seconds=43_200), alias="spool_max_age_s")


@dataclass(frozen=True)
class ApnsKey:
    """A .p8 key of a team."""

    id: str
    file: Path


class ApnsSettings(ChannelSettings):
    """One iOS app: the team's .p8 key and the bundle id. The addresses are Apple's unless a test says otherwise.

    `communication`: alerts carry who writes, for the app's service extension. `sandbox` False: devices of APNs' sandbox
    are refused. `sandbox_key_file`, `sandbox_key_id` None: one key for both
    environments.
    """

    team_id: AppleId
    key_id: AppleId
    key_file: ReadableFile
    topic: Annotated[str, written_as(r"[A-Za-z0-9.-]{1,255}", "the app's bundle id, like com.example.chat")]
    sandbox: bool = True
    sandbox_key_id: AppleId | None = None
    sandbox_key_file: ReadableFile | None = None
    production_url: WebAddress = "https://api.push.apple.com"
    sandbox_url: WebAddress = "https://api.sandbox.push.apple.com"
    ca_file: ReadableFile | None = None
    proxy: ProxyAddress = None
    sound: Annotated[str, Field(max_length=128)] = "default"
    localized: Literal["server", "device"] = "server"
    communication: bool = False
    recall: Literal["replace", "background"] = "replace"

    @model_validator(mode="after")
    def _sandbox_keys_are_complete(self) -> "ApnsSettings":
        given = {"sandbox_key_id": self.sandbox_key_id, "sandbox_key_file": self.sandbox_key_file}
        for key, value in given.items():
            if value is not None and not self.sandbox:
                refuse([(key, "has no use while sandbox is false")])
            if value is None and any(given.values()):
                refuse([(key, "missing: sandbox_key_id and sandbox_key_file belong together")])
        return self

    def key_for(self, *, sandbox: bool) -> ApnsKey:
        """The key that signs for that environment."""
        if sandbox and self.sandbox_key_id and self.sandbox_key_file:
            return ApnsKey(self.sandbox_key_id, self.sandbox_key_file)
        return ApnsKey(self.key_id, self.key_file)


class TemplateSettings(Section):
    """A MiPush template: its id, the variables in order, and which text fills each."""

    id: Annotated[str, written_as(r"[A-Za-z0-9_-]{1,64}", "1 to 64 letters, digits, - and _")]
    variables: Annotated[
        dict[
            Annotated[str, written_as(r"[A-Za-z0-9_]{1,32}", "1 to 32 letters, digits and _")],
            Literal["sender", "text", "group"],
        ],
        Field(min_length=1, max_length=9),
    ]
    fallback: Annotated[str, Field(min_length=1, max_length=128)] = "[message]"


def _own_address(value: str) -> str:
    """Receipts name phones, and their address holds a secret: they travel by https alone, but on this machine."""
    if value and not (value.startswith("https://") or is_loopback(urlsplit(value).hostname)):
        raise ValueError("must start with https://")
    return web_address(value) if value else value


class MipushSettings(ChannelSettings):
    """One Android app. `address` says whether appAccount itself is the address, or registered regIds are.

    `receipts`: this service's public address; "": Xiaomi is asked for no receipts. `receipt_secret` is the last part of
    the path that they are posted to.
    """

    app_secret: Secret
    package: Annotated[str, Field(min_length=1)]
    address: Literal["account", "regid"] = "account"
    channel_id: Annotated[
        str, written_as(r"[A-Za-z0-9_-]{0,64}", "at most 64 letters, digits, - and _"), BeforeValidator(digits)
    ] = ""
    template: TemplateSettings | None = None
    group_template: TemplateSettings | None = None
    mention_template: TemplateSettings | None = None
    call_template: TemplateSettings | None = None
    notify_effect: Literal["1", "2", "3"] = "1"
    intent_uri: ClickAddress = ""
    web_uri: ClickAddress = ""
    receipts: Annotated[str, Field(max_length=200), AfterValidator(_own_address)] = ""
    receipt_secret: UrlSecret | None = None
    base_url: WebAddress = "https://api.xmpush.xiaomi.com"
    ca_file: ReadableFile | None = None
    proxy: ProxyAddress = None
    connections: Annotated[int, Field(ge=1, le=64)] = 16

    @model_validator(mode="after")
    def _effect_has_its_address(self) -> "MipushSettings":
        effect = self.notify_effect
        refuse(
            [
                ("intent_uri", "required with notify_effect 2") if effect == "2" and not self.intent_uri else None,
                ("web_uri", "required with notify_effect 3") if effect == "3" and not self.web_uri else None,
                ("receipt_secret", "required with receipts") if self.receipts and not self.receipt_secret else None,
                ("receipts", "required with receipt_secret") if self.receipt_secret and not self.receipts else None,
            ]
        )
        return self

    @property
    def by_account(self) -> bool:
        return self.address == "account"

    @property
    def risks(self) -> list[tuple[str, str]]:
        """Keys that may be missing, and what Xiaomi then does. Source: its message classes and template guide."""
        channel = (
            "channel_id",
            "none: Xiaomi's message classes (since 2023-02-01, those of 2026 since 2026-08-01) then allow about one "
            "alert a day for each phone, or none; apply for a private channel on the push console",
        )
        template = (
            "template",
            "none: Xiaomi wants a template with every private message of a new app since 2026-07-01, and may deliver "
            "none without one from 2026-12-31; choose one on the push console",
        )
        return [risk for risk, is_there in ((channel, self.channel_id), (template, self.template)) if not is_there]


ApiFamily = Literal["push", "topic", "history", "contacts", "uctopic"]


class AppSettings(Section):
    """One app on MIMC. Several sections may share an appId ("chat across applications"), then also its credentials.

    `api`: which families of MIMC's own calls are open to users and services; empty: none.
    `delivery` "shadow": alerts are planned and built, and not sent; "off": each ends without a look at its device.
    Then `delivery_share` per cent of the accounts get theirs all the same.
    `check_account`: the account for which check-config asks MIMC for a token; "": it does not ask.
    """

    app_id: Digits
    app_key: Secret
    app_secret: Secret
    url_secret: UrlSecret
    authentication: Literal["required", "if_present", "ignored"] = "if_present"
    region_key: Annotated[str, written_as(r"[A-Za-z0-9_-]{0,64}", "at most 64 letters, digits, - and _")] = ""
    base_url: WebAddress = "https://mimc.chat.xiaomi.net"
    ca_file: ReadableFile | None = None
    proxy: ProxyAddress = None
    allowed_origins: Origins = ()
    check_account: Annotated[str, written_as(r"[^\x00-\x1f\x7f]{0,256}", "at most 256 characters on one line")] = ""
    api: Annotated[tuple[ApiFamily, ...], AfterValidator(distinct)] = ()
    delivery: Literal["on", "off", "shadow"] = "on"
    delivery_share: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] = 0.0
    messages: MessageSettings = MessageSettings()
    apns: ApnsSettings | None = None
    mipush: MipushSettings | None = None
    http: HttpSettings | None = None
    profiles: ProfileSettings | None = None

    @model_validator(mode="after")
    def _share_has_others(self) -> "AppSettings":
        problem = 'has no use while delivery is "on"; with "shadow" or "off" it says how many accounts are served'
        refuse([("delivery_share", problem) if self.delivery_share and self.delivery == "on" else None])
        return self

    @property
    def channels(self) -> dict[str, ChannelSettings]:
        """The sections of the channels that are open, by platform."""
        sections = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: section for name, section in sections.items() if isinstance(section, ChannelSettings)}


def _sections_agree(apps: dict[str, AppSettings]) -> dict[str, AppSettings]:
    """Sections of one appId share its credentials, and a URL secret leads to one section."""
    first: dict[str, tuple[str, AppSettings]] = {}
    secrets: dict[str, str] = {}
    receipt_secrets: dict[str, str] = {}
    profiles: dict[str, str] = {}
    faults: list[tuple[str, str] | None] = []
    for name, app in apps.items():
        twin_name, twin = first.setdefault(app.app_id, (name, app))
        differing = [key for key in ("app_key", "app_secret") if _text(twin, key) != _text(app, key)]
        problem = f"differs from that of {twin_name}, which has the same app_id"
        faults.extend((f"{name}.{key}", problem) for key in differing)
        if twin.messages.reading != app.messages.reading:
            problem = f"paths and types differ from those of {twin_name}, which has the same app_id"
            faults.append((f"{name}.messages", problem))
        if app.profiles is not None and (owner := profiles.setdefault(app.app_id, name)) != name:
            faults.append((f"{name}.profiles", f"{owner}, which has the same app_id, has the section for both"))
        if (owner := secrets.setdefault(app.url_secret.get_secret_value(), name)) != name:
            faults.append((f"{name}.url_secret", f"is also that of {owner}; each section needs its own"))
        if app.mipush is not None and (own := app.mipush.receipt_secret) is not None:
            owner = receipt_secrets.setdefault(own.get_secret_value(), name)
            problem = f"is also that of {owner}; each section needs its own"
            faults.append((f"{name}.mipush.receipt_secret", problem) if owner != name else None)
    refuse(faults)
    return apps


def _text(app: AppSettings, key: str) -> str:
    secret: SecretStr = getattr(app, key)
    return secret.get_secret_value()


class TokenSettings(Section):
    """Time limits of a token call. The Android demo gives up after 2 s, and a browser page is frozen meanwhile.

    `echo_guard`: what becomes of an answer that repeats our appKey or appSecret. The TokenService is left alone after
    calls for `breaker_failures` accounts in a row brought no answer or HTTP 5xx.
    """

    connect_timeout: Seconds = Field(timedelta(seconds=0.8), alias="connect_timeout_s")
    timeout: Seconds = Field(timedelta(seconds=1.8), alias="timeout_s")
    echo_guard: Literal["refuse", "report"] = "refuse"
    breaker_failures: Annotated[int, Field(ge=1, le=1000)] = 5
    breaker_pause: Seconds = Field(timedelta(seconds=1), alias="breaker_pause_s")
    breaker_pause_max: Seconds = Field(timedelta(seconds=15), alias="breaker_pause_max_s")

    @model_validator(mode="after")
    def _pauses_fit(self) -> "TokenSettings":
        fits = self.breaker_pause_max >= self.breaker_pause
        refuse([None if fits else ("breaker_pause_max_s", "must not be under breaker_pause_s")])
        return self


class LimitSettings(Section):
    """How often an account, an API key, and an address (an IPv6 /64), may call. `url` None: counted in the store.

    Addresses are generous, for behind one there may be an office or a carrier's customers. web/limits.py says which
    route counts for which of them. `..._per_app` are what MIMC takes from an appId, see domain/quotas.py: for all apps
    alike, as MIMC says them, and sections of one appId could not differ.
    """

    token_per_account: Rate = "60/minute"  # noqa: S105  not a password
    token_per_address: Rate = "600/minute"  # noqa: S105  not a password
    sign_in_per_account: Rate = "10/minute"
    sign_in_per_address: Rate = "60/minute"
    client_per_account: Rate = "120/minute"
    client_per_address: Rate = "1200/minute"
    client_per_key: Rate = "1200/minute"
    personal_per_app: Rate = "50/second"
    group_per_app: Rate = "20/second"
    unlimited_group_per_app: Rate = "50/second"
    wrong_secret_per_address: Rate = "60/minute"  # noqa: S105  not a password
    operator_per_address: Rate = "1200/minute"
    trusted_proxies: tuple[Network | Literal["unix"], ...] = ()
    url: Annotated[Secret, AfterValidator(store_address)] | None = None


class CallbackSettings(Section):
    """From which networks callbacks are taken; empty: from all, and the URL secret alone decides."""

    allowed_networks: tuple[Network | Literal["unix"], ...] = ()


class DeviceSettings(Section):
    """How many devices one account has in one app at most; the oldest registration makes room for a new one.

    A device that a provider calls dead is removed, unless within an hour the provider says so of more than
    `removal_guard_share` of an app's devices on that channel, and of at least `removal_guard_min`.
    """

    per_account: Annotated[int, Field(ge=1, le=100)] = 10
    removal_guard_share: Annotated[float, Field(gt=0, le=1)] = 0.2
    removal_guard_min: Annotated[int, Field(ge=1)] = 20


class AlertSettings(Section):
    """When a person is left alone, whether alerts are taken back, and what is kept to tell why there was no alert.

    `present` zero: an account that fetched a token just now is alerted as any other. `withdraw`: an alert goes when its
    message is recalled, or read elsewhere. `badge`: phones show how many messages their account has not read;
    `badge_at_token`: none any more once it fetches a token. `fold`: what follows an alert of a conversation within that
    time is told together; zero: each by itself. `history_max_bytes` is for the histories of all apps together; zero:
    none is kept.
    """

    present: Annotated[timedelta, seconds(ge=0, le=3600)] = Field(timedelta(0), alias="present_s")
    withdraw: bool = False
    badge: bool = False
    badge_at_token: bool = False
    fold: Annotated[timedelta, seconds(ge=0, le=3600)] = Field(timedelta(0), alias="fold_s")
    history_max_bytes: Annotated[int, Field(ge=0, le=2**40)] = 256 * 2**20

    @model_validator(mode="after")
    def _badges_are_on(self) -> "AlertSettings":
        is_idle = self.badge_at_token and not self.badge
        refuse([("badge_at_token", "has no use while badge is false") if is_idle else None])
        return self


class RelaySettings(Section):
    """The relay's times. The defaults fit together; the start refuses those that do not. `shards`: those that a worker
    serves; "": all. `exemplars`: its latency is shown with the id of a job, to whom asks for OpenMetrics.
    """

    alert_ttl: Seconds = Field(timedelta(seconds=86_400), alias="alert_ttl_s")
    dedupe_ttl: Seconds = Field(timedelta(seconds=86_400), alias="dedupe_ttl_s")
    unknown_account_ttl: Seconds = Field(timedelta(seconds=21_600), alias="unknown_account_ttl_s")
    lease: Seconds = Field(timedelta(seconds=15), alias="lease_s")
    heartbeat: Seconds = Field(timedelta(seconds=4), alias="heartbeat_s")
    push_timeout: Seconds = Field(timedelta(seconds=10), alias="push_timeout_s")
    silence_min: Seconds = Field(timedelta(seconds=2), alias="silence_min_s")
    drain: Seconds = Field(timedelta(seconds=20), alias="drain_s")
    probe: Seconds = Field(timedelta(seconds=30), alias="probe_s")
    backoff_initial: Seconds = Field(timedelta(seconds=1), alias="backoff_initial_s")
    backoff_max: Seconds = Field(timedelta(seconds=300), alias="backoff_max_s")
    breaker_failures: Annotated[int, Field(ge=2, le=1000)] = 10
    in_flight: Annotated[int, Field(ge=1, le=5000)] = 500
    shards: Annotated[str, AfterValidator(shards_named)] = ""
    operator_bind: BindAddress = "127.0.0.1:9465"
    exemplars: bool = False

    @model_validator(mode="after")
    def _times_fit(self) -> "RelaySettings":
        slow_push = self.push_timeout + self.heartbeat
        rules = [
            (
                self.lease > slow_push,
                "lease_s",
                "must exceed push_timeout_s + heartbeat_s, or two workers send one push",
            ),
            (self.lease > 2 * self.heartbeat, "heartbeat_s", "must be under half of lease_s: one may fail"),
            (
                self.drain >= self.push_timeout,
                "drain_s",
                "must not be under push_timeout_s: pushes would be cut off",
            ),
            (
                self.silence_min < self.push_timeout,
                "silence_min_s",
                "must be under push_timeout_s, or it never strikes",
            ),
            (
                self.dedupe_ttl >= REPEATS,
                "dedupe_ttl_s",
                f"at least {REPEATS.total_seconds():g}: MIMC repeats a callback for 5 min 35 s",
            ),
            (self.backoff_max >= self.backoff_initial, "backoff_max_s", "must not be under backoff_initial_s"),
        ]
        refuse([None if kept else (key, text) for kept, key, text in rules])
        return self

    @property
    def dedupe_margin(self) -> timedelta:
        """At this age of a callback its marks may be gone, if it was stored at MIMC's first try."""
        return self.dedupe_ttl - REPEATS


class LogSettings(Section):
    """What is written to stderr: `json` for machines, `console` for eyes."""

    format: Literal["json", "console"] = "json"
    level: Literal["debug", "info", "warning", "error"] = "info"


class Settings(Section):
    """The whole configuration. `configuration.load_settings` builds it from the file and the environment.

    `files`: those that its values name and that were read for it. `read_again`: the same configuration with what they
    say now; raises BadSettings.
    """

    _files: frozenset[Path] = PrivateAttr(frozenset())
    _read_again: "Callable[[], Settings] | None" = PrivateAttr(None)

    server: ServerSettings = ServerSettings()
    store: StoreSettings = StoreSettings()
    auth: AuthSettings
    apps: Annotated[dict[Name, AppSettings], Field(min_length=1), AfterValidator(_sections_agree)]
    webhooks: tuple[WebhookSettings, ...] = ()
    token: TokenSettings = TokenSettings()
    limits: LimitSettings = LimitSettings()
    callbacks: CallbackSettings = CallbackSettings()
    devices: DeviceSettings = DeviceSettings()
    alerts: AlertSettings = AlertSettings()
    relay: RelaySettings = RelaySettings()
    console: ConsoleSettings = Field(default={}, validate_default=True)  # so that its file lies in the settings' folder
    logs: LogSettings = LogSettings()

    def came_from(self, files: Iterable[Path], read_again: "Callable[[], Settings]") -> "Settings":
        self._files, self._read_again = frozenset(files), read_again
        return self

    @property
    def files(self) -> frozenset[Path]:
        return self._files

    def read_again(self) -> "Settings":
        return self._read_again() if self._read_again else self

    @cached_property
    def origins_of(self) -> dict[str, frozenset[str]]:
        """The pages that may call for each section: of the server, and of all sections with its appId."""
        of_all, by_app_id = frozenset(self.server.allowed_origins), defaultdict[str, set[str]](set)
        for app in self.apps.values():
            by_app_id[app.app_id].update(app.allowed_origins)
        return {name: of_all | by_app_id[app.app_id] for name, app in self.apps.items()}

    @cached_property
    def families(self) -> frozenset[str]:
        """The families of MIMC's own calls that some section opens."""
        return frozenset().union(*(app.api for app in self.apps.values()))

    @cached_property
    def known_origins(self) -> frozenset[str]:
        """Every origin that may ask for anything."""
        return frozenset(self.server.allowed_origins).union(*(app.allowed_origins for app in self.apps.values()))

    @model_validator(mode="after")
    def _requests_end_in_time(self) -> "Settings":
        waits = {"token.timeout_s": self.token.timeout, "store.timeout_s": self.store.timeout}
        if self.auth.introspection:
            waits["auth.introspection.timeout_s"] = self.auth.introspection.timeout
        problem = f"must be under {GRACE.total_seconds():g}: at a stop, requests under way are given that long"
        refuse([(key, problem) if wait >= GRACE else None for key, wait in waits.items()])
        return self

    @model_validator(mode="after")
    def _bound_apps_exist(self) -> "Settings":
        bound = {"auth.introspection.app": self.auth.introspection and self.auth.introspection.app}
        bound |= {f"auth.jwt.{name}.app": issuer.app for name, issuer in self.auth.jwt.items()}
        problem = "names no section under [apps]"
        refuse([(key, problem) if app and app not in self.apps else None for key, app in bound.items()])
        return self

    @model_validator(mode="after")
    def _webhooks_are_of_apps(self) -> "Settings":
        names = [it.name for it in self.webhooks]
        faults: list[tuple[str, str] | None] = []
        for place, webhook in enumerate(self.webhooks):
            if webhook.app not in self.apps:
                faults.append((f"webhooks.{place}.app", "names no section under [apps]"))
            if webhook.name in names[:place]:
                faults.append((f"webhooks.{place}.name", "is also that of another; each needs its own"))
        refuse(faults)
        return self

    @model_validator(mode="after")
    def _marks_outlive_the_spool(self) -> "Settings":
        if self.store.spool_dir is not None and self.relay.dedupe_margin < self.store.spool_max_age:
            problem = (
                f"at least {REPEATS.total_seconds():g} + store.spool_max_age_s, or what the store was given before it "
                "went away is shown again when it comes from the spool"
            )
            refuse([("relay.dedupe_ttl_s", problem)])
        return self
