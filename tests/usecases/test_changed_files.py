"""Files that change: when it is noticed, and what stays in use where they are wrong."""

import os
from pathlib import Path

import pytest

from proxy.errors import BadSettings
from proxy.files import WatchedFiles, replace_file
from proxy.usecases.changed_files import ChangedFiles


def test_a_change_is_told_once_and_not_before_the_files_are_still(tmp_path: Path) -> None:
    key, id_ = tmp_path / "key", tmp_path / "id"
    for path in (key, id_):
        path.write_text("old")
    watched = WatchedFiles([key, id_])
    assert not watched.changed()
    key.write_text("ne")
    assert not watched.changed()
    key.write_text("new")  # its writer went on
    id_.write_text("new id")
    assert not watched.changed()
    assert [watched.changed() for _ in range(3)] == [True, False, False]


def test_a_file_that_is_replaced_has_changed_though_its_size_and_time_are_the_same(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("1111")
    watched, before = WatchedFiles([path]), path.stat()
    replace_file(path, b"2222")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert [watched.changed() for _ in range(3)] == [False, True, False]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (BadSettings(["apns key ABCDE12345: expected a P-256 private key"]), "apns key ABCDE12345"),
        (PermissionError(13, "/secret/place"), "PermissionError"),
    ],
)
def test_what_cannot_be_used_is_told_until_it_can(tmp_path: Path, error: Exception, told: str) -> None:
    path = tmp_path / "key"
    path.write_text("old")
    wrong = [True]

    def take() -> None:
        if wrong:
            raise error

    said: list[str] = []
    changed = ChangedFiles(WatchedFiles([path]), take, said.append)
    for content in ("wrong", "right"):
        path.write_text(content * 2)
        for _ in range(3):
            changed.look()
        assert [told in text for text in changed.details().values()] == [True] * (content == "wrong")
        wrong.clear()
    assert [told in text for text in said] == [True]
    assert "/secret/place" not in str(said)
