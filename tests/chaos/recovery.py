"""How long alerts wait after the faults that they met."""

from bisect import bisect_right
from collections.abc import Iterable

from tests.chaos.ownership import Span


class Spells:
    """Times in which at least one fault was on. What is killed at once is a spell without length."""

    def __init__(self, spans: Iterable[Span]) -> None:
        self._begins: list[int] = []
        self._ends: list[int] = []
        for begin, end in sorted(spans):
            if self._ends and begin <= self._ends[-1]:
                self._ends[-1] = max(self._ends[-1], end)
            else:
                self._begins.append(begin)
                self._ends.append(end)
        self._before = [0]  # time of faults before each spell
        for begin, end in zip(self._begins, self._ends, strict=True):
            self._before.append(self._before[-1] + end - begin)

    def wait_ms(self, accepted_ms: int, delivered_ms: int) -> int | None:
        """How long the alert waited in calm after the end of the first spell that it met; None: it met none.

        Time in which another fault was on does not count: what that one did is its own.
        """
        place = bisect_right(self._ends, accepted_ms - 1)  # the first that ended after we had taken the alert on
        if place == len(self._ends) or self._begins[place] > delivered_ms:
            return None
        end = self._ends[place]
        return max(0, self._calm(delivered_ms) - self._calm(end))

    def _calm(self, ms: int) -> int:
        """The calm time before that moment."""
        place = bisect_right(self._begins, ms)
        if place == 0:
            return ms
        return ms - self._before[place] + max(0, self._ends[place - 1] - ms)
