"""Starts a list of processes, keeps them running, and leaves none behind. It knows nothing of what they are.

    with Supervisor(Path(".state")) as supervisor:
        supervisor.start(Child("store", argv, ready=answers))        # returns once it is ready
        address = supervisor.start(Child("emulator", argv, ready=Announced(r"listening on (\\S+)")))
        supervisor.wait()                                            # until Ctrl-C or SIGTERM

Every child leads a session of its own, so that Ctrl-C reaches only the supervisor, which stops them in reverse order.
Each is recorded before it may begin: what a supervisor killed with SIGKILL left running, its guardian ends, or else the
next supervisor.
"""

import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

from proxy.errors import ProxyError
from proxy.local.environment import child_environment
from proxy.local.process_records import ProcessRecord, end_recorded, end_session, started_at
from proxy.local.state import StateFolder, recorded_in

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_LEFT_BEHIND_GRACE = timedelta(seconds=10)

# The child waits at the gate until it is recorded. When the supervisor dies before that, `read` finds the pipe closed
# and the child ends without having begun. `exec` keeps pid and start time.
_GATE = ("/bin/sh", "-c", 'read -r go && exec "$@" </dev/null', "sh")


class ChildFailed(ProxyError):
    """A child ended or did not get ready. The text has the end of its log."""

    def __init__(self, name: str, what: str, log: Path) -> None:
        tail = log.read_text(errors="replace").splitlines()[-15:] if log.exists() else ["(it is gone)"]
        lines = "\n".join(f"    {line}" for line in tail) or "    (empty)"
        super().__init__(f"{name} {what}. The end of {log}:\n{lines}")


class StopRequested(BaseException):
    """Ctrl-C or SIGTERM, raised in the main thread; leaving the supervisor's `with` block swallows it."""


@dataclass(frozen=True)
class Announced:
    """Ready once what the child has printed matches `pattern`; `start` returns its first group, or all of it."""

    pattern: str


@dataclass(frozen=True)
class Child:
    """One process to run. `ready` is asked again and again until it says True; `env` is added to our environment."""

    name: str
    argv: Sequence[str]
    ready: Callable[[], bool] | Announced
    env: Mapping[str, str] = field(default_factory=dict, repr=False)  # may hold secrets
    cwd: Path | None = None
    ready_within: timedelta = timedelta(seconds=30)
    grace: timedelta = timedelta(seconds=10)  # between SIGTERM and SIGKILL


@dataclass(frozen=True)
class Restarts:
    """A child that dies is started again: at once, then after `delay`, doubled each time. At `limit` deaths we give up.

    A death after a life of `stable` or longer counts as the first.
    """

    limit: int = 5
    delay: timedelta = timedelta(milliseconds=500)
    stable: timedelta = timedelta(seconds=10)

    def pause_seconds(self, deaths: int) -> float:
        """How long to wait after this many deaths in a row."""
        return 0 if deaths <= 1 else self.delay.total_seconds() * 2.0 ** (deaths - 2)


@dataclass
class _Running:
    child: Child
    process: subprocess.Popen[bytes]
    record: ProcessRecord
    began: float
    guarded: bool = False  # until it was ready once, `start` watches it
    deaths: int = 0
    again_at: float | None = None


