"""How far is this machine's clock from that of the services that we talk to?

Provider tokens, expiries and the age of callbacks go by the clock. A wrong one is reported, and no reason to refuse
work: which of the two is wrong cannot be decided here.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from proxy.domain.times import TOLERATED_SKEW
from proxy.domain.transfers import Paused, Response, TransportFailure
from proxy.ports import TokenService

PROVIDER_TOKEN = "apns provider token"  # noqa: S105  the name of a source
_EVERY_S = 60.0
_DATELESS_S = 1.0
_TOKEN_LIFE = timedelta(hours=1)


def skew_of(date: str | None, now: datetime) -> timedelta | None:
    """How far `now` is ahead of an answer's Date (RFC 9110, 6.6.1: to the second); None without one that can be read.

    The time that the answer took counts as skew: it is far below what is tolerated.
    """
    if not date:
        return None
    try:
        theirs = parsedate_to_datetime(date)
    except (ValueError, OverflowError):
        return None
    return now - (theirs if theirs.tzinfo else theirs.replace(tzinfo=UTC))


class ClockMonitor:
    """Measures once a minute for each source, and hands the measurements on when asked.

    `on_measured` is called with each (source, skew), `on_wrong` with the first that is beyond what is tolerated, until
    the source was right again. Nothing here asks the store: it lies on the way of every push.
    """

    def __init__(
        self,
        now: Callable[[], datetime],
        on_measured: Callable[[str, timedelta], None],
        on_wrong: Callable[[str, timedelta], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._now, self._on_measured, self._on_wrong, self._clock = now, on_measured, on_wrong, clock
        self._next: dict[str, float] = {}
        self._wrong: set[str] = set()
        self._untold: dict[str, timedelta] = {}

    def heard(self, source: str, answer: Response) -> None:
        """An answer of that source came just now."""
        if self._clock() < self._next.get(source, float("-inf")):
            return
        skew = skew_of(answer.headers.get("date"), self._now())
        if skew is not None:
            self.measured(source, skew)
        else:  # APNs names no time; its headers are not worth reading for every push
            self._next[source] = self._clock() + _DATELESS_S

    def measured(self, source: str, skew: timedelta) -> None:
        """Our clock is so far ahead of that source's."""
        if self._clock() >= self._next.get(source, float("-inf")):
            self._next[source] = self._clock() + _EVERY_S
            self._measured(source, skew)

    def young_token_refused(self) -> None:
        """APNs called a provider token expired that is fresh by our clock: by theirs it is an hour old, or more."""
        self._measured(PROVIDER_TOKEN, -_TOKEN_LIFE)

    def token_accepted(self) -> None:
        if PROVIDER_TOKEN in self._wrong:
            self._measured(PROVIDER_TOKEN, timedelta(0))

    def take(self) -> dict[str, timedelta]:
        """What was measured since the last call: for the store, from which all processes know."""
        taken, self._untold = self._untold, {}
        return taken

    def _measured(self, source: str, skew: timedelta) -> None:
        self._untold[source] = skew
        self._on_measured(source, skew)
        if abs(skew) <= TOLERATED_SKEW:
            self._wrong.discard(source)
        elif source not in self._wrong:
            self._wrong.add(source)
            self._on_wrong(source, skew)


@dataclass(frozen=True)
class ClockedTokens:
    """A token service whose answers carry the time."""

    tokens: TokenService
    clock: ClockMonitor
    source: str = "mimc"

    def issue(self, app: str, account: str) -> Response | TransportFailure | Paused:
        answer = self.tokens.issue(app, account)
        if isinstance(answer, Response):
            self.clock.heard(self.source, answer)
        return answer
