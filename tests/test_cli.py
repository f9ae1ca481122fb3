import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jwt
import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from proxy.auth.accounts_db import open_accounts
from proxy.cli import cli
from proxy.domain.devices import Device, Platform, fingerprint
from proxy.store.connection import Store
from proxy.store.devices.registry import RedisDeviceRegistry
from proxy.store.server.embedded import ensure_store, stop_store
from tests.test_check_config import served

ROOT = Path(__file__).parent.parent
KEY = "0123456789" * 5
APP_SECRET = "app-secret-canary"
PUSH_SECRET = "push-secret-canary"
EMULATED_SENDER = "whsec_ZW11bGF0ZWQtc2VuZGVyLW9wZW5zLW5vdGhpbmctZWxzZQ=="
URL_SECRET = "url-secret-canary-0123"
CANARIES = (KEY, APP_SECRET, PUSH_SECRET, URL_SECRET)


def write_config(folder: Path, extra: str = "") -> Path:
    path = folder / "proxy.toml"
    path.write_text(
        f'[auth.jwt.own]\nsecret = "{KEY}"\n[apps.main]\napp_id = 2882303761517000001\napp_key = "k"\n'
        f'app_secret = "{APP_SECRET}"\nurl_secret = "{URL_SECRET}"\n{extra}'
    )
    return path


def write_key(path: Path, curve: ec.EllipticCurve) -> Path:
    pem, pkcs8, plain = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path.touch(0o600)
    path.write_bytes(ec.generate_private_key(curve).private_bytes(pem, pkcs8, plain))
    return path


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(cli, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert not any(canary in result.output for canary in CANARIES)
    return result


def test_help_teaches_the_way_in() -> None:
    output = run("--help").output
    assert "app-proxy run --demo" in output
    assert "app-proxy check-config --offline" in output
    assert "Bearer $TOKEN" in output


def test_every_command_explains_itself_and_its_options() -> None:
    for name, command in cli.commands.items():
        assert run(name, "--help").exit_code == 0
        assert command.help
        assert all(getattr(option, "help", "") for option in command.params if option.param_type_name == "option")


def test_token_prints_a_bearer_for_the_account_and_nothing_else(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    result = run("token", "--config", str(config), "--account", "小明", "--ttl", "60")
    assert result.exit_code == 0
    claims = jwt.decode(result.stdout.removesuffix("\n"), KEY, algorithms=["HS256"])
    assert claims["sub"] == "小明"
    assert claims["exp"] - claims["iat"] == 60


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (
            401,
            '{"code": 401, "message": "not signed in", "data": null}',
            'HTTP 401 and says "not signed in": the bearer',
        ),
        (404, "<html>", "HTTP 404: this is no broker"),
        (302, "", "HTTP 302"),
        (200, '{"code": 401, "message": "x"}', "the broker passes on MIMC's refusal: MIMC's code 401"),
        (200, "hello", "the broker passes on MIMC's refusal: HTTP 200 without MIMC's code"),
    ],
)
def test_token_check_says_what_was_wrong_and_shows_no_bearer(tmp_path: Path, status: int, body: str, says: str) -> None:
    config = write_config(tmp_path, 'base_url = "http://127.0.0.1:1"\n')
    seen = list[dict[str, str]]()
    with served((body, status), seen) as broker:
        result = run("token", "--config", str(config), "--account", "alice", "--check", "--url", f"{broker}/")
    assert result.exit_code == 1
    assert says in result.stdout.splitlines()[0]
    assert "FAULT   apps.main.app_secret: 127.0.0.1:1 gave no token" in result.stdout  # MIMC itself was asked, too
    (asked,) = seen
    assert asked["path"] == "api/account/token"
    bearer = asked["authorization"].removeprefix("Bearer ")
    assert jwt.decode(bearer, KEY, algorithms=["HS256"])["sub"] == "alice"
    assert bearer not in result.output


