"""Signatures of the Standard Webhooks scheme.

Source: Standard Webhooks 1.0.0, "Signature scheme" and "Webhook headers".
"""

import base64
import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from pydantic import SecretStr

from proxy.settings.channels import signing_key


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


def signer_of(secrets: Iterable[SecretStr]) -> Signer:
    return Signer(tuple(map(signing_key, secrets)))
