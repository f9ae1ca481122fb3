"""What the service says of itself to its operator: numbers for /metrics, sentences for /readyz."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """One number, as a metric: name, help, labels, value."""

    name: str
    help: str
    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True)
class Health:
    """Can the service do its work? `ready` is False only for what stops it; `details` are sentences for a person."""

    ready: bool
    details: Mapping[str, str]