def test_options_of_the_check_alone_are_refused_without_it(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    assert run("token", "--config", str(config), "--account", "alice", "--url", "http://127.0.0.1:1").exit_code == 2
    assert run("token", "--config", str(config), "--account", "alice", "--check", "--app", "none").exit_code == 2


def test_token_says_what_its_issuer_s_tokens_must_say(tmp_path: Path) -> None:
    config = write_config(
        tmp_path,
        f'[auth.jwt.site]\nsecret = "{KEY[::-1]}"\nissuer = "https://site.example"\naudience = "chat"\n'
        'account_claim = "user.id"\naccount_prefix = "site:"\n'
        '[auth.jwt.keys]\njwks_url = "https://id.example/jwks"\n',
    )
    options = ("token", "--config", str(config), "--issuer")
    printed = run(*options, "site", "--account", "site:7").stdout.strip()
    claims = jwt.decode(printed, KEY[::-1], algorithms=["HS256"], issuer="https://site.example", audience="chat")
    assert claims["user"] == {"id": "7"}
    assert run(*options, "site", "--account", "7").exit_code == 2
    for name, told in (("keys", "no issuer has a secret"), ("absent", "the section is missing")):
        result = run(*options, name, "--account", "7")
        assert (result.exit_code, f"auth.jwt.{name}: {told}" in result.stderr) == (2, True)


def test_token_signs_with_the_algorithm_of_the_settings(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    config.write_text(config.read_text().replace("[apps.main]", 'algorithms = ["HS384"]\n[apps.main]'))
    token = run("token", "--config", str(config), "--account", "a").stdout.strip()
    assert jwt.get_unverified_header(token)["alg"] == "HS384"


@pytest.mark.parametrize("arguments", [("--account", ""), ("--account", "a\nb"), (), ("--account", "a", "--ttl", "0")])
def test_a_token_for_no_account_is_a_wrong_command_line(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    assert run("token", "--config", str(write_config(tmp_path)), *arguments).exit_code == 2


def test_wrong_settings_are_all_told_and_exit_with_2(tmp_path: Path) -> None:
    config = write_config(tmp_path, "base_ulr = 'x'\n[logs]\nlevel = 'loud'\n")
    for command in (("check-config",), ("token", "--account", "a")):
        result = run(*command, "--config", str(config))
        assert result.exit_code == 2
        assert result.stdout == ""
        assert result.stderr.splitlines() == [
            "2 wrong in the settings:",
            '  apps.main.base_ulr: unknown key; did you mean "base_url"?',
            "  logs.level: input should be 'debug', 'info', 'warning' or 'error'",
        ]


def test_offline_asks_nobody_and_says_so(tmp_path: Path) -> None:
    result = run("check-config", "--offline", "--config", str(write_config(tmp_path)))
    assert result.exit_code == 0
    assert "apps.main: appId 2882303761517000001, tokens only, no alerts" in result.stdout
    assert "offline: the store and the services were not asked" in result.stdout


def test_what_xiaomi_will_not_deliver_is_said_with_its_dates(tmp_path: Path) -> None:
    bare = '[apps.main.mipush]\npackage = "com.example.chat"\napp_secret = "s"\n'
    whole = 'channel_id = "104"\n[apps.main.mipush.template]\nid = "P1"\nvariables = { words = "text" }\n'
    config = write_config(tmp_path, bare)
    told = run("check-config", "--offline", "--config", str(config)).stdout
    assert re.search(r"warning apps\.main\.mipush\.channel_id: none: .*2023-02-01.*2026-08-01.*one alert a day", told)
    assert re.search(
        r"warning apps\.main\.mipush\.template: none: .*2026-07-01.*none without one from 2026-12-31", told
    )
    config = write_config(tmp_path, bare + whole)
    assert "mipush." not in run("check-config", "--offline", "--config", str(config)).stdout


def test_files_that_others_may_read_are_warned_of(tmp_path: Path) -> None:
    key = write_key(tmp_path / "key.p8", ec.SECP256R1())
    secret, spool, database = tmp_path / "push-secret", tmp_path / "spool", tmp_path / "accounts.sqlite3"
    secret.write_text(PUSH_SECRET)
    spool.mkdir()
    config = write_config(
        tmp_path,
        f'{APNS}key_file = "key.p8"\n[apps.main.mipush]\npackage = "p"\napp_secret = {{ file = "push-secret" }}\n'
        '[store]\nspool_dir = "spool"\n[auth.accounts]\nkey = "0123456789012345678901234567890123"\n'
        'database = "accounts.sqlite3"\n',
    )
    open_accounts(database).close()
    private = {key: 0o600, secret: 0o400, spool: 0o700, database: 0o600}
    open_to_some = {key: 0o640, secret: 0o444, spool: 0o750, database: 0o604}

    def told(modes: dict[Path, int]) -> set[str]:
        for path, mode in modes.items():
            path.chmod(mode)
        lines = run("check-config", "--offline", "--config", str(config)).stdout.splitlines()
        return {line.split(": ", 1)[1] for line in lines if "is open to" in line}

    assert told(private) == set()
    assert told(open_to_some) == {
        f"{key} is open to its group (mode 640): chmod 600 it",
        f"{secret} is open to everyone (mode 444): chmod 600 it",
        f"{spool} is open to its group (mode 750): chmod 700 it",
        f"{database} is open to everyone (mode 604): chmod 600 it",
    }


def test_whether_the_spool_is_on_is_said_with_what_that_means(tmp_path: Path) -> None:
    def found(folder: str) -> tuple[int, str]:
        config = write_config(tmp_path, f'[store]\nspool_dir = "{folder}"\n' if folder else "")
        result = run("check-config", "--offline", "--config", str(config))
        (line,) = [line for line in result.stdout.splitlines() if "store.spool_dir" in line]
        return result.exit_code, line

    assert found("") == (
        0,
        "warning store.spool_dir: off: while the store is away callbacks are answered 503, and MIMC gives one up after "
        "5 min 35 s",
    )
    for _ in range(2):
        code, line = found("deep/spool")
        assert code == 0
        assert line.startswith("ok      store.spool_dir: on: while the store is away callbacks are kept in ")
        assert not (tmp_path / "deep").exists()
    (tmp_path / "file").touch()
    assert found("file/spool") == (
        1,
        f"FAULT   store.spool_dir: {tmp_path}/file/spool cannot be made or written: look at {tmp_path}/file",
    )


APNS = '[apps.main.apns]\nteam_id = "EMULATED01"\nkey_id = "EMULATEKEY"\ntopic = "com.example.chat"\n'


@pytest.mark.parametrize("what", ["text", "P-384"])
def test_a_key_file_that_is_no_p256_key_is_a_fault(tmp_path: Path, what: str) -> None:
    (tmp_path / "key.p8").write_text("no key")
    if what == "P-384":
        write_key(tmp_path / "key.p8", ec.SECP384R1())
    config = write_config(tmp_path, APNS + 'key_file = "key.p8"')
    result = run("check-config", "--offline", "--config", str(config))
    assert result.exit_code == 1
    assert "FAULT   apps.main.apns.key_file: no P-256 private key in PEM" in result.stdout


def test_a_sandbox_key_file_is_checked_as_well(tmp_path: Path) -> None:
    write_key(tmp_path / "key.p8", ec.SECP256R1())
    (tmp_path / "sandbox.p8").write_text("no key")
    own = 'sandbox_key_id = "SANDBOXKEY"\nsandbox_key_file = "sandbox.p8"'
    config = write_config(tmp_path, f'{APNS}key_file = "key.p8"\n{own}')
    result = run("check-config", "--offline", "--config", str(config))
    assert result.exit_code == 1
    assert "ok      apps.main.apns.key_file" in result.stdout
    assert "FAULT   apps.main.apns.sandbox_key_file: no P-256 private key in PEM" in result.stdout


@dataclass(frozen=True)
class Emulated:
    """What the emulators announced, and the key that the emulated Apple knows."""

    facts: dict[str, dict[str, Any]]
    key_file: Path


@pytest.fixture(scope="module")
def emulated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulated]:
    """The emulators of the shipped file, started as an operator would."""
    folder = tmp_path_factory.mktemp("emulators")
    key_file = write_key(folder / "apns.p8", ec.SECP256R1())
    command = [sys.executable, "-c", "from proxy.cli import main; main()", "emulate", "--state", str(folder), "--port"]
    children = {
        name: subprocess.Popen([*command, "0", name], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for name in ("mimc", "apns", "mipush", "http")
    }
    try:
        yield Emulated(
            {name: json.loads(child.stdout.readline()) for name, child in children.items() if child.stdout}, key_file
        )
    finally:
        for child in children.values():
            child.terminate()
        for child in children.values():
            out, errors = child.communicate(timeout=10)
            assert (child.returncode, out, errors) == (0, "", "")


@pytest.fixture(scope="module")
def store_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("store")
    yield ensure_store(folder)
    stop_store(folder)


def check(
    tmp_path: Path,
    emulated: Emulated,
    store_url: str,
    push_secret: str,
    sender_secret: str = EMULATED_SENDER,
    trust: bool = True,
    command: str = "check-config",
    options: Sequence[str] = (),
) -> Result:
    apns = f"https://127.0.0.1:{emulated.facts['apns']['port']}"
    ca_file = f'ca_file = "{emulated.facts["apns"]["ca_file"]}"\n' if trust else ""
    config = write_config(
        tmp_path,
        f'base_url = "{emulated.facts["mimc"]["url"]}"\n{APNS}key_file = "{emulated.key_file}"\n{ca_file}'
        f'production_url = "{apns}"\nsandbox_url = "{apns}"\n'
        f'[apps.main.mipush]\npackage = "com.example.chat"\napp_secret = "{push_secret}"\n'
        f'base_url = "{emulated.facts["mipush"]["url"]}"\n'
        f'[apps.main.http]\nurl = "{emulated.facts["http"]["url"]}/alerts"\nsecret = "{sender_secret}"\n'
        f'[store]\nurl = "{store_url}"\n',
    )
    return run(command, "--config", str(config), *options)


def test_settings_that_work_are_fit_for_service(tmp_path: Path, emulated: Emulated, store_url: str) -> None:
    result = check(tmp_path, emulated, store_url, "emulated-push-secret")
    assert result.exit_code == 0, result.output
    assert {line.split(":")[0] for line in result.stdout.splitlines()} == {
        "ok      apps.main",
        "ok      apps.main.apns.key_file",
        "warning store.spool_dir",
        "ok      store.url",
        "ok      apps.main.base_url",
        "warning apps.main.app_secret",
        "warning apps.main.mipush.channel_id",
        "warning apps.main.mipush.template",
        "ok      apps.main.apns.production_url",
        "ok      apps.main.apns.sandbox_url",
        "ok      apps.main.mipush.app_secret",
        "ok      apps.main.http.url",
    }


def test_who_refuses_us_or_is_not_trusted_is_a_fault(tmp_path: Path, emulated: Emulated, store_url: str) -> None:
    another = f"whsec_{'A' * 32}"
    result = check(tmp_path, emulated, store_url, PUSH_SECRET, another, trust=False)
    assert result.exit_code == 1
    assert "FAULT   apps.main.mipush.app_secret: Xiaomi refuses it" in result.stdout
    assert "FAULT   apps.main.http.url: 127.0.0.1:" in result.stdout
    assert "refuses the signature, HTTP 401: see secret" in result.stdout
    assert "FAULT   apps.main.apns.production_url: the TLS certificate of 127.0.0.1:" in result.stdout


def test_a_doctor_finds_a_working_service_well(tmp_path: Path, emulated: Emulated, store_url: str) -> None:
    result = check(tmp_path, emulated, store_url, "emulated-push-secret", command="doctor")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert any(line.startswith("ok      environment: mimc-app-proxy ") for line in lines)
    assert any(line.startswith("ok      clock: this machine's clock is 0.") for line in lines)
    assert any(line.startswith("ok      apps.main.mipush.base_url: the store's clock is ") for line in lines)
    assert any(
        re.match(r"ok      apps\.main\.apns\.key_file: .* is as it is since 20..-..-.., 0 days", it) for it in lines
    )
    assert any(
        line.startswith("ok      apps.main.apns.production_url: the TLS certificate of 127.0.") for line in lines
    )
    assert lines[-1] == "Nothing is at fault."
    assert "  apps.main.app_secret: name an account of yours: app-proxy doctor --account NAME" in lines


def test_a_doctor_that_meets_no_store_compares_this_machine_s_clock(tmp_path: Path, emulated: Emulated) -> None:
    mimc = emulated.facts["mimc"]["url"]
    config = write_config(tmp_path, f'base_url = "{mimc}"\n[store]\nurl = "redis://127.0.0.1:1/0"\n')
    result = run("doctor", "--config", str(config))
    assert "ok      apps.main.base_url: this machine's clock is " in result.stdout
    assert "the store's clock is" not in result.stdout


def test_a_doctor_ends_with_what_to_do_and_tells_programs_too(
    tmp_path: Path, emulated: Emulated, store_url: str
) -> None:
    told = check(tmp_path, emulated, store_url, PUSH_SECRET, command="doctor")
    assert told.exit_code == 1
    _, _, end = told.stdout.partition("\nWhat to do:\n")
    assert end.startswith("  apps.main.mipush.app_secret: take the AppSecret of the push console")
    listed = check(tmp_path, emulated, store_url, PUSH_SECRET, command="doctor", options=("--json",))
    assert listed.exit_code == 1
    faults = [it for it in json.loads(listed.stdout)["findings"] if it["verdict"] == "fault"]
    assert [it["place"] for it in faults] == ["apps.main.mipush.app_secret"]
    assert faults[0]["to_do"].startswith("take the AppSecret")


def test_devices_are_listed_without_their_push_tokens(tmp_path: Path, store_url: str) -> None:
    config = write_config(tmp_path, f'[store]\nurl = "{store_url}"\n')
    registry = RedisDeviceRegistry(Store(store_url), {"main": "2882303761517000001"})
    noon = datetime(2026, 11, 1, 12, tzinfo=UTC)
    for account in ("alice", "bob"):
        registry.register(Device("main", account, "phone", Platform.APNS, f"{PUSH_SECRET}-{account}", noon))
    listed = [json.loads(line) for line in run("devices", "list", "--config", str(config)).stdout.splitlines()]
    assert {device["account"] for device in listed} == {"alice", "bob"}
    (bobs,) = run("devices", "list", "--config", str(config), "--account", "bob").stdout.splitlines()
    assert json.loads(bobs)["push_token_fingerprint"] == fingerprint(f"{PUSH_SECRET}-bob")
    assert run("devices", "list", "--config", str(config), "--app", "other").exit_code == 2


def test_a_store_without_dead_letters_lists_none(tmp_path: Path, store_url: str) -> None:
    config = write_config(tmp_path, f'[store]\nurl = "{store_url}"\n')
    result = run("dead-letters", "list", "--config", str(config))
    assert (result.exit_code, result.output) == (0, "")


def test_a_store_that_does_not_answer_is_told_in_a_sentence(tmp_path: Path) -> None:
    config = write_config(tmp_path, '[store]\nurl = "redis://:hidden@127.0.0.1:1/0"\n')
    for command in ("devices", "dead-letters"):
        result = run(command, "list", "--config", str(config))
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr == "error: the store did not answer: ConnectionError (store.url: 127.0.0.1:1)\n"


def test_an_emulator_without_its_section_is_told(tmp_path: Path) -> None:
    (tmp_path / "emulators.toml").write_text("[mimc]\n")
    for name, told in (("apns", "has no section [apns]"), ("mimc", "mimc.apps: missing, and it has no default")):
        result = run("emulate", name, "--config", str(tmp_path / "emulators.toml"))
        assert result.exit_code == 2
        assert told in result.stderr
    assert run("emulate", "mimc", "--config", str(tmp_path / "absent.toml")).exit_code == 2


def test_the_command_is_installed() -> None:
    command = Path(sys.executable).parent / "app-proxy"
    done = subprocess.run([command, "--version"], capture_output=True, text=True, check=True, env={**os.environ})
    assert done.stdout.startswith("app-proxy, version ")
