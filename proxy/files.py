"""Files that other processes read or lock meanwhile: written whole or not at all, and locked.

Every file made here is readable by its owner alone.
"""

import fcntl
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

Sync = Callable[[int], None]  # what is in this descriptor survives a power cut, or OSError


def on_disk(descriptor: int) -> None:
    """fsync as far as the system goes: macOS's own stops at the drive's cache."""
    barrier = getattr(fcntl, "F_FULLFSYNC", None)
    if barrier is None:
        os.fsync(descriptor)
    else:
        fcntl.fcntl(descriptor, barrier)


def sync_folder(folder: Path, sync: Sync = on_disk) -> None:
    """The names in the folder are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)


def replace_file(path: Path, content: bytes, sync: Sync | None = None) -> None:
    """The file holds `content`; a reader meanwhile gets all of the former content or all of this.

    With `sync` file and name survive a power cut. Raises OSError, and the former content stays.
    """
    with _draft(path) as draft:
        with draft.open("wb") as file:
            file.write(content)
            if sync is not None:
                file.flush()
                sync(file.fileno())
        draft.replace(path)
    if sync is not None:
        sync_folder(path.parent, sync)


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """A draft to fill, which then gets the name `path`, unless another process was faster: then its file stays."""
    with _draft(path) as draft:
        yield draft
        with suppress(FileExistsError):
            os.link(draft, path)


@contextmanager
def _draft(path: Path) -> Iterator[Path]:
    """An empty file beside `path`, gone afterwards under its own name."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    os.close(handle)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def take_lock(path: Path) -> int | None:
    """A descriptor of the file, made if missing, that holds its lock; None while another process holds it.

    The kernel frees the lock when the last copy of the descriptor is closed, however its processes end.
    """
    # no link: it may lie in /tmp, where others could lay one
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    if try_lock(descriptor):
        return descriptor
    os.close(descriptor)
    return None


def try_lock(descriptor: int) -> bool:
    """Lock an open file; False while another descriptor has it locked."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class WatchedFiles:
    """Says that files have changed, once they have been still from one look to the next: none is then half written."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._paths = sorted(paths)
        self._known = self._seen = self._stamps()

    def changed(self) -> bool:
        """Look. True once for each change; call it once a second or so."""
        before, self._seen = self._seen, self._stamps()
        if self._seen == self._known or self._seen != before:
            return False
        self._known = self._seen
        return True

    def _stamps(self) -> list[object]:
        return [stamp(path) for path in self._paths]


def stamp(path: Path) -> object:
    """Another one when the file has changed. None: there is no such file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
