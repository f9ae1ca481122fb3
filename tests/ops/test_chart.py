"""The Helm chart: its settings, ports, probes and commands are the program's; it renders, where helm is here."""

import re
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml  # type: ignore[import-untyped]  # PyYAML has no types

from proxy import __version__
from proxy.configuration import load_settings
from proxy.settings import GRACE, RelaySettings
from proxy.web.openapi.document import document
from proxy.worker.operator import operator_app
from tests.docs.test_pages import ROOT
from tests.ops.installed import needs, tool
from tests.ops.test_containers import DOCKERFILE, SERVICES, command_of, image_environment, port_of

CHART = ROOT / "ops/helm"
VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA = jsonschema_rs.validator_for((CHART / "values.schema.json").read_text())
EVERYTHING = ROOT / "tests/ops/chart-everything.yaml"
TEMPLATES = {path.name: path.read_text() for path in (CHART / "templates").iterdir()}
POD = TEMPLATES["_parts.tpl"]
MOUNT = "/run/secrets/app-proxy/"
PRE_STOP = timedelta(seconds=5)
OF_OPERATOR = "monitoring.coreos.com"  # the Prometheus Operator's own kinds, which the validator does not know
PARTS = ["web", "worker"]


def part(name: str) -> dict[str, Any]:
    """What the template of a process says of it."""
    said = re.findall(r'"(port|grace)" (\d+)|"(command)" \(list (.*?)\)', TEMPLATES[f"{name}.yaml"])
    return {key or command: number or re.findall(r'"([^"]+)"', words) for key, number, command, words in said}


def test_the_settings_of_the_values_are_ones_that_the_start_accepts(tmp_path: Path) -> None:
    named = re.findall(r'file = "([^"]+)"', VALUES["settings"])
    assert len(named) == len(
        re.findall(r"^\w+ = ", VALUES["settings"], re.MULTILINE)
    )  # nothing that opens something is in the values
    for path in named:
        assert path.startswith(MOUNT)
        text = {"store_url": "redis://store:6379/0", "mimc_app_id": "2882303761517000001"}
        (tmp_path / path.removeprefix(MOUNT)).write_text(text.get(path.removeprefix(MOUNT), "s" * 40))
    (tmp_path / "proxy.toml").write_text(VALUES["settings"].replace(MOUNT, f"{tmp_path}/"))
    environment = image_environment() | dict(re.findall(r"name: (APP_PROXY_\w+), value: (\S+) }", POD))
    del environment["APP_PROXY_CONFIG"]
    settings = load_settings(tmp_path / "proxy.toml", environment)
    assert str(settings.store.spool_dir).startswith("/var/lib/app-proxy/")
    assert f"mountPath: {MOUNT.rstrip('/')}," in POD
    assert "mountPath: /var/lib/app-proxy }" in POD
    assert f"mountPath: {Path(image_environment()['APP_PROXY_CONFIG']).parent}," in POD


@pytest.mark.parametrize(
    ("name", "setting", "needed"),
    [("web", "SERVER", GRACE + PRE_STOP), ("worker", "RELAY", RelaySettings().drain)],
)
def test_a_pod_starts_listens_and_ends_as_the_program_does(name: str, setting: str, needed: timedelta) -> None:
    assert part(name)["port"] == port_of(image_environment()[f"APP_PROXY_{setting}__OPERATOR_BIND"])
    assert part(name)["command"] == SERVICES[name].get("command", command_of("CMD"))
    assert timedelta(seconds=int(part(name)["grace"])) > needed
    assert f"time.sleep({PRE_STOP.seconds})" in POD
    assert f"containerPort: {port_of(image_environment()['APP_PROXY_SERVER__BIND'])} }}" in POD
    assert part(name)["port"] in TEMPLATES["both.yaml"]


def test_the_probes_ask_what_web_and_worker_answer() -> None:
    asked = set(re.findall(r"httpGet: { path: (\S+),", POD)) | set(
        re.findall(r"path: (/metrics),", TEMPLATES["both.yaml"])
    )
    assert asked == {"/healthz", "/readyz", "/metrics"}
    assert asked <= document()["paths"].keys()
    statuses = list[str]()
    worker = operator_app(lambda: b"", lambda: (True, {}), ())
    for path in asked:
        worker({"PATH_INFO": path, "HTTP_HOST": "10.0.0.7:9465"}, lambda status, _headers: statuses.append(status))
    assert [it[:3] for it in statuses] == ["200"] * 3


def test_the_user_of_the_pods_is_that_of_the_image() -> None:
    (user,) = re.findall(r"^USER (\d+)$", DOCKERFILE, re.MULTILINE)
    assert set(re.findall(r"(?:runAsUser|runAsGroup|fsGroup): (\d+)", POD)) == {user}


