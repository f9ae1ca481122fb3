"""The state folder of one local run: who holds it, which processes it started, and their logs.

lock              held (flock) for the life of the supervisor, so freed by the kernel however that ends; its pid
processes.json    every process started and not yet seen to end, written before the process may begin its work
logs/NAME.log     what the process NAME wrote, since this run started; NAME.log.1 is the run before
"""

import json
import os
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from proxy.errors import ProxyError
from proxy.files import replace_file, take_lock
from proxy.local.process_records import ProcessRecord

_RECORDS = "processes.json"


class FolderTaken(ProxyError):
    """Another copy works in this state folder."""

    def __init__(self, folder: Path, holder: str) -> None:
        who = f"process {holder}" if holder.isdigit() else "another process"
        super().__init__(
            f"another copy is running in {folder} ({who}): stop that one, or give this one another folder with --state"
        )


class FolderUnusable(ProxyError):
    """The state folder cannot be made, written or locked."""


def recorded_in(folder: Path) -> list[ProcessRecord]:
    """What was started there and not seen to end; nothing when the file is not one of ours."""
    try:
        return [ProcessRecord(**entry) for entry in json.loads((folder / _RECORDS).read_bytes())]
    except (FileNotFoundError, ValueError, TypeError):
        return []


class StateFolder:
    """The folder, locked. Raises FolderTaken when another process holds it, FolderUnusable when no process can."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self._records = self.folder / _RECORDS
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            (self.folder / "logs").mkdir(exist_ok=True)
            self._lock = _held_lock(self.folder)
        except OSError as error:
            raise FolderUnusable(
                f"cannot keep state in {self.folder}: {error}. Choose another folder with --state"
            ) from error

    def release(self) -> None:
        """Another copy may work here now."""
        os.close(self._lock)

    def record(self, processes: Iterable[ProcessRecord]) -> None:
        """Replace the record, all or nothing."""
        replace_file(self._records, json.dumps([asdict(process) for process in processes], indent=1).encode())

    def log_path(self, name: str) -> Path:
        """Where the process of this name writes."""
        return self.folder / "logs" / f"{name}.log"

    def fresh_log(self, name: str) -> None:
        """This name's log is empty; the former one is kept beside it."""
        path = self.log_path(name)
        if path.exists():
            path.replace(path.with_suffix(".log.1"))
        path.touch(mode=0o600)


def _held_lock(folder: Path) -> int:
    path = folder / "lock"
    lock = take_lock(path)
    if lock is None:
        raise FolderTaken(folder, path.read_bytes()[:20].decode(errors="replace").strip())
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock
