"""Real processes under measurement: which cores they may use, and how much CPU they have used. Linux only (/proc)."""

import os
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from proxy.store.connection import Store
from proxy.store.server.embedded import store_url
from tests.bench.sink import SinkControl
from tests.system.rig import ROOT, Process, Rig

_TICKS = os.sysconf("SC_CLK_TCK")
# the service's defaults; the rig's own times are short for its tests
_RELAY = {"lease_s": 15.0, "heartbeat_s": 4.0, "push_timeout_s": 10.0, "silence_min_s": 2.0, "drain_s": 20.0}


class MeasuredRig(Rig):
    """The rig with the relay's default times, an APNs that takes any number of provider tokens, and its processes
    by name."""

    def __init__(
        self,
        folder: Path,
        apns: Mapping[str, Any] | None = None,
        relay: Mapping[str, Any] | None = None,
        program: Path = ROOT,
        without: Sequence[str] = (),
        mimc: Mapping[str, Any] | None = None,
    ) -> None:
        self.processes: dict[str, Process] = {}
        super().__init__(
            folder, relay={**_RELAY, **(relay or {})}, apns={"token_updates": 0, **(apns or {})}, program=program,
            without=without, mimc=mimc,
        )  # fmt: skip

    def start(self, name: str, argv: Sequence[str], *, cwd: Path | str | None = None, **variables: str) -> Process:
        self.processes[name] = super().start(name, argv, cwd=cwd, **variables)
        return self.processes[name]

    @property
    def web_port(self) -> int:
        return int(self.web.rpartition(":")[2])


class SecureMimcRig(MeasuredRig):
    """The rig with a MIMC that speaks TLS, as the real one does."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, mimc={"tls_folder": str(folder / "tls")})


class SinkRig(MeasuredRig):
    """The rig with an APNs that is never the limit (sink.py), and without MIMC and Mi Push."""

    def __init__(self, folder: Path, relay: Mapping[str, Any] | None = None, program: Path = ROOT) -> None:
        super().__init__(folder, relay=relay, program=program, without=("mimc", "mipush"))

    def _start_emulator(self, name: str) -> Process:
        return self.start(name, [sys.executable, "-m", "tests.bench.sink", str(self.folder / "tls")], cwd=ROOT)

    @cached_property
    def sink(self) -> SinkControl:
        return SinkControl(self.facts["apns"]["control_port"])

    def close(self) -> None:
        if "sink" in self.__dict__:
            self.sink.close()
        super().close()


@contextmanager
def store_of(rig: Rig) -> Iterator[Store]:
    """The rig's store as the service's own code reaches it; closed at the end, for this thread."""
    store = Store(store_url(rig.folder / "store"))
    try:
        yield store
    finally:
        store.call(lambda redis: redis.close())


def cores() -> tuple[set[int], set[int]]:
    """The core for what is measured, and the others; with one core both are that one."""
    first, *others = sorted(os.sched_getaffinity(0))
    return {first}, set(others) or {first}


def pin(process: Process, allowed: Collection[int]) -> None:
    """All threads of a child and of its children run on these cores only, and those they start later."""
    for pid in group(process):
        for task in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(task.name), allowed)


def cpu_seconds(process: Process) -> float:
    """CPU time, user and system, of a child and its children that are alive. Steps of a tick: 10 ms."""
    found = [facts for pid in group(process) if (facts := _stat(pid))]
    return sum(int(facts[11]) + int(facts[12]) for facts in found) / _TICKS


def running_seconds(process: Process) -> float:
    """The same of the threads that are alive, to the nanosecond. Source: sched-stats.rst, /proc/<pid>/schedstat."""
    ran_ns = 0
    for pid in group(process):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(FileNotFoundError, ProcessLookupError):
                ran_ns += int((task / "schedstat").read_text().split()[0])
    return ran_ns / 1e9


def waiting_seconds(process: Process) -> float:
    """How long the main threads of a child and its children stood ready and got no core: what neighbours took.

    With its CPU time this says how busy an event loop was. Source: the kernel's sched-stats.rst, /proc/<pid>/schedstat.
    """
    waited_ns = 0
    for pid in group(process):
        with suppress(FileNotFoundError, ProcessLookupError):
            waited_ns += int(Path(f"/proc/{pid}/schedstat").read_text().split()[1])
    return waited_ns / 1e9


def group(process: Process) -> Iterator[int]:
    """The rig makes every child the leader of a process group of its own."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            facts = _stat(int(entry.name))
            if facts and int(facts[2]) == process.popen.pid:
                yield int(entry.name)


def _stat(pid: int) -> list[str]:
    """/proc/<pid>/stat from its third field (state) on, [] once the process is gone. Source: proc(5)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []
