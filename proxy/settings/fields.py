"""The kinds of values that a setting can have, each checked and none repeated in a message."""

import ipaddress
import os
import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetPydanticSchema,
    SecretStr,
    ValidationInfo,
)
from pydantic_core import core_schema

from proxy.public_keys import NotAKey, read_pem
from proxy.shard_names import shards_in
from proxy.store_address import read_store_address

_RATE = re.compile(r" *([1-9][0-9]{0,8}) *(?:/|per) *([1-9][0-9]{0,4})? *(second|minute|hour|day)s? *")
_LONGEST_S = 10 * 366 * 86_400  # far beyond any use, and no sum with a time of day overflows


class Faults(ValueError):
    """What a check of several keys found: the key within the section, and what is wrong with it."""

    def __init__(self, faults: list[tuple[str, str]]) -> None:
        super().__init__("\n".join(f"{key}: {text}" for key, text in faults))
        self.faults = faults


def refuse(faults: list[tuple[str, str] | None]) -> None:
    if found := [fault for fault in faults if fault]:
        raise Faults(found)


def _follow(value: object, info: ValidationInfo) -> object:
    """Follow `{ file = ... }` and `{ env = ... }` to the text; whatever else is left to the type check."""
    match value:
        case {"file": str(path), **rest} if not rest:
            return read_text(_to_read(path, info))
        case {"env": str(name), **rest} if not rest:
            environ: Mapping[str, str] = (info.context or {}).get("environ", os.environ)
            if name not in environ:
                # only what must be a name is shown: the operator may have put the secret itself here
                shown = name if re.fullmatch(r"[A-Z][A-Z0-9_]{0,63}", name) else "of the name given under env"
                raise ValueError(f"the environment has no variable {shown}")
            return environ[name]
        case dict():
            raise ValueError('expected a text, { file = "path" } or { env = "NAME" }')
        case _:
            return value


class FileSecret(SecretStr):
    """A secret that can be read again: rotating it means writing the file anew."""

    def __init__(self, path: Path) -> None:
        super().__init__(read_text(path))
        self.path = path


def follow_to_file(value: object, info: ValidationInfo) -> object:
    match value:
        case {"file": str(path), **rest} if not rest:
            return FileSecret(_to_read(path, info))
        case _:
            return _follow(value, info)


def read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read the secret file {path}: {type(error).__name__}") from None


def rooted(path: str | Path, info: ValidationInfo) -> Path:
    """An absolute path, or one that starts at the configuration's folder."""
    if "-----BEGIN" in str(path) or "\n" in str(path):
        raise ValueError("expected the path of a file, not its content")
    return Path((info.context or {}).get("folder", "."), Path(path).expanduser())


def _to_read(path: str | Path, info: ValidationInfo) -> Path:
    """The same, of a file that is read: noted in the context's `files`, where it has that set."""
    found = rooted(path, info)
    if (files := (info.context or {}).get("files")) is not None:
        files.add(found)
    return found


def not_empty(value: SecretStr) -> SecretStr:
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


