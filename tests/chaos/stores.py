"""The store under fire: one server, one with replicas and sentinels, or a cluster. Each trouble leaves it whole.

Of several servers one at a time is killed, hangs or is replaced by command. What is done to a master is a "failover",
from then until another one is there and followed by all that should; what a replica or a slot's move does is no reason
for anything to be forgotten.
"""

import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, cast

from tests.chaos.dice import Trouble
from tests.chaos.runlog import RunLog, now_ms
from tests.system.clustered_rig import ClusteredRig
from tests.system.replicated_rig import ReplicatedRig
from tests.system.rig import Process, Rig

_WELL_WITHIN_S = 60.0
_DECIDED_AFTER_S = 1.0


class EverySecondRig(Rig):
    """Its store need not have on disk what it answers."""

    def start_store(self) -> Process:
        process = super().start_store()
        with self.redis() as redis:
            redis.config_set("appendfsync", "everysec")
        return process


class Store(Protocol):
    def strike(self, trouble: Trouble) -> None: ...

    def killed(self, lot: float) -> AbstractContextManager[None]:
        """For as long as the block takes."""

    def be_away(self, for_s: float) -> None: ...

    def running(self) -> Sequence[Process]: ...


def store_of(rig: Rig, log: RunLog) -> Store:
    if isinstance(rig, ClusteredRig):
        return Cluster(rig, log)
    return WithSentinels(rig, log) if isinstance(rig, ReplicatedRig) else OneServer(rig, log)


class OneServer:
    def __init__(self, rig: Rig, log: RunLog) -> None:
        self._rig, self._log = rig, log

    def strike(self, trouble: Trouble) -> None:
        match trouble.kind:
            case "kill_store":
                with self.killed():
                    time.sleep(trouble.for_s)
            case "store_away":
                self.be_away(trouble.for_s)
            case "empty_store":
                self._be_emptied(trouble.for_s)
            case other:
                raise ValueError(other)

    @contextmanager
    def killed(self, lot: float = 0.0) -> Iterator[None]:  # noqa: ARG002  there is one
        """What it had synced is there again."""
        with _fault(self._log, "kill_store"):
            self._rig.store.kill()
            yield
            self._rig.store = self._rig.start_store()

    def be_away(self, for_s: float) -> None:
        """It does not answer, which is harder to notice than its death."""
        with _fault(self._log, "store_away"):
            self._rig.store.signal(signal.SIGSTOP)
            time.sleep(for_s)
            self._rig.store.signal(signal.SIGCONT)

    def running(self) -> Sequence[Process]:
        return [self._rig.store]

    def _be_emptied(self, for_s: float) -> None:
        """Its disk is gone."""
        with _fault(self._log, "empty_store"):
            self._rig.store.kill()
            shutil.rmtree(self._rig.folder / "store")
            time.sleep(for_s)
            self._rig.store = self._rig.start_store()


class WithSentinels:
    """What it is told to do without regard is done where that may lose nothing, or is allowed to."""

    def __init__(self, rig: ReplicatedRig, log: RunLog) -> None:
        self._servers, self._log = rig.servers, log
        self._coordinated = rig.replicas == 1

    def strike(self, trouble: Trouble) -> None:
        match trouble.kind:
            case "kill_store":
                with self.killed():
                    time.sleep(trouble.for_s)
            case "store_away":
                with self._failover(), self._servers.halted(self._servers.master()):
                    time.sleep(trouble.for_s)
            case "force_failover":
                with self._failover():
                    self._servers.failover(coordinated=self._coordinated)
            case "stop_replica":
                replica = self._servers.replica_of(self._servers.master())
                with _fault(self._log, "replica_away"):
                    with self._servers.halted(replica):
                        time.sleep(trouble.for_s)
                    self._mend()
            case other:
                raise ValueError(other)

    @contextmanager
    def killed(self, lot: float = 0.0) -> Iterator[None]:  # noqa: ARG002  there is one master
        with self._failover():
            died = self._servers.master()
            self._servers.kill(died)
            yield
            self._servers.moved_from(died)
            self._servers.start_server(died, self._servers.master())

    def be_away(self, for_s: float) -> None:
        """Its master is dead."""
        with self.killed():
            time.sleep(for_s)

    def running(self) -> Sequence[Process]:
        return cast(Sequence[Process], self._servers.running)

    @contextmanager
    def _failover(self) -> Iterator[None]:
        with _fault(self._log, "failover"):
            yield
            self._mend()

    def _mend(self) -> None:
        """A failover that a hang began may only just be decided on when that is over."""
        for pause_s in (_DECIDED_AFTER_S, 0.0):
            self._servers.wait(self._servers.is_well, "a master with its replicas", _WELL_WITHIN_S)
            time.sleep(pause_s)


class Cluster:
    def __init__(self, rig: ClusteredRig, log: RunLog) -> None:
        self._servers, self._log, self._keys = rig.servers, log, rig.keys

    def strike(self, trouble: Trouble) -> None:
        match trouble.kind:
            case "kill_store":
                with self.killed(trouble.lot):
                    time.sleep(trouble.for_s)
            case "store_away":
                with self._failover(), self._servers.halted(self._master(trouble.lot)):
                    time.sleep(trouble.for_s)
            case "force_failover":
                with self._failover():
                    self._servers.failover(self._master(trouble.lot))
            case "stop_replica":
                replica = self._servers.replica_of(self._master(trouble.lot))
                with _fault(self._log, "replica_away"):
                    with self._servers.halted(replica):
                        time.sleep(trouble.for_s)
                    self._mend()
            case "migrate_slots":
                with _fault(self._log, "migrate_slots"):
                    self._migrate(trouble)
                    self._mend()
            case other:
                raise ValueError(other)

    @contextmanager
    def killed(self, lot: float) -> Iterator[None]:
        with self._failover():
            died = self._master(lot)
            self._servers.kill(died)
            yield
            self._servers.wait(lambda: died not in self._servers.masters(), "another master")
            self._servers.start_server(died)

    def be_away(self, for_s: float) -> None:
        """One of its masters is dead."""
        with self.killed(0.0):
            time.sleep(for_s)

    def running(self) -> Sequence[Process]:
        return cast(Sequence[Process], self._servers.running)

    def _migrate(self, trouble: Trouble) -> None:
        """Slots of shards, one after the other, each to the next master, for as long as the trouble lasts."""
        keys = self._keys()
        until, place = time.monotonic() + trouble.for_s, int(trouble.lot * len(keys))
        while time.monotonic() < until:
            masters = self._servers.masters()
            before = self._servers.owner(keys[place])
            self._servers.migrate(keys[place], masters[(masters.index(before) + 1) % len(masters)])
            place = (place + 1) % len(keys)

    def _master(self, lot: float) -> int:
        masters = self._servers.masters()
        return masters[int(lot * len(masters))]

    @contextmanager
    def _failover(self) -> Iterator[None]:
        with _fault(self._log, "failover"):
            yield
            self._mend()

    def _mend(self) -> None:
        self._servers.wait(self._servers.is_well, "masters with their replicas", _WELL_WITHIN_S)


@contextmanager
def _fault(log: RunLog, kind: str) -> Iterator[None]:
    begin_ms = now_ms()
    yield
    log.write("fault", kind=kind, target="store", pid=None, begin_ms=begin_ms, end_ms=now_ms())