class Supervisor:
    """See the module. Raises FolderTaken on entry when another one works in `folder`. For the main thread only."""

    def __init__(
        self,
        folder: Path,
        *,
        say: Callable[[str], None] = lambda line: print(line, flush=True),
        restarts: Restarts = Restarts(),
    ) -> None:
        self._folder = folder
        self._say = say
        self._restarts = restarts
        self._children: dict[str, _Running] = {}
        self._changing = threading.RLock()
        self._stopping = False
        self._stopped = threading.Event()
        self._gave_up = threading.Event()
        self._failure: ChildFailed | None = None
        self._watcher = threading.Thread(target=self._watch, name="supervisor", daemon=True)

    def __enter__(self) -> Self:
        self._state = StateFolder(self._folder)
        for left in end_recorded(recorded_in(self._state.folder), _LEFT_BEHIND_GRACE):
            self._say(f"ended {left.name} (process {left.pid}), left behind by a run that was killed")
        self._state.record([])
        self._guardian = _guardian(self._state.folder)
        self._former_handlers = {number: signal.signal(number, self._on_signal) for number in _STOP_SIGNALS}
        self._watcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self._stopping = True
        self._stopped.set()
        self._watcher.join()
        for running in reversed(self._children.values()):
            _stop(running)
        self._state.record([])
        self._guardian.communicate()  # closes its pipe
        self._state.release()
        for number, handler in self._former_handlers.items():
            signal.signal(number, handler)
        return isinstance(error, StopRequested)

    def start(self, child: Child) -> str:
        """Start the child and wait until it is ready; from then on it is started again whenever it dies.

        Returns what it announced ("" when `ready` is a function). Raises ChildFailed.
        """
        (announced,) = self.start_together([child])
        return announced

    def start_together(self, children: Sequence[Child]) -> list[str]:
        """The same of several that need not wait for each other."""
        begun = list[tuple[Child, _Running]]()
        for child in children:
            self._state.fresh_log(child.name)
            with self._changing:
                begun.append((child, self._spawn(child)))
        return [self._until_ready(child, running) for child, running in begun]

    def _until_ready(self, child: Child, running: _Running) -> str:
        deadline = time.monotonic() + child.ready_within.total_seconds()
        while (announced := self._announcement(child)) is None and running.process.poll() is None:
            if time.monotonic() > deadline:
                raise self._failed(child, f"was not ready after {child.ready_within.total_seconds():g} s")
            time.sleep(0.02)
        if running.process.poll() is not None:
            raise self._failed(child, f"ended before it was ready ({_how(running.process)})")
        running.guarded = True
        self._say(f"  {child.name} is up")
        return announced or ""

    def pid(self, name: str) -> int:
        """The process that is this child now."""
        return self._children[name].process.pid

    def wait(self) -> None:
        """Block until Ctrl-C or SIGTERM (StopRequested) or until a child dies again and again (ChildFailed)."""
        self._gave_up.wait()
        if self._failure:
            raise self._failure

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        if not self._stopping:  # a second Ctrl-C must not break the stopping
            self._stopping = True
            raise StopRequested

    def _spawn(self, child: Child) -> _Running:
        with self._state.log_path(child.name).open("ab") as log:
            process = subprocess.Popen(
                [*_GATE, *child.argv],
                env=child_environment(child.env),
                cwd=child.cwd,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                bufsize=0,
                start_new_session=True,
            )
        record = ProcessRecord(child.name, process.pid, started_at(process.pid) or "")
        running = _Running(child, process, record, began=time.monotonic())
        self._children[child.name] = running
        self._record()
        if process.stdin:
            with suppress(BrokenPipeError), process.stdin as gate:  # dead already: the watch on it will see
                gate.write(b"go\n")
        return running

    def _announcement(self, child: Child) -> str | None:
        if not isinstance(child.ready, Announced):
            return "" if child.ready() else None
        said = self._state.log_path(child.name).read_text(errors="replace")
        found = re.search(child.ready.pattern, said, re.MULTILINE)
        return found and found[1 if found.re.groups else 0]

    def _watch(self) -> None:
        while not self._stopped.wait(0.05):
            with self._changing:
                for running in list(self._children.values()):
                    if running.guarded and running.process.poll() is not None:
                        self._tend(running)

    def _tend(self, running: _Running) -> None:
        """A child is dead: decide when it may start again, then start it."""
        now = time.monotonic()
        if running.again_at is None:
            self._mourn(running, now)
        elif now >= running.again_at:
            try:
                again = self._spawn(running.child)
            except OSError as error:
                self._give_up(running, f"cannot be started again: {error}")
            else:
                again.guarded, again.deaths = True, running.deaths

    def _mourn(self, running: _Running, now: float) -> None:
        name = running.child.name
        end_session(running.process.pid, signal.SIGKILL)  # what it left in its group would be in its successor's way
        self._record()
        steady = now - running.began >= self._restarts.stable.total_seconds()
        running.deaths = 1 if steady else running.deaths + 1
        if running.deaths >= self._restarts.limit:
            self._give_up(running, f"ended {running.deaths} times in a row, at last with {_how(running.process)}")
            return
        pause = self._restarts.pause_seconds(running.deaths)
        running.again_at = now + pause
        when = f"in {pause:g} s" if pause else "now"
        with suppress(OSError):  # our output has no reader any more, which is no reason to stop watching
            self._say(f"{name} ended ({_how(running.process)}); starting it again {when}")

    def _give_up(self, running: _Running, what: str) -> None:
        running.guarded = False
        self._failure = self._failed(running.child, what)
        self._gave_up.set()

    def _record(self) -> None:
        self._state.record(each.record for each in self._children.values() if each.process.poll() is None)

    def _failed(self, child: Child, what: str) -> ChildFailed:
        return ChildFailed(child.name, what, self._state.log_path(child.name))


def _guardian(folder: Path) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-m", "proxy.local.guardian", str(folder)]
    return subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )


def _stop(running: _Running) -> None:
    process = running.process
    process.terminate()
    try:
        process.wait(timeout=running.child.grace.total_seconds())
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    end_session(process.pid, signal.SIGKILL)


def _how(process: subprocess.Popen[bytes]) -> str:
    code = process.returncode
    return f"exit {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"
