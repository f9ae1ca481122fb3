"""`[auth]`: the ways of proving a user."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal, get_args
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    model_validator,
)

from proxy.public_keys import algorithms_of, read_pem
from proxy.settings.fields import (
    CookieName,
    DottedPath,
    FileSecret,
    KeyAddress,
    Name,
    PublicKeyFile,
    QuestionAddress,
    ReadableFile,
    Secret,
    Section,
    SigningSecret,
    follow_to_file,
    is_loopback,
    no_pem,
    not_empty,
    read_text,
    refuse,
    rooted,
    seconds,
)

JwtSecret = Annotated[SecretStr, BeforeValidator(follow_to_file), AfterValidator(not_empty), AfterValidator(no_pem)]
JwtAlgorithm = Literal[
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512",
    "ES256", "ES384", "ES512", "EdDSA",
]  # fmt: skip


def key_text(secret: SecretStr, algorithms: Sequence[str]) -> str:
    """What signs with these algorithms (none: HS256), read anew if it lies in a file.

    Raises ValueError where it is too short: RFC 7518, 3.2 wants as many bytes as the hash has.
    """
    text = read_text(secret.path) if isinstance(secret, FileSecret) else secret.get_secret_value()
    no_pem(SecretStr(text))
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
    leeway: Annotated[timedelta, seconds(ge=0, le=300)] = Field(timedelta(seconds=10), alias="leeway_s")
    account_claim: DottedPath = "sub"
    account_prefix: Annotated[str, Field(max_length=64)] = ""
    app: Name | None = None

    @model_validator(mode="after")
    def _keys_fit(self) -> "JwtSettings":
        kinds = [bool(self.all_secrets), bool(self.all_public_key_files), self.jwks_url is not None]
        if sum(kinds) != 1:
            refuse([("secret", "each issuer has either secrets or public_key_files or a jwks_url")])
        host = urlsplit(self.jwks_url or "").hostname
        plain = (self.jwks_url or "").startswith("http://") and not is_loopback(host) and not self.allow_plain
        wrong = [name for name in self.algorithms if name.startswith("HS") is not bool(self.all_secrets)]
        reason = "are for secrets" if not self.all_secrets else "need a public key"
        refuse(
            [
                ("algorithms", f"{', '.join(wrong)} {reason}") if wrong else None,
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


_PLAIN_KEYS = "must be https: keys changed on their way let in anyone; in a network of your own set allow_plain = true"


def _issuers_have_names(value: object) -> object:
    if isinstance(value, Mapping) and not all(isinstance(own, Mapping | JwtSettings) for own in value.values()):
        raise ValueError("each issuer has a section of its own, [auth.jwt.NAME]; its keys belong there")
    return value


_PLAIN = "must be https: your users' sessions would travel readable; in a network of your own set allow_plain = true"


class IntrospectionSettings(Section):
    """Opaque sessions: a URL of the developer's own names the user of a header or cookie.

    `whoami` passes them on as they came, `rfc7662` asks an OAuth authorization server about the bearer. An answer is
    believed for `cache`, a refusal for `negative_cache`. `account` None: "account" of a whoami, "sub" of rfc7662.
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
    timeout: Annotated[timedelta, seconds(gt=0, le=10)] = Field(timedelta(seconds=0.8), alias="timeout_s")
    cache: Annotated[timedelta, seconds(ge=0, le=300)] = Field(timedelta(seconds=5), alias="cache_s")
    negative_cache: Annotated[timedelta, seconds(ge=0, le=60)] = Field(timedelta(seconds=1), alias="negative_cache_s")
    ca_file: ReadableFile | None = None
    allow_plain: bool = False

    @model_validator(mode="after")
    def _keys_fit(self) -> "IntrospectionSettings":
        parts = urlsplit(self.url)
        rfc7662 = self.style == "rfc7662"
        foreign = ("method", "pass_authorization", "cookies") if rfc7662 else ("client_id", "client_secret", "audience")
        asks = rfc7662 or self.pass_authorization or self.cookies
        plain = parts.scheme == "http" and not is_loopback(parts.hostname) and not self.allow_plain
        refuse(
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
    database: Annotated[Path, AfterValidator(rooted), Field(validate_default=True)] = Path("accounts.sqlite3")
    access_ttl: Annotated[timedelta, seconds(ge=10, le=86_400)] = Field(timedelta(minutes=15), alias="access_ttl_s")
    refresh_ttl: Annotated[timedelta, seconds(ge=60, le=400 * 86_400)] = Field(
        timedelta(days=30), alias="refresh_ttl_s"
    )
    cookie_secure: bool = True


class AuthSettings(Section):
    """Which ways of proving a user are on: every section that is present, in the order of `order`.

    An empty `order` means all that are present, as they are written here.
    """

    order: tuple[Literal["jwt", "introspection", "accounts"], ...] = ()
    jwt: Annotated[dict[Name, JwtSettings], BeforeValidator(_issuers_have_names)] = Field(default_factory=dict)
    introspection: IntrospectionSettings | None = None
    accounts: AccountsSettings | None = None

    @model_validator(mode="after")
    def _users_can_be_proven(self) -> "AuthSettings":
        on = self.present
        absent = [name for name in self.order if name not in on]
        refuse(
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
