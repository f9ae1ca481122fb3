"""From a checkout to an environment: which Python is taken, what is said where none will do, what an install leaves.

No package is installed here: a shell script replaces the interpreter.
"""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.system

ROOT = Path(__file__).resolve().parent.parent
VERSION = "{}.{}".format(*sys.version_info)
FAKE_PIP = '#!/bin/sh\necho "$PIP_USER/$PIP_TARGET/$PYTHONPATH: $*" >> log\n'
SLOW_PIP = FAKE_PIP + "while [ ! -e go ]; do sleep 0.01; done\n"
# A make that finds itself started by another one speaks more.
OUTSIDE = {name: value for name, value in os.environ.items() if name not in {"MAKEFLAGS", "MAKELEVEL", "MFLAGS"}}


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def fake_python(path: Path, version: str, *, venv: bool = True) -> Path:
    return script(
        path,
        f'#!/bin/sh\ncase "$*" in *ensurepip*) exit {0 if venv else 1};; *version_info*) echo {version};; esac\n',
    )


def find_python(*folders: Path, cwd: Path = ROOT) -> "subprocess.CompletedProcess[str]":
    path = ":".join(map(str, folders))
    command = ["/bin/sh", str(ROOT / "tools" / "find-python.sh")]
    return subprocess.run(command, cwd=cwd, env={"PATH": path}, capture_output=True, text=True, check=False)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The files that `make` needs, in a folder with a space in its name, and an environment made from an older lock."""
    checkout = tmp_path / "check out"
    shutil.copytree(ROOT / "tools", checkout / "tools")
    shutil.copy(ROOT / "Makefile", checkout)
    (checkout / "requirements.lock").write_text("flask==3.1.3\n")
    (checkout / "pyproject.toml").write_text("[project]\n")
    script(checkout / ".venv" / "bin" / "python", FAKE_PIP)
    (checkout / ".venv" / ".complete").write_text(f"{checkout}/.venv\n{VERSION}\nolder\nolder")
    return checkout


def install(checkout: Path, *more: str, **variables: str) -> "subprocess.Popen[str]":
    strays = {"PIP_USER": "1", "PIP_TARGET": "/elsewhere", "PYTHONPATH": "/elsewhere", "PIP_REQUIRE_VIRTUALENV": "1"}
    command = [sys.executable, "-I", str(checkout / "tools" / "environment.py"), *more]
    return subprocess.Popen(command, env={**os.environ, **strays, **variables}, stderr=subprocess.PIPE, text=True)


def test_the_newest_python_on_path_is_taken(tmp_path: Path) -> None:
    for version in ("3.11", "3.13", "3.12"):
        fake_python(tmp_path / version / f"python{version}", version)
    found = find_python(tmp_path / "3.11", tmp_path / "3.13", tmp_path / "3.12")
    assert found.stdout == f"{tmp_path}/3.13/python3.13\n"


def test_a_shim_that_does_not_run_gives_way_to_the_real_one_behind_it(tmp_path: Path) -> None:
    script(tmp_path / "shims" / "python3.12", "#!/bin/sh\necho 'command not found' >&2\nexit 127\n")
    real = fake_python(tmp_path / "a folder" / "python3.12", "3.12")
    assert find_python(tmp_path / "shims", tmp_path / "a folder").stdout == f"{real}\n"


def test_the_environment_that_is_made_anew_is_not_the_one_to_make_it(tmp_path: Path) -> None:
    fake_python(tmp_path / ".venv" / "bin" / "python3.13", "3.13")
    base = fake_python(tmp_path / "python3.11", "3.11")
    assert find_python(tmp_path / ".venv" / "bin", tmp_path, cwd=tmp_path).stdout == f"{base}\n"


def test_a_plain_python3_counts_when_its_version_does(tmp_path: Path) -> None:
    plain = fake_python(tmp_path / "python3", "3.14")
    assert find_python(tmp_path).stdout == f"{plain}\n"


def test_a_python_without_venv_gives_way_to_an_older_one_that_has_it(tmp_path: Path) -> None:
    fake_python(tmp_path / "python3.13", "3.13", venv=False)
    older = fake_python(tmp_path / "python3.11", "3.11")
    assert find_python(tmp_path).stdout == f"{older}\n"


def test_where_venv_is_missing_the_one_command_that_helps_is_named(tmp_path: Path) -> None:
    fake_python(tmp_path / "python3", "3.12", venv=False)
    script(tmp_path / "apt-get", "#!/bin/sh\n")
    found = find_python(tmp_path)
    assert (found.returncode, found.stdout) == (2, "")
    assert found.stderr.splitlines()[-1] == "    sudo apt install python3.12-venv"


@pytest.mark.parametrize("version", ["3.9", "3.10", "3.15", "2.7"])
def test_a_python_that_the_lock_does_not_cover_is_refused(tmp_path: Path, version: str) -> None:
    fake_python(tmp_path / "python3", version)
    found = find_python(tmp_path)
    assert (found.returncode, found.stdout) == (2, "")
    assert found.stderr.startswith("No Python 3.11, 3.12, 3.13 or 3.14 that runs was found on PATH.")


def test_make_exits_2_with_that_message_when_there_is_no_python(checkout: Path, tmp_path: Path) -> None:
    shutil.rmtree(checkout / ".venv")
    (tmp_path / "bin").mkdir()
    for tool in ("sh", "make"):
        (tmp_path / "bin" / tool).symlink_to(shutil.which(tool) or tool)
    made = subprocess.run(
        ["make", "run"], cwd=checkout, env={"PATH": str(tmp_path / "bin")}, capture_output=True, text=True, check=False
    )
    assert made.returncode == 2
    assert "No Python 3.11" in made.stderr


def test_a_changed_lock_is_installed_with_hashes_whatever_the_users_pip_settings_say(checkout: Path) -> None:
    with install(checkout) as changed:
        assert changed.wait(timeout=20) == 0
    lock, package = (checkout / "log").read_text().splitlines()
    assert lock.startswith("0//: -I -m pip install ")
    assert lock.endswith(f"--require-hashes -r {checkout}/requirements.lock")
    assert package.endswith(f"--no-deps --no-build-isolation --editable {checkout}")
    digest = hashlib.sha256(b"flask==3.1.3\n").hexdigest()
    assert (checkout / ".venv" / ".complete").read_text().split("\n")[2] == digest
    with install(checkout, "--check") as check:
        assert check.wait(timeout=20) == 0


def test_a_failed_install_leaves_no_marker(checkout: Path) -> None:
    script(checkout / ".venv" / "bin" / "python", "#!/bin/sh\nexit 1\n")
    with install(checkout) as failing:
        assert failing.wait(timeout=20) == 1
    assert not (checkout / ".venv" / ".complete").exists()


def test_a_killed_install_leaves_no_marker_and_the_next_one_waits_for_its_orphan(checkout: Path) -> None:
    script(checkout / ".venv" / "bin" / "python", SLOW_PIP)
    with install(checkout) as killed:
        while not (checkout / "log").exists():
            time.sleep(0.01)
        killed.kill()
    assert not (checkout / ".venv" / ".complete").exists()
    with install(checkout) as following:
        assert following.stderr
        assert following.stderr.readline() == "waiting for another install in this folder\n"
        following.kill()
    (checkout / "go").touch()


def test_an_environment_behind_a_link_is_left_as_it_is(checkout: Path, tmp_path: Path) -> None:
    """`venv --clear` would empty it first, and then refuse the link."""
    shared = (checkout / ".venv").rename(tmp_path / "shared")
    (checkout / ".venv").symlink_to(shared)
    before = {path: path.read_bytes() for path in shared.rglob("*") if path.is_file()}
    with install(checkout) as refused:
        assert refused.stderr
        assert "take the link away" in refused.stderr.read()
        assert refused.wait(timeout=20) == 2
    assert {path: path.read_bytes() for path in shared.rglob("*") if path.is_file()} == before


def test_of_two_installs_at_once_the_second_waits_and_finds_it_done(checkout: Path) -> None:
    script(checkout / ".venv" / "bin" / "python", SLOW_PIP)
    with install(checkout) as first:
        while not (checkout / "log").exists():
            time.sleep(0.01)
        with install(checkout) as second:
            assert second.stderr
            assert second.stderr.readline() == "waiting for another install in this folder\n"
            (checkout / "go").touch()
            assert (first.wait(timeout=20), second.wait(timeout=20)) == (0, 0)
    assert len((checkout / "log").read_text().splitlines()) == 2


def test_run_hands_a_stop_signal_to_the_product_and_waits_for_it(checkout: Path) -> None:
    product = (
        "#!/bin/sh\ntrap 'echo stopped; exit 0' TERM\n"
        "echo $1 ${PYTHONPATH-no PYTHONPATH}\nwhile :; do sleep 0.05; done\n"
    )
    script(checkout / ".venv" / "bin" / "app-proxy", product)
    environment = {**OUTSIDE, "PYTHONPATH": "/elsewhere"}
    with subprocess.Popen(["make", "run"], cwd=checkout, env=environment, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout
        assert run.stdout.readline() == "run no PYTHONPATH\n"
        run.send_signal(signal.SIGTERM)
        assert run.stdout.readline() == "stopped\n"


@pytest.mark.parametrize("target", ["check", "test", "test-long"])
def test_a_phase_that_fails_hides_no_other_and_the_exit_code_tells(checkout: Path, target: str) -> None:
    for tool in ("ruff", "lint-imports", "mypy", "pytest"):
        script(checkout / ".venv" / "bin" / tool, f'#!/bin/sh\necho "{tool} $*" >> log\nexit 1\n')
    script(checkout / ".venv" / "bin" / "python", f"{FAKE_PIP}case $* in *tests.*) exit 1;; esac\n")
    made = subprocess.run(["make", target], cwd=checkout, env=OUTSIDE, capture_output=True, text=True, check=False)
    assert made.returncode != 0
    log = (checkout / "log").read_text()
    expected = {
        "check": ["ruff check", "lint-imports", "mypy", "not system"],
        "test": ["ruff check", "lint-imports", "mypy", "not system", "system and not trial"],
        "test-long": [
            "tests.chaos --short --fold --seed 2",
            "tests.chaos --short --empty",
            "tests.chaos --short --store sentinel",
            "tests.chaos --short --store cluster",
            "soak",
            "attacks --short",
            "fuzz",
            "-m trial",
        ],
    }
    assert [phase for phase in expected[target] if phase not in log] == []


def test_ci_runs_all_even_where_the_first_part_fails(checkout: Path, tmp_path: Path) -> None:
    script(tmp_path / "bin" / "make", '#!/bin/sh\necho "$*"\n[ "$*" != test ]\n')
    shutil.copytree(ROOT / ".ci", checkout / ".ci")
    environment = {**OUTSIDE, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    done = subprocess.run([checkout / ".ci" / "run"], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "test\ntest-long\n")


def test_an_install_tells_how_far_it_is(checkout: Path) -> None:
    script(
        checkout / ".venv" / "bin" / "python",
        f"{FAKE_PIP}echo 'Collecting flask==3.1.3 (from -r x)'\necho 'Installing collected packages: flask'\n",
    )
    with install(checkout) as changed:
        assert changed.stderr
        assert "  1 of at most 1: flask==3.1.3\n  all are here; unpacking them" in changed.stderr.read()


def test_a_failed_install_names_the_variables_that_sent_it_elsewhere(checkout: Path) -> None:
    script(checkout / ".venv" / "bin" / "python", "#!/bin/sh\nexit 1\n")
    with install(checkout, https_proxy="http://127.0.0.1:1") as failing:
        assert failing.stderr
        assert "https_proxy" in failing.stderr.read().splitlines()[-1]


def test_help_lists_every_target(checkout: Path) -> None:
    said = subprocess.run(
        ["make", "help"], cwd=checkout, env=OUTSIDE, capture_output=True, text=True, check=True
    ).stdout
    listed = {line.split()[1] for line in said.splitlines()}
    assert listed >= {"run", "demo", "test", "lint", "types", "unit", "system", "lock", "clean", "help"}
