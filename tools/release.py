"""Is this checkout a release? `python tools/release.py` (make release-check). docs/releasing.md has the steps.

Says every reason why not, and exits with 1 where there is one: the version must be the same in proxy/__init__.py, the
chart and CHANGELOG.md, which gives it a date; nothing may be uncommitted, and no tag may have the version yet.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VERSION = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+")


def faults(root: Path) -> "list[str]":
    """Why the checkout at `root` is no release; empty where it is one."""
    found: list[str] = []
    version = _one(root / "proxy/__init__.py", r'^__version__ = "(.*)"$')
    if not VERSION.fullmatch(version):
        found.append(f"proxy/__init__.py: {version or 'no version'} is no version like 1.2.3")
    chart = _one(root / "ops/helm/Chart.yaml", r'^appVersion: "(.*?)"')
    if chart != version:
        found.append(f"ops/helm/Chart.yaml: appVersion is {chart}, the program is {version}")
    heading = _one(root / "CHANGELOG.md", r"^## (.*)$")
    if not re.fullmatch(rf"{re.escape(version)}, \d{{4}}-\d\d-\d\d", heading):
        found.append(f"CHANGELOG.md: the first heading is '{heading}', not '{version}, ' and the day")
    if _git(root, "status", "--porcelain"):
        found.append("something is not committed")
    if _git(root, "tag", "--list", f"v{version}"):
        found.append(f"the tag v{version} is there already")
    return found


def _one(path: Path, pattern: str) -> str:
    text = re.search(pattern, path.read_text(encoding="utf-8"), re.MULTILINE)
    return text[1] if text else ""


def _git(root: Path, *words: str) -> str:
    return subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    reasons = faults(ROOT)
    sys.stdout.write("\n".join(reasons or ["this is a release: docs/releasing.md says what comes next"]) + "\n")
    raise SystemExit(1 if reasons else 0)
