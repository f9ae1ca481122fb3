"""The wheel, made of the sdist and installed where nothing of ours is: it has all that the program needs."""

import os
import shutil
import subprocess
import sys
import tarfile
import venv
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from proxy.local.ports import free_port
from tests.system.earlier import unpack
from tests.system.test_run import PHONES, ROOT, is_up, until

pytestmark = [pytest.mark.system, pytest.mark.trial]
_BUILD = "import sys; from flit_core import buildapi; print(getattr(buildapi, sys.argv[1])(sys.argv[2]))"
_FILES = {"proxy.toml", "local.toml", "emulators.toml", "gunicorn.conf.py"}


def build(what: str, project: Path, into: Path) -> Path:
    argv = [sys.executable, "-c", _BUILD, what, str(into)]
    return into / subprocess.run(argv, cwd=project, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The sdist of this project, and the wheel that comes from the sdist alone."""
    folder = tmp_path_factory.mktemp("dist")
    sdist = build("build_sdist", ROOT, folder)
    with tarfile.open(sdist) as archive:
        unpack(archive, folder)
    return sdist, build("build_wheel", folder / sdist.name.removesuffix(".tar.gz"), folder)


@pytest.fixture(scope="module")
def installed(built: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of an environment that has the wheel and what the wheel requires, and no other package.

    Nothing is asked of a package index: what is required is linked from the environment of the tests.
    """
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, with_pip=True, symlinks=True)
    _, wheel = built
    pip = [str(folder / "bin/python"), "-I", "-m", "pip", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--quiet", "--no-index", "--no-deps", str(wheel)], check=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    for name in required_by("mimc-app-proxy"):
        link(name, packages)
    subprocess.run([*pip, "check"], check=True)
    return folder / "bin"


def required_by(name: str) -> Iterator[str]:
    waiting, seen = [Requirement(name)], {canonicalize_name(name)}
    while waiting:
        asked = waiting.pop()
        for it in map(Requirement, distribution(asked.name).requires or ()):
            wanted = it.marker is None or any(it.marker.evaluate({"extra": extra}) for extra in asked.extras or {""})
            if wanted and canonicalize_name(it.name) not in seen:
                seen.add(canonicalize_name(it.name))
                waiting.append(it)
                yield it.name


def link(name: str, packages: Path) -> None:
    for file in distribution(name).files or ():
        if ".." not in file.parts and "__pycache__" not in file.parts:
            target = packages / file
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(Path(str(file.locate())).resolve())


def environment(folder: Path) -> dict[str, str]:
    """That of a person who has only PATH and a home."""
    return {"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8"}


def test_the_wheel_has_the_files_beside_the_code_and_the_sdist_has_the_tests(built: tuple[Path, Path]) -> None:
    sdist, wheel = built
    with ZipFile(wheel) as archive:
        names = archive.namelist()
        beside = {name.removeprefix("proxy/data/") for name in names if name.startswith("proxy/data/")}
        assert archive.read("proxy/data/proxy.toml") == (ROOT / "config/proxy.toml").read_bytes()
    assert beside >= _FILES
    assert not [name for name in names if not name.startswith(("proxy/", "mimc_app_proxy-"))]
    with tarfile.open(sdist) as archive:
        paths = {name.partition("/")[2] for name in archive.getnames()}
    assert paths >= {"LICENSE", "README.md", "CHANGELOG.md", "wsgi.py", "Procfile", "requirements.lock", "docs/api.md"}
    assert paths >= {f"config/{name}" for name in _FILES} | {"tests/system/test_wheel.py", "tools/environment.py"}
    kept = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    assert {path for path in kept if not path.startswith(".")} <= paths
    assert not [path for path in paths if "__pycache__" in path or path.startswith((".venv", ".state", ".git/"))]


def test_the_demo_runs_from_the_wheel_alone(installed: Path, tmp_path: Path) -> None:
    argv = [str(installed / "app-proxy"), "run", "--demo"]
    done = subprocess.run(
        argv, cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(phone in done.stdout for phone in PHONES)
    assert [path.name for path in tmp_path.iterdir()] == [".state"]


def test_web_and_worker_run_from_the_wheel_alone(installed: Path, tmp_path: Path) -> None:
    ports = [free_port() for _ in range(3)]
    names = ("SERVER__BIND", "SERVER__OPERATOR_BIND", "RELAY__OPERATOR_BIND")
    binds = {f"APP_PROXY_{name}": f"127.0.0.1:{port}" for name, port in zip(names, ports, strict=True)}
    shutil.copy(ROOT / "config/local.toml", tmp_path / "mine.toml")
    with (tmp_path / "mine.toml").open("a") as config:
        config.write(f'[auth.jwt.own]\nsecret = "{"k" * 40}"\n')
    secret = {"APP_PROXY_APPS__DEMO__URL_SECRET": "u" * 20, "APP_PROXY_APPS__DEMO__APNS__KEY_FILE": "apns.p8"}
    (tmp_path / "apns.p8").write_text("not looked at before a push")
    given = environment(tmp_path) | binds | secret | {"APP_PROXY_CONFIG": "mine.toml"}
    commands = ([str(installed / "app-proxy"), name] for name in ("web", "worker"))
    children = [subprocess.Popen(command, cwd=tmp_path, env=given, text=True) for command in commands]
    try:
        until(lambda: is_up(f"http://127.0.0.1:{ports[1]}/healthz"), "the web")
        until(lambda: is_up(f"http://127.0.0.1:{ports[2]}/healthz"), "the worker")
    finally:
        for child in children:
            child.terminate()
    assert [child.wait(60) for child in children] == [0, 0]
