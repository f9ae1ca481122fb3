"""Processes by pid and start time: a pid alone may have been given to another process since."""

import os
import signal
import subprocess
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path


@dataclass(frozen=True)
class ProcessRecord:
    """A process that leads its own session. `started` is what `started_at` said when it was young."""

    name: str
    pid: int
    started: str

    def alive(self) -> bool:
        """The very process that was recorded still runs."""
        return started_at(self.pid) == self.started


def started_at(pid: int) -> str | None:
    """When this process started, as a text only good for comparing; None when there is none or it is a zombie."""
    return _asked_of_proc(pid) if Path("/proc/self/stat").exists() else _asked_of_ps(pid)


def _asked_of_proc(pid: int) -> str | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()  # the name before it may hold spaces and brackets; fields[0] is field 3
    state, ticks_since_boot = fields[0], fields[19]
    return None if state in "ZX" else f"{_boot_id()}:{ticks_since_boot}"


def _asked_of_ps(pid: int) -> str | None:
    """For macOS, which has no /proc."""
    columns = ["ps", "-o", "stat=", "-o", "lstart=", "-p", str(pid)]
    environment = {"PATH": "/bin:/usr/bin", "LC_ALL": "C", "TZ": "UTC"}  # lstart speaks the user's language otherwise
    found = subprocess.run(columns, env=environment, capture_output=True, text=True, check=False).stdout.split(None, 1)
    return None if len(found) < 2 or found[0].startswith("Z") else found[1].strip()


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def end_session(pid: int, signal_number: int) -> None:
    """Signal a process that leads its own session, and all that it started and left in its group."""
    with suppress(ProcessLookupError, PermissionError):  # macOS says EPERM of a group that has only zombies
        os.killpg(pid, signal_number)


def end_recorded(records: Iterable[ProcessRecord], grace: timedelta) -> list[ProcessRecord]:
    """Those of the records that still ran; none does any more. A pid that now belongs to another process is spared.

    They need not be our children. SIGTERM first, SIGKILL to those that still run after the grace and to what they left.
    """
    found = [record for record in records if record.alive()]
    for record in found:
        with suppress(ProcessLookupError):
            os.kill(record.pid, signal.SIGTERM)
    deadline = time.monotonic() + grace.total_seconds()
    while any(record.alive() for record in found):
        if time.monotonic() > deadline:
            for record in found:
                if record.alive():
                    end_session(record.pid, signal.SIGKILL)
        time.sleep(0.02)
    for record in found:
        end_session(record.pid, signal.SIGKILL)
    return found
