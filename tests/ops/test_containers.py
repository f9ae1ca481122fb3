"""Dockerfile and compose.yaml, as far as no daemon is needed to check them: files, settings, ports, volumes, times."""

import fnmatch
import json
import re
import subprocess
from datetime import timedelta
from importlib.metadata import PackageNotFoundError, requires
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # PyYAML has no types

from proxy.configuration import load_settings
from proxy.settings import GRACE, RelaySettings, Settings
from tests.docs.test_pages import ROOT
from tests.ops.installed import needs, tool
from tools.runtime_lock import needed

DOCKERFILE = (ROOT / "Dockerfile").read_text().replace("\\\n", "")
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
LOCK = (ROOT / "requirements.lock").read_text()
_FINAL = DOCKERFILE.rpartition("\nFROM ")[2]


def image_environment() -> dict[str, str]:
    return dict(re.findall(r"\b(APP_PROXY_\w+)=(\S+)", _FINAL))


def settings_of(service: str, folder: Path) -> Settings:
    """As the container would read them, from the file that is mounted there."""
    (folder / "secret").write_text("s" * 40)
    given = {name: str(text) for name, text in SERVICES[service]["environment"].items()}
    environment = image_environment() | given
    del environment["APP_PROXY_CONFIG"]
    for name, text in environment.items():
        if name.endswith("__FILE"):
            assert text.removeprefix("/run/secrets/") in SERVICES[service]["secrets"]
            environment[name] = str(folder / "secret")
        elif text.startswith("${MIMC_APP_ID"):
            environment[name] = "2882303761517000001"
    return load_settings(ROOT / "config/proxy.toml", environment)


def command_of(instruction: str) -> list[str]:
    found = re.findall(rf"^{instruction}\b.*?(\[.*\])$", _FINAL, re.MULTILINE)[-1]
    words: list[str] = json.loads(found)
    return words


def port_of(address: str) -> str:
    return address.rpartition(":")[2]


def test_every_file_that_the_image_copies_is_there_and_goes_to_the_builder() -> None:
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    copied = [
        word for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE) for word in line.split()[:-1]
    ]
    assert len(copied) > 6
    assert [it for it in copied if not (ROOT / it).exists()] == []
    assert [it for it in copied if not any(fnmatch.fnmatch(it, one) for one in allowed)] == []


def test_the_image_starts_the_web_and_not_as_root() -> None:
    assert command_of("CMD") == ["app-proxy", "web"]
    assert re.search(r"^USER [1-9]\d*$", _FINAL, re.MULTILINE)
    assert DOCKERFILE.count("\nFROM ") == 2


def test_the_images_packages_are_those_that_the_service_needs_and_no_others() -> None:
    names = set(re.findall(r"^([a-z0-9._-]+)==", needed(LOCK, []), re.MULTILINE))
    assert not names & {"pytest", "mypy", "ruff", "pyyaml", "schemathesis"}
    waiting = [re.split(r"[^\w.-]", it)[0] for it in requires("mimc-app-proxy") or () if "extra ==" not in it]
    seen = set[str]()
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in seen:
            continue
        seen.add(name)
        try:
            more = [it for it in requires(name) or () if "extra" not in it]
        except PackageNotFoundError:  # of another platform
            continue
        waiting += [re.split(r"[^\w.-]", it)[0] for it in more if ";" not in it]
    assert seen <= names
    assert names <= set(re.findall(r"^([a-z0-9._-]+)==", LOCK, re.MULTILINE))
    entries = re.findall(r"^\S+==.*\\$", needed(LOCK, []), re.MULTILINE)
    assert len(entries) == len(re.findall(r"^\S+==", needed(LOCK, []), re.MULTILINE))  # each goes on with its hashes


@pytest.mark.parametrize("service", ["web", "worker"])
def test_every_variable_is_a_setting_and_the_ports_agree(service: str, tmp_path: Path) -> None:
    settings = settings_of(service, tmp_path)
    assert settings.store.url.get_secret_value() == "redis://valkey:6379/0"
    operator = settings.server.operator_bind if service == "web" else settings.relay.operator_bind
    check = SERVICES[service].get("healthcheck", {}).get("test") or command_of("HEALTHCHECK")
    assert f"'127.0.0.1', {port_of(operator)}," in str(check)
    prometheus = yaml.safe_load((ROOT / "ops/prometheus/prometheus.yml").read_text())
    assert service in settings.server.operator_hosts
    assert port_of(operator) in str(prometheus["scrape_configs"])
    assert set(re.findall(r"^EXPOSE (.*)$", _FINAL, re.MULTILINE)[0].split()) >= {port_of(operator)}


