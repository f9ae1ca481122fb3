"""A lane's state in one worker: between the state machine of domain/lane_state.py and the store."""

from collections.abc import Callable
from datetime import datetime, timedelta

import structlog
from redis.exceptions import RedisError

from proxy.domain.decisions import PauseLane
from proxy.domain.lane_state import LaneState
from proxy.domain.lanes import Lane, PauseKind, StoredLane
from proxy.store.queue.lane_states import RedisLaneStates
from proxy.worker.event_loop_watchdog import EventLoopWatchdog
from proxy.worker.observer import RelayObserver

log = structlog.get_logger()


class LaneControl:
    """Pauses, probes and ramp of one lane. `probe_lease` is longer than a probe may take."""

    def __init__(
        self,
        lane: Lane,
        stored: RedisLaneStates,
        watchdog: EventLoopWatchdog,
        observer: RelayObserver,
        *,
        breaker_failures: int,
        first_probe: timedelta,
        probe_every: timedelta,
        probe_lease: timedelta,
        clock: Callable[[], float],
    ) -> None:
        self._lane, self._stored, self._watchdog, self._observer = lane, stored, watchdog, observer
        self._breaker_failures, self._clock = breaker_failures, clock
        self._first_probe, self._probe_every, self._probe_lease = first_probe, probe_every, probe_lease
        self._state = LaneState(learned_at=clock())
        self.is_paused = False  # as the state says: asked several times for each push

    def in_flight(self, most: int) -> int:
        """How many jobs may be in flight now."""
        return self._state.in_flight(most, self._clock())

    # what this worker learns

    def answered(self) -> None:
        self._state = self._state.after_answer()

    def failed(self, job_id: str) -> None:
        """The provider failed a request; where this process got no processor time the provider may be innocent."""
        if not self._watchdog.was_late():
            self._become(self._state.after_failure(job_id, self._breaker_failures, self._clock()))

    def observe(self, stored: StoredLane, asked_at: float) -> None:
        """What the store said to a question asked then."""
        self._become(self._state.observed(stored, asked_at))

    def _become(self, state: LaneState) -> None:
        self._state, self.is_paused = state, state.is_paused

    async def look(self) -> None:
        """Ask the store."""
        asked_at = self._clock()
        self.observe((await self._stored.states([self._lane]))[self._lane], asked_at)

    # what the other workers learn

    async def pause(self, pause: PauseLane, now: datetime) -> None:
        """An answer of the provider pauses the lane: here at once, elsewhere as soon as the others have read it."""
        self._become(self._state.paused(self._clock()))
        wait = self._first_probe if pause.kind is PauseKind.BREAKER else self._probe_every
        is_news = await self._stored.pause(
            self._lane, pause.reason, now, pause.until or now + wait, pause.kind, self._probe_every
        )
        if is_news:
            self._observer.lane_paused(pause)

    async def may_probe(self) -> bool:
        """True for one worker at a time: it may send one job to see whether the lane works again."""
        return await self._stored.may_probe(self._lane, self._probe_lease)

    async def withdraw_probe(self) -> None:
        """The probe has not left."""
        try:
            await self._stored.withdraw_probe(self._lane)
        except RedisError as error:  # the permission ends by itself
            log.warning("a probe could not be withdrawn", app=self._lane.app, error=type(error).__name__)

    async def resume(self) -> None:
        """A probe got through."""
        try:
            if await self._stored.resume(self._lane):
                self._become(self._state.resumed(self._clock()))
                self._observer.lane_resumed()
            else:  # by another's probe
                await self.look()
        except RedisError as error:  # the next probe ends the pause
            log.warning("the end of a pause is not stored", app=self._lane.app, error=type(error).__name__)
