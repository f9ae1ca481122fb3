"""tools/release.py finds what keeps a checkout from being a release."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.docs.test_pages import ROOT
from tools.release import faults


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A checkout that is one."""
    files = {
        "proxy/__init__.py": '"""."""\n\n__version__ = "0.2.0"\n',
        "ops/helm/Chart.yaml": 'name: x\nappVersion: "0.2.0"      # the same\n',
        "CHANGELOG.md": "# Changes\n\n## 0.2.0, 2027-01-31\n\n## 0.1.0, 2026-12-01\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    git(tmp_path, "init", "--quiet")
    commit(tmp_path)
    return tmp_path


def git(folder: Path, *words: str) -> None:
    who = ["-c", "user.name=test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(folder), *who, *words], check=True, capture_output=True)


def commit(folder: Path) -> None:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "x")


def replaced(name: str, before: str, after: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).write_text((folder / name).read_text().replace(before, after))
        commit(folder)

    return change


def test_a_checkout_that_agrees_with_itself_is_a_release(release: Path) -> None:
    assert faults(release) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (replaced("ops/helm/Chart.yaml", "0.2.0", "0.1.0"), "appVersion is 0.1.0"),
        (replaced("CHANGELOG.md", "2027-01-31", "unreleased"), "CHANGELOG.md"),
        (replaced("proxy/__init__.py", "0.2.0", "0.3.0"), "the program is 0.3.0"),
        (lambda folder: (folder / "new").write_text("x"), "not committed"),
        (lambda folder: git(folder, "tag", "v0.2.0"), "v0.2.0 is there"),
    ],
)
def test_what_keeps_it_from_being_one_is_told(release: Path, change: Callable[[Path], None], told: str) -> None:
    change(release)
    assert told in "\n".join(faults(release))


def test_this_checkout_has_what_is_looked_at() -> None:
    assert [it for it in faults(ROOT) if "no version" in it or "appVersion" in it] == []
