"""All that an operator can set: `config/proxy.toml` explains each key. `configuration.load_settings` reads it.

A secret is a text, `{ file = "path" }` or `{ env = "NAME" }`; its repr is `***`. Everything is checked at start, and
every fault is told at once. Validation's context may hold `folder`, where relative paths start (the current one when
absent), and `environ`, where `{ env = ... }` looks (the process's when absent). No message repeats a value.
"""

import ipaddress
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal, get_args
from urllib.parse import urlsplit

import limits
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    model_validator,
)

from proxy.public_keys import NotAKey, algorithms_of, read_pem


class Faults(ValueError):
    """What a check of several keys found: the key within the section, and what is wrong with it."""

    def __init__(self, faults: list[tuple[str, str]]) -> None:
        super().__init__("\n".join(f"{key}: {text}" for key, text in faults))
        self.faults = faults


def _refuse(faults: list[tuple[str, str] | None]) -> None:
    if found := [fault for fault in faults if fault]:
        raise Faults(found)


def _follow(value: object, info: ValidationInfo) -> object:
    """Follow `{ file = ... }` and `{ env = ... }` to the text; whatever else is left to the type check."""
    match value:
        case {"file": str(path), **rest} if not rest:
            return _read_text(_rooted(path, info))
        case {"env": str(name), **rest} if not rest:
            environ: Mapping[str, str] = (info.context or {}).get("environ", os.environ)
            if name not in environ:
                # Only what must be a name is shown: somebody may have put the secret itself here.
                shown = name if re.fullmatch(r"[A-Z][A-Z0-9_]{0,63}", name) else "of the name given under env"
                raise ValueError(f"the environment has no variable {shown}")
            return environ[name]
        case dict():
            raise ValueError('expected a text, { file = "path" } or { env = "NAME" }')
        case _:
            return value


class FileSecret(SecretStr):
    """A secret that can be read again: whoever rotates it writes the file anew."""

    def __init__(self, path: Path) -> None:
        super().__init__(_read_text(path))
        self.path = path


def _follow_to_file(value: object, info: ValidationInfo) -> object:
    match value:
        case {"file": str(path), **rest} if not rest:
            return FileSecret(_rooted(path, info))
        case _:
            return _follow(value, info)


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read the secret file {path}: {type(error).__name__}") from None


def _rooted(path: str | Path, info: ValidationInfo) -> Path:
    """An absolute path, or one that starts at the configuration's folder."""
    if "-----BEGIN" in str(path) or "\n" in str(path):
        raise ValueError("expected the path of a file, not its content")
    return Path((info.context or {}).get("folder", "."), Path(path).expanduser())


def _not_empty(value: SecretStr) -> SecretStr:
    if not value.get_secret_value():
        raise ValueError("must not be empty")
    return value


def _at_least(characters: int, how: str) -> Callable[[SecretStr], SecretStr]:
    def check(value: SecretStr) -> SecretStr:
        if len(value.get_secret_value().encode()) < characters:
            raise ValueError(f"at least {characters} bytes; make one with: {how}")
        return value

    return check


def _fit_for_a_path(value: SecretStr) -> SecretStr:
    if not re.fullmatch(r"[A-Za-z0-9_-]+", value.get_secret_value()):
        raise ValueError("only letters, digits, - and _: it is a part of a URL")
    return value


