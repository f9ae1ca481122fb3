"""What check-config says of one place of the settings."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """What was seen there. A warning works, with a risk; a fault does not. `untried`: what this says nothing about."""

    verdict: Literal["ok", "warning", "fault"]
    place: str
    text: str
    untried: str = ""
