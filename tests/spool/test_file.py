"""One spool file on a real disk: what an append promises, and what a failing disk leaves."""

import errno
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from proxy.spool.file import SEGMENT_BYTES, Writing, adopted
from proxy.spool.format import CutOff, Record, dump, walk

ID = "0123456789abcdef" * 2


def record(number: int) -> bytes:
    return dump(ID, b"record %d" % number)


def bodies(path: Path) -> list[bytes]:
    """Of a file that is whole."""
    found = list(walk(path.read_bytes()))
    assert all(isinstance(it, Record) for it in found)
    return [it.body for it in found if isinstance(it, Record)]


def wait_for_size(path: Path, size: int) -> None:
    until = time.monotonic() + 10
    while path.stat().st_size < size:
        assert time.monotonic() < until


@contextmanager
def room(size: int) -> Iterator[None]:
    """No file of this process can grow beyond that meanwhile: the kernel says EFBIG, as it says ENOSPC of a disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


class Syncs:
    """Real ones, counted; from `fails_at` on they end as those of a broken disk do."""

    def __init__(self, fails_at: int = 10**9) -> None:
        self.files = self.folders = 0
        self.fails_at = fails_at

    def __call__(self, descriptor: int) -> None:
        if os.path.isdir(f"/dev/fd/{descriptor}"):  # noqa: PTH112  a descriptor, not a path
            self.folders += 1
        else:
            self.files += 1
        if self.files >= self.fails_at:
            raise OSError(errno.EIO, "broken")
        os.fsync(descriptor)


def test_a_record_is_synced_before_the_append_returns_and_the_folder_with_the_first(tmp_path: Path) -> None:
    syncs = Syncs()
    file = Writing(tmp_path / "a.spool", syncs)
    for number in range(3):
        assert file.append(record(number))
        assert (syncs.files, syncs.folders) == (number + 1, 1)
    assert bodies(file.path) == [b"record 0", b"record 1", b"record 2"]
    assert file.path.stat().st_mode & 0o777 == 0o600
    file.close()


def test_threads_that_append_at_once_share_their_syncs(tmp_path: Path) -> None:
    """The first waits in its fsync until all the others have written: two are enough for sixteen."""
    written = threading.Event()
    syncs = Syncs()

    def sync(descriptor: int) -> None:
        assert written.wait(10)
        syncs(descriptor)

    path = tmp_path / "a.spool"
    file = Writing(path, sync)
    with ThreadPoolExecutor(16) as threads:
        results = [threads.submit(file.append, record(number)) for number in range(16)]
        wait_for_size(path, sum(len(record(number)) for number in range(16)))
        written.set()
        assert all(result.result(10) for result in results)
    assert sorted(bodies(path)) == sorted(b"record %d" % number for number in range(16))
    assert syncs.files <= 3
    file.close()


def test_a_full_disk_leaves_the_file_as_it_was_and_room_makes_it_good_again(tmp_path: Path) -> None:
    file = Writing(tmp_path / "a.spool")
    file.append(record(1))
    before = file.path.read_bytes()
    with room(len(before) + 20), pytest.raises(OSError, match="File too large") as caught:
        file.append(record(2))
    assert caught.value.errno == errno.EFBIG
    assert file.path.read_bytes() == before
    assert file.append(record(3))
    assert bodies(file.path) == [b"record 1", b"record 3"]
    file.close()


def test_a_failed_fsync_closes_the_file_and_nobody_is_told_that_his_record_is_safe(tmp_path: Path) -> None:
    file = Writing(tmp_path / "a.spool", Syncs(fails_at=2))
    assert file.append(record(1))
    with pytest.raises(OSError, match="broken"):
        file.append(record(2))
    assert not file.takes_more
    assert not file.append(record(3))
    file.close()
    assert bodies(file.path)[:1] == [b"record 1"]


def test_who_waited_for_a_sync_that_failed_is_not_told_yes_by_the_next(tmp_path: Path) -> None:
    """The kernel reports a lost write once; another fsync would say that all is well."""
    both_written = threading.Event()
    tries: list[int] = []

    def sync(descriptor: int) -> None:
        assert both_written.wait(10)
        tries.append(descriptor)
        if len(tries) == 1:
            raise OSError(errno.EIO, "broken")

    path = tmp_path / "a.spool"
    file = Writing(path, sync)
    with ThreadPoolExecutor(2) as threads:
        results = [threads.submit(file.append, record(number)) for number in range(2)]
        wait_for_size(path, 2 * len(record(0)))
        both_written.set()
        assert [type(result.exception(10)) for result in results] == [OSError, OSError]
    assert len(tries) == 1
    file.close()


def test_a_file_that_somebody_removed_takes_nothing(tmp_path: Path) -> None:
    file = Writing(tmp_path / "a.spool")
    file.append(record(1))
    file.path.unlink()
    with pytest.raises(FileNotFoundError):
        file.append(record(2))
    assert not file.takes_more
    file.close()


def test_a_file_is_full_at_some_size(tmp_path: Path) -> None:
    file = Writing(tmp_path / "a.spool")
    assert file.takes_more
    file.append(dump(ID, bytes(SEGMENT_BYTES)))
    assert not file.takes_more
    file.close()


def test_a_file_is_adopted_once_its_writer_is_through_and_by_one_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.spool"
    file = Writing(path)
    file.append(record(1))
    with adopted(path) as early:
        assert early is None
    file.close()
    with adopted(path) as mine, adopted(path) as other:
        assert mine is not None
        assert other is None
        (found,) = walk(mine.read())
        assert isinstance(found, Record)
        mine.mark_done(found)
    (found,) = walk(path.read_bytes())
    assert isinstance(found, Record)
    assert found.done
    with adopted(tmp_path / "gone.spool") as gone:
        assert gone is None


WRITER = """
import sys
from pathlib import Path
from proxy.spool.file import Writing
from proxy.spool.format import dump
file = Writing(Path(sys.argv[1]))
for number in range(10**9):
    file.append(dump("0123456789abcdef" * 2, b"x" * 200 + b" %d" % number))
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
"""


@pytest.mark.system
def test_what_a_killed_writer_was_told_is_safe_is_in_its_file(tmp_path: Path) -> None:
    path = tmp_path / "a.spool"
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        for line in writer.stdout:
            if line == "50\n":
                break
        writer.send_signal(signal.SIGKILL)
        told = [50, *map(int, writer.stdout.read().split("\n")[:-1])]
    with adopted(path) as file:
        assert file is not None
        found = list(walk(file.read()))
    numbers = [int(it.body.split()[1]) for it in found if isinstance(it, Record)]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) > told[-1]
    assert all(isinstance(it, Record | CutOff) for it in found)


def test_a_link_and_a_file_of_another_user_are_never_adopted(tmp_path: Path) -> None:
    planted = tmp_path / "elsewhere"
    planted.write_bytes(b"")
    (tmp_path / "link").symlink_to(planted)
    with pytest.raises(OSError, match="symbolic link"), adopted(tmp_path / "link"):
        pass
    with adopted(planted) as file:
        assert file is not None
    if os.geteuid() == 0:  # no other user can give a file away
        os.chown(planted, 1, 1)
        with pytest.raises(PermissionError, match="another user's"), adopted(planted):
            pass
