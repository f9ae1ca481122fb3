"""One lane as one worker sees it: a pure state machine.

Theory of operation. A lane is *open* or *paused*. A pause is the same for all workers: its reason is in the store, and
each worker reads it with every look-up of addresses and once a second. A lane is paused in three ways, which PauseKind
names: by an answer that calls our key, quota or configuration wrong (FAULT), by a provider that asked us to come back
later (REST), and by the breaker.

The *breaker* counts failures in a row of this worker: a request that the provider failed, each for another job. One job
that fails each time pauses no others, and any other answer starts the count anew. At `limit` failures the lane pauses.

While a lane is paused one worker at a time sends a *probe*, one job (store/queue/lane_states.py hands out the
permission). When the provider takes the probe, the lane is open again for all, and every worker *ramps up*: four pushes
in flight at first, twice as many each second, for a provider that has just come back would fail again under the whole
backlog.

What this worker learned itself counts more than an answer of the store to a question that it asked before.

        open --- failures >= limit, or an answer that pauses ---> paused
        open --- the store says paused -------------------------> paused
        paused - a probe got through ---------------------------> open, ramping up
        paused - the store says open ---------------------------> open, ramping up

Times are seconds of this process's monotonic clock.
"""

from dataclasses import dataclass, replace

from proxy.domain.lanes import StoredLane

_FIRST_IN_FLIGHT = 4


@dataclass(frozen=True)
class LaneState:
    """`failed` has the ids of the jobs whose requests failed in a row; `resumed_at` None: it was never paused."""

    is_paused: bool = False
    failed: frozenset[str] = frozenset()
    resumed_at: float | None = None
    learned_at: float = float("-inf")

    def after_answer(self) -> "LaneState":
        """The provider answered, and not that it is in trouble."""
        return replace(self, failed=frozenset()) if self.failed else self

    def after_failure(self, job_id: str, limit: int, now: float) -> "LaneState":
        """The provider failed a request for this job; paused once that happened to `limit` jobs in a row."""
        if self.is_paused:
            return self
        failed = self.failed | {job_id}
        return self.paused(now) if len(failed) >= limit else replace(self, failed=failed)

    def paused(self, now: float) -> "LaneState":
        """This worker has learned that the lane must pause."""
        return LaneState(is_paused=True, resumed_at=self.resumed_at, learned_at=now)

    def resumed(self, now: float) -> "LaneState":
        """A probe got through."""
        return LaneState(resumed_at=now, learned_at=now)

    def observed(self, stored: StoredLane, asked_at: float) -> "LaneState":
        """What the store answered to a question asked then."""
        if asked_at < self.learned_at:
            return self
        if stored.pause is not None:
            return replace(self, is_paused=True, failed=frozenset())
        resumed_at = self.resumed_at
        if stored.resumed is not None:
            resumed_at = asked_at - stored.resumed.total_seconds()
        elif self.is_paused:  # another version of the program resumed it, and left no word of when
            resumed_at = asked_at
        return replace(self, is_paused=False, resumed_at=resumed_at)

    def in_flight(self, most: int, now: float) -> int:
        """How many jobs may be in flight now: few at first after a pause, then `most`."""
        if self.resumed_at is None:
            return most
        seconds = min(max(now - self.resumed_at, 0.0), 60.0)
        return min(most, int(_FIRST_IN_FLIGHT * 2**seconds))
