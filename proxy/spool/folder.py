"""The machine's spool folder, as one web process uses it: a file of its own to append to, and what all files hold.

A file's name says when it was begun (ms), by whom, and is never used again; so they sort by age.
"""

import errno
import os
import platform
import re
import secrets
import stat
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from tempfile import TemporaryFile

from proxy.domain.times import from_ms, to_ms
from proxy.errors import BadSettings, SpoolRefused
from proxy.files import Sync, on_disk, sync_folder
from proxy.settings import StoreSettings
from proxy.spool.file import Writing
from proxy.spool.format import SUFFIX, WAITING, Record, dump, walk
from proxy.store.records import UnreadableRecord, load_offline_message

REJECTED_SUFFIX = ".bad"
_FULL_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NAME = re.compile(rf"(\d+)\.\d+\.(.+){re.escape(SUFFIX)}")
_TRIAL = bytes(1 << 16)
_USUAL_BYTES = 1024  # of a callback
_NOT_OURS = (
    "the spool's folder is another user's, or others can write to it: chmod 700 it, or name a folder within it that "
    "is not there yet"
)


class _NotOursError(PermissionError):
    """Another user can write to the folder."""


@dataclass(frozen=True)
class Waiting:
    """What lies in the folder. `oldest`: when the first of them was accepted.

    `rejected_files` hold callbacks that were unreadable or too old.
    """

    callbacks: int
    size: int
    oldest: datetime | None
    rejected_files: int


class Spool:
    """Safe to share between threads. `max_age` is that of this process's oldest file."""

    def __init__(self, folder: Path, *, max_bytes: int, max_age: timedelta, sync: Sync = on_disk) -> None:
        self.folder = folder
        self._max_bytes = max_bytes
        self._max_age = max_age
        self._sync = sync
        self._me = f"{re.sub('[^A-Za-z0-9-]', '-', platform.node())[:32]}.{os.getpid()}.{secrets.token_hex(6)}"
        self._numbers = count(1)
        self._turn = threading.Lock()
        self._file: Writing | None = None
        self._failed: SpoolRefused | None = None
        self._known: dict[str, tuple[tuple[int, int], tuple[int, datetime | None]]] = {}

    def keep(self, callback_id: str, record: bytes, now: datetime) -> None:
        """It is on the disk. Raises SpoolRefused."""
        framed = dump(callback_id, record)
        try:
            self._require_room(len(framed), now)
            while not self._current(now).append(framed):
                pass
        except OSError as error:
            self._failed = _refusal(error)
            raise self._failed from None
        self._failed = None

    def refusal(self, now: datetime) -> SpoolRefused | None:
        """Why it would keep nothing now; None: it would."""
        try:
            self._require_room(_USUAL_BYTES, now)
        except SpoolRefused as refused:
            return refused
        except OSError as error:
            return _refusal(error)
        return self._failed

    @property
    def has_failed(self) -> bool:
        """The last append did, and nothing was written since."""
        return self._failed is not None

    def try_out(self) -> None:
        """The folder is there and takes what is written to it. Raises SpoolRefused."""
        try:
            _make(self.folder, self._sync)
            _require_ours(self.folder)
            with TemporaryFile(dir=self.folder) as file:
                file.write(_TRIAL)
                file.flush()
                self._sync(file.fileno())
        except OSError as error:
            self._failed = _refusal(error)
            raise self._failed from None
        self._failed = None

    def let_go(self) -> None:
        """What this process has written may be adopted; its next callback begins another file."""
        with self._turn:
            file, self._file = self._file, None
        if file:
            file.close()

    def files(self) -> list[Path]:
        """All files, of every writer, the oldest first."""
        return sorted(path for path in self.folder.glob(f"*{SUFFIX}") if _NAME.fullmatch(path.name))

    def waiting(self) -> Waiting:
        """What all processes of this machine have kept and the store has not taken yet."""
        found = {path: _size(path) for path in self.files()}
        counts = [self._count(path) for path in found]
        oldest = min((since for _, since in counts if since), default=None)
        rejected_files = sum(1 for _ in self.folder.glob(f"*{REJECTED_SUFFIX}"))
        return Waiting(sum(number for number, _ in counts), sum(found.values()), oldest, rejected_files)

    def _require_room(self, more: int, now: datetime) -> None:
        sizes = {path.name: _size(path) for path in self.files()}
        if sum(sizes.values()) + more > self._max_bytes:
            raise SpoolRefused("full", f"the spool is full: it holds {self._max_bytes} bytes (store.spool_max_bytes)")
        mine = [found[1] for name in sizes if (found := _NAME.fullmatch(name)) and found[2] == self._me]
        if mine and now - from_ms(int(min(mine))) > self._max_age:
            raise SpoolRefused("too_old", "the spool is full: its oldest callback waits too long (spool_max_age_s)")

    def _current(self, now: datetime) -> Writing:
        with self._turn:
            if self._file and not self._file.takes_more:
                self._file.close()
                self._file = None
            if self._file is None:
                _require_ours(self.folder)
                name = f"{to_ms(now):015}.{next(self._numbers):06}.{self._me}{SUFFIX}"
                self._file = Writing(self.folder / name, self._sync)
            return self._file

    def _count(self, path: Path) -> tuple[int, datetime | None]:
        """How many records wait in the file and since when; counted again when it has changed."""
        try:
            stat = path.stat()
            state = stat.st_size, stat.st_mtime_ns
            known = self._known.get(path.name)
            if known and known[0] == state:
                return known[1]
            data = path.read_bytes()
        except OSError:  # gone by now; or unreadable, which the drain says
            self._known.pop(path.name, None)
            return 0, None
        count = data.count(WAITING), next(_accepted(data), None)
        self._known[path.name] = state, count
        return count


def _accepted(data: bytes) -> Iterator[datetime]:
    """When the waiting records were accepted."""
    for item in walk(data):
        if isinstance(item, Record) and not item.done:
            try:
                yield load_offline_message(item.body).accepted_at
            except UnreadableRecord:
                continue


def open_spool(settings: StoreSettings) -> Spool | None:
    """None where it is off. Nothing is touched before it is used."""
    if settings.spool_dir is None:
        return None
    return Spool(settings.spool_dir, max_bytes=settings.spool_max_bytes, max_age=settings.spool_max_age)


def check_spool(settings: StoreSettings) -> None:
    """The folder is there and takes what is written to it. Raises BadSettings where it never will.

    A full disk is no reason: the service works without its spool until there is room again.
    """
    try:
        if spool := open_spool(settings):
            spool.try_out()
    except SpoolRefused as refused:
        if refused.reason != "disk_full":
            raise BadSettings([f"store.spool_dir: {settings.spool_dir}: {refused.detail}"]) from None


def _make(folder: Path, sync: Sync) -> None:
    """The folder exists, its name and those above it on the disk."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(mode=0o700, exist_ok=True)
        sync_folder(path.parent, sync)


def _require_ours(folder: Path) -> None:
    """No other user can put a file there, which would be handed in and pushed. Raises OSError."""
    found = folder.stat()
    if found.st_uid != os.geteuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise _NotOursError(errno.EPERM, "others can write to the spool's folder")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _refusal(error: OSError) -> SpoolRefused:
    if isinstance(error, _NotOursError):
        return SpoolRefused("not_ours", _NOT_OURS)
    name = errno.errorcode.get(error.errno or 0, "an error of no number")
    reason = "disk_full" if error.errno in _FULL_DISK else "disk_failing"
    return SpoolRefused(reason, f"the spool cannot write: {name}")
