"""A process that gets a share of a core only: by a quota of the kernel where we may set one, else by stopping it.

with share_of_a_core(process, 0.08) as how:
    ...
"""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

_PERIOD_S = 0.1
# the controller "cpu" of version 1, and version 2. Sources: the kernel's sched-bwc.rst, cgroup-v2.rst
_V1, _V2 = Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")


class Running(Protocol):
    """What is slowed down: the leader of a process group, with all its members."""

    @property
    def pid(self) -> int: ...


@contextmanager
def share_of_a_core(process: Running, share: float) -> Iterator[str]:
    """Inside, the process has no more than that; yields by what means. A whole core or more: nothing is done."""
    if share >= 1:
        yield "no limit"
        return
    group = _group_with_quota(process.pid, share)
    if group is None:
        with _duty_cycle(process.pid, share):
            yield "SIGSTOP and SIGCONT"
        return
    try:
        yield "cgroup quota"
    finally:
        _leave(group)


def _group_with_quota(pid: int, share: float) -> Path | None:
    """A control group of its own with the process in it; None where that is not permitted."""
    quota_us, period_us = int(share * _PERIOD_S * 1e6), int(_PERIOD_S * 1e6)
    for parent, name, value in (
        (_V1, "cpu.cfs_quota_us", str(quota_us)),
        (_V2, "cpu.max", f"{quota_us} {period_us}"),
    ):
        group = parent / f"app-proxy-tests-{pid}"
        try:
            group.mkdir()
            (group / name).write_text(value)
            for member in _members(pid):
                (group / "cgroup.procs").write_text(str(member))
        except OSError:
            if group.is_dir():
                _leave(group)
            continue
        return group
    return None


def _leave(group: Path) -> None:
    """Everything goes back to the parent, and the group is removed."""
    with contextlib.suppress(OSError):
        for member in (group / "cgroup.procs").read_text().split():
            with contextlib.suppress(OSError):  # it has ended meanwhile
                (group.parent / "cgroup.procs").write_text(member)
    with contextlib.suppress(OSError):
        group.rmdir()


def _members(pid: int) -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if os.getpgid(int(entry.name)) == pid:
                    yield int(entry.name)


@contextmanager
def _duty_cycle(pid: int, share: float) -> Iterator[None]:
    """It runs for `share` of each tenth of a second."""
    over = threading.Event()

    def alternate() -> None:
        while not over.is_set():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGSTOP)
                over.wait(_PERIOD_S * (1 - share))
                os.killpg(pid, signal.SIGCONT)
            over.wait(_PERIOD_S * share)

    thread = threading.Thread(target=alternate, name="duty cycle")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGCONT)
