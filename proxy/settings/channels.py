"""What the sections of all channels have in common; and the sections that name a server of the developer's."""

import re
from datetime import timedelta
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, model_validator

from proxy.public_addresses import AddressGuard, is_address
from proxy.settings.fields import Network, ProxyAddress, ReadableFile, Secret, Section, is_loopback, refuse, seconds
from proxy.signatures import signing_key

_PLAIN = "must be https: names and texts would travel readable; in a network of your own set allow_plain = true"
_PRIVATE = "is an address that is not public; if your server is there, name its network in allowed_networks"


class ChannelSettings(Section):
    """A section of an app that opens a channel; it is called as the platform of the devices that it reaches."""

    @property
    def by_account(self) -> bool:
        """The account itself is the address: no device registers."""
        return False


def _with_key(secret: SecretStr) -> SecretStr:
    signing_key(secret)
    return secret


def _server_address(value: SecretStr) -> SecretStr:
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


class SignedRequests(Section):
    """Where a server of the developer's is called, and what signs. `url` may hold a secret, and is one here."""

    url: Annotated[Secret, AfterValidator(_server_address)]
    secret: WebhookSecret | None = None
    secrets: Annotated[tuple[WebhookSecret, ...], Field(max_length=8)] = ()
    allow_plain: bool = False
    allowed_networks: tuple[Network, ...] = ()
    ca_file: ReadableFile | None = None
    proxy: ProxyAddress = None
    connections: Annotated[int, Field(ge=1, le=64)] = 16

    @model_validator(mode="after")
    def _address_may_be_called(self) -> Self:
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
    def all_secrets(self) -> tuple[SecretStr, ...]:
        return (*([self.secret] if self.secret is not None else []), *self.secrets)

    @property
    def guard(self) -> AddressGuard:
        """Where a connection may lead: this machine only where the URL says so, and no private network unasked."""
        return AddressGuard(self.allowed_networks, loopback=is_loopback(self._host))

    @property
    def _host(self) -> str:
        return urlsplit(self.url.get_secret_value()).hostname or ""


class HttpSettings(ChannelSettings, SignedRequests):
    """The developer's own sender, for phones that no other channel reaches.

    `address` says whether appAccount itself is the address, or registered devices are. `replaces`: of one
    conversation's alerts the phone shows the latest, so that one at a time is sent, and none that a later one covers.
    """

    address: Literal["device", "account"] = "device"
    replaces: bool = False

    @property
    def by_account(self) -> bool:
        return self.address == "account"


class ProfileSettings(SignedRequests):
    """Where the developer's server tells names that payloads lack. `timeout` bounds all that a message waits for it.

    `cache` is how long a name is remembered.
    """

    timeout: Annotated[timedelta, seconds(ge=0.02, le=2)] = Field(timedelta(seconds=0.3), alias="timeout_s")
    cache: Annotated[timedelta, seconds(ge=1, le=86_400)] = Field(timedelta(minutes=10), alias="cache_s")
