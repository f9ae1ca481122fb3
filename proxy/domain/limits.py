"""How often a caller may call, counted over a sliding window.

A window is two counters: the calls since it began, and those in the span before it, which count for the part of it that
the sliding window still covers. So it is small however high the limit, and no caller gets twice the rate at its edge.
store/scripts/admit.lua counts the same way for all processes.
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Budget:
    """`calls` in `span_ms` that `caller`, an account or an address, has for what `name` says ("token_per_account")."""

    name: str
    calls: int
    span_ms: int
    caller: str

    @property
    def by(self) -> str:
        """ "account" or "address"."""
        return self.name.rpartition("_")[2]


@dataclass(frozen=True, slots=True)
class Window:
    """`count` calls since `start_ms`, `before` in the span before that."""

    start_ms: int
    count: int = 0
    before: int = 0

    def at(self, now_ms: int, span_ms: int) -> "Window":
        """The window that holds now. One from the future begins now: the clock that it is from was wrong."""
        if now_ms < self.start_ms:
            return Window(now_ms, self.count, self.before)
        if now_ms < self.start_ms + span_ms:
            return self
        if now_ms < self.start_ms + 2 * span_ms:
            return Window(self.start_ms + span_ms, 0, self.count)
        return Window(now_ms)

    def plus(self, calls: int) -> "Window":
        return Window(self.start_ms, self.count + calls, self.before)

    def wait_ms(self, now_ms: int, budget: Budget) -> int:
        """How long until there is room for another call; 0: there is. `now_ms` lies in the window."""
        left_ms = budget.span_ms - (now_ms - self.start_ms)
        if math.floor(self.before * left_ms / budget.span_ms + self.count) < budget.calls:
            return 0
        if self.count < budget.calls:  # those of before have to leave
            covered = (budget.calls - self.count) / self.before
            return left_ms - math.ceil(covered * budget.span_ms) + 1
        return left_ms + math.ceil((1 - budget.calls / self.count) * budget.span_ms) + 1


@dataclass(frozen=True, slots=True)
class Admitted:
    """The caller may go on. `counted` False: the counters could not be reached."""

    counted: bool = True


@dataclass(frozen=True, slots=True)
class Blocked:
    """The account is blocked, or its session has ended."""


@dataclass(frozen=True, slots=True)
class Exceeded:
    """A budget is used up; there is room for another call after `wait_ms`."""

    budget: Budget
    wait_ms: int
