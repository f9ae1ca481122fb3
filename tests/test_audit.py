"""`make audit`, with shell scripts for the tools that it installs."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.system

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ("bandit==1.9.4", "pip-audit==2.10.1")
CLEAN = {"dependencies": [{"name": "flask", "version": "3.1.3", "vulns": []}]}
FAULT = {"id": "PYSEC-1", "fix_versions": ["3.1.4"], "description": "words"}
FAULTY = {"dependencies": [{"name": "flask", "version": "3.1.3", "vulns": [FAULT]}]}


@pytest.mark.parametrize(
    ("report", "finds", "code", "told"),
    [
        (json.dumps(CLEAN), 0, 0, "pip-audit knows no fault in the packages of requirements.lock"),
        (json.dumps(FAULTY), 0, 1, "flask 3.1.3: PYSEC-1, mended in 3.1.4"),
        ("", 0, 0, "pip-audit could not reach its source, so the packages were NOT audited: no route"),
        (json.dumps(CLEAN), 1, 1, "a risky call"),
    ],
)
def test_what_was_found_is_told_and_what_could_not_be_asked_too(
    tmp_path: Path, report: str, finds: int, code: int, told: str
) -> None:
    shutil.copytree(ROOT / "tools", tmp_path / "tools")
    scripts = tmp_path / ".audit" / "bin"
    scripts.mkdir(parents=True)
    (scripts.parent / ".complete").write_text("\n".join((sys.version, *TOOLS)))
    for name, text in {
        "pip-audit": f"echo '{report}'; echo no route >&2; exit {int(report != json.dumps(CLEAN))}",
        "bandit": f"{'echo a risky call' if finds else ':'}; exit {finds}",
    }.items():
        (scripts / name).write_text(f"#!/bin/sh\n{text}\n")
        (scripts / name).chmod(0o755)
    audit = [sys.executable, str(tmp_path / "tools" / "audit.py")]
    ended = subprocess.run(audit, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (code, "")
    assert told in ended.stdout.splitlines()
