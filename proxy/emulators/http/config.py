"""The settings of the emulated sender: section [http] of config/emulators.toml."""

import base64
import binascii
from typing import Annotated

from pydantic import AfterValidator, Field

from proxy.emulators.settings import AT_LEAST_ONE, HttpSettings


def _has_a_key(secret: str) -> str:
    key_of(secret)
    return secret


def key_of(secret: str) -> bytes:
    """What signs. Raises ValueError."""
    prefix, _, encoded = secret.partition("_")
    if prefix != "whsec":
        raise ValueError("expected a text that begins with whsec_")
    try:
        return base64.b64decode(encoded, validate=True)
    except binascii.Error:
        raise ValueError("expected base64 after whsec_") from None


class SenderConfig(HttpSettings):
    """Which signatures are good: those of any of the `secrets`, and so long before or after the time in them."""

    secrets: Annotated[tuple[Annotated[str, AfterValidator(_has_a_key)], ...], AT_LEAST_ONE, Field(repr=False)]
    tolerance_s: Annotated[float, Field(gt=0, le=86_400)] = 300.0