def _digits(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _web_address(value: str) -> str:
    if not value.startswith(("http://", "https://")):
        raise ValueError("must start with http:// or https://")
    _refuse_what_is_no_url(value)
    return value.rstrip("/")


def _refuse_what_is_no_url(value: str) -> None:
    """Whoever connects there would raise an error that repeats a part of it, perhaps of the password."""
    try:
        readable = urlsplit(value).port != 0
    except ValueError:
        readable = False
    if not readable:
        raise ValueError("not a URL; in a name or password, / ? # @ : must be written as %2F %3F %23 %40 %3A")


def _question_address(value: str) -> str:
    """An address as it is to be asked, its last slash included: Django answers the one without it by a redirect."""
    try:
        parts = urlsplit(value)
        readable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        readable = False
    if not readable or not re.fullmatch(r"[!-~]{1,2048}", value) or "#" in value:
        raise ValueError("expected an address like https://app.example.com/whoami")
    if "@" in parts.netloc:
        raise ValueError("must hold no name and password; style rfc7662 has client_id and client_secret")
    return value


def _is_loopback(host: str | None) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def _key_address(value: str) -> str:
    """An address as it is to be fetched, its last slash included."""
    if not value.startswith(("http://", "https://")) or not re.fullmatch(r"[!-~]{1,2048}", value):
        raise ValueError("expected an address like https://id.example.com/jwks.json")
    _refuse_what_is_no_url(value)
    return value


def _public_key(path: Path) -> Path:
    try:
        read_pem(path.read_bytes())
    except (NotAKey, OSError) as error:
        raise ValueError(f"{path}: {error if isinstance(error, NotAKey) else type(error).__name__}") from None
    return path


def _no_pem(value: SecretStr) -> SecretStr:
    """A public key taken for a secret would let everybody sign."""
    if "-----BEGIN" in value.get_secret_value():
        raise ValueError("is a key in PEM, not a secret; a public key goes into public_key_file")
    return value


def _address_to_bind(value: str) -> str:
    found = re.fullmatch(r"(?:\[[0-9A-Fa-f:]+\]|[A-Za-z0-9_.-]+):([0-9]{1,5})", value)
    if not found or int(found[1]) > 65535:
        raise ValueError("expected host:port, like 127.0.0.1:8080")
    return value


def _store_address(value: SecretStr) -> SecretStr:
    if not value.get_secret_value().startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("must start with redis://, rediss:// or unix://")
    _refuse_what_is_no_url(value.get_secret_value())
    return value


def _rate(value: str) -> str:
    try:
        good = value == "off" or limits.parse(value).amount > 0
    except ValueError:
        good = False
    if not good:
        raise ValueError('expected calls and a time, like "60/minute" or "5 per 10 seconds", or "off"')
    return value


def _origin(value: str) -> str:
    """As browsers send it: compared text by text, so anything else would never match."""
    if not re.fullmatch(r"[a-z][a-z0-9+.-]*://(?:[a-z0-9_.-]+|\[[0-9a-f:]+\])(?::[0-9]{1,5})?", value):
        raise ValueError("expected an origin in lower case and without a path, like https://chat.example.com")
    return value


def _readable(path: Path, info: ValidationInfo) -> Path:
    path = _rooted(path, info)
    if not path.is_file() or not os.access(path, os.R_OK):
        raise ValueError(f"no readable file at {path}")
    return path


Secret = Annotated[SecretStr, BeforeValidator(_follow), AfterValidator(_not_empty)]
SigningSecret = Annotated[Secret, AfterValidator(_at_least(32, "openssl rand -base64 48"))]  # RFC 7518, 3.2
UrlSecret = Annotated[Secret, AfterValidator(_at_least(16, "openssl rand -hex 24")), AfterValidator(_fit_for_a_path)]
Digits = Annotated[str, Field(pattern=r"^[0-9]{1,20}$"), BeforeValidator(_digits), BeforeValidator(_follow)]
WebAddress = Annotated[str, AfterValidator(_web_address)]
QuestionAddress = Annotated[str, AfterValidator(_question_address)]
ProxyAddress = Annotated[WebAddress | None, Field(repr=False)]  # may hold a password
BindAddress = Annotated[str, AfterValidator(_address_to_bind)]
ReadableFile = Annotated[Path, AfterValidator(_readable)]
PublicKeyFile = Annotated[ReadableFile, AfterValidator(_public_key)]
KeyAddress = Annotated[Annotated[str, AfterValidator(_key_address)] | None, Field(repr=False)]  # may hold a password
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$")]
# so long that a push has room for the rest
ClickAddress = Annotated[str, Field(pattern=r"^[!-~]{0,1024}$")]
CookieName = Annotated[str, Field(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$")]  # RFC 6265, 4.1.1
DottedPath = Annotated[str, Field(pattern=r"^[^.\s]+(\.[^.\s]+)*$", max_length=256)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Origins = tuple[Annotated[str, AfterValidator(_origin)], ...]
Network = IPv4Network | IPv6Network
Rate = Annotated[str, AfterValidator(_rate)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class ServerSettings(Section):
    """Where gunicorn listens. The second address serves /metrics, /healthz and /readyz to the operator alone."""

    bind: BindAddress = "127.0.0.1:8080"
    operator_bind: BindAddress = "127.0.0.1:9464"
    workers: Annotated[int, Field(ge=1, le=64)] = 2
    threads: Annotated[int, Field(ge=1, le=256)] = 16
    allowed_origins: Origins = ()


class StoreSettings(Section):
    """Redis 6.2+ or Valkey. `timeout_s` bounds one call of the web processes."""

    url: Annotated[Secret, AfterValidator(_store_address)] = SecretStr("redis://127.0.0.1:6379/0")
    timeout_s: Seconds = 1.0
    callbacks_cap: Annotated[int, Field(ge=1)] = 1_000_000
    jobs_cap: Annotated[int, Field(ge=1)] = 1_000_000
    dead_letters_cap: Annotated[int, Field(ge=1)] = 100_000


JwtSecret = Annotated[SecretStr, BeforeValidator(_follow_to_file), AfterValidator(_not_empty), AfterValidator(_no_pem)]
JwtAlgorithm = Literal[
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512",
    "ES256", "ES384", "ES512", "EdDSA",
]  # fmt: skip


def key_text(secret: SecretStr, algorithms: Sequence[str]) -> str:
    """What signs with these algorithms (none: HS256), read anew if it lies in a file.

    Raises ValueError where it is too short: RFC 7518, 3.2 wants as many bytes as the hash has.
    """
    text = _read_text(secret.path) if isinstance(secret, FileSecret) else secret.get_secret_value()
    _no_pem(SecretStr(text))
    least = max(int(name[2:]) // 8 for name in algorithms or ("HS256",))
    if len(text.encode()) < least:
        raise ValueError(f"at least {least} bytes; make one with: openssl rand -base64 {least * 3 // 2}")
    return text


class JwtSettings(Section):
    """An issuer of bearer JWTs: its keys, in one of three ways, and what its tokens must say.

    `algorithms` empty: HS256 for secrets, else what is usual for each key.
    """

    secret: JwtSecret | None = None
    secrets: Annotated[tuple[JwtSecret, ...], Field(max_length=8)] = ()
    public_key_file: PublicKeyFile | None = None
    public_key_files: Annotated[tuple[PublicKeyFile, ...], Field(max_length=8)] = ()
    jwks_url: KeyAddress = None
    ca_file: ReadableFile | None = None
    allow_plain: bool = False
    algorithms: tuple[JwtAlgorithm, ...] = ()
    issuer: Annotated[str, Field(max_length=512)] = ""
    audience: Annotated[str, Field(max_length=512)] = ""
    leeway_s: Annotated[float, Field(ge=0, le=300)] = 10.0
    account_claim: DottedPath = "sub"
    account_prefix: Annotated[str, Field(max_length=64)] = ""
    app: Name | None = None

    @model_validator(mode="after")
    def _keys_fit(self) -> "JwtSettings":
        kinds = [bool(self.all_secrets), bool(self.all_public_key_files), self.jwks_url is not None]
        if sum(kinds) != 1:
            _refuse([("secret", "each issuer has either secrets or public_key_files or a jwks_url")])
        host = urlsplit(self.jwks_url or "").hostname
        plain = (self.jwks_url or "").startswith("http://") and not _is_loopback(host) and not self.allow_plain
        wrong = [name for name in self.algorithms if name.startswith("HS") is not bool(self.all_secrets)]
        told = "are for secrets" if not self.all_secrets else "need a public key"
        _refuse(
            [
                ("algorithms", f"{', '.join(wrong)} {told}") if wrong else None,
                ("jwks_url", _PLAIN_KEYS) if plain else None,
                *([] if wrong else self._unfit_keys()),
            ]
        )
        return self

    def _unfit_keys(self) -> Iterator[tuple[str, str]]:
        for secret in self.all_secrets:
            try:
                key_text(secret, self.algorithms)
            except ValueError as error:
                yield "secret" if secret is self.secret else "secrets", str(error)
        for path in self.all_public_key_files if self.algorithms else ():
            possible = algorithms_of(read_pem(path.read_bytes()))
            if not set(possible) & set(self.algorithms):
                yield "algorithms", f"none of them is for {path}, a key for {', '.join(possible)}"

    @property
    def all_secrets(self) -> tuple[SecretStr, ...]:
        return (*([self.secret] if self.secret is not None else []), *self.secrets)

    @property
    def all_public_key_files(self) -> tuple[Path, ...]:
        return (*([self.public_key_file] if self.public_key_file is not None else []), *self.public_key_files)

    @property
    def possible_algorithms(self) -> frozenset[str]:
        """Those that any key of the issuer may have."""
        if self.algorithms:
            return frozenset(self.algorithms)
        return frozenset({"HS256"} if self.all_secrets else {*get_args(JwtAlgorithm)} - {"HS256", "HS384", "HS512"})


_PLAIN_KEYS = (
    "must be https: whoever changes the keys on their way is any user; in a network of your own set allow_plain = true"
)


def _issuers_have_names(value: object) -> object:
    if isinstance(value, Mapping) and not all(isinstance(own, Mapping | JwtSettings) for own in value.values()):
        raise ValueError("each issuer has a section of its own, [auth.jwt.NAME]; its keys belong there")
    return value


_PLAIN = "must be https: your users' sessions would travel readable; in a network of your own set allow_plain = true"


class IntrospectionSettings(Section):
    """Opaque sessions: a URL of the developer's own says whose the caller's header or cookie is.

    `whoami` passes them on as they came, `rfc7662` asks an OAuth authorization server about the bearer. An answer is
    believed for `cache_s`, a refusal for `negative_cache_s`. `account` None: "account" of a whoami, "sub" of rfc7662.
    """

    url: QuestionAddress
    style: Literal["whoami", "rfc7662"] = "whoami"
    method: Literal["GET", "POST"] = "GET"
    pass_authorization: bool = True
    cookies: Annotated[tuple[CookieName, ...], Field(max_length=8)] = ()
    client_id: str = ""
    client_secret: Secret | None = None
    audience: str = ""
    account: DottedPath | None = None
    account_prefix: Annotated[str, Field(max_length=64)] = ""
    app: Name | None = None
    timeout_s: Annotated[float, Field(gt=0, le=10)] = 0.8
    cache_s: Annotated[float, Field(ge=0, le=300)] = 5.0
    negative_cache_s: Annotated[float, Field(ge=0, le=60)] = 1.0
    ca_file: ReadableFile | None = None
    allow_plain: bool = False

    @model_validator(mode="after")
    def _keys_fit(self) -> "IntrospectionSettings":
        parts = urlsplit(self.url)
        rfc7662 = self.style == "rfc7662"
        foreign = ("method", "pass_authorization", "cookies") if rfc7662 else ("client_id", "client_secret", "audience")
        asks = rfc7662 or self.pass_authorization or self.cookies
        plain = parts.scheme == "http" and not _is_loopback(parts.hostname) and not self.allow_plain
        _refuse(
            [
                *((key, f"has no meaning in style {self.style}") for key in foreign if key in self.model_fields_set),
                ("client_id", "required in style rfc7662") if rfc7662 and not self.client_id else None,
                ("client_secret", "required in style rfc7662") if rfc7662 and not self.client_secret else None,
                None if asks else ("cookies", "name one, or nothing is passed on while pass_authorization is off"),
                ("url", _PLAIN) if plain else None,
            ]
        )
        return self

    @property
    def account_path(self) -> tuple[str, ...]:
        return tuple((self.account or ("sub" if self.style == "rfc7662" else "account")).split("."))


_SECTIONS = "[auth.jwt.NAME], [auth.introspection] or [auth.accounts]"


class AccountsSettings(Section):
    """The built-in accounts: users who sign in here, kept in a SQLite file. Every other key is made from `key`."""

    key: SigningSecret
    database: Annotated[Path, AfterValidator(_rooted), Field(validate_default=True)] = Path("accounts.sqlite3")
    access_life_s: Annotated[int, Field(ge=10, le=86_400)] = 900
    refresh_life_s: Annotated[int, Field(ge=60, le=400 * 86_400)] = 30 * 86_400
    cookie_secure: bool = True


class AuthSettings(Section):
    """Which ways of proving a user are on: every section that is present, in the order of `order`.

    An empty `order` stands for all that are present, as they are written here.
    """

    order: tuple[Literal["jwt", "introspection", "accounts"], ...] = ()
    jwt: Annotated[dict[Name, JwtSettings], BeforeValidator(_issuers_have_names)] = {}
    introspection: IntrospectionSettings | None = None
    accounts: AccountsSettings | None = None

    @model_validator(mode="after")
    def _somebody_can_sign_in(self) -> "AuthSettings":
        on = self.present
        absent = [name for name in self.order if name not in on]
        _refuse(
            [
                None if on else ("jwt", f"no way of proving a user is on; add the section {_SECTIONS}"),
                ("order", f"names what has no section: {', '.join(absent)}") if on and absent else None,
            ]
        )
        return self

    @property
    def present(self) -> tuple[str, ...]:
        sections = {"jwt": self.jwt, "introspection": self.introspection, "accounts": self.accounts}
        return tuple(name for name, section in sections.items() if section)

    @property
    def asked(self) -> tuple[str, ...]:
        """The backends in the order in which they are asked."""
        return self.order or self.present


class ApnsSettings(Section):
    """One iOS app: the team's .p8 key and the bundle id. The addresses are Apple's unless a test says otherwise."""

    team_id: Annotated[str, Field(pattern=r"^[A-Z0-9]{10}$")]
    key_id: Annotated[str, Field(pattern=r"^[A-Z0-9]{10}$")]
    key_file: ReadableFile
    topic: Annotated[str, Field(pattern=r"^[A-Za-z0-9.-]{1,255}$")]
    production_url: WebAddress = "https://api.push.apple.com"
    sandbox_url: WebAddress = "https://api.sandbox.push.apple.com"
    ca_file: ReadableFile | None = None
    proxy: ProxyAddress = None
    sound: Annotated[str, Field(max_length=128)] = "default"


class TemplateSettings(Section):
    """A MiPush template: its id, the variables in order, and which text fills each."""

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    variables: Annotated[
        dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9_]{1,32}$")], Literal["sender", "text", "group"]],
        Field(min_length=1, max_length=9),
    ]
    fallback: Annotated[str, Field(min_length=1, max_length=128)] = "[message]"


class MipushSettings(Section):
    """One Android app. `address` says whether appAccount itself is the address, or registered regIds are."""

    app_secret: Secret
    package: Annotated[str, Field(min_length=1)]
    address: Literal["account", "regid"] = "account"
    channel_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{0,64}$"), BeforeValidator(_digits)] = ""
    template: TemplateSettings | None = None
    group_template: TemplateSettings | None = None
    notify_effect: Literal["1", "2", "3"] = "1"
    intent_uri: ClickAddress = ""
    web_uri: ClickAddress = ""
    base_url: WebAddress = "https://api.xmpush.xiaomi.com"
    ca_file: ReadableFile | None = None
    proxy: ProxyAddress = None
    connections: Annotated[int, Field(ge=1, le=64)] = 16

    @model_validator(mode="after")
    def _effect_has_its_address(self) -> "MipushSettings":
        effect = self.notify_effect
        _refuse(
            [
                ("intent_uri", "required with notify_effect 2") if effect == "2" and not self.intent_uri else None,
                ("web_uri", "required with notify_effect 3") if effect == "3" and not self.web_uri else None,
            ]
        )
        return self


class AppSettings(Section):
    """One app on MIMC. Several sections may share an appId ("chat across applications"), then also its credentials."""

    app_id: Digits
    app_key: Secret
    app_secret: Secret
    url_secret: UrlSecret
    authentication: Literal["required", "if_present", "ignored"] = "if_present"
    base_url: WebAddress = "https://mimc.chat.xiaomi.net"
    ca_file: ReadableFile | None = None
    proxy: ProxyAddress = None
    allowed_origins: Origins = ()
    apns: ApnsSettings | None = None
    mipush: MipushSettings | None = None


def _sections_agree(apps: dict[str, AppSettings]) -> dict[str, AppSettings]:
    """Sections of one appId share its credentials, and a URL secret leads to one section."""
    first: dict[str, tuple[str, AppSettings]] = {}
    secrets: dict[str, str] = {}
    faults: list[tuple[str, str] | None] = []
    for name, app in apps.items():
        twin_name, twin = first.setdefault(app.app_id, (name, app))
        differing = [key for key in ("app_key", "app_secret") if getattr(twin, key) != getattr(app, key)]
        told = f"differs from that of {twin_name}, which has the same app_id"
        faults.extend((f"{name}.{key}", told) for key in differing)
        if (owner := secrets.setdefault(app.url_secret.get_secret_value(), name)) != name:
            faults.append((f"{name}.url_secret", f"is also that of {owner}; each section needs its own"))
    _refuse(faults)
    return apps


class TokenSettings(Section):
    """Time limits of a token call. The Android demo gives up after 2 s, and a browser page is frozen meanwhile."""

    connect_timeout_s: Seconds = 0.8
    timeout_s: Seconds = 1.8


class LimitSettings(Section):
    """How often an account, and an address (an IPv6 /64), may call. `url` None: counted in the store.

    Addresses are generous, for behind one there may be an office or a carrier's customers.
    """

    token_per_account: Rate = "60/minute"  # noqa: S105  not a password
    token_per_address: Rate = "600/minute"  # noqa: S105  not a password
    sign_in_per_account: Rate = "10/minute"
    sign_in_per_address: Rate = "60/minute"
    trusted_proxies: tuple[Network | Literal["unix"], ...] = ()
    url: Annotated[Secret, AfterValidator(_store_address)] | None = None


class DeviceSettings(Section):
    """How many devices one account has in one app at most; the oldest registration makes room for a new one."""

    per_account: Annotated[int, Field(ge=1, le=100)] = 10


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
    operator_bind: BindAddress = "127.0.0.1:9465"

    @model_validator(mode="after")
    def _times_fit(self) -> "RelaySettings":
        slow_push = self.push_timeout_s + self.heartbeat_s
        rules = [
            (
                self.lease_s > slow_push,
                "lease_s",
                "must exceed push_timeout_s + heartbeat_s, or two workers send one push",
            ),
            (self.silence_s < self.push_timeout_s, "silence_s", "must be under push_timeout_s, or it never strikes"),
            (self.marks_life_s >= 335, "marks_life_s", "at least 335: MIMC repeats a callback for 5 min 35 s"),
            (self.backoff_most_s >= self.backoff_first_s, "backoff_most_s", "must not be under backoff_first_s"),
        ]
        _refuse([None if kept else (key, text) for kept, key, text in rules])
        return self

    @property
    def lease(self) -> timedelta:
        return timedelta(seconds=self.lease_s)


class LogSettings(Section):
    """What is written to stderr: `json` for machines, `console` for eyes."""

    format: Literal["json", "console"] = "json"
    level: Literal["debug", "info", "warning", "error"] = "info"


class Settings(Section):
    """The whole configuration. `configuration.load_settings` builds it from the file and the environment."""

    server: ServerSettings = ServerSettings()
    store: StoreSettings = StoreSettings()
    auth: AuthSettings
    apps: Annotated[dict[Name, AppSettings], Field(min_length=1), AfterValidator(_sections_agree)]
    token: TokenSettings = TokenSettings()
    limits: LimitSettings = LimitSettings()
    devices: DeviceSettings = DeviceSettings()
    relay: RelaySettings = RelaySettings()
    logs: LogSettings = LogSettings()

    @model_validator(mode="after")
    def _bound_apps_exist(self) -> "Settings":
        bound = {"auth.introspection.app": self.auth.introspection and self.auth.introspection.app}
        bound |= {f"auth.jwt.{name}.app": issuer.app for name, issuer in self.auth.jwt.items()}
        told = "names no section under [apps]"
        _refuse([(key, told) if app and app not in self.apps else None for key, app in bound.items()])
        return self
