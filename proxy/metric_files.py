"""The files in which the web's processes count together: their room is taken first, and what ended ones left is swept.

prometheus-client maps each process's counts into memory from files in one folder. On a full disk a page without a place
would end the process (SIGBUS), so here a file gets its room before it is mapped: a full disk is an OSError. The library
keeps what an ended process counted in its files for ever; here it goes into files that all ended ones share, while
no process reads them, so that no sum goes back.
"""

import errno
import fcntl
import os
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from weakref import WeakSet

from prometheus_client.mmap_dict import MmapedDict

_LOCK = "lock"
_FIRST_BYTES = 1 << 16  # as the library's
_BESIDE_KEY = 64  # an entry's bytes beside its key, and more

_Entry = tuple[float, float]  # value, and when it was set where that counts
_Join = Callable[[_Entry, _Entry], _Entry]


def _sum(kept: _Entry, new: _Entry) -> _Entry:
    return kept[0] + new[0], 0.0


def _later(kept: _Entry, new: _Entry) -> _Entry:
    return max(kept, new, key=lambda entry: entry[1])


# how the counts of two processes become one, by what a file's name begins with; files of other kinds stay
_JOINS: Mapping[str, _Join] = {"counter": _sum, "histogram": _sum, "gauge_max": max, "gauge_mostrecent": _later}


class MetricFile(MmapedDict):
    """The library's file, whose bytes have a place on the disk before they are used. It never raises OSError: what has
    no place is in `alone`, and the process that counts it is the only one that knows it.
    """

    def __init__(self, filename: str, read_mode: bool = False) -> None:
        self.alone: set[str] = set()
        try:
            if not read_mode:
                _take_room(Path(filename))
            super().__init__(filename, read_mode)  # type: ignore[no-untyped-call]  # the library has no types here
        except OSError:
            self._f = self._m = None  # type: ignore[assignment]  # as after close()
            self._positions = {}
        _files.add(self)

    def read_value(self, key: str) -> _Entry:
        found: _Entry = super().read_value(key) if self._has(key) else (0.0, 0.0)  # type: ignore[no-untyped-call]
        return found

    def write_value(self, key: str, value: float, timestamp: float) -> None:
        if self._has(key):
            super().write_value(key, value, timestamp)  # type: ignore[no-untyped-call]

    def _has(self, key: str) -> bool:
        """A place for it; it is made where there is room."""
        if self._m is None or key in self.alone:  # None: no file, or one that was closed when its process forked
            self.alone.add(key)
            return False
        if key not in self._positions:
            try:
                self._init_value(key)
            except OSError:
                self.alone.add(key)
                return False
        return True

    def _init_value(self, key: str) -> None:
        capacity = self._capacity
        while self._used + len(key.encode()) + _BESIDE_KEY > capacity:
            capacity *= 2
        _extend(self._f.fileno(), capacity)
        super()._init_value(key)  # type: ignore[no-untyped-call]


_files: WeakSet[MetricFile] = WeakSet()


def count_series(*, shared: bool) -> int:
    """How many series this process counts: those with a place in a file that others read, or those without."""
    return sum(len(file._positions) if shared else len(file.alone) for file in list(_files))


@contextmanager
def reading(folder: Path) -> Iterator[None]:
    """No files are swept inside. Raises OSError."""
    with (folder / _LOCK).open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield


def sweep(folder: Path, pid: int) -> bool:
    """The counts of this ended process are kept, its files are gone. False where that has to be tried again.

    Never waits: where the folder is read just now, or the disk is full, the files stay.
    """
    try:
        with (folder / _LOCK).open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for kind, join in _JOINS.items():
                _move(folder / f"{kind}_{pid}.db", folder / f"{kind}_ended.db", join)
            for path in folder.glob(f"gauge_live*_{pid}.db"):  # it counts while its process lives
                path.unlink()
    except FileNotFoundError:
        return True  # the whole folder is gone
    except OSError:
        return False
    return True


def _move(path: Path, to: Path, join: _Join) -> None:
    if not path.exists():
        return
    try:
        entries = {key: (value, at) for key, value, at, _ in MmapedDict.read_all_values_from_file(str(path))}  # type: ignore[no-untyped-call]
    except (struct.error, RuntimeError, ValueError):
        entries = {}  # broken when its process was killed
    _add(entries, to, join)
    path.unlink()


def _add(entries: Mapping[str, _Entry], to: Path, join: _Join) -> None:
    """All or nothing."""
    file = MetricFile(str(to))
    try:
        joined = {key: join(file.read_value(key), entry) for key, entry in entries.items()}  # takes all room first
        if file.alone:
            raise OSError(errno.ENOSPC, "no room for what ended processes counted")
        for key, (value, at) in joined.items():
            file.write_value(key, value, at)
    finally:
        file.close()  # type: ignore[no-untyped-call]


def _take_room(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        _extend(descriptor, _FIRST_BYTES)
    except OSError:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)


def _extend(descriptor: int, size: int) -> None:
    while (missing := size - os.fstat(descriptor).st_size) > 0:
        os.write(descriptor, bytes(missing))
