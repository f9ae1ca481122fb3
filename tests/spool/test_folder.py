"""A process's part of the spool folder: its room, its age, its troubles, and what is reported of it."""

import errno
import os
import resource
from datetime import timedelta
from pathlib import Path

import pytest

from proxy.domain.offline_messages import offline_message
from proxy.errors import BadSettings, SpoolRefused
from proxy.files import Sync, on_disk
from proxy.settings import StoreSettings
from proxy.spool.folder import Spool, Waiting, check_spool
from proxy.spool.format import dump
from proxy.store.records import dump_offline_message
from tests.store.samples import MS, NOON, SECOND, callback

HOUR = timedelta(hours=1)


def spool(folder: Path, max_bytes: int = 1 << 20, sync: Sync = on_disk) -> Spool:
    it = Spool(folder / "spool", max_bytes=max_bytes, max_age=HOUR, sync=sync)
    it.try_out()
    return it


def keep(it: Spool, number: int = 1, at: timedelta = timedelta(0)) -> int:
    """Returns how many bytes it took."""
    one = callback("1", sequence=str(number))
    record = dump_offline_message(offline_message(one, NOON + at))
    it.keep(one.callback_id, record, NOON + at)
    return len(dump(one.callback_id, record))


def test_each_process_has_a_file_of_its_own(tmp_path: Path) -> None:
    one, other = spool(tmp_path), spool(tmp_path)
    for number in range(3):
        keep(one, number)
        keep(other, number)
    assert len(one.files()) == 2
    one.let_go()
    keep(one, 4, HOUR)
    assert len(one.files()) == 3


def test_files_are_named_so_that_the_oldest_comes_first(tmp_path: Path) -> None:
    it, made = spool(tmp_path), list[Path]()
    for at in (timedelta(0), timedelta(0), 5 * MS, 9 * SECOND, HOUR):
        keep(it, at=at)
        made += set(it.files()) - set(made)
        it.let_go()
    assert len(made) == 5
    assert it.files() == made


def test_the_folder_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    it = Spool(tmp_path / "deep" / "spool", max_bytes=100, max_age=HOUR)
    it.try_out()
    assert it.folder.stat().st_mode & 0o777 == 0o700
    assert list(it.folder.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SpoolRefused, match="ENOTDIR") as caught:
        spool(tmp_path / "file")
    assert caught.value.reason == "disk_failing"


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o1777])
def test_a_folder_that_others_can_write_to_is_refused_also_behind_a_link(tmp_path: Path, mode: int) -> None:
    """What they put there would be handed in and pushed."""
    it = spool(tmp_path)
    (tmp_path / "link").symlink_to(it.folder)
    it.folder.chmod(mode)
    for folder in (it.folder, tmp_path / "link"):
        with pytest.raises(BadSettings, match="others can write to it: chmod 700 it"):
            check_spool(StoreSettings(spool_dir=folder))
    with pytest.raises(SpoolRefused) as caught:
        keep(it)
    assert caught.value.reason == "not_ours"
    it.folder.chmod(0o755)
    keep(it)


def test_a_start_is_refused_with_the_setting_s_name_and_a_spool_that_is_off_is_not_looked_for(tmp_path: Path) -> None:
    check_spool(StoreSettings(spool_dir=tmp_path / "spool"))
    check_spool(StoreSettings())
    (tmp_path / "file").touch()
    with pytest.raises(BadSettings) as caught:
        check_spool(StoreSettings(spool_dir=tmp_path / "file"))
    assert caught.value.faults == [f"store.spool_dir: {tmp_path}/file: the spool cannot write: ENOTDIR"]


def test_a_full_disk_is_no_reason_not_to_start(tmp_path: Path) -> None:
    settings, limit = StoreSettings(spool_dir=tmp_path / "spool"), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limit[1]))
    try:
        check_spool(settings)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)


def test_all_processes_together_take_no_more_than_they_may(tmp_path: Path) -> None:
    size = keep(spool(tmp_path))
    one, other = spool(tmp_path, max_bytes=3 * size), spool(tmp_path, max_bytes=3 * size)
    keep(one, 2)
    keep(other, 3)
    for it in (one, other):
        with pytest.raises(SpoolRefused, match="the spool is full") as caught:
            keep(it, 4)
        assert caught.value.reason == "full"
        assert it.refusal(NOON) is not None
    assert one.waiting().callbacks == 3


def test_a_process_whose_oldest_callback_waits_too_long_takes_no_more(tmp_path: Path) -> None:
    it = spool(tmp_path)
    keep(it)
    keep(it, 2, HOUR)
    with pytest.raises(SpoolRefused) as caught:
        keep(it, 3, HOUR + MS)
    assert caught.value.reason == "too_old"
    later = spool(tmp_path)  # after a restart; what its forerunner left keeps no process from its own
    keep(later, 3, HOUR + MS)
    assert later.refusal(NOON + 2 * HOUR) is None
    assert later.refusal(NOON + 2 * HOUR + SECOND) is not None


def test_a_disk_that_fails_is_trouble_until_it_takes_something_again(tmp_path: Path) -> None:
    broken: list[int] = []

    def sync(descriptor: int) -> None:
        if broken:
            raise OSError(broken[0], "broken")
        os.fsync(descriptor)

    it = spool(tmp_path, sync=sync)
    assert it.refusal(NOON) is None
    for number, reason in ((errno.EIO, "disk_failing"), (errno.ENOSPC, "disk_full"), (errno.EDQUOT, "disk_full")):
        broken[:] = [number]
        with pytest.raises(SpoolRefused) as caught:
            keep(it)
        assert caught.value.reason == reason
        assert it.has_failed
        assert it.refusal(NOON) is caught.value
        with pytest.raises(SpoolRefused):
            it.try_out()
        broken.clear()
        it.try_out()
        assert not it.has_failed
        keep(it, number)
    assert it.refusal(NOON) is None


def test_a_folder_that_vanished_is_trouble(tmp_path: Path) -> None:
    it = spool(tmp_path)
    it.folder.rmdir()
    with pytest.raises(SpoolRefused, match="ENOENT"):
        keep(it)
    it.try_out()
    keep(it)


def test_what_waits_is_counted_over_all_processes(tmp_path: Path) -> None:
    one, other = spool(tmp_path), spool(tmp_path)
    assert one.waiting() == Waiting(0, 0, None, 0)
    size = keep(one, 1, 7 * SECOND) + keep(other, 2, 3 * SECOND)
    for _ in range(2):
        assert one.waiting() == other.waiting() == Waiting(2, size, NOON + 3 * SECOND, 0)
    size += keep(one, 3, 9 * SECOND)
    (one.folder / "x.bad").touch()
    (one.folder / "not-ours.spool").write_text("a file that this program did not make")
    assert other.waiting() == Waiting(3, size, NOON + 3 * SECOND, 1)