def test_operators_that_are_added_in_a_container_lie_on_a_volume(tmp_path: Path) -> None:
    operators = settings_of("web", tmp_path).console.operators
    places = [volume.split(":")[1] for volume in SERVICES["web"]["volumes"] if not volume.startswith(".")]
    assert str(operators.parent) in places


def test_nginx_finds_the_web_and_is_believed(tmp_path: Path) -> None:
    site = (ROOT / "config/nginx.conf").read_text()
    settings = settings_of("web", tmp_path)
    web, nginx = (SERVICES[name]["networks"]["front"]["ipv4_address"] for name in ("web", "nginx"))
    ((usual, here),) = re.findall(r"sed 's/([^/]+)/([^/]+)/'", SERVICES["nginx"]["entrypoint"][-1])
    assert site.count(usual) == 1
    assert here == f"server {web}:{port_of(settings.server.bind)};"
    assert [str(it) for it in settings.limits.trusted_proxies] == [f"{nginx}/32"]
    (subnet,) = COMPOSE["networks"]["front"]["ipam"]["config"]
    assert {ip_address(web), ip_address(nginx)} <= set(ip_network(subnet["subnet"]).hosts())
    assert {port_of(it) for it in SERVICES["nginx"]["ports"]} == set(re.findall(r"listen (\d+)", site))
    assert "/etc/nginx/tls/" in site


def test_the_spool_is_on_a_volume_that_the_services_user_owns(tmp_path: Path) -> None:
    spool = settings_of("web", tmp_path).store.spool_dir
    mounted = [Path(it.split(":")[1]) for it in SERVICES["web"]["volumes"] if it.startswith("spool:")]
    assert spool is not None
    assert spool.parent in mounted
    assert f"-o app-proxy -g app-proxy -m 700 {spool.parent}" in _FINAL


def test_every_volume_and_secret_is_declared_or_a_file_of_ours() -> None:
    later = {"./tls"}  # the operator's own
    for service in SERVICES.values():
        for source in (re.sub(r"\$\{\w+:-(.*?)\}", r"\1", it).split(":")[0] for it in service.get("volumes", ())):
            assert source in COMPOSE["volumes"] or source in later or (ROOT / source).is_file(), source
        assert set(service.get("secrets", ())) <= COMPOSE["secrets"].keys()
    used = {it.split(":")[0] for service in SERVICES.values() for it in service.get("volumes", ())}
    assert COMPOSE["volumes"].keys() <= used


def test_every_variable_that_the_file_asks_for_is_in_the_example() -> None:
    asked = set(re.findall(r"\$\{(\w+)", (ROOT / "compose.yaml").read_text()))
    assert asked == set(re.findall(r"^(\w+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))


@pytest.mark.parametrize(("service", "grace"), [("web", GRACE), ("worker", RelaySettings().drain)])
def test_a_container_may_end_its_work(service: str, grace: timedelta) -> None:
    seconds = int(SERVICES[service]["stop_grace_period"].removesuffix("s"))
    assert timedelta(seconds=seconds) > grace


def test_only_what_must_be_is_open() -> None:
    assert [name for name in ("web", "worker") if not SERVICES[name]["read_only"]] == []
    assert [name for name in ("web", "worker") if SERVICES[name]["cap_drop"] != ["ALL"]] == []
    ports = {name: it["ports"] for name, it in SERVICES.items() if "ports" in it and name != "nginx"}
    assert [it for each in ports.values() for it in each if not it.startswith("127.0.0.1:")] == []
    assert SERVICES["worker"]["command"] == ["app-proxy", "worker"]


def test_the_store_keeps_what_it_was_given() -> None:
    said = " ".join(SERVICES["valkey"]["command"])
    for setting in ("--appendonly yes", "--appendfsync always", "--maxmemory-policy noeviction"):
        assert setting in said
    assert "store:/data" in SERVICES["valkey"]["volumes"]


@needs("hadolint")
def test_hadolint_finds_nothing_wrong_with_the_dockerfile() -> None:
    done = subprocess.run(
        [str(tool("hadolint")), str(ROOT / "Dockerfile")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@needs("docker-compose")
def test_compose_reads_its_file() -> None:
    command = [
        str(tool("docker-compose")),
        "--file",
        str(ROOT / "compose.yaml"),
        "--profile",
        "monitoring",
        "config",
        "-q",
    ]
    done = subprocess.run(
        command, env={"MIMC_APP_ID": "1", "PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