def digits(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def distinct(values: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(values)) < len(values):
        raise ValueError("names one twice")
    return values


def web_address(value: str) -> str:
    if not value.startswith(("http://", "https://")):
        raise ValueError("must start with http:// or https://")
    _refuse_what_is_no_url(value)
    return value.rstrip("/")


def _refuse_what_is_no_url(value: str) -> None:
    """A client that connects there would raise an error that repeats a part of it, perhaps of the password."""
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


def is_loopback(host: str | None) -> bool:
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


def no_pem(value: SecretStr) -> SecretStr:
    """With a public key taken for a secret anyone could sign."""
    if "-----BEGIN" in value.get_secret_value():
        raise ValueError("is a key in PEM, not a secret; a public key goes into public_key_file")
    return value


def _address_to_bind(value: str) -> str:
    found = re.fullmatch(r"(?:\[[0-9A-Fa-f:]+\]|[A-Za-z0-9_.-]+):([0-9]{1,5})", value)
    if not found or int(found[1]) > 65535:
        raise ValueError("expected host:port, like 127.0.0.1:8080")
    return value


def store_address(value: SecretStr) -> SecretStr:
    for option, path in read_store_address(value.get_secret_value()).files.items():
        if not os.access(path, os.R_OK):  # the connection would only fail, and name no reason
            raise ValueError(f"{option} after its ?: no readable file there")
    return value


def power_of_two(value: int) -> int:
    if value & (value - 1):
        raise ValueError("expected a power of two")
    return value


def shards_named(text: str) -> str:
    if text:
        shards_in(text)
    return text


def read_rate(text: str) -> tuple[int, timedelta] | None:
    """How many calls in which time; None for "off". Raises ValueError."""
    if text == "off":
        return None
    found = _RATE.fullmatch(text)
    if found is None:
        raise ValueError('expected calls and a time, like "60/minute" or "5 per 10 seconds", or "off"')
    calls, times, unit = found.groups()
    return int(calls), int(times or 1) * timedelta(**{f"{unit}s": 1})


def _rate(value: str) -> str:
    read_rate(value)
    return value


def written_as(pattern: str, expected: str) -> AfterValidator:
    """A text that matches the whole pattern; `expected` says it in words."""

    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(f"expected {expected}")
        return value

    return AfterValidator(check)


def seconds(*, gt: float | None = None, ge: float | None = None, le: float = _LONGEST_S) -> GetPydanticSchema:
    """A duration, written as a number of seconds; the key of such a field ends in `_s`."""
    number = core_schema.float_schema(gt=gt, ge=ge, le=le, allow_inf_nan=False)
    duration = core_schema.no_info_after_validator_function(
        lambda value: timedelta(seconds=value),
        number,
        serialization=core_schema.plain_serializer_function_ser_schema(timedelta.total_seconds),
    )
    return GetPydanticSchema(lambda _type, _handler: duration)


def _origin(value: str) -> str:
    """As browsers send it: compared text by text, so anything else would never match."""
    if not re.fullmatch(r"[a-z][a-z0-9+.-]*://(?:[a-z0-9_.-]+|\[[0-9a-f:]+\])(?::[0-9]{1,5})?", value):
        raise ValueError("expected an origin in lower case and without a path, like https://chat.example.com")
    return value


def _readable(path: Path, info: ValidationInfo) -> Path:
    path = _to_read(path, info)
    if not path.is_file() or not os.access(path, os.R_OK):
        raise ValueError(f"no readable file at {path}")
    return path


Secret = Annotated[SecretStr, BeforeValidator(follow_to_file), AfterValidator(not_empty)]
SigningSecret = Annotated[Secret, AfterValidator(_at_least(32, "openssl rand -base64 48"))]  # RFC 7518, 3.2
UrlSecret = Annotated[Secret, AfterValidator(_at_least(16, "openssl rand -hex 24")), AfterValidator(_fit_for_a_path)]
Digits = Annotated[str, written_as(r"[0-9]{1,20}", "1 to 20 digits"), BeforeValidator(digits), BeforeValidator(_follow)]
WebAddress = Annotated[str, AfterValidator(web_address)]
QuestionAddress = Annotated[str, AfterValidator(_question_address)]
ProxyAddress = Annotated[WebAddress | None, Field(repr=False)]  # may hold a password
HostName = Annotated[
    str, written_as(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*", "a host's name in lower case, without a port, like web.example.com")
]
BindAddress = Annotated[str, AfterValidator(_address_to_bind)]
ReadableFile = Annotated[Path, AfterValidator(_readable)]
PublicKeyFile = Annotated[ReadableFile, AfterValidator(_public_key)]
KeyAddress = Annotated[Annotated[str, AfterValidator(_key_address)] | None, Field(repr=False)]  # may hold a password
Name = Annotated[
    str, written_as(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}", "1 to 32 letters, digits, - and _, no - or _ first")
]
AppleId = Annotated[
    str,
    written_as(r"[A-Z0-9]{10}", "ten capital letters and digits as Apple shows them, like ABCDE12345"),
    BeforeValidator(_follow),
]
# so long that a push has room for the rest
ClickAddress = Annotated[str, written_as(r"[!-~]{0,1024}", "at most 1024 ASCII characters without a space")]
CookieName = Annotated[str, written_as(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}", "a cookie's name (RFC 6265, 4.1.1)")]
DottedPath = Annotated[
    str, Field(max_length=256), written_as(r"[^.\s]+(\.[^.\s]+)*", "a name, or names with dots between, like user.id")
]
Seconds = Annotated[timedelta, seconds(gt=0)]
Origins = tuple[Annotated[str, AfterValidator(_origin)], ...]
Network = IPv4Network | IPv6Network
Rate = Annotated[str, AfterValidator(_rate)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
