"""What `app-proxy init` writes is what the project has, and serves once the secrets are filled in."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from proxy.configuration import load_settings
from proxy.local.starter import hidden_from_units, starter_files
from tests.ops.test_units import ANALYZE, needs_systemd
from tests.test_cli import ROOT, run

FILES = {"config/proxy.toml", ".env.example", "systemd/app-proxy-web.service", "systemd/app-proxy-worker.service"}
SECRETS = {
    "AUTH_JWT_SECRET": "j" * 40, "MIMC_APP_ID": "2882303761517000001", "MIMC_APP_KEY": "key",
    "MIMC_APP_SECRET": "secret", "MIMC_URL_SECRET": "u" * 20,
}  # fmt: skip


def written(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_it_writes_the_settings_their_environment_and_units_and_says_what_comes_next(tmp_path: Path) -> None:
    result = run("init", str(tmp_path / "chat"))
    assert result.exit_code == 0, result.output
    assert written(tmp_path / "chat") == FILES
    assert (tmp_path / "chat/config/proxy.toml").read_bytes() == (ROOT / "config/proxy.toml").read_bytes()
    assert f"cd {tmp_path / 'chat'}" in result.stdout
    assert "app-proxy check-config --offline" in result.stdout
    # before it runs no store answers, and each question to Apple would be a new provider token of the team
    steps = ("app-proxy run --config", ". .state/env", "app-proxy doctor", "app-proxy send-test")
    assert sorted(steps, key=result.stdout.index) == list(steps)


def test_in_the_folder_itself_no_step_enters_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("init")
    assert (result.exit_code, written(tmp_path)) == (0, FILES)
    assert "Next:\n\n  install -m 600 .env.example .env " in result.stdout


def test_the_example_names_each_variable_that_the_settings_need_and_says_what_it_is(tmp_path: Path) -> None:
    run("init", str(tmp_path))
    example = (tmp_path / ".env.example").read_text()
    assert re.findall(r"^(\w+)=$", example, re.MULTILINE) == list(SECRETS)
    assert "# apps.main.app_id\n# from MIMC's console: digits, as a text or a number\nMIMC_APP_ID=\n" in example
    without = run("check-config", "--offline", "--config", str(tmp_path / "config/proxy.toml"))
    assert without.exit_code == 2
    assert all(name in without.stderr for name in SECRETS)


def test_the_settings_pass_once_the_secrets_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("init", str(tmp_path))
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("REDIS_URL", raising=False)
    monkeypatch.chdir(tmp_path)
    result = run("check-config", "--offline")
    assert result.exit_code == 0, result.output
    assert "url" not in load_settings().store.model_fields_set  # `app-proxy run --config` brings a store of its own


def test_nothing_is_overwritten_and_nothing_written_beside_it_without_force(tmp_path: Path) -> None:
    (tmp_path / ".env.example").write_text("mine")
    refused = run("init", str(tmp_path))
    assert (refused.exit_code, written(tmp_path)) == (1, {".env.example"})
    assert ".env.example: there already" in refused.stderr
    assert (tmp_path / ".env.example").read_text() == "mine"
    assert run("init", "--force", str(tmp_path)).exit_code == 0
    assert written(tmp_path) == FILES
    assert (tmp_path / ".env.example").read_text() != "mine"


def test_a_place_that_the_units_cannot_see_is_said(tmp_path: Path) -> None:
    assert hidden_from_units(Path("/home/ann/chat"), Path("/opt/x"), Path("/root"), Path("/homes")) == [
        Path("/home/ann/chat"),
        Path("/root"),
    ]
    assert "ProtectHome" not in run("init", str(tmp_path)).stdout


def test_the_units_start_this_command_with_these_files() -> None:
    files = starter_files(Path("/srv/chat"), Path("/srv/venv/bin/app-proxy"))
    for name in ("web", "worker"):
        unit = files[f"systemd/app-proxy-{name}.service"]
        assert f"\nExecStart=/srv/venv/bin/app-proxy {name}\n" in unit
        assert "\nEnvironment=APP_PROXY_CONFIG=/srv/chat/config/proxy.toml PYTHONDONTWRITEBYTECODE=1\n" in unit
        assert "\nEnvironmentFile=-/srv/chat/.env\n" in unit
        assert not re.search(r"/opt/|/etc/app-proxy", unit)


@needs_systemd
def test_systemd_reads_the_units_of_a_place_with_an_awkward_name(tmp_path: Path) -> None:
    folder = tmp_path / "a folder 100%n"
    (folder / "bin").mkdir(parents=True)
    command = folder / "bin/app-proxy"
    shutil.copy("/bin/true", command)
    for name, text in starter_files(folder, command).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    for unit in (folder / "systemd").iterdir():
        assert ANALYZE
        done = subprocess.run([ANALYZE, "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False)
        about_ours = [line for line in done.stderr.splitlines() if unit.name in line]
        assert (done.returncode, about_ours) == (0, []), done.stdout + done.stderr
