"""One spool file: its writer appends and holds its lock; a process that finds the lock free may adopt it.

The kernel frees the lock with the process, so a locked file has a living writer or a living reader, never both.
"""

import errno
import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from proxy.files import Sync, on_disk, sync_folder, try_lock
from proxy.spool.format import DONE, Record

SEGMENT_BYTES = 8 << 20  # then another file is begun: one fits into memory, and frees its room when it is through


class Writing:
    """A new file. Any number of threads append; records that wait at the same time share one fsync."""

    def __init__(self, path: Path, sync: Sync = on_disk) -> None:
        """Raises OSError."""
        self.path = path
        self._sync = sync
        self._file = _new(path)
        self._turn = threading.Condition()
        self._syncing = threading.Lock()
        self._appending = 0
        self._end = self._synced = 0
        self._closed = self._named = self._failed = False

    @property
    def takes_more(self) -> bool:
        return not self._closed and self._end < SEGMENT_BYTES

    def append(self, record: bytes) -> bool:
        """True: it is on the disk. False: closed, begin another file.

        Raises OSError: the file is as it was before, or closed with what may be left of the record at its end.
        """
        with self._turn:
            if self._closed:
                return False
            end = self._write(record)
            self._appending += 1
        try:
            self._sync_to(end)
        finally:
            with self._turn:
                self._appending -= 1
                self._turn.notify_all()
        return True

    def close(self) -> None:
        """No thread appends any more, and the lock is free."""
        with self._turn:
            self._closed = True
            while self._appending:
                self._turn.wait()
            if self._file >= 0:
                os.close(self._file)
                self._file = -1

    def _write(self, record: bytes) -> int:
        start, rest = self._end, memoryview(record)
        try:
            while rest:  # a disk that is nearly full takes a part, and says why the next time
                rest = rest[os.pwrite(self._file, rest, start + len(record) - len(rest)) :]
        except OSError:
            self._undo(start)
            raise
        self._end = start + len(record)
        return self._end

    def _undo(self, end: int) -> None:
        try:
            os.ftruncate(self._file, end)
        except OSError:
            self._closed = True

    def _sync_to(self, end: int) -> None:
        """One waiting thread syncs for all; a record that was appended meanwhile waits for the next."""
        with self._syncing:
            if self._synced >= end:
                return
            if self._failed:  # the kernel says so once, and may then drop what it could not write
                raise OSError(errno.EIO, "an earlier fsync failed")
            with self._turn:
                written = self._end
            try:
                self._sync(self._file)
                self._sync_name()
            except OSError:
                self._failed = self._closed = True
                raise
            self._synced = written

    def _sync_name(self) -> None:
        if os.fstat(self._file).st_nlink == 0:
            raise FileNotFoundError(errno.ENOENT, "the spool file was removed")
        if not self._named:
            sync_folder(self.path.parent, self._sync)
            self._named = True


class Adopted:
    """A file without another writer or reader."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._file = descriptor

    def read(self) -> bytes:
        parts = []
        at = 0
        while part := os.pread(self._file, 1 << 20, at):
            parts.append(part)
            at += len(part)
        return b"".join(parts)

    def mark_done(self, record: Record) -> None:
        """Kept when this process is killed; a power cut may undo it, and the record is handed in again."""
        os.pwrite(self._file, DONE, record.start)


@contextmanager
def adopted(path: Path) -> Iterator[Adopted | None]:
    """The file, None while another process or thread has it or where it is gone.

    Raises OSError, also for a file that another user wrote and for a link.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        yield None
        return
    try:
        if os.fstat(descriptor).st_uid != os.geteuid():
            raise PermissionError(errno.EPERM, "the spool file is another user's")
        yield Adopted(path, descriptor) if try_lock(descriptor) and _is_at(path, descriptor) else None
    finally:
        os.close(descriptor)


def _new(path: Path) -> int:
    """A file of that name, ours. A drain may have adopted and removed it while it was empty: then again."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if _is_at(path, descriptor):
            return descriptor
        os.close(descriptor)


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
