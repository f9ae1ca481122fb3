"""A breaker towards MIMC, for each app: while it is silent or fails itself, calls are refused at once.

Every call that hangs holds a thread and its user for the whole time limit; the clients repeat theirs, so they pile up.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Callable

from proxy.domain.service_state import BreakerRules, ServiceState
from proxy.domain.transfers import FailureKind, Paused, Response, TransportFailure
from proxy.ports import TokenService

_Answered = Response | TransportFailure


def _is_no_server_error(answer: Response) -> bool:
    return answer.status < 500


class MimcGuard:
    """Safe to share between threads; `on_pause` gets the app when a pause begins."""

    def __init__(
        self, rules: BreakerRules, on_pause: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rules, self._on_pause, self._clock = rules, on_pause, clock
        self._lock = threading.Lock()
        self._states: defaultdict[str, ServiceState] = defaultdict(ServiceState)

    def through(
        self,
        app: str,
        caller: str,
        ask: Callable[[], _Answered | Paused],
        is_there: Callable[[Response], bool] = _is_no_server_error,
    ) -> _Answered | Paused:
        """What `ask` returns for `caller`, or a pause without asking. `is_there`: does an answer show that MIMC is?"""
        with self._lock:
            state, now = self._states[app], self._clock()
            if wait_s := state.wait_s(now):
                return Paused(wait_s)
            self._states[app] = state.asked(now, self._rules)
        answer = ask()
        if _is_trouble(answer, is_there):
            self._failed(app, caller, was_probe=state.paused_s > 0)
        else:
            with self._lock:
                self._states[app] = self._states[app].after_answer()
        return answer

    def _failed(self, app: str, caller: str, *, was_probe: bool) -> None:
        with self._lock:
            before = self._states[app]
            after = before.after_failure(caller, was_probe=was_probe, now=self._clock(), rules=self._rules)
            self._states[app] = after
        if after.paused_s and not before.paused_s:
            self._on_pause(app)


class GuardedTokens:
    """Implements ports.TokenService."""

    def __init__(self, tokens: TokenService, guard: MimcGuard) -> None:
        self._tokens, self._guard = tokens, guard

    def issue(self, app: str, account: str) -> Response | TransportFailure | Paused:
        return self._guard.through(app, account, lambda: self._tokens.issue(app, account))


def _is_trouble(answer: _Answered | Paused, is_there: Callable[[Response], bool]) -> bool:
    """Silence, or an error page. An answer that we withhold from the client shows that the service is there."""
    if isinstance(answer, Response):
        return not is_there(answer)
    return not (isinstance(answer, TransportFailure) and answer.kind is FailureKind.WITHHELD)
