"""The units for systemd: they start web and worker, and systemd finds them right and shut."""

import re
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from proxy.settings import GRACE, RelaySettings
from tests.docs.test_pages import ROOT

FOLDER = ROOT / "ops/systemd"
UNITS = {"web": FOLDER / "app-proxy-web.service", "worker": FOLDER / "app-proxy-worker.service"}
ANALYZE = shutil.which("systemd-analyze")
needs_systemd = pytest.mark.skipif(ANALYZE is None, reason="no systemd-analyze here: the units are not verified")
MOST_EXPOSED = 2.5  # of 10; systemd says 9.6 of a unit that shuts nothing


@pytest.mark.parametrize(("name", "grace"), [("web", GRACE), ("worker", RelaySettings().drain)])
def test_a_unit_starts_its_command_and_waits_for_its_end(name: str, grace: timedelta) -> None:
    unit = UNITS[name].read_text()
    assert f"ExecStart=/opt/app-proxy/.venv/bin/app-proxy {name}\n" in unit
    (seconds,) = re.findall(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)
    assert timedelta(seconds=int(seconds)) > grace


def test_both_are_shut_alike() -> None:
    web, worker = (path.read_text().partition("NoNewPrivileges")[2] for path in UNITS.values())
    assert web == worker


@needs_systemd
@pytest.mark.parametrize("name", UNITS)
def test_systemd_finds_a_unit_right_and_shut(name: str, tmp_path: Path) -> None:
    """With commands that are there, in the place of those of an installed service."""
    unit = tmp_path / UNITS[name].name
    unit.write_text(re.sub(r"/opt/app-proxy/\.venv/bin/\S+", "/bin/true", UNITS[name].read_text()))
    assert ANALYZE
    for words in (["verify", "--man=no"], ["security", "--offline=true", f"--threshold={MOST_EXPOSED * 10:.0f}"]):
        done = subprocess.run([ANALYZE, *words, str(unit)], capture_output=True, text=True, check=False)
        about_ours = [line for line in done.stderr.splitlines() if unit.name in line]
        assert (done.returncode, about_ours) == (0, []), done.stdout + done.stderr
