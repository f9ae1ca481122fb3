"""Does the TokenService give tokens, app by app, and do its answers repeat our credentials?

One call that fails shows nothing: an account may be at fault. An app of which all calls fail has a wrong appKey or
appSecret, or none can reach MIMC, and MIMC says that under HTTP 200.
"""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta

from proxy.domain.monitoring import TokenFacts

IN_A_ROW = 3  # failures that are no accident any more
_KEPT_EVERY = timedelta(seconds=20)  # how often it is kept that tokens are given


def _unnoticed(*_facts: str) -> None:
    """No listener."""


class TokenMonitor:
    """What this process has seen, until it is taken for the store, from which all processes know. Safe to share.

    `on_failing` is called with the section and the reason when its calls begin to fail, `on_given` with the section
    when there is a token again. `keep` is called when what is known changes so that the others should know at once.
    """

    def __init__(
        self,
        now: Callable[[], datetime],
        on_failing: Callable[[str, str], None] = _unnoticed,
        on_given: Callable[[str], None] = _unnoticed,
        keep: Callable[[], None] = _unnoticed,
    ) -> None:
        self._now, self._on_failing, self._on_given, self.keep = now, on_failing, on_given, keep
        self._lock = threading.Lock()
        self._given: dict[str, datetime] = {}
        self._failures: dict[str, int] = {}
        self._failing: set[str] = set()
        self._echoes: set[tuple[str, str]] = set()
        self._untold = TokenFacts()

    def given(self, app: str) -> None:
        """A call of that section was answered with a token."""
        with self._lock:
            now, known, was_failing = self._now(), self._given.get(app), app in self._failing
            self._failures.pop(app, None)
            if known and now - known < _KEPT_EVERY and not was_failing:
                return
            self._failing.discard(app)
            self._given[app] = self._untold.given[app] = now
        if was_failing:
            self._on_given(app)
            self.keep()

    def failed(self, app: str, reason: str) -> None:
        """A call of that section was answered without one; `reason` is of a closed set of words."""
        with self._lock:
            count = self._failures[app] = self._failures.get(app, 0) + 1
            if count < IN_A_ROW and app in self._given:
                return
            begins = app not in self._failing
            self._failing.add(app)
            self._untold.failed[app] = (self._now(), reason)
        if begins:
            self._on_failing(app, reason)
            self.keep()

    def echoed(self, app: str, where: str) -> None:
        """An answer to that section repeated its key or secret there."""
        with self._lock:
            self._untold.echoes[app, where] = self._now()
            is_new = (app, where) not in self._echoes
            self._echoes.add((app, where))
        if is_new:
            self.keep()

    def take(self) -> TokenFacts:
        """What was seen since the last call."""
        with self._lock:
            taken, self._untold = self._untold, TokenFacts()
        return taken
