"""What the service says of itself to its operator: numbers for /metrics, sentences for /readyz."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


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


@dataclass(frozen=True)
class TokenFacts:
    """What a process has seen of the TokenService's answers, by section: when a token was given last, when none was and
    why, and when our key or secret was in an answer (section, where).
    """

    given: dict[str, datetime] = field(default_factory=dict)
    failed: dict[str, tuple[datetime, str]] = field(default_factory=dict)
    echoes: dict[tuple[str, str], datetime] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.given or self.failed or self.echoes)
