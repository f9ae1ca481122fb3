"""Does a lane stand, as far as this worker knows, and how much may be under way on it?"""

from collections.abc import Callable

import structlog

from proxy.domain.breaker import Breaker
from proxy.domain.lanes import Lane, LaneState, ramped
from proxy.metrics import lane_stops_total
from proxy.usecases.deliver import Settled

log = structlog.get_logger()


class Standing:
    """One worker's view of one lane. The store's word counts, unless this worker has learned better since it asked."""

    def __init__(self, lane: Lane, breaker: Breaker, most: int, clock: Callable[[], float]) -> None:
        self._lane, self._breaker, self._most, self._clock = lane, breaker, most, clock
        self._resumed_at: float | None = None
        self._learned_at = clock()

    @property
    def paused(self) -> bool:
        return self._breaker.is_open

    @property
    def limit(self) -> int:
        """How many may be in flight now: few at first, after the lane stood."""
        return self._most if self._resumed_at is None else ramped(self._most, self._clock() - self._resumed_at)

    def see(self, state: LaneState, asked_at: float) -> None:
        """What the store said to a question asked then."""
        if asked_at < self._learned_at:
            return
        if state.resumed is not None:
            self._resumed_at = asked_at - state.resumed.total_seconds()
        elif self.paused and state.pause is None:  # somebody let it go on who leaves no word of it
            self._resumed_at = asked_at
        self._breaker.is_open = state.pause is not None

    def stopped(self, settled: Settled) -> None:
        """An answer of the provider stopped the lane: here at once, elsewhere as soon as the others have read it."""
        self._learned_at = self._clock()
        self._breaker.is_open = True
        if settled.stopped:
            lane_stops_total.labels(self._lane.app, self._lane.channel, settled.stopped).inc()
            log.error(
                "lane paused", app=self._lane.app, channel=self._lane.channel, kind=str(settled.stopped),
                reason=settled.reason,
            )  # fmt: skip

    def goes_on(self) -> None:
        """A probe got through."""
        self._learned_at = self._resumed_at = self._clock()
        self._breaker.is_open = False
        log.info("lane goes on", app=self._lane.app, channel=self._lane.channel)
