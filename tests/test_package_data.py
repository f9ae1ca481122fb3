"""What the wheel has beside the code is what lies in the project's folders: there is no second copy."""

import subprocess
import sys
from pathlib import Path

from proxy import package_data
from proxy.package_data import DATA, GUNICORN, UNITS

ROOT = Path(__file__).resolve().parent.parent


def test_each_file_beside_the_code_is_a_link_to_a_file_of_the_project() -> None:
    named = {path for path in vars(package_data).values() if isinstance(path, Path)} - {DATA} | {*UNITS}
    assert named == {path for path in DATA.iterdir() if path.name != "__pycache__"}  # gunicorn.conf.py is compiled
    folders = {ROOT / "config", ROOT / "ops/systemd"}
    assert [path.name for path in named if not path.is_symlink() or path.resolve().parent not in folders] == []


def test_the_web_is_served_with_the_configuration_that_the_procfile_names(tmp_path: Path) -> None:
    (line,) = (it for it in (ROOT / "Procfile").read_text().splitlines() if it.startswith("web: "))
    assert (ROOT / line.split()[3]).resolve() == GUNICORN.resolve()
    argv = [sys.executable, "-m", "proxy", "web", "--config", str(tmp_path / "absent.toml")]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("the settings cannot be used:\nno configuration file at ")
