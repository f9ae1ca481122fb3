"""The service's processes under fire: killed, stopped, sent away and started anew."""

import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from tests.bench.shares import share_of_a_core
from tests.chaos.dice import Trouble
from tests.chaos.runlog import RunLog, now_ms
from tests.chaos.sockets import ports_of
from tests.chaos.stores import Store
from tests.system.rig import Process, Rig

_WORKERS, _WEB = 3, 2
_SLOW_SHARE = 0.1  # of a core
_ALMOST_NO_ROOM = 5_000  # bytes
_END_WITHIN_S = 90.0  # many times its drain, for a machine that is busy


class Fleet:
    """Web with two processes and a spool, and three workers. Each kind of trouble leaves all of them running."""

    def __init__(self, rig: Rig, log: RunLog, store: Store, spool_max_bytes: int) -> None:
        self._rig, self._log, self._store = rig, log, store
        self._spool_max_bytes = spool_max_bytes
        self.spool = rig.folder / "spool"
        self._web_lock = threading.Lock()  # two tracks have to do with the web
        self._web = self._start_web()
        self._workers: list[Process] = []
        self._start_workers(_WORKERS)

    def end(self) -> None:
        """Raises AssertionError for a process that ended by itself."""
        for process in (*self._store.running(), self._web, *self._workers):
            code = process.popen.poll()
            assert code is None, f"{process.log.name} ended by itself: {code}"

    def strike(self, trouble: Trouble) -> None:
        match trouble.kind:
            case "kill_worker":
                self._kill_worker(self._pick(trouble.lot), trouble.for_s)
            case "stop_worker":
                self._stop_worker(self._pick(trouble.lot), trouble.for_s)
            case "slow_worker":
                self._slow_workers([self._pick(trouble.lot)], _SLOW_SHARE, trouble.for_s)
            case "slow_machine":
                self._slow_workers(self._workers, _SLOW_SHARE, trouble.for_s)
            case "restart_worker":
                self._restart_workers()
            case "kill_web_child":
                self._kill_web_child(trouble.lot)
            case "kill_web":
                self._kill_web(trouble.for_s)
            case "restart_web":
                self._restart_web()
            case "reload_web":
                self._reload_web()
            case "kill_web_spooling":
                self._kill_web_spooling(trouble.for_s, trouble.lot)
            case "spool_full":
                self._fill_spool(trouble.for_s)
            case _:
                self._store.strike(trouble)

    # workers

    def _kill_worker(self, victim: Process, for_s: float) -> None:
        with self._fault("kill_worker", victim):
            victim.kill()
            self._workers.remove(victim)
            time.sleep(for_s)
            self._start_workers(1)

    def _stop_worker(self, sleeper: Process, for_s: float) -> None:
        with self._fault("stop_worker", sleeper):
            sleeper.signal(signal.SIGSTOP)
            time.sleep(for_s)
            sleeper.signal(signal.SIGCONT)

    def _slow_workers(self, slowed: Sequence[Process], share: float, for_s: float) -> None:
        """Each has a share of a core only, by a quota or by being stopped again and again."""
        with ExitStack() as stack:
            for worker in slowed:
                stack.enter_context(self._fault("slow_worker", worker))
                stack.enter_context(share_of_a_core(worker.popen, share))
            time.sleep(for_s)

    def _restart_workers(self) -> None:
        """All of them, one by one, the new one first."""
        for old in list(self._workers):
            with self._fault("restart_worker", old):
                self._start_workers(1)
                self._workers.remove(old)
                old.signal(signal.SIGTERM)
                code = old.popen.wait(_END_WITHIN_S)
                assert code == 0, f"{old.log.name} ended with {code} on SIGTERM"

    def _start_workers(self, count: int) -> None:
        for worker in self._rig.start_workers(count):
            self._log.write("worker", pid=worker.popen.pid)
            self._workers.append(worker)

    def _pick(self, lot: float) -> Process:
        return self._workers[int(lot * len(self._workers))]

    # web

    def _start_web(self, spool_max_bytes: int | None = None) -> Process:
        spool = {
            "APP_PROXY_STORE__SPOOL_DIR": str(self.spool),
            "APP_PROXY_STORE__SPOOL_MAX_BYTES": str(spool_max_bytes or self._spool_max_bytes),
        }
        return self._rig.start_web(workers=_WEB, **spool)

    def _kill_web_child(self, lot: float) -> None:
        """One of gunicorn's two processes, which it starts anew."""
        with self._web_lock:
            before = self._web.children()
            victim = before[int(lot * len(before))]
            with self._fault("kill_web", self._web, pid=victim):
                os.kill(victim, signal.SIGKILL)
                self._rig.wait(lambda: set(self._web.children()) - set(before), "a new web process")

    def _kill_web(self, for_s: float) -> None:
        with self._web_lock, self._fault("kill_web", self._web):
            self._web.kill()
            time.sleep(for_s)
            self._web = self._start_web()

    def _restart_web(self, spool_max_bytes: int | None = None) -> None:
        with self._web_lock, self._fault("restart_web", self._web):
            self._web.stop()
            self._web = self._start_web(spool_max_bytes)

    def _reload_web(self) -> None:
        """SIGHUP: gunicorn starts new processes first and sends SIGTERM to the old ones then."""
        with self._web_lock:
            before = self._web.children()
            with self._fault("restart_web", self._web):
                os.kill(self._web.popen.pid, signal.SIGHUP)
                self._rig.wait(lambda: not set(self._web.children()) & set(before), "the end of the old web processes")

    # web and store

    def _kill_web_spooling(self, for_s: float, lot: float) -> None:
        """All of the web while it keeps callbacks on the disk, and one of its processes while they are handed in."""
        with self._web_lock, self._fault("kill_web", self._web):
            with self._store.killed(lot):
                time.sleep(for_s)
                self._web.kill()
            self._web = self._start_web()
        self._kill_web_child(lot)

    def _fill_spool(self, for_s: float) -> None:
        """The disk has hardly any room while the store is away."""
        self._restart_web(_ALMOST_NO_ROOM)
        with self._fault("spool_full", self._web):
            self._store.be_away(for_s)
        self._restart_web()

    @contextmanager
    def _fault(self, kind: str, process: Process, pid: int | None = None) -> Iterator[None]:
        pid = process.popen.pid if pid is None else pid
        ports: dict[str, Any] = {"ports": ports_of(pid)} if process.name == "worker" else {}
        begin_ms = now_ms()
        yield
        self._log.write("fault", kind=kind, target=process.name, pid=pid, begin_ms=begin_ms, end_ms=now_ms(), **ports)
