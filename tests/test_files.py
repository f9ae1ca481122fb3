import os
from pathlib import Path

import pytest

from proxy.files import new_file, on_disk, replace_file, take_lock, try_lock


def test_a_file_is_replaced_for_its_owner_alone_and_leaves_no_draft(tmp_path: Path) -> None:
    path = tmp_path / "record"
    path.write_text("before")
    path.chmod(0o644)
    replace_file(path, b"after")
    assert path.read_text() == "after"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["record"]


def test_a_file_that_cannot_be_written_keeps_its_former_content(tmp_path: Path) -> None:
    path = tmp_path / "record"
    path.write_text("before")

    def full(_descriptor: int) -> None:
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        replace_file(path, b"after", full)
    assert path.read_text() == "before"
    assert [one.name for one in tmp_path.iterdir()] == ["record"]


def test_a_file_s_content_is_on_the_disk_before_its_name_and_the_name_before_the_answer(tmp_path: Path) -> None:
    path, seen = tmp_path / "record", []

    def sync(descriptor: int) -> None:
        is_folder = os.path.samestat(os.fstat(descriptor), tmp_path.stat())
        seen.append(("folder" if is_folder else "content", path.exists()))
        on_disk(descriptor)

    replace_file(path, b"after", sync)
    assert seen == [("content", False), ("folder", True)]


def test_a_new_file_appears_finished(tmp_path: Path) -> None:
    path = tmp_path / "key"
    with new_file(path) as draft:
        draft.write_text("all of it")
        assert not path.exists()
    assert path.read_text() == "all of it"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["key"]


def test_of_two_that_make_a_file_the_first_one_s_stays(tmp_path: Path) -> None:
    path = tmp_path / "key"
    with new_file(path) as draft:
        draft.write_text("second")
        path.write_text("first")
    assert path.read_text() == "first"


def test_a_lock_is_held_by_one_descriptor_until_it_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    holder = take_lock(path)
    assert holder is not None
    assert take_lock(path) is None
    os.close(holder)
    again = take_lock(path)
    assert again is not None
    assert try_lock(again)  # its own
    os.close(again)
