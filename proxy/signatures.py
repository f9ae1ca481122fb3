"""Signatures of the Standard Webhooks scheme, by which a server of the developer's knows that a request is ours.

Source: Standard Webhooks 1.0.0, "Signature scheme" and "Webhook headers".
"""

import base64
import binascii
import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from pydantic import SecretStr

_PREFIX = "whsec_"


@dataclass(frozen=True)
class Signer:
    """Signs with every key, so that a receiver may know any one of them while keys change."""

    keys: tuple[bytes, ...] = field(repr=False)

    def headers(self, webhook_id: str, body: bytes, now: datetime) -> tuple[str, ...]:
        """`webhook_id` names what is sent and has no dot; `now` is when it leaves, also at a repeat."""
        timestamp = int(now.timestamp())
        signed = f"{webhook_id}.{timestamp}.".encode() + body
        signatures = (base64.b64encode(hmac.digest(key, signed, "sha256")).decode() for key in self.keys)
        return (
            f"webhook-id: {webhook_id}",
            f"webhook-timestamp: {timestamp}",
            f"webhook-signature: {' '.join(f'v1,{signature}' for signature in signatures)}",
        )

    def request_headers(self, webhook_id: str, body: bytes, now: datetime) -> tuple[str, ...]:
        """All headers of a request with this JSON body."""
        return (
            *self.headers(webhook_id, body, now),
            "content-type: application/json",
            "user-agent: mimc-app-proxy",
            # an empty one keeps libcurl from sending its own
            "accept:",
            "expect:",
        )


def signer_of(secrets: Iterable[SecretStr]) -> Signer:
    return Signer(tuple(map(signing_key, secrets)))


def signing_key(secret: SecretStr) -> bytes:
    """The key inside a secret of the scheme: "whsec_" and 24 to 64 bytes in base64.

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
