"""What was done to the service, what that can explain, and how long it may take to recover.

A second accepted push of one alert is excused only by one of these, each between the first push and the second:

- *unheard*: the provider took the first push on and its answer was lost: the stream or connection was reset, closed or
  silent by a fault;
- *slow*: it had waited for its answer about as long as the worker waits (a time-out), whether that came or not;
- *reset*: the connection was reset at once after the answer, which a reset may overtake;
- *kill_worker*, *stop_worker*, *slow_worker*: done to the process that had sent the first push, known by its port, and
  begun at most SETTLED_MS after the answer, or after the end of a slot's migration in which that lay: no script runs on
  a slot whose keys are on both nodes, so the outcome waits. Where its ports could not be read it may have been any;
- *store*: it was killed, away or emptied while the first push was out, or at most SETTLED_MS after the answer, or had
  been STORE_BEFORE_MS before it came;
- *failover*: the same of a store with replicas, until the new master is followed by all that should. What was settled
  at the old one's end is forgotten, and goes out again;
- *said again to an empty store*: MIMC posted the message again after the store had come back empty.

A worker that gets SIGTERM, a web process that is killed, a replica that hangs or a slot that moves excuses nothing by
itself.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from tests.chaos.pushes import Address, Push

PATIENCE = 0.7  # of the push time-out: what a busy emulator reads late has waited longer than it believes
SETTLED_MS = 2_000  # an outcome is in the store by then, on a slow machine too
STORE_BEFORE_MS = 500  # the worker tries again so long after the store has failed
_AT_ONCE_MS = 500
_YOUNG_MS = 200  # a connection opened while its process was being looked at
_FOR_EVER = 1 << 62

FAILOVER = "failover"
STORE = frozenset({"kill_store", "store_away", "empty_store", FAILOVER})
HARMLESS = frozenset({"replica_away", "migrate_slots"})  # what they are done to may have to wait, and forgets nothing
WORKER = frozenset({"kill_worker", "stop_worker", "slow_worker"})
WEB = frozenset({"kill_web", "restart_web", "spool_full"})
# they reset live connections, perhaps idle ones
_RESETS = frozenset({"provider_reset", "provider_unreachable"})
# how a fault of one push keeps its answer from the sender
UNHEARD = frozenset({
    "silence", "silent_connection", "rst_stream", "closed", "reset",  # APNs, as its journal calls what was lost
    "reset_after", "silence_after", "close_after", "truncated",  # MiPush, by their effects
})  # fmt: skip


class Times(NamedTuple):
    """The service's, in seconds: how long it waits for an answer, its lease, at most between two probes, and how long
    what follows an alert of a conversation is gathered, to be told together (0: not at all).
    """

    push_timeout_s: float = 1.4
    lease_s: float = 2.0
    probe_s: float = 1.0
    fold_s: float = 0.0


class Fault(NamedTuple):
    """`ports` are None where it is not known which connections the process had."""

    kind: str
    target: str
    begin_ms: int
    end_ms: int
    ports: frozenset[int] | None


def read_faults(events: Iterable[Mapping[str, Any]]) -> list[Fault]:
    return [
        Fault(
            event["kind"], str(event["target"]), event["begin_ms"],
            _FOR_EVER if event["end_ms"] is None else event["end_ms"],
            None if event.get("ports") is None else frozenset(event["ports"]),
        )
        for event in events if event["event"] == "fault"
    ]  # fmt: skip


def spans_of(faults: Iterable[Fault], kind: str) -> list[tuple[int, int]]:
    return [(fault.begin_ms, fault.end_ms) for fault in faults if fault.kind == kind]


def dead_addresses(faults: Iterable[Fault]) -> dict[Address, list[tuple[int, int]]]:
    """Which addresses a provider called dead, and from when to when."""
    dead: dict[Address, list[tuple[int, int]]] = defaultdict(list)
    for fault in faults:
        if fault.kind == "provider_410":
            for address in (("apns", fault.target.lower()), ("regid", fault.target)):
                dead[address].append((fault.begin_ms, fault.end_ms))
    return dead


class Excuses:
    """Which repeats the run's faults explain."""

    def __init__(
        self,
        faults: Sequence[Fault],
        pushes: Sequence[Push],
        asked_ms: Mapping[str, Sequence[int]],
        push_timeout_s: float,
    ) -> None:
        """`asked_ms` says for each word when a callback that names readers was posted."""
        self._asked_ms = asked_ms
        self._patience_ms = PATIENCE * push_timeout_s * 1000
        self._store = [fault for fault in faults if fault.kind in STORE]
        self._failovers = [fault for fault in faults if fault.kind == FAILOVER]
        self._emptied = [fault for fault in faults if fault.kind == "empty_store"]
        self._worker = [fault for fault in faults if fault.kind in WORKER]
        self._migrations = [fault for fault in faults if fault.kind == "migrate_slots"]
        self._resets = [fault for fault in faults if fault.kind in _RESETS]
        self._first_ms: dict[tuple[str, int], int] = {}
        self._reset_ms: dict[tuple[str, int], list[int]] = defaultdict(list)
        for push in pushes:
            known = self._first_ms.get(push.connection, push.came_ms)
            self._first_ms[push.connection] = min(known, push.came_ms)
            if push.lost == "reset":
                self._reset_ms[push.connection].append(push.ms)

    def of(self, first: Push, second: Push) -> str | None:
        """What explains that the alert was pushed again after `first`; None: nothing does."""
        if first.fault in UNHEARD or first.lost in UNHEARD:
            return "unheard"
        if first.ms - first.came_ms >= self._patience_ms:
            return "slow"
        if self._was_reset(first):
            return "reset"
        for fault in self._worker:
            if self._touches(fault, first) and fault.begin_ms <= second.came_ms:
                return fault.kind
        for fault in self._store:
            if _overlaps(fault, first) and fault.begin_ms <= second.came_ms:
                return FAILOVER if fault.kind == FAILOVER else "store"
        if any(first.ms <= fault.end_ms and fault.begin_ms <= second.came_ms and self._said_after(fault, second)
               for fault in self._emptied):  # fmt: skip
            return "said again to an empty store"
        return None

    def may_be_forgotten(self, push: Push) -> bool:
        """A failover may have lost that it was pushed."""
        return any(_overlaps(fault, push) for fault in self._failovers)

    def _was_reset(self, first: Push) -> bool:
        if any(0 <= ms - first.ms <= _AT_ONCE_MS for ms in self._reset_ms.get(first.connection, ())):
            return True
        # a connection that was struck while nothing was out is in no journal
        return any(
            fault.target == first.provider and fault.begin_ms - _AT_ONCE_MS <= first.ms <= fault.begin_ms + _YOUNG_MS
            for fault in self._resets
        )

    def _touches(self, fault: Fault, first: Push) -> bool:
        """It was done to the sender of that push, while it was out or before its outcome was surely settled."""
        settled_ms = first.ms + SETTLED_MS
        for moved in self._migrations:
            if moved.begin_ms <= settled_ms and moved.end_ms >= first.ms:
                settled_ms = max(settled_ms, moved.end_ms + SETTLED_MS)
        if fault.begin_ms > settled_ms or fault.end_ms < first.came_ms:
            return False
        if fault.ports is None or first.port in fault.ports:
            return True
        return abs(self._first_ms[first.connection] - fault.begin_ms) <= _YOUNG_MS

    def _said_after(self, emptied: Fault, second: Push) -> bool:
        asked_ms = self._asked_ms.get(second.word, ())
        return any(emptied.begin_ms - STORE_BEFORE_MS <= asked <= second.came_ms for asked in asked_ms)


def _overlaps(store: Fault, first: Push) -> bool:
    return store.begin_ms <= first.ms + SETTLED_MS and store.end_ms >= first.came_ms - STORE_BEFORE_MS
