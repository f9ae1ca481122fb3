"""How large a run is, and the times of the service in it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from tests.chaos.faults import Times

# The defaults' relations (proxy/settings), shorter, so that a takeover, a time-out and a probe are seen in seconds;
# long enough that a busy machine alone makes no worker lose its lease.
_TIMES = {
    "lease_s": 5.0, "heartbeat_s": 0.8, "push_timeout_s": 3.5, "silence_min_s": 2.0, "drain_s": 8.0, "probe_s": 1.0,
    "backoff_initial_s": 0.2, "backoff_max_s": 2.0,
}  # fmt: skip


ONE_SERVER, EVERYSEC, SENTINEL, CLUSTER = "server", "everysec", "sentinel", "cluster"  # kinds of store


@dataclass(frozen=True)
class Size:
    """A run. `accounts` and `groups` are those of each of the two app sections; `pace` is messages a second.

    `repeat_after_s`: when MIMC says a callback again that was not answered 200; really 5 s, 30 s and 5 min.
    `notice_within_s`: how long after a message it may be read or recalled.
    `fault_every_s`: the mean pause between two faults of one kind of trouble (see dice.py), `fault_for_s` how long
    one lasts, and `without` the kinds that take too long for this size. `patience_s`: how long all work may take to be
    settled once the faults are over. `empty_store`: instead of its other troubles the store comes back empty, once, and
    the phones register again. The longest absences of the store fill the full run's spool. `fold_s`: how long what
    follows an alert of a conversation is gathered, to be told together. `store`: its kind, of which `replicas` must
    have a callback. Where they are more than none and not all, a master that hangs may lose what was answered 200
    (docs/promises.md), so it does not.
    """

    messages: int
    accounts: int
    groups: int
    most_members: int
    group_share: float
    pace: float
    repeat_after_s: tuple[float, float, float]
    fault_every_s: float
    fault_for_s: tuple[float, float]
    patience_s: float
    spool_max_bytes: int
    without: tuple[str, ...] = ()
    notice_within_s: float = 6.0
    empty_store: bool = False
    fold_s: float = 0.0
    store: str = ONE_SERVER
    replicas: int = 0
    relay: Mapping[str, float] = field(default_factory=lambda: _TIMES)

    @property
    def seconds(self) -> float:
        """How long messages are written."""
        return self.messages / self.pace

    @property
    def lease_s(self) -> float:
        return self.relay["lease_s"]

    @property
    def slow_s(self) -> float:
        """What a slow provider takes to answer: 3 s, where a worker waits as long."""
        return min(3.0, 0.85 * self.relay["push_timeout_s"])

    @property
    def times(self) -> Times:
        return Times(self.relay["push_timeout_s"], self.lease_s, self.relay["probe_s"], self.fold_s)

    def with_empty_store(self) -> "Size":
        return replace(self, empty_store=True)

    def with_store(self, kind: str, replicas: int) -> "Size":
        hangs = ("store_away",) if kind == SENTINEL and replicas == 1 else ()
        return replace(self, store=kind, replicas=replicas, without=(*self.without, *hangs))

    def with_folds(self) -> "Size":
        """In a few groups, so that much comes closely."""
        return replace(self, fold_s=2.0, groups=6)

    def with_messages(self, messages: int) -> "Size":
        return replace(self, messages=messages)


# 20,000 messages make about 90,000 alerts due, in five minutes
FULL = Size(
    messages=20_000, accounts=1_000, groups=40, most_members=500, group_share=0.045, pace=66,
    repeat_after_s=(0.5, 3.0, 30.0), fault_every_s=4.0, fault_for_s=(0.5, 6.0), patience_s=240, spool_max_bytes=500_000,
)  # fmt: skip
SHORT = Size(
    messages=450, accounts=100, groups=12, most_members=100, group_share=0.3, pace=45,
    repeat_after_s=(0.3, 1.8, 10.0), fault_every_s=1.0, fault_for_s=(0.3, 1.5), patience_s=60,
    spool_max_bytes=1_000_000, without=("spool_full",),
    relay=_TIMES | {"lease_s": 3.0, "heartbeat_s": 0.5, "push_timeout_s": 2.3, "silence_min_s": 1.6, "drain_s": 5.0},
)  # fmt: skip
