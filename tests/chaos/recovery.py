"""How long alerts wait after the faults that they met."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence

from tests.chaos.faults import STORE, WORKER, Fault
from tests.chaos.ownership import Span
from tests.chaos.pushes import PROVIDERS


def recoveries(faults: Sequence[Fault]) -> dict[str, "Recovery"]:
    """By provider: each alert meets the faults of its own, the store's and the workers'."""
    return {name: _recovery([fault for fault in faults if _concerns(fault, name)]) for name in PROVIDERS}


class Recovery:
    """Measures from when a fault is over: `spans` are those during which nothing can be expected to get through.

    `moments` are of those that strike one process at once, while its neighbours go on.
    """

    def __init__(self, spans: Iterable[Span], moments: Iterable[int]) -> None:
        self._begins: list[int] = []
        self._ends: list[int] = []
        for begin, end in sorted(spans):
            if self._ends and begin <= self._ends[-1]:
                self._ends[-1] = max(self._ends[-1], end)
            else:
                self._begins.append(begin)
                self._ends.append(end)
        self._origins = sorted([*self._ends, *moments])
        self._before = [0]  # time of faults before each span
        for begin, end in zip(self._begins, self._ends, strict=True):
            self._before.append(self._before[-1] + end - begin)

    def wait_ms(self, accepted_ms: int, delivered_ms: int) -> int | None:
        """How long the alert waited after the first fault that it met; None: it met none.

        Time in which another fault was on does not count: what that one did is its own.
        """
        place = bisect_left(self._origins, accepted_ms)
        if place == len(self._origins) or self._origins[place] >= delivered_ms:
            return None
        return self._calm(delivered_ms) - self._calm(self._origins[place])

    def _calm(self, ms: int) -> int:
        """The time without a fault before that moment."""
        place = bisect_right(self._begins, ms)
        if place == 0:
            return ms
        return ms - self._before[place] + max(0, self._ends[place - 1] - ms)


def _concerns(fault: Fault, provider: str) -> bool:
    """A dead token, which may stay dead for ever, keeps no other phone from recovering; 200 comes after the web."""
    if fault.kind.startswith("provider_"):
        return fault.kind != "provider_410" and fault.target == provider
    return fault.kind in STORE or fault.kind in WORKER


def _recovery(faults: Sequence[Fault]) -> Recovery:
    spans = [(fault.begin_ms, fault.end_ms) for fault in faults if fault.kind not in WORKER]
    return Recovery(spans, [fault.begin_ms for fault in faults if fault.kind in WORKER])
