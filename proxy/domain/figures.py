"""What the relay did in a span of time, as sums that many workers add to: for the console's first page.

A sum's name is what the store keeps it under: "messages", "settled APP CHANNEL RESULT", or "seconds BOUND" for alerts
that the provider took within BOUND seconds and not within the bound before.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from math import inf

from proxy.domain.decisions import Result
from proxy.domain.lanes import Lane

MESSAGES = "messages"
# of the seconds from accepting a callback to its alert's acceptance
BOUNDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0, 300.0, 3600.0, 86400.0)
_SETTLED, _SECONDS = "settled", "seconds"
_FAILED = frozenset({Result.RETRY, Result.PAUSED, Result.DEAD_LETTER})


@dataclass(frozen=True)
class Ring:
    """Spans of `seconds` each, of which the last `kept` are kept."""

    seconds: int
    kept: int

    def start_of(self, now: datetime) -> int:
        """Of the span that `now` lies in, in seconds since 1970."""
        return int(now.timestamp()) // self.seconds * self.seconds

    def starts(self, now: datetime) -> list[int]:
        """Of all spans, the oldest first; the last one still runs."""
        last = self.start_of(now)
        return list(range(last - (self.kept - 1) * self.seconds, last + 1, self.seconds))


# the running one is the first of 61: sixty are whole
HOUR, DAY = Ring(60, 61), Ring(900, 97)


@dataclass(frozen=True)
class Figures:
    """The sums of one span, or of several."""

    sums: Mapping[str, int]

    @classmethod
    def of(cls, several: Iterable["Figures"]) -> "Figures":
        whole = Counter[str]()
        for one in several:
            whole.update(one.sums)
        return cls(whole)

    @property
    def messages(self) -> int:
        """How many plan looked at."""
        return self.sums.get(MESSAGES, 0)

    def accepted(self, lanes: Iterable[Lane]) -> int:
        """How many alerts, or callbacks of webhooks, were taken on the other side."""
        return sum(self.sums.get(settled(it.app, it.channel, Result.ACCEPTED), 0) for it in lanes)

    def failed(self, lanes: Iterable[Lane]) -> int:
        """How many tries had another end than that, through no change of the device's own."""
        return sum(self.sums.get(settled(it.app, it.channel, its), 0) for it in lanes for its in _FAILED)

    @cached_property
    def p50(self) -> float | None:
        """Once worked out it is kept: a page shows 156 spans, of which two still run."""
        return self.quantile(0.5)

    @cached_property
    def p99(self) -> float | None:
        return self.quantile(0.99)

    def quantile(self, share: float) -> float | None:
        """Seconds from accepting a callback to its alert's acceptance, which `share` of all alerts kept; None: there
        was no alert. Between two bounds the alerts are taken to lie evenly, as Prometheus' histogram_quantile does.
        """
        seconds = [(bound, self.sums.get(name, 0)) for bound, name in _NAMED_BOUNDS]
        rank, below, lower = share * sum(count for _, count in seconds), 0, 0.0
        for bound, count in seconds:
            if count and below + count >= rank:
                return lower if bound == inf else lower + (bound - lower) * (rank - below) / count
            below, lower = below + count, bound
        return None


def settled(app: str, channel: str, result: str) -> str:
    return f"{_SETTLED} {app} {channel} {result}"


def seconds_within(bound: float) -> str:
    return f"{_SECONDS} {bound}"


_NAMED_BOUNDS = [(bound, seconds_within(bound)) for bound in (*BOUNDS, inf)]
