"""All that an operator can set: `config/proxy.toml`, overridden by the environment and by secret files.

A variable is `APP_PROXY_` and the path with two underscores between the levels: APP_PROXY_STORE__URL,
APP_PROXY_APPS__MAIN__APP_SECRET. A secret is a text, `{ file = "path" }` or `{ env = "NAME" }`; its repr is `***`.
Everything is checked at start, and every fault is told at once.
"""

import os
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource


def _read_secret(value: object) -> object:
    """Follow `{ file = ... }` and `{ env = ... }` to the text; whatever else is left to the type check."""
    match value:
        case {"file": str(path), **rest} if not rest:
            try:
                return Path(path).expanduser().read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise ValueError(f"cannot read the secret file {path}: {type(error).__name__}") from None
        case {"env": str(name), **rest} if not rest:
            if name not in os.environ:
                raise ValueError(f"the environment has no variable {name}")
            return os.environ[name]
        case _:
            return value


def _not_empty(value: SecretStr) -> SecretStr:
    if not value.get_secret_value():
        raise ValueError("must not be empty")
    return value


def _digits(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _web_address(value: str) -> str:
    if not value.startswith(("http://", "https://")):
        raise ValueError("must start with http:// or https://")
    return value.rstrip("/")


def _readable(path: Path) -> Path:
    path = path.expanduser()
    if not path.is_file() or not os.access(path, os.R_OK):
        raise ValueError(f"no readable file at {path}")
    return path


Secret = Annotated[SecretStr, BeforeValidator(_read_secret), AfterValidator(_not_empty)]
Digits = Annotated[str, BeforeValidator(_digits), Field(pattern=r"^[0-9]{1,20}$")]
WebAddress = Annotated[str, AfterValidator(_web_address)]
ReadableFile = Annotated[Path, AfterValidator(_readable)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$")]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class ServerSettings(Section):
    """Where gunicorn listens. The second address serves /metrics, /healthz and /readyz to the operator alone."""

    bind: str = "127.0.0.1:8080"
    operator_bind: str = "127.0.0.1:9464"
    workers: Annotated[int, Field(ge=1, le=64)] = 2
    threads: Annotated[int, Field(ge=1, le=256)] = 16
    allowed_origins: tuple[str, ...] = ()


class StoreSettings(Section):
    """Redis 6.2+ or Valkey. `timeout_s` bounds one call of the web processes."""

    url: Annotated[SecretStr, BeforeValidator(_read_secret)] = SecretStr("redis://127.0.0.1:6379/0")
    timeout_s: Seconds = 1.0
    callbacks_cap: Annotated[int, Field(ge=1)] = 1_000_000
    jobs_cap: Annotated[int, Field(ge=1)] = 1_000_000
    dead_letters_cap: Annotated[int, Field(ge=1)] = 100_000


class JwtSettings(Section):
    """Bearer tokens that the developer's own system signs; `sub` is the account."""

    key: Secret
    algorithms: tuple[Literal["HS256", "HS384", "HS512"], ...] = ("HS256",)
    leeway_s: Annotated[float, Field(ge=0, le=300)] = 10.0

    @model_validator(mode="after")
    def _long_enough(self) -> "JwtSettings":
        if len(self.key.get_secret_value().encode()) < 32:
            raise ValueError("key: at least 32 bytes (RFC 7518, 3.2); make one with: openssl rand -base64 48")
        if not self.algorithms:
            raise ValueError("algorithms: name at least one")
        return self


class AuthSettings(Section):
    """Which ways of proving a user are on: every section that is present, in the order of `order`."""

    order: tuple[Literal["jwt"], ...] = ("jwt",)
    jwt: JwtSettings | None = None


class ApnsSettings(Section):
    """One iOS app: the team's .p8 key and the bundle id. The addresses are Apple's unless a test says otherwise."""

    team_id: Annotated[str, Field(pattern=r"^[A-Z0-9]{10}$")]
    key_id: Annotated[str, Field(pattern=r"^[A-Z0-9]{10}$")]
    key_file: ReadableFile
    topic: Annotated[str, Field(min_length=1, max_length=255)]
    production_url: WebAddress = "https://api.push.apple.com"
    sandbox_url: WebAddress = "https://api.sandbox.push.apple.com"
    ca_file: ReadableFile | None = None
    proxy: WebAddress | None = None
    sound: str = "default"


class TemplateSettings(Section):
    """A MiPush template: its id, the variables in order, and which text fills each."""

    id: Annotated[str, Field(min_length=1)]
    variables: dict[Annotated[str, Field(min_length=1)], Literal["sender", "text", "group"]]
    fallback: Annotated[str, Field(min_length=1, max_length=128)] = "[message]"

    @model_validator(mode="after")
    def _at_most_nine(self) -> "TemplateSettings":
        if not 1 <= len(self.variables) <= 9:
            raise ValueError("variables: between 1 and 9")
        return self


class MipushSettings(Section):
    """One Android app. `address` says whether appAccount itself is the address, or registered regIds are."""

    app_secret: Secret
    package: Annotated[str, Field(min_length=1)]
    address: Literal["account", "regid"] = "account"
    channel_id: str = ""
    template: TemplateSettings | None = None
    group_template: TemplateSettings | None = None
    notify_effect: Literal["1", "2", "3"] = "1"
    intent_uri: str = ""
    web_uri: str = ""
    base_url: WebAddress = "https://api.xmpush.xiaomi.com"
    ca_file: ReadableFile | None = None
    proxy: WebAddress | None = None
    connections: Annotated[int, Field(ge=1, le=64)] = 16

    @model_validator(mode="after")
    def _effect_has_its_address(self) -> "MipushSettings":
        if self.notify_effect == "2" and not self.intent_uri:
            raise ValueError("intent_uri: required with notify_effect 2")
        if self.notify_effect == "3" and not self.web_uri:
            raise ValueError("web_uri: required with notify_effect 3")
        return self


class AppSettings(Section):
    """One app on MIMC. Several sections may share an appId ("chat across applications"), then also its credentials."""

    app_id: Digits
    app_key: Secret
    app_secret: Secret
    url_secret: Secret
    authentication: Literal["required", "if_present", "ignored"] = "if_present"
    base_url: WebAddress = "https://mimc.chat.xiaomi.net"
    ca_file: ReadableFile | None = None
    proxy: WebAddress | None = None
    apns: ApnsSettings | None = None
    mipush: MipushSettings | None = None

    @model_validator(mode="after")
    def _url_secret_is_long(self) -> "AppSettings":
        if len(self.url_secret.get_secret_value()) < 16:
            raise ValueError("url_secret: at least 16 characters; make one with: openssl rand -hex 24")
        return self


class TokenSettings(Section):
    """Time limits of a token call. The Android demo gives up after 2 s, and a browser page is frozen meanwhile."""

    connect_timeout_s: Seconds = 0.8
    timeout_s: Seconds = 1.8


class RelaySettings(Section):
    """The relay's times. The defaults fit together; the start refuses those that do not."""

    alert_life_s: Seconds = 86_400
    marks_life_s: Seconds = 86_400
    unknown_account_life_s: Seconds = 21_600
    lease_s: Seconds = 15
    heartbeat_s: Seconds = 4
    push_timeout_s: Seconds = 10
    silence_s: Seconds = 2
    drain_s: Seconds = 20
    probe_s: Seconds = 30
    backoff_first_s: Seconds = 1
    backoff_most_s: Seconds = 300
    in_flight: Annotated[int, Field(ge=1, le=5000)] = 500
    operator_bind: str = "127.0.0.1:9465"

    @model_validator(mode="after")
    def _times_fit(self) -> "RelaySettings":
        if self.push_timeout_s + self.heartbeat_s >= self.lease_s:
            raise ValueError("lease_s: must exceed push_timeout_s + heartbeat_s, or a slow push is sent by two workers")
        if self.silence_s >= self.push_timeout_s:
            raise ValueError("silence_s: must be under push_timeout_s, or a silent connection is never left")
        if self.marks_life_s < 335:
            raise ValueError("marks_life_s: at least 335, MIMC repeats a callback for 5 min 35 s")
        if self.backoff_most_s < self.backoff_first_s:
            raise ValueError("backoff_most_s: must not be under backoff_first_s")
        return self

    @property
    def lease(self) -> timedelta:
        return timedelta(seconds=self.lease_s)


class LogSettings(Section):
    format: Literal["json", "console"] = "json"
    level: Literal["debug", "info", "warning", "error"] = "info"


class Settings(BaseSettings):
    """The whole configuration. Build it with `load_settings`."""

    model_config = SettingsConfigDict(
        env_prefix="APP_PROXY_", env_nested_delimiter="__", extra="forbid", frozen=True, hide_input_in_errors=True
    )

    server: ServerSettings = ServerSettings()
    store: StoreSettings = StoreSettings()
    auth: AuthSettings
    apps: Annotated[dict[Name, AppSettings], Field(min_length=1)]
    token: TokenSettings = TokenSettings()
    relay: RelaySettings = RelaySettings()
    logs: LogSettings = LogSettings()

    @model_validator(mode="after")
    def _sections_agree(self) -> "Settings":
        if self.auth.jwt is None:
            raise ValueError("auth: no way of proving a user is on; add [auth.jwt]")
        first: dict[str, tuple[str, AppSettings]] = {}
        secrets: dict[str, str] = {}
        for name, app in self.apps.items():
            other_name, other = first.setdefault(app.app_id, (name, app))
            if (other.app_key, other.app_secret) != (app.app_key, app.app_secret):
                raise ValueError(f"apps.{name}: shares its app_id with {other_name}, but not app_key and app_secret")
            if (owner := secrets.setdefault(app.url_secret.get_secret_value(), name)) != name:
                raise ValueError(f"apps.{name}: has the same url_secret as {owner}")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  the signature is pydantic's
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)
