"""A breaker towards the TokenService, for each app: while it is silent or fails itself, calls are refused at once.

Every call that hangs holds a thread and its user for the whole time limit; the clients repeat theirs, so they pile up.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Callable

from proxy.domain.service_state import BreakerRules, ServiceState
from proxy.domain.transfers import FailureKind, Paused, Response, TransportFailure
from proxy.ports import TokenService


class GuardedTokens:
    """Implements ports.TokenService. Safe to share between threads; `on_pause` gets the app when a pause begins."""

    def __init__(
        self,
        tokens: TokenService,
        rules: BreakerRules,
        on_pause: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tokens, self._rules, self._on_pause, self._clock = tokens, rules, on_pause, clock
        self._lock = threading.Lock()
        self._states: defaultdict[str, ServiceState] = defaultdict(ServiceState)

    def issue(self, app: str, account: str) -> Response | TransportFailure | Paused:
        with self._lock:
            state, now = self._states[app], self._clock()
            if wait_s := state.wait_s(now):
                return Paused(wait_s)
            self._states[app] = state.asked(now, self._rules)
        answer = self._tokens.issue(app, account)
        if _is_the_services_trouble(answer):
            self._failed(app, account, was_probe=state.paused_s > 0)
        else:
            with self._lock:
                self._states[app] = self._states[app].after_answer()
        return answer

    def _failed(self, app: str, account: str, *, was_probe: bool) -> None:
        with self._lock:
            before = self._states[app]
            after = before.after_failure(account, was_probe=was_probe, now=self._clock(), rules=self._rules)
            self._states[app] = after
        if after.paused_s and not before.paused_s:
            self._on_pause(app)


def _is_the_services_trouble(answer: Response | TransportFailure | Paused) -> bool:
    """Silence or a 5xx. Any other answer shows that the service is there, one that we withhold from the client too."""
    if isinstance(answer, Response):
        return answer.status >= 500
    return not (isinstance(answer, TransportFailure) and answer.kind is FailureKind.WITHHELD)
