"""What the settings of the emulators have in common: kinds of values, and where an HTTP emulator listens.

Relative paths start at `folder` of the validation's context (the current one when absent).
"""

import re
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import AfterValidator, Field

from proxy.settings.fields import Section, rooted

_Item = TypeVar("_Item")


def matching(pattern: str, expected: str) -> AfterValidator:
    """A text of this form; the fault says `expected` in words."""

    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(f"expected {expected}")
        return value

    return AfterValidator(check)


def _at_least_one(values: tuple[_Item, ...]) -> tuple[_Item, ...]:
    if not values:
        raise ValueError("expected at least one")
    return values


# not Field(min_length=1), which counts the valid items alone and so adds a fault where one is invalid
AT_LEAST_ONE = AfterValidator(_at_least_one)
Text = Annotated[str, Field(min_length=1)]
HiddenText = Annotated[str, Field(min_length=1, repr=False)]
Port = Annotated[int, Field(ge=0, le=65535)]
RootedPath = Annotated[Path, AfterValidator(rooted)]
Timeout = Annotated[float, Field(ge=0.01, le=120)]
ClockOffset = Annotated[float, Field(ge=-1_000_000, le=1_000_000)]


class HttpSettings(Section):
    """Where an HTTP emulator listens. A port of 0 takes a free one; with `tls_folder` it serves https.

    It is called by its IP address, localhost, `host` or one of `hosts`.
    """

    host: Text = "127.0.0.1"
    hosts: tuple[Text, ...] = ()
    port: Port = 0
    tls_folder: RootedPath | None = None
