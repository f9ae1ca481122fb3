"""A service that is asked for one user at a time, as one process sees it: a pure state machine.

Theory of operation. The service is *asked*, or *paused* after calls for `failures` different callers in a row brought
no answer: one caller whose calls fail each time pauses no others, and any answer starts the count anew. While it is
paused callers are refused at once. When the pause is over one call is the *probe*; the others are refused until it is
back. An answer ends the pause, whichever call it came to; another failure of a probe doubles it.

        asked -- so many callers failed in a row --> paused
        paused - an answer came --------------------> asked
        paused - the pause is over, a call comes ---> paused, its probe is out
        paused - the probe failed ------------------> paused, twice as long

Times are seconds of this process's monotonic clock.
"""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class BreakerRules:
    """After `failures` in a row the first pause takes `pause_s`, the longest `pause_max_s`. A probe is back in
    `probe_s`."""

    failures: int
    pause_s: float
    pause_max_s: float
    probe_s: float


@dataclass(frozen=True, slots=True)
class ServiceState:
    """`failed` has the callers that got no answer in a row; `paused_s` 0: it is asked. `until` ends a pause, or the
    wait for a probe."""

    failed: frozenset[str] = frozenset()
    paused_s: float = 0.0
    until: float = 0.0

    def wait_s(self, now: float) -> float:
        """How long a caller should wait; 0: this one may ask, and the state then is `asked`."""
        return max(self.until - now, 0.0) if self.paused_s else 0.0

    def asked(self, now: float, rules: BreakerRules) -> "ServiceState":
        """A call goes out; where the service is paused it is the probe."""
        return replace(self, until=now + rules.probe_s) if self.paused_s else self

    def after_answer(self) -> "ServiceState":
        return ServiceState() if self.failed or self.paused_s else self

    def after_failure(self, caller: str, *, was_probe: bool, now: float, rules: BreakerRules) -> "ServiceState":
        """A call brought no answer. Calls that left before the pause change nothing more about it."""
        if self.paused_s:
            longer = min(self.paused_s * 2, rules.pause_max_s)
            return self._paused(longer, now) if was_probe else self
        failed = self.failed | {caller}
        return self._paused(rules.pause_s, now) if len(failed) >= rules.failures else replace(self, failed=failed)

    def _paused(self, seconds: float, now: float) -> "ServiceState":
        return ServiceState(paused_s=seconds, until=now + seconds)