def test_the_chart_is_of_this_version_and_its_jobs_are_those_of_the_rules() -> None:
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"] == __version__
    jobs = {
        it["job_name"] for it in yaml.safe_load((ROOT / "ops/prometheus/prometheus.yml").read_text())["scrape_configs"]
    }
    assert {f"app-proxy-{name}" for name in PARTS} == jobs
    assert "app-proxy/job: app-proxy-{{ $part }}" in TEMPLATES["both.yaml"]
    assert (CHART / "files/rules.yml").resolve() == ROOT / "ops/prometheus/rules.yml"


def test_every_value_is_used_and_in_the_schema() -> None:
    texts = "\n".join(TEMPLATES.values())
    for name, value in VALUES.items():
        keys = value if isinstance(value, dict) and value else [""]
        for key in keys:
            used = f"{name}.{key}".rstrip(".")
            places = [f"Values.{used}", f"$values.{key}", f"(index $.Values $part).{key}", f'"{name}"']
            assert any(re.search(rf"{re.escape(it)}(?!\w)", texts) for it in places), used
    assert SCHEMA.is_valid(VALUES)
    assert SCHEMA.is_valid(VALUES | yaml.safe_load(EVERYTHING.read_text()))


@pytest.mark.parametrize(
    "wrong",
    [
        {"secrets": "mistyped"},
        {"image": {"repository": ""}},
        {"settings": "no app"},
        {"web": {"spool": "1 GB"}},
        {"worker": {"replica": 2}},
        {"ingress": {"enabled": True, "host": "", "tlsSecret": "tls"}},
    ],
    ids=str,
)
def test_values_that_are_wrong_are_refused(wrong: dict[str, object]) -> None:
    assert not SCHEMA.is_valid(VALUES | wrong)


def rendered(*options: str) -> list[dict[str, Any]]:
    """As helm renders it; go install gives it an old idea of Kubernetes' version, so that it is told one."""
    command = [tool("helm"), "template", "push", str(CHART), "--kube-version", "1.30.0", *options]
    done = subprocess.run([str(it) for it in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [it for it in yaml.safe_load_all(done.stdout) if it]


@needs("helm")
def test_helm_finds_nothing_wrong() -> None:
    done = subprocess.run(
        [str(tool("helm")), "lint", "--strict", str(CHART)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


@needs("helm")
def test_helm_refuses_values_that_are_wrong() -> None:
    with pytest.raises(AssertionError, match="replica"):
        rendered("--set", "worker.replica=3")


@needs("helm")
@pytest.mark.parametrize("options", [[], ["--values", str(EVERYTHING)]], ids=["defaults", "everything"])
def test_what_helm_renders_is_shut_and_fits_together(options: list[str]) -> None:
    them = rendered(*options)
    pods = {it["metadata"]["name"]: it["spec"] for it in them if it["kind"] in {"Deployment", "StatefulSet"}}
    assert pods.keys() == {"push-web", "push-worker"}
    for it in pods.values():
        pod = it["template"]["spec"]
        (container,) = pod["containers"]
        assert pod["securityContext"]["runAsNonRoot"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        given = {volume["name"] for volume in pod["volumes"]}
        given |= {claim["metadata"]["name"] for claim in it.get("volumeClaimTemplates", ())}
        assert {mount["name"] for mount in container["volumeMounts"]} == given
        assert it["selector"]["matchLabels"].items() <= it["template"]["metadata"]["labels"].items()
    ports = {port["name"] for it in pods.values() for port in it["template"]["spec"]["containers"][0]["ports"]}
    services = [it for it in them if it["kind"] == "Service"]
    assert {port["targetPort"] for it in services for port in it["spec"]["ports"]} <= ports
    assert [it["spec"]["type"] for it in services if it["spec"].get("clusterIP") != "None"] != []
    if options:
        (rules,) = [it for it in them if it["kind"] == "PrometheusRule"]
        assert rules["spec"] == yaml.safe_load((ROOT / "ops/prometheus/rules.yml").read_text())
        assert [it["kind"] for it in them if it["kind"] in {"Ingress", "StatefulSet"}] != []


@needs("helm", "kubectl-validate")
@pytest.mark.parametrize("options", [[], ["--values", str(EVERYTHING)]], ids=["defaults", "everything"])
def test_what_helm_renders_is_valid_for_kubernetes(options: list[str], tmp_path: Path) -> None:
    ours = [it for it in rendered(*options) if not it["apiVersion"].startswith(OF_OPERATOR)]
    (tmp_path / "all.yaml").write_text(yaml.safe_dump_all(ours))
    command = [str(tool("kubectl-validate")), "--version", "1.30", str(tmp_path / "all.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
