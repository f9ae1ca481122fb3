"""What the sections of all channels have in common; and the section of the developer's own sender."""

import base64
import binascii
import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, model_validator

from proxy.public_addresses import AddressGuard, is_address
from proxy.settings.fields import Network, ProxyAddress, ReadableFile, Secret, Section, is_loopback, refuse

_PREFIX = "whsec_"
_PLAIN = "must be https: alerts would travel readable; in a network of your own set allow_plain = true"
_PRIVATE = "is an address that is not public; if your sender is there, name its network in allowed_networks"


class ChannelSettings(Section):
    """A section of an app that opens a channel; it is called as the platform of the devices that it reaches."""

    @property
    def by_account(self) -> bool:
        """The account itself is the address: no device registers."""
        return False


def signing_key(secret: SecretStr) -> bytes:
    """The key inside a secret of the Standard Webhooks scheme: "whsec_" and 24 to 64 bytes in base64.

    Raises ValueError.
    """
    text = secret.get_secret_value()
    try:
        key = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not text.startswith(_PREFIX) or not 24 <= len(key) <= 64:
        raise ValueError(
            "expected whsec_ and 24 to 64 bytes in base64; make one: echo whsec_$(openssl rand -base64 32)"
        )
    return key


def _with_key(secret: SecretStr) -> SecretStr:
    signing_key(secret)
    return secret


def _sender_address(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    try:
        parts = urlsplit(text)
        readable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        readable = False
    if not readable or not re.fullmatch(r"[!-~]{1,2048}", text) or set("#\\") & set(text) or "@" in parts.netloc:
        raise ValueError("expected an address like https://push.example.com/alerts, without a name and password")
    return value


WebhookSecret = Annotated[Secret, AfterValidator(_with_key)]


class HttpSettings(ChannelSettings):
    """The developer's own sender, for phones that no other channel reaches. `url` may hold a secret, and is one here.

    `address` says whether appAccount itself is the address, or registered devices are. `replaces`: of one
    conversation's alerts the phone shows the latest, so that one at a time is sent, and none that a later one covers.
    """

    url: Annotated[Secret, AfterValidator(_sender_address)]
    secret: WebhookSecret | None = None
    secrets: Annotated[tuple[WebhookSecret, ...], Field(max_length=8)] = ()
    address: Literal["device", "account"] = "device"
    replaces: bool = False
    allow_plain: bool = False
    allowed_networks: tuple[Network, ...] = ()
    ca_file: ReadableFile | None = None
    proxy: ProxyAddress = None
    connections: Annotated[int, Field(ge=1, le=64)] = 16

    @model_validator(mode="after")
    def _address_may_be_called(self) -> "HttpSettings":
        is_plain = urlsplit(self.url.get_secret_value()).scheme == "http"
        is_forbidden = is_address(self._host) and not self.guard.allows(self._host)
        refuse(
            [
                ("url", _PLAIN) if is_plain and not (self.allow_plain or is_loopback(self._host)) else None,
                ("url", _PRIVATE) if is_forbidden else None,
                None if self.all_secrets else ("secret", "missing; or secrets, to sign with several"),
            ]
        )
        return self

    @property
    def by_account(self) -> bool:
        return self.address == "account"

    @property
    def all_secrets(self) -> tuple[SecretStr, ...]:
        return (*([self.secret] if self.secret is not None else []), *self.secrets)

    @property
    def guard(self) -> AddressGuard:
        """Where a connection may lead: this machine only where the URL says so, and no private network unasked."""
        return AddressGuard(self.allowed_networks, loopback=is_loopback(self._host))

    @property
    def _host(self) -> str:
        return urlsplit(self.url.get_secret_value()).hostname or ""
